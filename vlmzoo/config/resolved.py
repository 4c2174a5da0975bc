"""What a run was: the resolved config, the versions of what ran it, and the commit."""

import importlib.metadata
import json
import platform
import subprocess
from pathlib import Path
from typing import Any

from pydantic import BaseModel

__all__ = ["dump_resolved", "find_commit", "installed_versions"]

_PACKAGES = ("vlmzoo", "torch", "torchvision", "transformers", "deepspeed", "peft", "timm", "numpy", "pillow")
_PROJECT = Path(__file__).resolve().parents[2]


def dump_resolved(config: BaseModel, folder: str | Path, **resolved: Any) -> Path:
    """Write ``config.resolved.json`` into ``folder``, which is made if it is not there.

    The file is a config: `load_config` reads it back to an equal value.

    Args:
        config: a checked configuration.
        folder: the run's folder.
        resolved: what else was settled when the run began, by name; JSON values.

    Returns:
        The path of the file.
    """
    path = Path(folder) / "config.resolved.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "config": config.model_dump(mode="json"),
        "schema": type(config).__name__,
        "versions": installed_versions(),
        "commit": find_commit(),
        **resolved,
    }
    partial = path.with_suffix(".json.partial")
    partial.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(path)
    return path


def installed_versions() -> dict[str, str]:
    """Return the version of Python and of each package that a run depends on, where it is installed."""
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def find_commit(project: Path = _PROJECT) -> str | None:
    """Return the commit of the checkout that this package runs from, ``+changed`` if files differ; None outside one."""
    top = _git(project, "rev-parse", "--show-toplevel")
    commit = _git(project, "rev-parse", "--verify", "HEAD")
    if not top or not commit or Path(top).resolve() != project:  # an installed wheel may lie in another's repository
        return None
    return f"{commit}+changed" if _git(project, "status", "--porcelain", "--untracked-files=no") else commit


def _git(folder: Path, *arguments: str) -> str:
    """Return what git answers, the empty string where there is no git or no repository."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
