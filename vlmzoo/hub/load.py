"""The one call that restores everything that was saved, or fails."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

from vlmzoo.errors import CheckpointError
from vlmzoo.hub.download import fetch_model
from vlmzoo.hub.quantization import quantization_config
from vlmzoo.models.adapter_specs import rehearse_adapters
from vlmzoo.models.assembler import choose_dtype
from vlmzoo.models.attention import check_attention
from vlmzoo.models.layout import MANIFEST, Manifest
from vlmzoo.models.native.modeling import native_class
from vlmzoo.models.native.processing import finish_native_processor, native_processor_class
from vlmzoo.models.native.table import NATIVE
from vlmzoo.models.registration import composed_class, register_auto_classes

__all__ = ["load_model"]


def load_model(
    path: str | Path,
    *,
    revision: str | None = None,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype = "auto",
    attn_implementation: str | None = None,
    adapters: Sequence[str | Mapping[str, Any]] = (),
    quantization: str | None = None,
) -> tuple[Any, Any]:
    """Load a model and its processor: base, LoRA, adapter parts and token rows.

    Args:
        path: a folder that was saved, one of transformers' layout whose architecture is a native base, or a Hub id.
        revision: branch, tag or commit on the Hub.
        device: where to put the model; None is the CPU.
        dtype: of the weights; ``auto`` is bfloat16 on an accelerator that has it, else float32.
        attn_implementation: attention by name; None lets transformers choose.
        adapters: to attach anew, beside those of the folder.
        quantization: ``nf4`` or ``int8``, of the base's linear layers.

    Returns:
        The model, in evaluation mode, and its processor.

    Raises:
        CheckpointError: if something is missing, left over, of another shape, or unreadable; nothing is left random.
        HubError: if the Hub cannot be reached, or does not have it.
        ConfigError: if an adapter cannot be attached.
        MissingExtraError: if quantization is asked for and bitsandbytes is not installed.
    """
    register_auto_classes()
    folder = _folder_of(path, revision)
    if attn_implementation is not None:
        check_attention(attn_implementation, device)
    options: dict[str, Any] = {"dtype": choose_dtype(dtype, device), "attn_implementation": attn_implementation}
    if quantization is not None:
        options["quantization_config"] = quantization_config(quantization, compute_dtype=options["dtype"])
    with _told_of(path):
        config: Any = AutoConfig.from_pretrained(folder)
    model_type = config.model_type
    manifest = Manifest.read(folder / MANIFEST) if (folder / MANIFEST).is_file() else None
    if adapters:
        _rehearse(adapters, config, manifest)
    base_folder = _base_of(manifest)
    if base_folder is not None:
        options["base_folder"] = base_folder
    with _told_of(path):
        loaded: Any = _model_class(model_type).from_pretrained(
            folder,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # so that the report below can name them
            **options,
        )
        processor = _load_processor(folder, model_type)
    model, report = loaded
    _check_report(report, path)
    model.attach_processor(processor)
    if adapters:
        model.attach_adapters(adapters)
    if device is not None and quantization is None:
        nn.Module.to(model, device)
    return model.eval(), processor


@contextmanager
def _told_of(path: str | Path) -> Iterator[None]:
    """Turn what transformers raises on a folder into one sentence.

    Raises:
        CheckpointError: with the reason.
    """
    try:
        yield
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        if isinstance(error, CheckpointError):
            raise
        reason = str(error).strip().splitlines()[0]
        raise CheckpointError(f"`{path}` cannot be loaded: {reason}") from error


def _rehearse(adapters: Sequence[str | Mapping[str, Any]], config: Any, manifest: Manifest | None) -> None:
    """Check new adapters against the base and the adapters of a folder, before any weight is read.

    Raises:
        ConfigError: if one cannot be attached.
    """
    model_type = config.model_type
    model_class: Any = native_class(model_type) if model_type in NATIVE else composed_class(model_type)
    if model_class is not None:  # of what is no base, loading says so
        attached = {} if manifest is None else manifest.adapters
        rehearse_adapters(adapters, model_class.host_of(config), attached=attached)


def _base_of(manifest: Manifest | None) -> Path | None:
    """Return the folder of a base that lies elsewhere, fetched if it is on the Hub; None if the weights are here."""
    base = None if manifest is None else manifest.base
    return None if base is None else _folder_of(base["path"], base.get("revision"))


def _model_class(model_type: str) -> Any:
    return native_class(model_type) if model_type in NATIVE else AutoModelForImageTextToText


def _load_processor(folder: Path, model_type: str) -> Any:
    if model_type not in NATIVE:
        return AutoProcessor.from_pretrained(folder)
    return finish_native_processor(native_processor_class(model_type).from_pretrained(folder), model_type)


def _folder_of(path: str | Path, revision: str | None) -> Path:
    """Return a folder with a configuration; what does not look like one is asked of the Hub.

    Raises:
        CheckpointError: if it does not exist, or holds no configuration.
    """
    folder = Path(path)
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise CheckpointError(
                f"`{path}` holds no config.json, so it is no model folder; a run's model is in `final/`."
            )
        return folder
    if folder.is_absolute() or str(path).startswith(".") or len(folder.parts) != 2:
        raise CheckpointError(f"`{path}` is no folder and no Hub id (owner/name); check the path.")
    return fetch_model(str(path), revision=revision)


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
