"""Segmenting what a phrase means in scenes that were never seen, and the control that cannot read the phrase."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

from vlmzoo.data.conversations import prompt_of
from vlmzoo.data.synthetic import TASKS
from vlmzoo.errors import ConfigError
from vlmzoo.evaluation.benchmarks import BENCHMARKS
from vlmzoo.evaluation.benchmarks.synthetic import derangement
from vlmzoo.evaluation.segmentation import MaskBenchmark
from vlmzoo.registry import NestedSpecs
from vlmzoo.types import Message, Sample

__all__ = ["SyntheticMaskBenchmark"]

_ANYTHING = "object"
_PHRASES = ("own", "others", "none")


@BENCHMARKS.register(
    "synthetic_masks",
    source="vlmzoo's own; scores of LISA, arXiv:2308.00692, section 4.1",
    tiny={"task": {"type": "shape_scenes", "num_objects": 5}, "num_questions": 2, "seed": 0},
)
@dataclass(frozen=True, kw_only=True)
class SyntheticMaskBenchmark(MaskBenchmark):
    """Questions 0, 1, … of one seed of a synthetic task whose samples have masks.

    Beside ``giou`` and ``ciou`` of all questions there are those of the relational and of the other ones.

    Args:
        task: ``{type: shape_scenes, …}`` of ``vlmzoo.data.synthetic.TASKS``; with one phrase for each scene.
        num_questions: how many are asked.
        seed: of the task; one that training does not use.
        kind: how a question is put: ``image`` or ``image_via_text``.
        phrases: ``own``, or a control that must fail: ``others`` asks every question with another one's phrase,
            ``none`` with ``object`` in its place.

    Raises:
        ConfigError: if the task's samples have not one mask each, or an option is unknown.
    """

    nested_specs: ClassVar[NestedSpecs] = {"task": TASKS.check}

    task: Mapping[str, Any]
    num_questions: int
    seed: int
    kind: str = "image"
    phrases: Literal["own", "others", "none"] = "own"
    _task: Any = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Build the task, and check that there is something to measure."""
        super().__post_init__()
        if self.phrases not in _PHRASES:
            raise ConfigError(f"`phrases` must be one of {', '.join(_PHRASES)}, but is {self.phrases!r} instead.")
        least = 2 if self.phrases == "others" else 1
        if self.num_questions < least:
            raise ConfigError(f"`num_questions` must be at least {least}, but is {self.num_questions} instead.")
        object.__setattr__(self, "_task", TASKS.build(self.task))
        num_masks = len(self._sample(0).masks)
        if num_masks != 1:
            raise ConfigError(
                f"`task` must give samples of one mask each, but gives {num_masks} instead; set `num_queries: 1`, "
                "`answer: seg` and a kind with an image."
            )

    @property
    def identity(self) -> Mapping[str, Any]:
        """The task, its seed and the rest, as a configuration would spell them."""
        return {
            "type": "synthetic_masks",
            "task": dict(self.task),
            "num_questions": self.num_questions,
            "seed": self.seed,
            "kind": self.kind,
            "phrases": self.phrases,
            "protocol": self.protocol,
            "max_new_tokens": self.max_new_tokens,
            "compat": self.compat,
        }

    def questions(self) -> Iterator[Sample]:
        """Draw the questions one after the other."""
        others = derangement(self.num_questions, seed=self.seed) if self.phrases == "others" else None
        for index in range(self.num_questions):
            sample = self._sample(index)
            question = prompt_of(sample)
            if others is not None:
                question = replace(question, messages=_asking(question.messages, self._sample(others[index]).messages))
            elif self.phrases == "none":
                question = replace(question, messages=_blanked(question.messages, sample.meta["phrases"][0]))
            group = "relational" if sample.meta["relational"][0] else "attributes"
            yield replace(question, meta={**question.meta, "groups": [group]})

    def forced(self, sample: Sample) -> Sample:
        """Return the question with the task's own answer, without the thought, which would tell the object."""
        answer = self._task.sample(self.kind, self.seed, sample.meta["index"], cot=False).messages[-1]
        return replace(sample, messages=[*sample.messages, answer])

    def _sample(self, index: int) -> Sample:
        return self._task.sample(self.kind, self.seed, index)


def _asking(messages: Sequence[Message], others: Sequence[Message]) -> list[Message]:
    """Return a question with the text of another one."""
    texts = iter(block["text"] for block in others[0]["content"] if block["type"] == "text")
    content = [{**block, "text": next(texts)} if block["type"] == "text" else block for block in messages[0]["content"]]
    return [{**messages[0], "content": content}]


def _blanked(messages: Sequence[Message], phrase: str) -> list[Message]:
    """Return a question in which the phrase says nothing."""
    content = [
        {**block, "text": block["text"].replace(phrase, _ANYTHING)} if block["type"] == "text" else block
        for block in messages[0]["content"]
    ]
    return [{**messages[0], "content": content}]
