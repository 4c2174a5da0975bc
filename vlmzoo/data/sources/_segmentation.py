"""Images with phrases and their masks, and how conversations are made of them: what all segmentation sets share."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

from vlmzoo.data.prompts import load_prompts
from vlmzoo.data.sources import RowError
from vlmzoo.data.sources.pictures import read_size
from vlmzoo.data.synthetic._draws import Draws
from vlmzoo.errors import ConfigError, DataError
from vlmzoo.geometry import Frame, Mask
from vlmzoo.types import Message, Sample, assistant, user

__all__ = ["AnnotatedImage", "Phrase", "SegmentationSource", "frame_of", "kept_images", "stamp_of"]

logger = logging.getLogger(__name__)

OnMissing: TypeAlias = Literal["error", "skip"]
_NUM_SHOWN = 20
_MAX_WALK = 1000  # images in a row of which nothing can be asked


@dataclass(frozen=True, kw_only=True)
class Phrase:
    """What can be asked about an image, and the pixels that are meant.

    Args:
        text: a class name, an expression or a whole sentence.
        mask: decodes the mask in the image's original frame; called when it is wanted.
        ignored: decodes the pixels that nobody judged; None where all are.
        other_texts: further ways to say it, each as likely as the first.
        is_sentence: whether the text is a sentence of its own.
        explanation: why this is meant, where the set says so.
        ids: of annotations and references, for reports.
    """

    text: str
    mask: Callable[[], Mask]
    ignored: Callable[[], Mask] | None = None
    other_texts: Sequence[str] = ()
    is_sentence: bool = False
    explanation: str | None = None
    ids: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class AnnotatedImage:
    """One image of a segmentation set.

    Args:
        id: unique within the set.
        image: its file.
        phrases: what can be asked; none where nothing is annotated.
        meta: what a report may want to know, as JSON values.
    """

    id: str
    image: Path
    phrases: Sequence[Phrase]
    meta: Mapping[str, Any] = field(default_factory=dict)


def frame_of(image: Path, *, size: tuple[int, int] | None = None) -> Frame:
    """Return the frame of an image file; only its header is read.

    Args:
        image: its pixels stand as they are stored: annotations know no EXIF rotation.
        size: (width, height) that the annotation gives, if any.

    Raises:
        RowError: if the file is missing or no image, or of another size than was annotated.
    """
    width, height = read_size(image)
    if size is not None and size != (width, height):
        raise RowError(
            f"image `{image}` must have the {size[0]}×{size[1]} pixels that were annotated, but has {width}×{height} "
            "instead; it was resized, or belongs to another version of the set.",
            "mask size",
        )
    return Frame.original(str(image), width=width, height=height)


def stamp_of(path: Path) -> tuple[int, int]:
    """Return a file's size and time of change, by which what was read of it is kept; zeros where there is none."""
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_size, status.st_mtime_ns


def kept_images(images: Sequence[Path], on_missing: OnMissing, *, root: Path) -> list[int]:
    """Return the numbers of the images that are there.

    Args:
        images: files.
        on_missing: ``error`` or ``skip`` those that are not there.
        root: for the message.

    Raises:
        ConfigError: if there is no such policy.
        DataError: if one is missing and the policy is ``error``, or none is there.
    """
    if on_missing not in ("error", "skip"):
        raise ConfigError(f"`on_missing` must be error or skip, but is {on_missing!r} instead.")
    kept = [number for number, image in enumerate(images) if image.is_file()]
    num_missing = len(images) - len(kept)
    if (num_missing and on_missing == "error") or not kept:
        present = set(kept)
        first = [f"`{image}`" for number, image in enumerate(images) if number not in present][:_NUM_SHOWN]
        raise DataError(
            f"All images under `{root}` must exist, but {num_missing} of {len(images)} do not: {', '.join(first)}"
            f"{', …' if num_missing > _NUM_SHOWN else ''}; check `root`, or set `on_missing: skip`."
        )
    if num_missing:
        logger.warning("%d of %d images under `%s` are left out: they are missing.", num_missing, len(images), root)
    return kept


class SegmentationSource:
    """Conversations about the images of a segmentation set, in LISA's words.

    A sample asks for up to ``rounds`` of an image's phrases, drawn without repetition; the draws depend on seed,
    image and repetition alone. An image of which nothing can be asked gives way to the next one.

    Source: LISA, arXiv:2308.00692, section 3.2, and its repository.

    Args:
        rounds: phrases of one conversation at most. The authors take 3 phrases of an image at a time, each in a
            conversation of its own: that is ``rounds: 1`` and three times the batch.
        draws: how often each image comes in one epoch, each time with draws of its own.
        seed: of the draws.
        explanatory: share of the images with an explanation that are answered by it alone, without a mask; of the
            others half are explained after the mask. None for no explanations.

    Raises:
        ConfigError: if a number is out of range.
    """

    name = ""

    def __init__(self, *, rounds: int = 1, draws: int = 1, seed: int = 0, explanatory: float | None = None) -> None:
        if rounds < 1 or draws < 1:
            raise ConfigError(f"`rounds` and `draws` must be at least 1, but are {rounds} and {draws} instead.")
        if explanatory is not None and not 0 <= explanatory <= 1:
            raise ConfigError(f"`explanatory` must be a share from 0 to 1, but is {explanatory} instead.")
        self.rounds = rounds
        self.draws = draws
        self.seed = seed
        self.explanatory = explanatory

    @property
    def num_images(self) -> int:
        """How many images there are."""
        raise NotImplementedError

    def read(self, index: int) -> AnnotatedImage:
        """Return one image with its phrases; masks are decoded when they are wanted.

        Raises:
            RowError: if its annotation cannot be read.
        """
        raise NotImplementedError

    @property
    def size(self) -> int | None:
        """Images times draws."""
        return self.num_images * self.draws

    def sample(self, position: int) -> Sample:
        """Draw one conversation.

        Raises:
            RowError: if its annotation cannot be read, or no image near it has a phrase.
        """
        draw, index = divmod(position, self.num_images)
        for step in range(min(self.num_images, _MAX_WALK)):
            found = self.read((index + step) % self.num_images)
            if found.phrases:
                return self._converse(found, Draws(self.name, self.seed, found.id, draw), draw=draw)
        raise RowError(f"image {index} of `{self.name}` and those behind it have nothing to ask for.", "missing field")

    def _converse(self, found: AnnotatedImage, draws: Draws, *, draw: int) -> Sample:
        count = min(self.rounds, len(found.phrases))
        numbers = draws.distinct(range(len(found.phrases)), count)
        phrases = [_worded(found.phrases[number], draws) for number in numbers]
        style = self._style(found, draws)
        messages: list[Message] = []
        for number, phrase in enumerate(phrases):
            question, said = _turn(phrase, style, draws)
            messages += [user(question, num_images=int(number == 0)), assistant(said)]
        has_masks = style != "explanation alone"
        masks = [phrase.mask() for phrase in phrases] if has_masks else []
        ignored = [None if phrase.ignored is None else phrase.ignored() for phrase in phrases] if has_masks else []
        return Sample(
            messages=messages,
            images=(found.image,),
            id=found.id if self.draws == 1 else f"{found.id}/{draw}",
            masks=masks,
            ignored_masks=ignored if any(mask is not None for mask in ignored) else (),
            meta={"dataset": self.name, **found.meta, "phrases": [phrase.text for phrase in phrases]},
        )

    def _style(self, found: AnnotatedImage, draws: Draws) -> str:
        """Return how the image is answered: one way for all phrases that are drawn."""
        if self.explanatory is None or any(phrase.explanation is None for phrase in found.phrases):
            return "mask"
        if draws.fraction() < self.explanatory:
            return "explanation alone"
        return "mask and explanation" if draws.coin() else "mask"


def _worded(phrase: Phrase, draws: Draws) -> Phrase:
    """Return the phrase in one of its wordings."""
    if not phrase.other_texts:
        return phrase
    return replace(phrase, text=_one((phrase.text, *phrase.other_texts), draws), other_texts=())


def _turn(phrase: Phrase, style: str, draws: Draws) -> tuple[str, str]:
    """Return a question and its answer in LISA's words."""
    prompts = load_prompts("lisa")
    answer = _one(prompts["answers"], draws)
    if style == "explanation alone":
        return phrase.text, str(phrase.explanation)
    if style == "mask and explanation":
        wish = _one(prompts["questions"]["explanation"], draws)
        return f"{phrase.text} {wish}", f"{answer} {phrase.explanation}"
    if phrase.is_sentence:
        return _one(prompts["questions"]["sentence"], draws).format(sent=phrase.text), answer
    return _one(prompts["questions"]["class"], draws).format(class_name=phrase.text.lower()), answer


def _one(choices: Sequence[str], draws: Draws) -> str:
    return choices[draws.integer(0, len(choices) - 1)]
