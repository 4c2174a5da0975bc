"""Benchmarks whose answers a language model judges: MMHal-Bench and LLaVA-Bench in the wild."""

import base64
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from vlmzoo.data.conversations import words_of
from vlmzoo.data.images import load_image
from vlmzoo.data.json_lines import read_json_lines
from vlmzoo.data.prompts import load_prompts
from vlmzoo.data.sources import TINY
from vlmzoo.errors import ConfigError, DataError
from vlmzoo.evaluation.benchmarks import BENCHMARKS, Expected
from vlmzoo.evaluation.benchmarks._described import RatioBenchmark
from vlmzoo.registry import NestedSpecs
from vlmzoo.scoring.judging import read_rating, read_score_pair
from vlmzoo.services.chat import CHAT_CLIENTS, ChatClient, ChatRequest, filled
from vlmzoo.types import ImageLike, Sample, user

__all__ = ["LlavaBenchWildBenchmark", "MmhalBenchmark"]

_SCRIPTED = {"type": "transformers", "path": "tiny"}  # is loaded when it is asked
_HALLUCINATES_BELOW, _UNINFORMATIVE = 3, (0, 3)


@BENCHMARKS.register(
    "mmhal",
    source="MMHal-Bench, arXiv:2309.14525, section 4.1; with the picture shown to GPT-4o, as OViP's evaluation has it",
    tiny={"template": str(TINY / "mmhal" / "response_template.json"), "image_folder": str(TINY), "judge": _SCRIPTED},
)
@dataclass(frozen=True, kw_only=True)
class MmhalBenchmark(RatioBenchmark):
    """Mean rating from 0 to 6, share of hallucinating answers (below 3), share of informative ones (neither 0 nor 3).

    Args:
        template: ``response_template.json`` of the data set, with ``question``, ``gt_answer`` and ``image_src``.
        image_folder: where the pictures lie, under the last part of their addresses.
        judge: ``{type: openai, model: gpt-4o-2024-05-13, …}``, a chat client that sees pictures.
        shows_image: whether the judge sees the picture; without it, it reads the list of what is there, as the
            original judge did.
        compat: ``reference`` rates 0 what cannot be read, as the script does; else it is left out.
        max_new_tokens: how long an answer may be (OViP: 384).
        expected: ``{value: …, source: …}``, for the rating.

    Raises:
        DataError: if the template cannot be read.
    """

    nested_specs: ClassVar[NestedSpecs] = {"judge": CHAT_CLIENTS.check}

    template: str
    image_folder: str
    judge: Mapping[str, Any]
    shows_image: bool = True
    compat: Literal["reference"] | None = None
    max_new_tokens: int = 384
    expected: Expected | None = None
    _rows: Sequence[Mapping[str, Any]] = field(init=False, repr=False, compare=False)
    _client: ChatClient = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Read the questions."""
        object.__setattr__(self, "expected", Expected.parse(self.expected))
        object.__setattr__(self, "_rows", _json_list(self.template))
        object.__setattr__(self, "_client", CHAT_CLIENTS.build(self.judge))

    @property
    def num_questions(self) -> int:
        """As many as the template has."""
        return len(self._rows)

    @property
    def identity(self) -> Mapping[str, Any]:
        """The task, the judge, and how it is read."""
        names = ("num_questions", "max_new_tokens", "shows_image", "compat")
        told = {name: getattr(self, name) for name in names}
        return {"type": "mmhal", "judge": dict(self._client.identity), **told}

    @property
    def ratios(self) -> Mapping[str, tuple[str, str]]:
        """The rating first."""
        return {
            "rating": ("rating", "rated"),
            "hallucination_rate": ("hallucinates", "rated"),
            "informativeness": ("informs", "rated"),
            "unrated": ("unrated", "answers"),
        }

    def questions(self) -> Iterator[Sample]:
        """Ask each question."""
        for number, row in enumerate(self._rows):
            path = Path(self.image_folder).expanduser() / str(row["image_src"]).rsplit("/", 1)[-1]
            yield Sample(
                messages=[user(str(row["question"]), num_images=1)],
                images=[path],
                id=f"{number}-{row['image_id']}",
                reference=str(row["gt_answer"]),
                meta={"image_content": list(row.get("image_content", [])), "type": row.get("question_type")},
            )

    def counts_of_many(self, answers: Sequence[tuple[str, Sample]]) -> list[Mapping[str, float]]:
        """Have all answers rated."""
        replies = self._client.reply([self._request(text, sample) for text, sample in answers])
        return [self._counts(reply.text) for reply in replies]

    def _counts(self, text: str | None) -> Mapping[str, float]:
        rating = None if text is None else read_rating(text, compat=self.compat)
        if rating is None and self.compat == "reference":
            rating = 0
        if rating is None:
            return {"unrated": 1.0, "answers": 1.0}
        return {
            "rating": float(rating),
            "rated": 1.0,
            "hallucinates": float(rating < _HALLUCINATES_BELOW),
            "informs": float(rating not in _UNINFORMATIVE),
            "unrated": 0.0,
            "answers": 1.0,
        }

    def _request(self, text: str, sample: Sample) -> ChatRequest:
        prompts = load_prompts("ovip")
        question = words_of(sample.messages[0])
        texts = {"question": question, "reference": str(sample.reference), "response": text}
        after = filled(prompts["mmhal_after_image"], texts)
        before = prompts["mmhal_before_image"]
        if not self.shows_image:
            content: Any = before + ", ".join(sample.meta["image_content"]) + "\n" + after
        else:
            content = [
                {"type": "text", "text": before},
                {"type": "image_url", "image_url": {"url": _data_url(sample.images[0])}},
                {"type": "text", "text": after},
            ]
        return ChatRequest(messages=[{"role": "user", "content": content}])


@BENCHMARKS.register(
    "llava_bench_wild",
    source="LLaVA, arXiv:2304.08485, section 5.1, LLaVA-Bench in the wild",
    tiny={
        "root": str(TINY / "llava_bench"),
        "rules": str(TINY / "llava_bench" / "rule.json"),
        "image_folder": str(TINY),
        "judge": _SCRIPTED,
    },
)
@dataclass(frozen=True, kw_only=True)
class LlavaBenchWildBenchmark(RatioBenchmark):
    """The judge's scores of the model over those of GPT-4's answers, as a share.

    Args:
        root: with ``questions.jsonl``, ``context.jsonl`` and ``answers_gpt4.jsonl``.
        rules: the JSON file of the judge's rules (``llavabench_gpt_review_rule.json``).
        image_folder: where the pictures lie; None for ``images`` under the root.
        judge: ``{type: openai, model: gpt-4o-2024-05-13, temperature: 0.2, max_tokens: 1024, …}``.
        compat: ``reference`` averages (-1, -1) in for what cannot be read, as the script does; else it is left out.
        max_new_tokens: how long an answer may be (OViP: 1024).
        expected: ``{value: …, source: …}``.

    Raises:
        DataError: if a file cannot be read.
    """

    nested_specs: ClassVar[NestedSpecs] = {"judge": CHAT_CLIENTS.check}

    root: str
    rules: str
    image_folder: str | None = None
    judge: Mapping[str, Any]
    compat: Literal["reference"] | None = None
    max_new_tokens: int = 1024
    expected: Expected | None = None
    _rows: Sequence[Mapping[str, Any]] = field(init=False, repr=False, compare=False)
    _client: ChatClient = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Read questions, contexts, answers and rules."""
        object.__setattr__(self, "expected", Expected.parse(self.expected))
        folder = Path(self.root).expanduser()
        names = ("questions", "context", "answers_gpt4")
        questions, contexts, answers = (read_json_lines(folder / f"{name}.jsonl") for name in names)
        try:
            rules = json.loads(Path(self.rules).expanduser().read_text(encoding="utf-8"))
            captions = {row["image"]: row["caption"] for row in contexts}
            known = {row["question_id"]: row["text"] for row in answers}
            rows = [
                {
                    **row,
                    "context": _lines(captions[row["image"]]),
                    "reference": known[row["question_id"]],
                    "rule": rules[f"llava_bench_{row['category']}"],
                }
                for row in questions
            ]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"`{folder}` must hold `questions.jsonl`, `context.jsonl` and `answers_gpt4.jsonl` of LLaVA-Bench, and "
                f"`{self.rules}` its rules, but they do not fit together ({error!r})."
            ) from error
        if not rows:
            raise ConfigError(f"`{folder}/questions.jsonl` must hold questions, but is empty or missing.")
        object.__setattr__(self, "_rows", rows)
        object.__setattr__(self, "_client", CHAT_CLIENTS.build(self.judge))

    @property
    def num_questions(self) -> int:
        """As many as the file has."""
        return len(self._rows)

    @property
    def identity(self) -> Mapping[str, Any]:
        """The task, the judge, and how it is read."""
        told = {name: getattr(self, name) for name in ("num_questions", "max_new_tokens", "compat")}
        return {"type": "llava_bench_wild", "judge": dict(self._client.identity), **told}

    @property
    def ratios(self) -> Mapping[str, tuple[str, str]]:
        """The share first."""
        return {"relative": ("model", "reference"), "unrated": ("unrated", "answers")}

    def questions(self) -> Iterator[Sample]:
        """Ask each question."""
        folder = Path(self.root) / "images" if self.image_folder is None else Path(self.image_folder)
        for row in self._rows:
            told = {name: row[name] for name in ("context", "rule", "category")}
            yield Sample(
                messages=[user(str(row["text"]), num_images=1)],
                images=[folder.expanduser() / row["image"]],
                id=str(row["question_id"]),
                reference=row["reference"],
                meta=told,
            )

    def counts_of_many(self, answers: Sequence[tuple[str, Sample]]) -> list[Mapping[str, float]]:
        """Have all answers reviewed."""
        replies = self._client.reply([self._request(text, sample) for text, sample in answers])
        return [self._counts(reply.text) for reply in replies]

    def _counts(self, text: str | None) -> Mapping[str, float]:
        pair = None if text is None else read_score_pair(text, compat=self.compat)
        if pair is None and self.compat == "reference":
            pair = (-1.0, -1.0)
        if pair is None:
            return {"unrated": 1.0, "answers": 1.0}
        return {"reference": pair[0], "model": pair[1], "unrated": 0.0, "answers": 1.0}

    def _request(self, text: str, sample: Sample) -> ChatRequest:
        prompts, rule = load_prompts("ovip"), sample.meta["rule"]
        template = prompts["llava_bench"].replace("{role}", rule["role"])
        texts = {
            "context": sample.meta["context"],
            "question": words_of(sample.messages[0]),
            "reference": str(sample.reference),
            "response": text,
            "rule": rule["prompt"],
        }
        messages = [
            {"role": "system", "content": prompts["llava_bench_system"]},
            {"role": "user", "content": filled(template, texts)},
        ]
        return ChatRequest(messages=messages)


def _lines(caption: Any) -> str:
    return "\n".join(caption) if isinstance(caption, list) else str(caption)


def _data_url(image: ImageLike) -> str:
    buffer = io.BytesIO()
    load_image(image).convert("RGB").save(buffer, format="JPEG", quality=95)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _json_list(path: str) -> list[dict[str, Any]]:
    try:
        found = json.loads(Path(path).expanduser().read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"`{path}` must be MMHal-Bench's `response_template.json`, but cannot be read: {error}."
        ) from error
    if not isinstance(found, list) or not all(
        {"question", "gt_answer", "image_src", "image_id"} <= set(row) for row in found
    ):
        raise DataError(
            f"`{path}` must be a list of rows with question, gt_answer, image_src and image_id, but is not."
        )
    return found
