"""Filling a model with published weights, with exactly these, and writing ours under published names.

Nothing is loaded unless everything fits, nothing is left random, and nothing in a file can run code. Keys are the
publisher's own ("theirs") until a key table turns them into ours.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from huggingface_hub import save_torch_state_dict
from torch import Tensor, nn
from transformers import PreTrainedModel

from vlmzoo.errors import CheckpointError, ConfigError
from vlmzoo.models._buffers import restore_buffers
from vlmzoo.models._lora import LoraWeights, read_lora
from vlmzoo.models._shards import iterate_tensors, read_shapes
from vlmzoo.models.keys import KeyReport, KeyTable, Shape, compare_keys, with_hint

__all__ = [
    "LoraWeights",
    "iterate_tensors",
    "load_into",
    "read_lora",
    "read_shapes",
    "shapes_of",
    "tied_keys",
    "write_layout",
]


def load_into(
    model: PreTrainedModel,
    folder: str | Path,
    table: KeyTable,
    *,
    dtype: torch.dtype | None = None,
    device: str | torch.device | None = None,
    lora: str | Path | None = None,
    more: Sequence[tuple[str | Path, KeyTable]] = (),
) -> KeyReport:
    """Fill a model with published weights: with all that it takes, and with nothing else.

    Names and shapes are compared before anything is read, so that a model which does not fit stays as it was. At most
    one shard is open at a time. What stands on the meta device is made anew, non-persistent buffers included.

    Args:
        model: built with any weights, also on the meta device.
        folder: safetensors or ``.bin``, single or sharded.
        table: of the folder's layout.
        dtype: of the floating weights; None keeps each parameter's own.
        device: of the weights; None keeps each parameter's own, and is the CPU for the meta device.
        lora: a LoRA folder in LLaVA's habit, merged into ``folder``'s weights; its keys are in the same layout.
        more: further folders with their tables, for what ``folder`` leaves out, such as the encoder.

    Returns:
        What fitted, what was dropped and what was cut; always clean.

    Raises:
        CheckpointError: if something is missing, left over, of another shape, or unreadable.
        ConfigError: if the device is the meta device, which holds no weights.
    """
    if device is not None and torch.device(device).type == "meta":
        raise ConfigError("`device` must be one that holds weights, but is `meta` instead; leave it out for the CPU.")
    adapter = None if lora is None else read_lora(lora)
    sources = [(Path(folder), table), *((Path(path), its_table) for path, its_table in more)]
    shapes = [read_shapes(path) for path, _ in sources]
    if adapter is not None:
        shapes[0] = adapter.shapes_on(shapes[0])
    expected, ties = shapes_of(model), tied_keys(model)
    tables = [its_table for _, its_table in sources]
    report = with_hint(compare_keys(expected, zip(tables, shapes, strict=True), ties=ties), model, shapes[0])
    report.require_clean(folder)
    restore_buffers(model, dtype=dtype, device=torch.device(device or "cpu"))
    places = {name: group for group in ties for name in group}
    filled: set[str] = set()
    for key, name, tensor in _tensors_of(sources, adapter):
        if key in report.dropped:
            continue
        names = places.get(name, frozenset({name}))
        tensor = tensor[: expected[name][0]] if key in report.cut else tensor
        if filled & names:
            _check_tied(model, name, tensor)
        else:
            _fill(model, names, tensor, dtype=dtype, device=device)
        filled.add(name)
    for name in expected.keys() - filled.union(*(group for group in ties if not filled.isdisjoint(group))):
        nothing = torch.zeros(expected[name])  # nobody reads it, or the report would not be clean
        _fill(model, frozenset({name}), nothing, dtype=dtype, device=device)
    return report


def shapes_of(model: nn.Module) -> dict[str, Shape]:
    """Return our keys and shapes of all that a checkpoint must hold."""
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def tied_keys(model: nn.Module) -> list[frozenset[str]]:
    """Return the groups of our keys that are one parameter, such as a head that is the table of embeddings."""
    names: dict[int, set[str]] = defaultdict(set)
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names[id(parameter)].add(name)
    return [frozenset(group) for group in names.values() if len(group) > 1]


def write_layout(
    state_dict: Mapping[str, Tensor], table: KeyTable, folder: str | Path, *, max_shard_size: int | str = "5GB"
) -> Path:
    """Write our weights under their published names, as safetensors, with an index if there are several shards.

    Rows that were cut on reading are not invented again: who reads the folder must take the vocabulary from its shapes.

    Args:
        state_dict: our keys; of tied tensors one is written.
        table: of the layout to write.
        folder: where to; made if need be.
        max_shard_size: bytes in one shard, or such as ``"5GB"``.

    Raises:
        CheckpointError: if a key has no published name, or the folder holds weights already.
    """
    folder = Path(folder)
    renamed = table.dict_to_theirs(state_dict)
    folder.mkdir(parents=True, exist_ok=True)
    held = sorted(path.name for path in folder.iterdir() if path.suffix in (".safetensors", ".bin"))
    if held:
        raise CheckpointError(f"`{folder}` must hold no weights yet, but holds `{held[0]}`; choose another folder.")
    save_torch_state_dict(renamed, folder, max_shard_size=max_shard_size, metadata={"format": "pt"})
    return folder


def _tensors_of(
    sources: Sequence[tuple[Path, KeyTable]], adapter: LoraWeights | None
) -> Iterator[tuple[str, str, Tensor]]:
    """Iterate over published keys, our keys and tensors; what a LoRA trained goes over the first source."""
    trained = {} if adapter is None else adapter.trained
    for number, (folder, table) in enumerate(sources):
        for key, tensor in iterate_tensors(folder):
            name = table.to_ours(key)
            if name is None or (number == 0 and key in trained):
                continue
            yield key, name, adapter.merged(key, tensor) if adapter is not None and number == 0 else tensor
    for key, tensor in trained.items():
        name = sources[0][1].to_ours(key)
        if name is not None:
            yield key, name, tensor


@torch.no_grad()
def _fill(
    model: nn.Module,
    names: frozenset[str],
    tensor: Tensor,
    *,
    dtype: torch.dtype | None,
    device: str | torch.device | None,
) -> None:
    """Copy a tensor into the parameter or buffer of these names, or put a new one in its place."""
    place = _tensor_at(model, next(iter(names)))
    wanted = dtype if dtype is not None and place.is_floating_point() else place.dtype
    where = torch.device(device or ("cpu" if place.is_meta else place.device))
    if (place.dtype, place.device) == (wanted, where):
        place.copy_(tensor)
        return
    value = torch.empty(tensor.shape, dtype=wanted, device=where).copy_(tensor)
    if isinstance(place, nn.Parameter):
        value = nn.Parameter(value, requires_grad=place.requires_grad)
    for name in names:
        owner, _, attribute = name.rpartition(".")
        setattr(model.get_submodule(owner), attribute, value)


def _tensor_at(model: nn.Module, name: str) -> Tensor:
    owner, _, attribute = name.rpartition(".")
    return getattr(model.get_submodule(owner), attribute)


def _check_tied(model: nn.Module, name: str, tensor: Tensor) -> None:
    place = _tensor_at(model, name)
    if not torch.equal(place, tensor.to(place)):
        raise CheckpointError(
            f"Our `{name}` is tied to another tensor, but the checkpoint holds two different ones; set "
            "`tie_word_embeddings: false` in the language model."
        )
