"""Query maps for detection: which classes are asked for in which image, made of what a base model found."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from vlmzoo.data.json_lines import write_whole
from vlmzoo.errors import DataError
from vlmzoo.evaluation.records import Generation

__all__ = ["query_map_of", "write_query_map"]


def query_map_of(generations: Iterable[Generation], *, name: str) -> dict[str, Any]:
    """Return the map of the classes that a model found in each image, in the order in which it was asked.

    Visual-RFT asks the base model which classes are there and measures base, supervised and reinforced models with that
    one map (arXiv:2503.01785, section 4.2); how it was asked was not published. Here a class is in the map where the
    answer of a run with ``queries: all`` has a box.

    Args:
        generations: of ``virft_detection``.
        name: of the map; results bear it.

    Raises:
        DataError: if a generation is of another benchmark.
    """
    queries: dict[str, list[str]] = {}
    for generation in generations:
        meta: Mapping[str, Any] = generation.meta
        if "predictions" not in meta or "category" not in meta:
            raise DataError(f"A query map is made of answers to `virft_detection`, but `{generation.id}` is none.")
        asked = queries.setdefault(str(meta["image_id"]), [])
        if meta["predictions"]:
            asked.append(str(meta["category"]))
    return {"name": name, "queries": queries}


def write_query_map(generations: Iterable[Generation], path: str | Path, *, name: str) -> Path:
    """Write the map as JSON, as ``virft_detection`` reads it with ``queries: PATH``."""
    content = json.dumps(query_map_of(generations, name=name), indent=1, ensure_ascii=False)
    return write_whole(Path(path), content + "\n")
