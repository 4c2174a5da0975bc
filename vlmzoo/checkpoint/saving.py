"""Writing a model's folder: whole or not at all."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor
from transformers import PreTrainedModel, ProcessorMixin

from vlmzoo.errors import CheckpointError

__all__ = ["save_model"]


def save_model(
    model: PreTrainedModel,
    processor: ProcessorMixin,
    folder: str | Path,
    *,
    state_dict: Mapping[str, Tensor] | None = None,
) -> Path:
    """Write a transformers folder that ``load_model`` and the Auto classes read.

    It is written under a temporary name beside its place and renamed when it is whole; an older folder is replaced.

    Args:
        model: whose weights and configuration are written.
        processor: written beside them.
        folder: where to.
        state_dict: the weights, if the model does not hold them itself (ZeRO-3).

    Returns:
        The folder.

    Raises:
        CheckpointError: if it cannot be written; nothing half-written remains.
    """
    folder = Path(folder)
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        model.save_pretrained(partial, state_dict=None if state_dict is None else dict(state_dict))
        processor.save_pretrained(partial)
        if folder.exists():
            shutil.rmtree(folder)
        partial.rename(folder)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise CheckpointError(
            f"The model cannot be written to `{folder}` ({error}); free or choose a place."
        ) from error
    return folder
