"""Questions of any source as a table that VLMEvalKit reads; the source ``vlmevalkit`` reads it back.

Source: VLMEvalKit, docs/en/Development.md (TSV).
"""

import base64
import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from vlmzoo.data.conversations import prompt_of
from vlmzoo.data.images import load_image
from vlmzoo.errors import DataError
from vlmzoo.types import Sample

__all__ = ["quoted_field", "write_table"]

_FIXED = ("index", "question", "answer", "image")
_LONGEST_INDEX = 64  # a shorter text is taken for the index of another row


def write_table(path: str | Path, samples: Iterable[Sample]) -> int:
    """Write questions, one row each, with their pictures as PNG in base64.

    Args:
        path: of the table; its name without ``.tsv`` is the name of the data set.
        samples: with a ``reference``, whose ``str`` is the answer, and pictures before the text. Texts and numbers of
            their ``meta`` become further columns, those of the first sample (options under ``A``, ``B`` …).

    Returns:
        The number of rows.

    Raises:
        DataError: if there is no sample, or one has several turns, no picture or other columns than the first.
    """
    rows = [_row(number, prompt_of(sample)) for number, sample in enumerate(samples)]
    if not rows:
        raise DataError(f"`samples` must hold at least one question for `{path}`, but is empty.")
    names = list(rows[0])
    for row in rows:
        if list(row) != names:
            raise DataError(
                f"Row {row['index']} of `{path}` must have the columns {names}, but has {list(row)} instead."
            )
    lines = ["\t".join(names), *("\t".join(quoted_field(row[name]) for name in names) for row in rows)]
    Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return len(rows)


def quoted_field(value: str) -> str:
    """Quote a field where it holds a tab, a quote or the end of a line."""
    is_plain = not any(sign in value for sign in '\t"\r\n')
    return value if is_plain else '"' + value.replace('"', '""') + '"'


def _row(number: int, sample: Sample) -> dict[str, str]:
    if len(sample.messages) != 1 or not sample.images:
        raise DataError(
            f"Sample `{sample.id}` must be one question with a picture, but has {len(sample.messages)} turns and "
            f"{len(sample.images)} pictures instead; VLMEvalKit's tables hold nothing else."
        )
    texts = [block["text"] for block in sample.messages[0]["content"] if block["type"] == "text"]
    pictures = list(_encoded(sample))
    meta = {str(name): str(value) for name, value in sample.meta.items() if isinstance(value, (str, int, float))}
    return {
        "index": str(number),
        "question": "".join(texts).strip("\n"),
        "answer": "" if sample.reference is None else str(sample.reference),
        **{name: value for name, value in meta.items() if name not in _FIXED},
        "image": pictures[0] if len(pictures) == 1 else str(pictures),
    }


def _encoded(sample: Sample) -> Iterator[str]:
    for image in sample.images:
        file = io.BytesIO()
        picture: Any = load_image(image)
        picture.save(file, format="PNG")
        text = base64.b64encode(file.getvalue()).decode()
        assert len(text) > _LONGEST_INDEX  # the smallest PNG is longer
        yield text
