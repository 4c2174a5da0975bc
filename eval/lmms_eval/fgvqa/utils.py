"""FGVQA's six subsets as lmms-eval calls them; answers are read by the parser that rewards in training."""

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from vlmzoo.data.images import load_image
from vlmzoo.scoring.answer_tag import COUNTS, YES_NO, AnswerParser, is_pair

_PUBLISHED = {True: AnswerParser(labels=YES_NO, compat="fgvqa"), False: AnswerParser(labels=COUNTS, compat="fgvqa")}
_OURS = {True: AnswerParser(labels=YES_NO), False: AnswerParser(labels=COUNTS)}


def _subset(name: str) -> Any:
    def process_docs(dataset: Any) -> Any:
        return dataset.filter(lambda row: row["dataset_source"] == name)

    return process_docs


twin, ilias, google_landmarks = _subset("twin"), _subset("fgvqa_ilias"), _subset("fgvqa_google_landmarks")
met, cub, inquire = _subset("fgvqa_met"), _subset("fgvqa_cub"), _subset("fgvqa_inquire")


def doc_to_visual(doc: Mapping[str, Any]) -> list[Image.Image]:
    """Return all images of a question, the reference first."""
    return [_opened(image) for image in doc["images"]]


def doc_to_text(doc: Mapping[str, Any], lmms_eval_specific_kwargs: Mapping[str, str] | None = None) -> str:
    """Return the question of the data, with what the task puts around it, without a separator."""
    around = lmms_eval_specific_kwargs or {}
    return f"{around.get('pre_prompt', '')}{doc['question']}{around.get('post_prompt', '')}"


def process_results(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """Score one answer under the published rules, and by the reward's."""
    pair, said = is_pair(doc.get("question_type")), str(results[0]) if results else None
    right = float(_PUBLISHED[pair].agrees(said, doc["answer"]))
    strict = _OURS[pair].parse(said)
    found = {"overall_total": right, "pairwise_total" if pair else "multiple_choice_total": right}
    found |= {"parsed": float(strict.is_parsed), "rewarded": float(_OURS[pair].agrees(said, doc["answer"]))}
    return found | ({"yes_rate": float(strict.value == "yes")} if pair else {})


def mean(values: Sequence[float]) -> float:
    """Return the mean of those questions that have the score."""
    return sum(values) / len(values) if values else float("nan")


def _opened(image: Any) -> Image.Image:
    if isinstance(image, str):
        image = json.loads(image) if image.startswith("{") else {"path": image}
    if isinstance(image, Mapping):
        data = image.get("bytes")
        return load_image(Path(image["path"]) if data is None else Image.open(io.BytesIO(data)))
    return load_image(image)
