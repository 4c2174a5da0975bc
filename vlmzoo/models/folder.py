"""A model's folder, written and read: transformers' methods, which also keep the adapters."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers.utils.hub import cached_file

from vlmzoo import __version__
from vlmzoo.errors import ConfigError
from vlmzoo.models.adapted import Adapted
from vlmzoo.models.layout import LORA, MANIFEST, PARTS, Manifest, restore_adapters, split_state, write_adapters

__all__ = ["FolderMixin"]


class FolderMixin(Adapted):
    """Saves and loads the adapters with the base."""

    def save_pretrained(
        self,
        save_directory: str | Path,
        is_main_process: bool = True,
        state_dict: Mapping[str, Tensor] | None = None,
        *args: Any,
        base: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        """Write the model's folder: the base in transformers' own layout, the adapters beside it.

        Args:
            save_directory: where to.
            is_main_process: whether this process writes.
            state_dict: the weights, if the model does not hold them itself (ZeRO-3).
            args: transformers' further arguments.
            base: ``path`` and ``revision`` of the base, to name it in place of writing its weights.
            kwargs: transformers' further arguments.

        Raises:
            ConfigError: if ``base`` is given and parts of it have learned whole.
        """
        whole_parts = sorted({part for adapter in self.attached.values() for part in adapter.whole})
        if base is not None and whole_parts:
            raise ConfigError(
                f"The parts {', '.join(whole_parts)} of the base have learned whole, so the base cannot be named in "
                "place of its weights; leave `base` out."
            )
        state = self.state_dict() if state_dict is None else state_dict
        whole, parts, lora = split_state(self, state)
        folder = Path(save_directory)
        if base is None:
            super().save_pretrained(folder, is_main_process, whole, *args, **kwargs)
        elif is_main_process:
            folder.mkdir(parents=True, exist_ok=True)
            self.config.architectures = [type(self).__name__]
            self.config.save_pretrained(folder)
        if not is_main_process:
            return
        write_adapters(self, folder, parts=parts, lora=lora)
        if not (self.adapter_specs or base):
            (folder / MANIFEST).unlink(missing_ok=True)  # of a model that was saved here before
            return
        Manifest(
            model_type=self.config.model_type,
            vlmzoo_version=__version__,
            base=base,
            adapters=self.adapter_specs,
            token_ids=self.token_ids,
            new_tokens=self.token_rows.names if self.token_rows is not None else (),
        ).write(folder)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *args: Any, **kwargs: Any) -> Any:
        """Load as transformers does, then restore the adapters of the folder, or fail.

        Args:
            pretrained_model_name_or_path: a folder or a Hub id.
            args: transformers' further arguments.
            kwargs: likewise; ``base_folder`` says where the base lies, in place of what the manifest names.

        Raises:
            CheckpointError: if an adapter of the folder is not whole.
        """
        place, base_folder = pretrained_model_name_or_path, kwargs.pop("base_folder", None)
        found = _find(place, MANIFEST, kwargs)
        manifest = None if found is None else Manifest.read(found)
        if manifest is not None and manifest.base is not None:
            own = {**kwargs, "revision": manifest.base.get("revision", "main")}
            loaded = super().from_pretrained(base_folder or manifest.base["path"], *args, **own)
        else:
            loaded = super().from_pretrained(place, *args, **kwargs)
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        if manifest is not None and manifest.adapters:
            lora = _find(place, f"{LORA}/adapter_model.safetensors", kwargs)
            restore_adapters(model, manifest, parts=_find(place, PARTS, kwargs), lora=lora)
        return loaded


def _find(place: Any, name: str, options: Mapping[str, Any]) -> Path | None:
    """Return a file of a folder or of a repository on the Hub, or None if there is none."""
    passed = ("revision", "token", "cache_dir", "local_files_only", "subfolder")
    given = {key: options[key] for key in passed if options.get(key) is not None}
    path = cached_file(place, name, **given, _raise_exceptions_for_missing_entries=False)
    return None if path is None else Path(path)
