"""The folder of a model: the base, ``lora/``, ``parts.safetensors`` and ``vlmzoo.json``; written and restored whole.

transformers calls ``save_pretrained`` and ``from_pretrained`` on a model, so the layout stands on the models' floor.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vlmzoo.adapters.lora import LORA_NAME
from vlmzoo.errors import CheckpointError

__all__ = ["LORA", "MANIFEST", "PARTS", "Manifest", "restore_adapters", "split_state", "write_adapters"]

MANIFEST, PARTS, LORA = "vlmzoo.json", "parts.safetensors", "lora"
_LORA_PREFIX = "base_model.model."


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What ``vlmzoo.json`` says.

    Args:
        format: version of the layout.
        vlmzoo_version: that wrote it.
        model_type: of the base.
        base: ``path`` and ``revision`` of the base's weights, if they lie elsewhere.
        adapters: specs by label, in the order in which they are attached.
        token_ids: ids of the adapters' tokens.
        new_tokens: those with rows of their own, beside the base's tables.
    """

    model_type: str
    vlmzoo_version: str
    format: int = 1
    base: Mapping[str, str] | None = None
    adapters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    token_ids: Mapping[str, int] = field(default_factory=dict)
    new_tokens: tuple[str, ...] = ()

    def write(self, folder: Path) -> None:
        """Write it into a folder."""
        text = json.dumps(asdict(self), indent=2, ensure_ascii=False)
        (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> "Manifest":
        """Read it.

        Raises:
            CheckpointError: if it is no manifest, or of a later format.
        """
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            manifest = cls(**{**values, "new_tokens": tuple(values.get("new_tokens", ()))})
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise CheckpointError(f"`{path}` is no manifest of a model folder: {error}.") from error
        if manifest.format > 1:
            raise CheckpointError(
                f"`{path}` has format {manifest.format}, written by vlmzoo {manifest.vlmzoo_version}; this version "
                "reads format 1: install a later one."
            )
        return manifest


def split_state(model: nn.Module, state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], ...]:
    """Split a state dictionary.

    Returns:
        The base under the names that it has without adapters; the parts (adapter modules and token rows); LoRA under
        peft's names.
    """
    base, parts, has_lora = {}, {}, False
    for name, tensor in state.items():
        if name.startswith(("adapters.", "token_rows.")):
            parts[name] = tensor
        elif ".lora_" in name:
            has_lora = True
        else:
            base[name.replace(".base_layer.", ".")] = tensor
    lora: dict[str, Tensor] = {}
    if has_lora:
        from peft import get_peft_model_state_dict

        found = get_peft_model_state_dict(
            model, state_dict=dict(state), adapter_name=LORA_NAME, save_embedding_layers=False
        )
        lora = {f"{_LORA_PREFIX}{name}": tensor for name, tensor in found.items() if ".lora_" in name}
    return base, parts, lora


def write_adapters(model: Any, folder: Path, *, parts: Mapping[str, Tensor], lora: Mapping[str, Tensor]) -> None:
    """Write ``lora/`` and ``parts.safetensors``, those of them that hold something."""
    shutil.rmtree(folder / LORA, ignore_errors=True)  # of a model that was saved here before
    (folder / PARTS).unlink(missing_ok=True)
    if parts:
        save_file(_storable(parts), folder / PARTS, metadata={"format": "pt"})
    if lora:
        (folder / LORA).mkdir()
        save_file(_storable(lora), folder / LORA / "adapter_model.safetensors", metadata={"format": "pt"})
        config: Any = model.peft_config[LORA_NAME]
        base_name = config.base_model_name_or_path
        config.base_model_name_or_path = base_name or getattr(model.config, "_name_or_path", None)
        config.inference_mode = True
        config.save_pretrained(str(folder / LORA))
        config.inference_mode = False


def restore_adapters(model: Any, manifest: Manifest, *, parts: Path | None, lora: Path | None) -> None:
    """Attach the adapters that a manifest names, and fill them.

    Args:
        model: with its base loaded.
        manifest: of the folder.
        parts: ``parts.safetensors``, if the folder has it.
        lora: ``lora/adapter_model.safetensors``, if the folder has it.

    Raises:
        CheckpointError: if anything is missing, left over, or of another shape; nothing stays random.
    """
    if manifest.model_type != model.config.model_type:
        raise CheckpointError(
            f"These adapters were trained on a `{manifest.model_type}`, but the base is a `{model.config.model_type}`; "
            "give the base that they belong to."
        )
    specs = [{"name": label, **spec} for label, spec in manifest.adapters.items()]
    model.attach_adapters(specs, token_ids=manifest.token_ids, new_tokens=manifest.new_tokens)
    state = model.state_dict()
    wanted = {name: tensor for name, tensor in state.items() if name.startswith(("adapters.", "token_rows."))}
    found = _read(parts, PARTS, needed=bool(wanted))
    _compare(wanted, found, PARTS)
    model.load_state_dict(found, strict=False)
    if any(".lora_" in name for name in state):
        _restore_lora(model, _read(lora, f"{LORA}/adapter_model.safetensors", needed=True))


def _restore_lora(model: Any, found: Mapping[str, Tensor]) -> None:
    from peft import get_peft_model_state_dict, set_peft_model_state_dict

    own = {name.removeprefix(_LORA_PREFIX): tensor for name, tensor in found.items()}
    current = get_peft_model_state_dict(model, adapter_name=LORA_NAME, save_embedding_layers=False)
    _compare({name: tensor for name, tensor in current.items() if ".lora_" in name}, own, LORA)
    set_peft_model_state_dict(model, own, adapter_name=LORA_NAME)


def _read(path: Path | None, name: str, *, needed: bool) -> dict[str, Tensor]:
    if path is None:
        if needed:
            raise CheckpointError(f"The folder names adapters but holds no `{name}`; nothing was left random.")
        return {}
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"`{path}` cannot be read: {error}; save or download it again.") from error


def _compare(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor], place: str) -> None:
    missing = sorted(wanted.keys() - found.keys())
    unexpected = sorted(found.keys() - wanted.keys())
    reshaped = [name for name in sorted(wanted.keys() & found.keys()) if wanted[name].shape != found[name].shape]
    for what, names in (("lacks", missing), ("has, and the model does not take,", unexpected)):
        if names:
            raise CheckpointError(f"`{place}` {what} `{names[0]}` ({len(names)} such keys); nothing was left random.")
    if reshaped:
        name = reshaped[0]
        raise CheckpointError(
            f"`{place}` holds `{name}` of shape {tuple(found[name].shape)}, but this base needs "
            f"{tuple(wanted[name].shape)}: it was trained on another base."
        )


def _storable(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors that safetensors can write: contiguous, on the CPU, none sharing memory."""
    return {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
