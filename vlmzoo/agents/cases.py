"""Questions on their way to answers, and the answers."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from PIL import Image

from vlmzoo.agents.trace import Evidence, Mode, Trace
from vlmzoo.data.images import load_image
from vlmzoo.errors import DataError
from vlmzoo.geometry import Frame
from vlmzoo.models.switching import SwitchAnswer
from vlmzoo.types import ImageLike, Sample

__all__ = ["Answer", "Case", "Request", "answer_of", "case_of", "words_of"]


class Request(NamedTuple):
    """A question about an image."""

    image: ImageLike
    """That is asked about."""
    question: str
    """In words."""
    options: Sequence[str] = ()
    """Answers of which the likeliest is chosen; none asks freely."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What an agent answers.

    Args:
        text: the answer.
        mode: ``slow`` if it leans on evidence, else ``fast``.
        evidence: what was looked for, found or not.
        trace: how it came about.
        confidence: of the answer, within [0, 1], see ``SwitchAnswer``.
        is_low_confidence: whether the model would have refused, or the evidence that it wanted was not to be had.
        option: place of the chosen option; None where there were none.
    """

    text: str
    mode: Mode
    evidence: Sequence[Evidence]
    trace: Trace
    confidence: float
    is_low_confidence: bool = False
    option: int | None = None


@dataclass(kw_only=True)
class Case:
    """A question on its way to an answer."""

    request: Request
    picture: Image.Image
    trace: Trace
    started: float
    names: list[str] = field(default_factory=list)  # to look for in this round
    asked: set[str] = field(default_factory=set)  # looked for already
    said: SwitchAnswer | None = None  # the latest answer
    mode: Mode = "fast"
    is_low: bool = False

    @property
    def found(self) -> list[Evidence]:
        """The evidence that was found."""
        return [one for one in self.trace.evidence if one.is_found]


def case_of(request: Request, pictures: dict[Any, Image.Image]) -> Case:
    """Return a question that nobody has answered yet.

    Args:
        request: what is asked.
        pictures: opened for other requests; what this one opens is added.

    Raises:
        DataError: if the image cannot be used, or the question is empty.
    """
    request = Request(*request)
    if not request.question.strip():
        raise DataError("A question must be in words, but is empty.")
    image = request.image
    key = id(image) if isinstance(image, Image.Image) else str(image)
    if key not in pictures:
        pictures[key] = load_image(image)
    picture = pictures[key]
    name = "image" if isinstance(image, Image.Image) else str(image)
    frame = Frame.original(name, width=picture.width, height=picture.height)
    trace = Trace(question=request.question, frame=frame, options=tuple(request.options), picture=picture)
    return Case(request=request, picture=picture, trace=trace, started=time.monotonic())


def answer_of(case: Case) -> Answer:
    """Return what has become of a question."""
    assert case.said is not None
    return Answer(
        text=case.said.text,
        mode=case.mode,
        evidence=tuple(case.trace.evidence),
        trace=case.trace,
        confidence=case.said.confidence,
        is_low_confidence=case.is_low,
        option=case.said.option,
    )


def words_of(sample: Sample) -> str:
    """Return what is asked, with a mark for each image."""
    blocks = sample.messages[-1]["content"]
    if isinstance(blocks, str):
        return blocks
    return "".join("<image>" if block["type"] == "image" else str(block["text"]) for block in blocks)
