"""Writing a model's folder: whole or not at all."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from torch import Tensor
from transformers import PreTrainedModel, ProcessorMixin

from vlmzoo.errors import CheckpointError, ConfigError
from vlmzoo.models.keys import key_table
from vlmzoo.models.weights import write_layout

__all__ = ["export_layout", "save_model"]


def save_model(
    model: PreTrainedModel,
    processor: ProcessorMixin,
    folder: str | Path,
    *,
    state_dict: Mapping[str, Tensor] | None = None,
    base: Mapping[str, str] | None = None,
) -> Path:
    """Write a folder that ``load_model`` reads: the base as transformers writes it, the adapters beside it.

    It is written under a temporary name beside its place and renamed when it is whole; an older folder is replaced.

    Args:
        model: whose weights and configuration are written.
        processor: written beside them.
        folder: where to.
        state_dict: the weights, if the model does not hold them itself (ZeRO-3).
        base: ``path`` and ``revision`` of an unchanged base, to name it in place of writing its weights again.

    Returns:
        The folder.

    Raises:
        CheckpointError: if it cannot be written; nothing half-written remains.
    """
    named: dict[str, Any] = {} if base is None else {"base": base}

    def write(partial: Path) -> None:
        model.save_pretrained(partial, state_dict=None if state_dict is None else dict(state_dict), **named)
        processor.save_pretrained(partial)

    return _whole(Path(folder), write)


def export_layout(model: Any, processor: ProcessorMixin, folder: str | Path, layout: str) -> Path:
    """Write a base under the names of another layout, with the processor beside it.

    Args:
        model: without LoRA; adapters with parts of their own have no place in another layout.
        processor: written beside the weights.
        folder: where to.
        layout: a key table of the model's family, e.g. ``llava``.

    Raises:
        ConfigError: if the family has no such layout, or adapters are attached.
        CheckpointError: if it cannot be written; nothing half-written remains.
    """
    if model.adapter_specs:
        held = ", ".join(model.adapter_specs)
        raise ConfigError(f"Another layout has no place for adapters, but {held} are attached; export with `--merge`.")
    table = key_table(model, layout)

    def write(partial: Path) -> None:
        write_layout(model.state_dict(), table, partial)
        model.config.save_pretrained(partial)
        processor.save_pretrained(partial)

    return _whole(Path(folder), write)


def _whole(folder: Path, write: Callable[[Path], None]) -> Path:
    """Write a folder under a temporary name and rename it when it is whole; an older one is replaced."""
    partial, replaced = (folder.with_name(f".{folder.name}.{state}") for state in ("partial", "replaced"))
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        write(partial)
        if folder.exists():  # kept until the new one stands in its place
            shutil.rmtree(replaced, ignore_errors=True)
            folder.rename(replaced)
        partial.rename(folder)
        shutil.rmtree(replaced, ignore_errors=True)
    except (OSError, SafetensorError) as error:  # a full disk comes as either
        shutil.rmtree(partial, ignore_errors=True)
        raise CheckpointError(
            f"The model cannot be written to `{folder}` ({error}); free or choose a place."
        ) from error
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return folder
