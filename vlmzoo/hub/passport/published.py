"""Passports of published weights: made by whoever has network, kept in a folder, replayed from there."""

from pathlib import Path
from typing import Any

from vlmzoo.hub.building import build_model
from vlmzoo.hub.passport.checking import check_model, make_passport
from vlmzoo.hub.passport.compare import PassportReport
from vlmzoo.hub.passport.files import read_passport, write_passport

__all__ = ["check_published"]


def check_published(name: str, *, folder: Path, make: bool = False, device: str | None = None) -> PassportReport:
    """Download the weights of an entry, load them strictly, and replay or write their passport.

    Args:
        name: a card with published weights.
        folder: where passports of published weights lie; one that is not there yet is written.
        make: whether to write it anew.
        device: where to run; None is the CPU.

    Raises:
        ConfigError: if nobody has published weights of it.
        CheckpointError: if they are not whole.
        HubError: if the Hub cannot be reached.
    """
    model: Any = build_model(name, pretrained=True, device=device)
    path = folder / f"{name}.json"
    if path.is_file() and not make:
        return check_model(model, read_passport(path))
    folder.mkdir(parents=True, exist_ok=True)
    facts = make_passport(model, about=f"published weights of {name}")
    write_passport(facts, path)
    return PassportReport(about=facts["about"], checked={"tensors": len(facts["tensors"]["stored"])}, note=f"{path}")
