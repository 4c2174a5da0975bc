"""Filling single parts of a model: an encoder from one folder, a language model from another."""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vlmzoo.config.schema import PartConfig
from vlmzoo.errors import CheckpointError, ConfigError
from vlmzoo.hub.download import fetch_model
from vlmzoo.models.weights import iterate_tensors, read_shapes, tied_keys
from vlmzoo.registry import nearest_hint

__all__ = ["load_parts"]


def load_parts(model: Any, parts: Mapping[str, PartConfig]) -> None:
    """Fill modules with weights of other models: each with all that it takes, and with nothing else.

    Args:
        model: built, on a device that holds weights.
        parts: where the weights of a module lie, by its name as parameters bear it, e.g. ``encoders.0``.

    Raises:
        ConfigError: if the model has no such module.
        CheckpointError: if something is missing, left over, or of another shape; before anything of that part is read.
        HubError: if the Hub cannot be reached, or does not have it.
    """
    for place, source in parts.items():
        targets = _targets(model, place, source.ignored)
        folder = Path(source.path) if Path(source.path).is_dir() else fetch_model(source.path, revision=source.revision)
        prefix = f"{place}." if source.prefix is None else source.prefix
        _check(folder, targets, place=place, prefix=prefix, ignored=source.ignored, ties=tied_keys(model))
        with torch.no_grad():
            for key, tensor in iterate_tensors(folder):
                if key.startswith(prefix) and key.removeprefix(prefix) in targets:
                    targets[key.removeprefix(prefix)].copy_(tensor)


def _targets(model: Any, place: str, ignored: Sequence[str]) -> dict[str, Tensor]:
    """Return the tensors of a module by their names within it, without those that are left as they are.

    Raises:
        ConfigError: if there is none.
    """
    held = model.state_dict(keep_vars=True)
    targets = {name.removeprefix(f"{place}."): tensor for name, tensor in held.items() if name.startswith(f"{place}.")}
    if not targets:
        known = sorted({".".join(name.split(".")[:depth]) for name in held for depth in (1, 2)})
        raise ConfigError(f"`model.parts` names `{place}`, which the model does not have.{nearest_hint(place, known)}")
    return {name: tensor for name, tensor in targets.items() if not _is_ignored(name, ignored)}


def _is_ignored(name: str, ignored: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in ignored)


def _check(
    folder: Path,
    targets: Mapping[str, Tensor],
    *,
    place: str,
    prefix: str,
    ignored: Sequence[str],
    ties: Sequence[frozenset[str]],
) -> None:
    """Compare names and shapes.

    Raises:
        CheckpointError: if they differ.
    """
    found = {key.removeprefix(prefix): shape for key, shape in read_shapes(folder).items() if key.startswith(prefix)}
    given = {f"{place}.{name}" for name in found}
    tied = {name.removeprefix(f"{place}.") for group in ties if group & given for name in group}
    faults = {
        "lacks": sorted(name for name in targets if name not in found and name not in tied),
        "has more than the part takes:": sorted(
            name for name in found if name not in targets and not _is_ignored(name, ignored)
        ),
        "has tensors of another shape:": sorted(
            name for name, tensor in targets.items() if name in found and tuple(tensor.shape) != tuple(found[name])
        ),
    }
    for what, names in faults.items():
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            shown = ", ".join(f"`{prefix}{name}`" for name in names[:3]) + more
            raise CheckpointError(
                f"`{folder}` {what} {shown}, so `{place}` cannot be filled with it; check `prefix` and `ignored` of "
                "`model.parts`. Nothing of it was read."
            )
