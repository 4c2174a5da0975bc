"""Few-shot classification of Visual-RFT: right exactly, and by holding the label, side by side."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from vlmzoo.data.conversations import prompt_of
from vlmzoo.data.sources import SOURCES, TINY, Source
from vlmzoo.errors import ConfigError, DataError
from vlmzoo.evaluation.benchmarks import BENCHMARKS, Expected
from vlmzoo.evaluation.benchmarks._released import Template, check_template, in_template
from vlmzoo.registry import NestedSpecs
from vlmzoo.scoring import SCORES, Score
from vlmzoo.types import Sample

__all__ = ["VirftClassificationBenchmark"]


@BENCHMARKS.register(
    "virft_classification",
    source="Visual-RFT, arXiv:2503.01785, section 4.1 and table 2",
    tiny={"source": {"type": "virft", "path": str(TINY / "virft_labels.jsonl"), "solution": "label"}},
)
@dataclass(frozen=True, kw_only=True)
class VirftClassificationBenchmark:
    """Every row of a set, asked with its own ``problem``, which is the prompt that training used.

    ``class_exact`` is the main score; ``class_contains``, by which published numbers are counted, stands beside it.

    Args:
        source: ``{type: virft, solution: label, …}``.
        classes: all labels, or a text file with one on a line; an answer that names another one, too, is then wrong by
            ``class_contains``.
        num_questions: how many rows are asked; None for all.
        template: ``training``, or ``released`` for the authors' evaluation.
        max_new_tokens: how long a completion may be.
        expected: ``{value: …, source: …}``, what a paper reports.

    Raises:
        ConfigError: if an option is unknown, or the source has no end or too few rows.
        DataError: if the file of labels cannot be read.
    """

    nested_specs: ClassVar[NestedSpecs] = {"source": SOURCES.check}

    source: Mapping[str, Any]
    classes: str | Sequence[str] = ()
    num_questions: int | None = None
    template: Template = "training"
    max_new_tokens: int = 1024
    expected: Expected | None = None
    _source: Source = field(init=False, repr=False, compare=False)
    _scores: Mapping[str, Score] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Open the source, and build both scores."""
        check_template(self.template)
        object.__setattr__(self, "expected", Expected.parse(self.expected))
        object.__setattr__(self, "_source", SOURCES.build(self.source))
        classes = _labels(self.classes)
        scores = {
            "class_exact": SCORES.build({"type": "class_exact"}),
            "class_contains": SCORES.build({"type": "class_contains", "classes": classes}),
        }
        object.__setattr__(self, "_scores", scores)
        size = self._source.size
        if size is None or not 1 <= (size if self.num_questions is None else self.num_questions) <= size:
            raise ConfigError(
                f"`num_questions` must be from 1 to the rows of the source, of which there are "
                f"{'infinitely many' if size is None else size}, but is {self.num_questions} instead."
            )
        object.__setattr__(self, "num_questions", size if self.num_questions is None else self.num_questions)

    @property
    def identity(self) -> Mapping[str, Any]:
        """The source and the rest, as a configuration would spell them."""
        return {
            "type": "virft_classification",
            "source": dict(self.source),
            "classes": _labels(self.classes),
            "num_questions": self.num_questions,
            "template": self.template,
            "max_new_tokens": self.max_new_tokens,
        }

    @property
    def scores(self) -> Mapping[str, Score]:
        """The two scores, the strict one first."""
        return self._scores

    def questions(self) -> Iterator[Sample]:
        """Read one row after the other, numbered by their positions."""
        for position in range(self.num_questions or 0):
            question = prompt_of(self._source.sample(position))
            yield replace(in_template(question, self.template), id=str(position))


def _labels(classes: str | Sequence[str]) -> list[str]:
    """Return labels, read from a file if need be."""
    if not isinstance(classes, str):
        return list(classes)
    try:
        lines = Path(classes).expanduser().read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"`classes` must be labels or a text file of them, but `{classes}` cannot be read: {error}."
        ) from error
    return [line.strip() for line in lines if line.strip()]
