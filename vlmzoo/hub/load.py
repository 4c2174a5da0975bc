"""The one call that restores everything that was saved, or fails."""

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import AutoModelForImageTextToText, AutoProcessor

from vlmzoo.errors import CheckpointError
from vlmzoo.models.assembler import choose_dtype
from vlmzoo.models.attention import check_attention
from vlmzoo.models.composed import ComposedVlm
from vlmzoo.models.registration import register_auto_classes

__all__ = ["load_model"]


def load_model(
    path: str | Path,
    *,
    revision: str | None = None,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype = "auto",
    attn_implementation: str | None = None,
) -> tuple[ComposedVlm, Any]:
    """Load a model and its processor.

    Args:
        path: a folder that ``save_pretrained`` wrote, or a Hub id.
        revision: branch, tag or commit on the Hub.
        device: where to put the model; None is the CPU.
        dtype: of the weights; ``auto`` is bfloat16 on an accelerator that has it, else float32.
        attn_implementation: attention by name; None lets transformers choose.

    Returns:
        The model, in evaluation mode, and its processor.

    Raises:
        CheckpointError: if something is missing, left over, of another shape, or unreadable; nothing is left random.
    """
    register_auto_classes()
    _check_folder(Path(path))
    if attn_implementation is not None:
        check_attention(attn_implementation, device)
    options: dict[str, Any] = {"revision": revision} if revision else {}
    try:
        loaded: Any = AutoModelForImageTextToText.from_pretrained(
            path,
            dtype=choose_dtype(dtype, device),
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # so that the report below can name them
            attn_implementation=attn_implementation,
            **options,
        )
        processor = AutoProcessor.from_pretrained(path, **options)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0]
        raise CheckpointError(f"`{path}` cannot be loaded: {reason}") from error
    model, report = loaded
    _check_report(report, path)
    if isinstance(model, ComposedVlm):
        model.attach_processor(processor)
    if device is not None:
        nn.Module.to(model, device)
    return model.eval(), processor


def _check_folder(path: Path) -> None:
    """Refuse what looks like a folder but is none that we can read, before the Hub is asked.

    Raises:
        CheckpointError: if it does not exist, or holds no configuration.
    """
    looks_local = path.is_absolute() or str(path).startswith(".") or len(path.parts) != 2
    if path.is_dir() and not (path / "config.json").is_file():
        raise CheckpointError(f"`{path}` holds no config.json, so it is no model folder; a run's model is in `final/`.")
    if looks_local and not path.is_dir():
        raise CheckpointError(f"`{path}` is no folder and no Hub id (owner/name); check the path.")


def _check_report(report: dict[str, Any], path: str | Path) -> None:
    """Fail on any key that is missing, left over, or of another shape.

    Raises:
        CheckpointError: naming the keys.
    """
    faults = {
        "lacks": sorted(report.get("missing_keys", ())),
        "has more than the model takes:": sorted(report.get("unexpected_keys", ())),
        "has tensors of another shape:": sorted(str(key[0]) for key in report.get("mismatched_keys", ())),
    }
    for what, keys in faults.items():
        if keys:
            shown = ", ".join(f"`{key}`" for key in keys[:3]) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")
            raise CheckpointError(
                f"The checkpoint `{path}` {what} {shown}; save it again, or download it again. Nothing was left random."
            )
