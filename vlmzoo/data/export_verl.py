"""Rows and rewards for verl, for those who outgrow one node: a parquet file and a reward function beside it."""

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from vlmzoo.data.conversations import prompt_of
from vlmzoo.data.images import load_image
from vlmzoo.data.sources import SOURCES
from vlmzoo.data.sources._integrations import integration
from vlmzoo.errors import ConfigError, DataError
from vlmzoo.scoring import SCORES
from vlmzoo.types import Sample

__all__ = ["export_verl", "verl_row"]

_REWARD_FILE = '''"""The rewards of a vlmzoo run as verl calls them: custom_reward_function.path=THIS_FILE."""

import functools
import json

from vlmzoo.scoring import SCORES

REWARDS = json.loads({rewards!r})


@functools.cache
def _scores():
    skipped = ("name", "weight")
    return [
        (
            str(spec.get("name", spec["type"])),
            float(spec.get("weight", 1.0)),
            SCORES.build({{key: value for key, value in spec.items() if key not in skipped}}),
        )
        for spec in REWARDS
    ]


def compute_score(data_source, solution_str, ground_truth, extra_info=None, **kwargs):
    """Return the weighted sum under `score`, and each reward beside it."""
    values = {{name: (weight, score(solution_str, ground_truth)) for name, weight, score in _scores()}}
    return {{"score": sum(weight * value for weight, value in values.values())}} | {{
        name: value for name, (_, value) in values.items()
    }}
'''


def export_verl(
    source: Mapping[str, Any],
    rewards: Sequence[Mapping[str, Any]],
    out_dir: str | Path,
    *,
    name: str = "vlmzoo",
    num: int | None = None,
) -> tuple[Path, Path]:
    """Write ``train.parquet`` and ``reward.py``.

    Args:
        source: ``{type: name, …}`` for the source registry; its samples need references.
        rewards: ``{type: name, weight: 1.0, …}`` for the score registry.
        out_dir: a folder, made if need be.
        name: written as ``data_source``.
        num: rows that are written; None for all.

    Returns:
        The two files.

    Raises:
        ConfigError: if a reward cannot be built, or the source has no end and no ``num`` is given.
        DataError: if a row is corrupt, or has no reference.
        MissingExtraError: if pyarrow is not installed.
    """
    for spec in rewards:
        SCORES.build({key: value for key, value in spec.items() if key not in ("name", "weight")})
    if not rewards:
        raise ConfigError("`rewards` must name at least one reward, but is empty.")
    built = SOURCES.build(source)
    total = built.size if num is None else num
    if total is None:
        raise ConfigError("`num` must be given for a source without end; e.g. --num 1000.")
    folder = Path(out_dir)
    folder.mkdir(parents=True, exist_ok=True)
    table, reward = folder / "train.parquet", folder / "reward.py"

    def rows() -> Iterator[dict[str, Any]]:
        for position in range(total):
            yield verl_row(built.sample(position), index=position, name=name)

    integration("parquet").write_verl(table, rows())
    reward.write_text(_REWARD_FILE.format(rewards=json.dumps(list(rewards))), encoding="utf-8")
    return table, reward


def verl_row(sample: Sample, *, index: int, name: str) -> dict[str, Any]:
    """Return a sample as verl's datasets read it; a final assistant turn is taken off.

    Args:
        sample: with a reference.
        index: of the row.
        name: written as ``data_source``.

    Raises:
        DataError: if there is no reference.
    """
    if sample.reference is None:
        raise DataError(f"Sample `{sample.id}` must have a `reference` that rewards compare with, but has none.")
    question = prompt_of(sample)
    return {
        "data_source": name,
        "prompt": [{"role": message["role"], "content": _marked(message["content"])} for message in question.messages],
        "images": [{"bytes": _png(image)} for image in question.images],
        "ability": "vision",
        "reward_model": {"style": "rule", "ground_truth": str(sample.reference)},
        "extra_info": {"index": index, "id": sample.id},
    }


def _marked(content: Any) -> str:
    """Return the text of a turn with ``<image>`` where images go; verl knows no blocks, so user text may not hold it.

    Raises:
        DataError: if a text itself holds the mark.
    """
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    for block in blocks:
        if block["type"] == "text" and "<image>" in block["text"]:
            raise DataError("A text holds `<image>`, which verl would take for an image; escape it in the source.")
    return "".join("<image>" if block["type"] == "image" else block["text"] for block in blocks)


def _png(image: Any) -> bytes:
    buffer = io.BytesIO()
    load_image(image).save(buffer, format="PNG")
    return buffer.getvalue()
