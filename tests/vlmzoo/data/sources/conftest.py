"""Small data files: pictures of one colour, and records beside them."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

Write = Callable[..., str]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with `a.png`, `b.png` and, cut off in its header, `broken.png`."""
    for name, colour in (("a.png", "red"), ("b.png", "blue")):
        Image.new("RGB", (8, 6), colour).save(tmp_path / name)
    (tmp_path / "broken.png").write_bytes((tmp_path / "a.png").read_bytes()[:20])
    return tmp_path


@pytest.fixture
def write(folder: Path) -> Write:
    """Write records as a JSON list, or as lines where the name says so, and return the path."""

    def write_records(records: Sequence[Any], name: str = "data.json") -> str:
        lines = [json.dumps(record) for record in records]
        text = "\n".join(lines) + "\n" if name.endswith("l") else f"[{', '.join(lines)}]"
        (folder / name).write_text(text, encoding="utf-8")
        return str(folder / name)

    return write_records
