"""Passports of published weights: made by whoever has network, kept in a folder, replayed from there."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vlmzoo.errors import ConfigError
from vlmzoo.hub.building import build_model
from vlmzoo.hub.passport.checking import check_model, make_passport
from vlmzoo.hub.passport.compare import PassportReport
from vlmzoo.hub.passport.files import read_passport, write_passport
from vlmzoo.models.assembler import choose_dtype

__all__ = ["check_published"]


def check_published(
    name: str, *, folder: Path, make: bool = False, device: str | None = None, dtype: str | None = None
) -> PassportReport:
    """Download the weights of an entry, load them strictly, and replay or write their passport.

    Args:
        name: a card with published weights.
        folder: where passports of published weights lie; one that is not there yet is written.
        make: whether to write it anew.
        device: where to run; None is the CPU.
        dtype: of the weights; None is that of the passport, or for a new one bfloat16 on an accelerator that has it,
            else float32. The passport says it.

    Raises:
        ConfigError: if nobody has published weights of it, or its passport was made with another dtype.
        CheckpointError: if they are not whole.
        HubError: if the Hub cannot be reached.
    """
    path = folder / f"{name}.json"
    held = read_passport(path) if path.is_file() and not make else None
    if held is not None:
        dtype = _same_dtype(held, dtype, device=device, path=path)
    model: Any = build_model(name, pretrained=True, device=device, dtype=dtype or "auto")
    if held is not None:
        return check_model(model, held)
    folder.mkdir(parents=True, exist_ok=True)
    facts = make_passport(model, about=f"published weights of {name}")
    write_passport(facts, path)
    return PassportReport(about=facts["about"], checked={"tensors": len(facts["tensors"]["stored"])}, note=f"{path}")


def _same_dtype(held: Mapping[str, Any], dtype: str | None, *, device: str | None, path: Path) -> str | None:
    """Return the dtype that a passport was made with; digests of another one would all differ.

    Raises:
        ConfigError: if another one is asked for.
    """
    made = held.get("dtype")
    wanted = None if dtype is None else str(choose_dtype(dtype, device)).removeprefix("torch.")
    if wanted is not None and made is not None and wanted != made:
        raise ConfigError(
            f"`dtype` must be {made}, with which `{path}` was made, but is {wanted} instead; leave it out, or write "
            "the passport anew with --make."
        )
    return made or dtype
