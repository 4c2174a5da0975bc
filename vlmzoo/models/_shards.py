"""Reading the tensors of a published folder: safetensors or ``.bin``, single or sharded; nothing in it can run code."""

import json
import pickle
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from vlmzoo.errors import CheckpointError
from vlmzoo.models.keys import Shape

__all__ = ["iterate_tensors", "read_shapes", "shapes_in", "tensors_in"]


def iterate_tensors(folder: str | Path) -> Iterator[tuple[str, Tensor]]:
    """Iterate over the published keys and tensors of a folder, one shard at a time, on the CPU.

    Raises:
        CheckpointError: if a shard is missing, unreadable, or does not hold what the index says; before the first one.
    """
    read_shapes(folder)
    for path, _ in _shards(Path(folder)):
        yield from tensors_in(path)


def read_shapes(folder: str | Path) -> dict[str, Shape]:
    """Read the published keys and shapes of a folder; no weights are read.

    Raises:
        CheckpointError: if a shard is missing, unreadable, or does not hold what the index says.
    """
    found: dict[str, Shape] = {}
    for path, listed in _shards(Path(folder)):
        shapes = shapes_in(path)
        if listed is not None and shapes.keys() != listed:
            lost, stray = sorted(listed - shapes.keys()), sorted(shapes.keys() - listed)
            fault = (
                f"lacks `{lost[0]}`, which the index places" if lost else f"holds `{stray[0]}`, which it does not place"
            )
            raise CheckpointError(f"By its index, the shard `{path}` {fault} there; download both again.")
        found |= shapes
    return found


def _shards(folder: Path) -> list[tuple[Path, set[str] | None]]:
    """Find the files that hold the weights, each with the keys that an index gives it; safetensors go first."""
    if not folder.is_dir():
        raise CheckpointError(f"`{folder}` is no folder; download the weights first.")
    for stem, suffix in (("model", ".safetensors"), ("pytorch_model", ".bin")):
        single, index = folder / f"{stem}{suffix}", folder / f"{stem}{suffix}.index.json"
        if single.is_file() and index.is_file():
            raise CheckpointError(f"`{folder}` holds both `{single.name}` and `{index.name}`; remove the stale one.")
        if single.is_file():
            return [(single, None)]
        if index.is_file():
            return _indexed_shards(index)
        loose = sorted(path.name for path in folder.glob(f"{stem}-*-of-*{suffix}"))
        if loose:
            raise CheckpointError(f"`{folder}` holds `{loose[0]}`, but no `{index.name}`; download the index, too.")
    raise CheckpointError(
        f"`{folder}` holds no weights: neither model.safetensors nor pytorch_model.bin, nor an index."
    )


def _indexed_shards(index: Path) -> list[tuple[Path, set[str] | None]]:
    try:
        names = json.loads(index.read_text(encoding="utf-8"), object_pairs_hook=_unique)["weight_map"]
        keys_by_name: dict[str, set[str]] = defaultdict(set)
        for key, name in names.items():
            if Path(name).name != name:
                raise ValueError(f"`{name}` is no file beside it")
            keys_by_name[name].add(key)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"The index `{index}` cannot be used ({error}); download it again.") from error
    lost = [name for name in sorted(keys_by_name) if not (index.parent / name).is_file()]
    if lost:
        raise CheckpointError(
            f"`{index.parent}` is incomplete: it lacks {len(lost)} of {len(keys_by_name)} shards, first `{lost[0]}`; "
            "download them."
        )
    return [(index.parent / name, keys_by_name[name]) for name in sorted(keys_by_name)]


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    twice = [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]
    if twice:
        raise ValueError(f"`{twice[0]}` stands there twice")
    return dict(pairs)


def tensors_in(path: Path) -> Iterator[tuple[str, Tensor]]:
    if path.suffix != ".safetensors":
        yield from _load_pickled(path).items()
        return
    with safe_open(path, framework="pt") as file:
        for key in file.keys():  # noqa: SIM118 - it is no mapping
            yield key, file.get_tensor(key)


def shapes_in(path: Path) -> dict[str, Shape]:
    """Return the shapes of all tensors of one file by key, reading no more than it must.

    Raises:
        CheckpointError: if the file cannot be read, or holds more than tensors.
    """
    if path.suffix != ".safetensors":
        return {key: tuple(tensor.shape) for key, tensor in _load_pickled(path).items()}
    try:
        with safe_open(path, framework="pt") as file:
            return {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"`{path}` cannot be read ({error}); download it again.") from error


def _load_pickled(path: Path) -> dict[str, Tensor]:
    """Map a pickled file of tensors into memory; whatever else it holds is refused before it can run."""
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"`{path}` holds more than tensors, and reading it could run code, so it is not read. If you trust its "
            "source, convert it once where it can do no harm: load it with `torch.load(path, weights_only=False)` and "
            f"write the tensors with `safetensors.torch.save_file`. What was found: {_first_line(error)}"
        ) from error
    except (RuntimeError, ValueError, OSError, EOFError) as error:
        raise CheckpointError(
            f"`{path}` cannot be read ({_first_line(error)}); download or convert it again."
        ) from error
    if not isinstance(loaded, dict):
        raise CheckpointError(f"`{path}` must hold tensors by key, but holds a {type(loaded).__name__}; convert it.")
    for key, tensor in loaded.items():
        if not isinstance(tensor, Tensor):
            raise CheckpointError(
                f"`{path}` must hold tensors by key, but `{key}` is a {type(tensor).__name__}; convert it."
            )
    return loaded


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
