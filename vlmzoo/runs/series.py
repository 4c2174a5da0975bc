"""What studies of several runs share: knowing which run is finished, and telling where the study stands."""

import json
from typing import Any

from rich.console import Console

from vlmzoo.config import RunConfig
from vlmzoo.runs.folder import RunFolder

__all__ = ["is_done", "tell"]


def is_done(run: RunConfig) -> bool:
    """Say whether the run's folder holds the report of this very configuration."""
    folder = RunFolder(run.output_dir)
    try:
        known: dict[str, Any] = json.loads(folder.config.read_text(encoding="utf-8"))["config"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return folder.report_json.is_file() and known == run.model_dump(mode="json")


def tell(sentence: str) -> None:
    """Say something to who watches; results go elsewhere."""
    Console(stderr=True).print(sentence, markup=False, highlight=False, soft_wrap=True)
