"""Making passports and replaying them: of a model, of a folder, of an entry of the zoo."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import tokenizers
import torch
import transformers

import vlmzoo
from vlmzoo.hub.load import load_model
from vlmzoo.hub.passport.compare import PassportReport, compare_passports
from vlmzoo.hub.passport.digests import flattened, json_digest
from vlmzoo.hub.passport.facts import config_facts, processor_facts, tensor_facts, tokenizer_facts
from vlmzoo.hub.passport.files import FORMAT, read_passport, shipped_passport
from vlmzoo.hub.passport.running import running_facts
from vlmzoo.hub.passport.twins import first_twin, make_twin
from vlmzoo.models.assembler import assemble_model
from vlmzoo.models.weights import shapes_of
from vlmzoo.zoo import load_card

__all__ = ["check_entry", "check_folder", "check_model", "make_entry", "make_passport"]


def make_passport(model: Any, *, about: str) -> dict[str, Any]:
    """Write down what a model with its processor is and does.

    Args:
        model: with weights; it answers three short questions.
        about: which model, in words.
    """
    processor, configuration = model.processor, config_facts(model.config)
    return {
        "about": about,
        **_seal(),
        "dtype": str(model.dtype).removeprefix("torch."),
        "configuration_digest": json_digest(configuration),
        "configuration": configuration,
        "tokenizer": tokenizer_facts(processor.tokenizer),
        "processor": processor_facts(processor),
        "tensors": tensor_facts(model),
        "running": running_facts(model),
    }


def make_entry(name: str) -> dict[str, Any]:
    """Write down an entry of the zoo: the card with the shapes of its tensors, and its tiny twin, complete.

    Where another card has the same miniature, the twin is that card's name.

    Raises:
        RegistryError: if the zoo has no such card.
    """
    first = first_twin(name)
    twin = first if first != name else make_passport(make_twin(name), about=f"tiny twin of {name}")
    return {"card": _card_facts(name), "twin": twin}


def check_model(model: Any, passport: Mapping[str, Any]) -> PassportReport:
    """Replay a passport with a model that is at hand."""
    return compare_passports(passport, make_passport(model, about=passport["about"]))


def check_folder(folder: str | Path, passport: Mapping[str, Any] | None = None) -> PassportReport:
    """Replay the passport of a model's folder.

    Args:
        folder: what `load_model` reads, also a Hub id.
        passport: None takes the folder's own.

    Raises:
        CheckpointError: if there is none, or the model cannot be loaded.
    """
    held = read_passport(folder) if passport is None else passport
    model, _ = load_model(folder, dtype=held.get("dtype", "auto"))
    return check_model(model, held)


def check_entry(name: str) -> PassportReport:
    """Replay the passport of an entry of the zoo, without any download.

    Raises:
        RegistryError: if the zoo has no such card.
        CheckpointError: if the package holds no record of it.
    """
    held = shipped_passport(name)
    card = compare_passports(held["card"], _card_facts(name))
    twin = check_model(make_twin(name), held["twin"])
    return replace(
        twin,
        about=f"{name} (card and tiny twin)",
        checked={**{f"of the card's {stage}": number for stage, number in card.checked.items()}, **twin.checked},
        departures=(*(replace(one, stage=f"card's {one.stage}") for one in card.departures), *twin.departures),
    )


def _seal() -> dict[str, Any]:
    return {
        "format": FORMAT,
        "versions": {
            "vlmzoo": vlmzoo.__version__,
            "torch": torch.__version__.partition("+")[0],
            "transformers": transformers.__version__,
            "tokenizers": tokenizers.__version__,
        },
    }


def _card_facts(name: str) -> dict[str, Any]:
    """Return the fields of a card's architecture, and the shapes of its tensors, layers of one kind in one row."""
    card = load_card(name)
    held = {"architecture": card.architecture.model_dump(mode="json", exclude_none=True), "adapters": card.adapters}
    return {
        "about": f"card of {name}",
        **_seal(),
        "configuration": json.loads(json.dumps(flattened(held))),
        "shapes": _by_kind(shapes_of(assemble_model(name, device="meta"))),
    }


def _by_kind(shapes: Mapping[str, Sequence[int]]) -> dict[str, list[Any]]:
    """Gather keys that differ in numbers alone: ``{"layers.#.weight": [shape, how many, …]}``."""
    kinds: dict[str, dict[str, int]] = {}
    for key, shape in shapes.items():
        sizes = kinds.setdefault(re.sub(r"\d+", "#", key), {})
        text = "x".join(str(side) for side in shape)
        sizes[text] = sizes.get(text, 0) + 1
    return {kind: [[shape, number] for shape, number in sizes.items()] for kind, sizes in kinds.items()}
