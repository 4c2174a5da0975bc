"""Is a model what it should be: by its passport, or by the names and shapes of published weights."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from transformers import PreTrainedModel

from vlmzoo.errors import CheckpointError, ConfigError
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

if TYPE_CHECKING:
    from vlmzoo.hub.passport import PassportReport

__all__ = ["KeyReport", "compare_with", "key_tables", "read_manifest", "verify_model"]


def verify_model(
    model: str | Path | PreTrainedModel, source: str | Path | None = None, *, layout: str | None = None
) -> "KeyReport | PassportReport":
    """Replay a passport, or compare the names and shapes of a checkpoint with a model, reading no weight.

    Args:
        model: a card of the zoo, a model, or a folder with a passport.
        source: a folder of weights, of which only headers are read, or a manifest, as `read_manifest` takes it: is
            everything there, under a known name, in the right shape, and no more? None replays the passport instead:
            of a card and its tiny twin, or of a folder.
        layout: a key table of the model's family; None takes the one that knows most of the keys.

    Returns:
        A report with ``is_clean``; as text, it is what ``vlmzoo verify`` prints. In a comparison with a source, an
        image encoder that the card says is published elsewhere may be there, or be left out as a whole.

    Raises:
        CheckpointError: if the source or the passport cannot be read.
        ConfigError: if the family has no such layout, or a model is given without a source.
        RegistryError: if the zoo has no such card.
    """
    if source is None:
        return _replayed(model)
    return compare_with(model, source, layout=layout)


def _replayed(model: str | Path | PreTrainedModel) -> "PassportReport":
    from vlmzoo.hub.passport import check_entry, check_folder

    if isinstance(model, PreTrainedModel):
        raise ConfigError("`source` must be given with a model; of a passport use `vlmzoo.hub.passport.check_model`.")
    return check_folder(model) if Path(model).is_dir() else check_entry(str(model))


def compare_with(model: str | Path | PreTrainedModel, source: str | Path, *, layout: str | None = None) -> KeyReport:
    """Compare names and shapes; see `verify_model`."""
    model = str(model) if isinstance(model, Path) else model
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
