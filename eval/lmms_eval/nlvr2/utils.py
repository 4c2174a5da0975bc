"""NLVR2 as LLaVA-Interleave-Bench has it: two pictures and a statement, with lettered options."""

from collections.abc import Mapping, Sequence
from typing import Any

from vlmzoo.data.images import load_image
from vlmzoo.integrations.lmms_eval import blocks_of
from vlmzoo.scoring.option_letter import OptionLetter

_LETTER = OptionLetter()
_MOST_PICTURES = 16


def nlvr2(dataset: Any) -> Any:
    """Keep the rows that are of NLVR2."""
    return dataset.filter(lambda row: row["sub_task"] == "NLVR2_Mantis")


def pictures(doc: Mapping[str, Any]) -> list[Any]:
    """Return all pictures of a row, in their order."""
    found = (doc.get(f"image_{number}") for number in range(_MOST_PICTURES))
    return [load_image(picture) for picture in found if picture is not None]


def question(doc: Mapping[str, Any]) -> str:
    """Return the question of the data, whose marks ``<image>`` say where pictures stand."""
    return str(doc["question"])


def messages(doc: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the turn of a row, in which pictures stand at the marks of its question."""
    return [{"role": "user", "content": blocks_of(question(doc), pictures(doc), id=str(doc.get("sample_id")))}]


def score(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """Score one answer: whether it names the right letter and no other."""
    return {"accuracy": _LETTER(str(results[0]) if results else "", doc["answer"])}


def mean(values: Sequence[float]) -> float:
    """Return the mean over questions."""
    return sum(values) / len(values) if values else float("nan")
