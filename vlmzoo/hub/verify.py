"""Comparing the names and shapes of published weights with a model's, without reading a weight."""

import json
from collections.abc import Mapping
from pathlib import Path

from transformers import PreTrainedModel

from vlmzoo.errors import CheckpointError
from vlmzoo.models.assembler import assemble_model
from vlmzoo.models.keys import (
    KeyReport,
    KeyTable,
    Shape,
    compare_keys,
    key_table,
    key_tables,
    nearest_layout,
    with_hint,
)
from vlmzoo.models.weights import read_shapes, shapes_of, tied_keys
from vlmzoo.zoo import load_card

__all__ = ["KeyReport", "key_tables", "read_manifest", "verify_model"]


def verify_model(model: str | PreTrainedModel, source: str | Path, *, layout: str | None = None) -> KeyReport:
    """Compare a checkpoint with a model: is everything there, under a known name, in the right shape, and no more?

    Args:
        model: a card of the zoo, which is built on the meta device, or a model.
        source: a folder of weights, of which only headers are read, or a manifest, as `read_manifest` takes it.
        layout: a key table of the model's family; None takes the one that knows most of the keys.

    Returns:
        What is missing, unexpected, of another shape, dropped and cut; as text, it is what ``vlmzoo verify`` prints. An
        image encoder that the card says is published elsewhere may be there, or be left out as a whole.

    Raises:
        CheckpointError: if the source cannot be read.
        ConfigError: if the family has no such layout.
        RegistryError: if the zoo has no such card.
    """
    built = assemble_model(model, device="meta") if isinstance(model, str) else model
    expected = shapes_of(built)
    shapes = read_shapes(source) if Path(source).is_dir() else read_manifest(source)
    table = nearest_layout(key_tables(built), shapes, ours=expected) if layout is None else key_table(built, layout)
    if isinstance(model, str) and load_card(model).weights.encoder is not None:
        expected = _without_encoder(expected, table, shapes)
    return with_hint(compare_keys(expected, [(table, shapes)], ties=tied_keys(built)), built, shapes)


def _without_encoder(expected: Mapping[str, Shape], table: KeyTable, shapes: Mapping[str, Shape]) -> dict[str, Shape]:
    """Leave the image encoder out of what is expected where the publisher left it out, all of it."""
    names = {table.to_ours(key) for key in shapes if table.knows(key)}
    is_there = any(name is not None and name.startswith("encoder.") for name in names)
    return {name: shape for name, shape in expected.items() if is_there or not name.startswith("encoder.")}


def read_manifest(path: str | Path) -> dict[str, Shape]:
    """Read the keys and shapes that a manifest lists.

    Args:
        path: a JSON file, ``{"shapes": {key: [rows, columns, …]}, …}``, or ``state_dict`` in place of ``shapes``;
            buffers stand among them.

    Raises:
        CheckpointError: if it is not one.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        listed = content["shapes"] if "shapes" in content else content["state_dict"]
        shapes = {key: tuple(int(side) for side in shape) for key, shape in listed.items()}
        unlisted = sorted(set(content.get("buffers", ())) - shapes.keys())
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"`{path}` must be a folder of weights or a manifest with `shapes`, but cannot be used ({error!r})."
        ) from error
    if unlisted:
        raise CheckpointError(f"The manifest `{path}` lists the buffer `{unlisted[0]}`, but not its shape.")
    return shapes
