"""The files of a model's folder: which of them travel, and whether they are whole."""

import json
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any

from safetensors import SafetensorError, safe_open

from vlmzoo.errors import CheckpointError
from vlmzoo.hub.faults import is_hub_id

__all__ = [
    "CARD",
    "MANIFEST",
    "check_whole",
    "find_model_folder",
    "has_base_weights",
    "is_model_folder",
    "model_files",
    "read_bases",
    "read_json",
    "replaceable_files",
]

CARD = "README.md"
CONFIG = "config.json"
MANIFEST = "vlmzoo.json"
PARTS = "parts.safetensors"

_SUFFIXES = (".json", ".safetensors", ".jinja", ".txt", ".model")
_FOLDERS = ("lora", "additional_chat_templates")
_TERMS = ("LICENSE", "LICENCE", "NOTICE")
_TRAINING_STATE = ("training_args.bin", "optimizer.bin", "scheduler.bin")
_SAVED = (  # by one save, so that another save must not leave them standing
    "*.safetensors",
    "*.bin",
    "*.index.json",
    "*config.json",
    "tokenizer*.json",
    "*.model",
    "vocab.*",
    "merges.txt",
    "added_tokens.json",
    "special_tokens_map.json",
    "chat_template.*",
    "*.jinja",
    MANIFEST,
)
_UNFINISHED = (".partial", ".incomplete", ".tmp")
_BASE_KEYS = ("id", "repo_id", "repo", "path", "name")


def model_files(names: Iterable[str]) -> list[str]:
    """Return those of a folder's files that a model needs, sorted; pickles only where no safetensors stand beside them.

    Args:
        names: paths within the folder, with ``/``.
    """
    paths = [PurePosixPath(name) for name in names]
    inside = [path for path in paths if len(path.parts) == 1 or path.parts[0] in _FOLDERS]
    safe = {path.parent for path in inside if path.suffix == ".safetensors"}
    return sorted(str(path) for path in inside if _is_needed(path, is_safe=path.parent in safe))


def _is_needed(path: PurePosixPath, *, is_safe: bool) -> bool:
    if path.suffix == ".bin":
        return not is_safe and path.name not in _TRAINING_STATE
    if path.suffix in _SUFFIXES or path.parts[0] == "lora":
        return True
    return path.name == CARD or path.name.upper().startswith(_TERMS)


def replaceable_files(names: Iterable[str]) -> list[str]:
    """Return those of the model's files that a save writes; what people add (card, licence, results) is not among them.

    Args:
        names: paths within the folder, with ``/``.
    """
    return [name for name in model_files(names) if any(fnmatchcase(PurePosixPath(name).name, kind) for kind in _SAVED)]


def is_model_folder(names: Iterable[str]) -> bool:
    """Say whether these are the files of a model's folder."""
    return not {CONFIG, MANIFEST}.isdisjoint(names)


def find_model_folder(path: str | Path) -> Path:
    """Return the model's folder that ``path`` is or, if it is a run's, holds as ``final/``.

    Raises:
        CheckpointError: if it is neither.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise CheckpointError(f"`{folder}` must be a folder of a model or of a run, but is no folder; check the path.")
    for candidate in (folder, folder / "final"):
        if candidate.is_dir() and is_model_folder(file.name for file in candidate.iterdir()):
            return candidate
    raise CheckpointError(
        f"`{folder}` holds neither {CONFIG} nor {MANIFEST}, so it is no model folder; "
        "a run's model is in `final/`, which is written at the end of the run."
    )


def check_whole(folder: Path) -> list[str]:
    """Return the files that a push sends, all but hidden ones, after making sure that the folder is whole.

    Each JSON file is parsed; of safetensors the header and the length are checked, not the values.

    Args:
        folder: of a model.

    Raises:
        CheckpointError: if a file is half-written, damaged or missing, or if nobody else could load the folder.
    """
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())
    unfinished = [name for name in [folder.name, *names] if name.endswith(_UNFINISHED)]
    if unfinished:
        raise CheckpointError(
            f"`{folder}` must hold finished files only, but `{unfinished[0]}` is half-written; "
            "it is being saved, or a save was cut off: save again, or delete what is left of it."
        )
    names = [name for name in names if not any(part.startswith(".") for part in PurePosixPath(name).parts)]
    for name in names:
        _check_file(folder / name)
    _check_shards(folder, names)
    _check_weights(folder, names)
    return names


def _check_file(path: Path) -> None:
    try:
        if not path.is_file():
            raise OSError("its target is missing")
        if path.suffix == ".json":
            json.loads(path.read_text(encoding="utf-8"))
        elif path.suffix == ".safetensors":
            with safe_open(path, framework="numpy"):
                pass
    except (OSError, ValueError, SafetensorError) as error:
        raise CheckpointError(
            f"`{path}` must be a whole file, but is damaged ({error}); save the model again."
        ) from error


def _check_shards(folder: Path, names: Iterable[str]) -> None:
    present = set(names)
    for name in sorted(name for name in present if name.endswith(".index.json")):
        beside = PurePosixPath(name).parent
        for shard in sorted(set(read_json(folder / name).get("weight_map", {}).values())):
            if str(beside / shard) not in present:
                raise CheckpointError(f"`{folder / name}` names `{shard}`, which is not there; save the model again.")
    if "lora/adapter_config.json" in present and "lora/adapter_model.safetensors" not in present:
        raise CheckpointError(f"`{folder / 'lora'}` holds no adapter_model.safetensors; save the model again.")


def _check_weights(folder: Path, names: Iterable[str]) -> None:
    """Make sure that the base can be found by others: in the folder, or on the Hub."""
    if has_base_weights(names):
        return
    bases = read_bases(read_json(folder / MANIFEST))
    if not bases:
        raise CheckpointError(
            f"`{folder}` must hold the base's weights or name the base in {MANIFEST}, but does neither; save it again."
        )
    for base, _ in bases:
        if not is_hub_id(base) or Path(base).exists():
            raise CheckpointError(
                f"`{folder / MANIFEST}` must name a base that others can fetch, but names `{base}` instead, "
                "which is no Hub id; push the base first, or save the model with its base's weights."
            )


def has_base_weights(names: Iterable[str]) -> bool:
    """Say whether the weights of the base are among these files, or only what was attached to it."""
    apart = (PARTS, *_TRAINING_STATE)
    return any("/" not in name and name not in apart and name.endswith((".safetensors", ".bin")) for name in names)


def read_bases(manifest: Mapping[str, Any]) -> list[tuple[str, str | None]]:
    """Return id and revision of each base that ``vlmzoo.json`` names.

    Args:
        manifest: its content; ``base`` is a text, a mapping, or a list of these.
    """
    found = manifest.get("base")
    bases = []
    for base in found if isinstance(found, list) else [found]:
        if isinstance(base, str):
            bases.append((base, None))
        elif isinstance(base, Mapping):
            ids = [base[key] for key in _BASE_KEYS if isinstance(base.get(key), str)]
            bases += [(id, base.get("revision")) for id in ids[:1]]
    return bases


def read_json(path: Path) -> dict[str, Any]:
    """Return the mapping that a file holds; an empty one if there is no such file, or it holds something else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
