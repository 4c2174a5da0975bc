"""Images with things and their boxes, and how SEAL's question is made of them: what all sets of boxes share."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vlmzoo.data.prompts import load_prompts
from vlmzoo.data.sources import RowError
from vlmzoo.data.sources._segmentation import frame_of
from vlmzoo.data.synthetic._draws import Draws
from vlmzoo.errors import ConfigError
from vlmzoo.geometry import Box, Frame
from vlmzoo.types import Message, Sample, assistant, user

__all__ = ["BoxedImage", "BoxedThing", "LocatedSource", "locate_turn"]

_MOST_BOXES = 100
_MAX_WALK = 1000  # images in a row of which nothing can be asked


@dataclass(frozen=True, kw_only=True)
class BoxedThing:
    """What can be looked for in an image.

    Args:
        names: what it is called; one is drawn.
        boxes: ``(x, y, width, height)`` of each, in pixels.
    """

    names: Sequence[str]
    boxes: Sequence[tuple[float, float, float, float]]


@dataclass(frozen=True, kw_only=True)
class BoxedImage:
    """One image of a set.

    Args:
        id: unique within the set.
        image: its file.
        size: (width, height) that the annotation gives, or None.
        things: what can be looked for.
    """

    id: str
    image: Path
    size: tuple[int, int] | None
    things: Sequence[BoxedThing]


def locate_turn(name: str, *, num_images: int) -> tuple[Message, Message]:
    """Return SEAL's question for a thing, and its answer."""
    prompts = load_prompts("seal")["search"]
    question = str(prompts["locate"]).replace("{name}", name)
    return user(question, num_images=num_images), assistant(str(prompts["located"]))


class LocatedSource:
    """Conversations about the images of a set of boxes: one thing is looked for in each.

    The draws depend on seed, image and repetition alone. Boxes are cut at the borders of the image, at most 100 of a
    thing are taken, and those without an area are left out; an image in which nothing is left gives way to the next.

    Source: V*, arXiv:2312.14135; penghao-wu/vstar@4ede664, VisualSearch/utils/general_segdet_dataset.py.

    Args:
        draws: how often each image comes in one epoch.
        seed: of the draws.

    Raises:
        ConfigError: if ``draws`` is not positive.
    """

    name = ""

    def __init__(self, *, draws: int = 1, seed: int = 0) -> None:
        if draws < 1:
            raise ConfigError(f"`draws` must be at least 1, but is {draws} instead.")
        self.draws = draws
        self.seed = seed

    @property
    def num_images(self) -> int:
        """How many images there are."""
        raise NotImplementedError

    def read(self, index: int) -> BoxedImage:
        """Return one image with its things.

        Raises:
            RowError: if its annotation cannot be read.
        """
        raise NotImplementedError

    @property
    def size(self) -> int | None:
        """Images times draws."""
        return self.num_images * self.draws

    def sample(self, position: int) -> Sample:
        """Draw one question.

        Raises:
            RowError: if its annotation cannot be read, or no image near it has a thing with a box.
        """
        draw, index = divmod(position, self.num_images)
        for step in range(min(self.num_images, _MAX_WALK)):
            found = self.read((index + step) % self.num_images)
            frame = frame_of(found.image, size=found.size)
            things = [(thing, _boxes(thing, frame)) for thing in found.things]
            things = [(thing, boxes) for thing, boxes in things if boxes]
            if not things:
                continue
            random = Draws(self.name, self.seed, found.id, draw)
            thing, boxes = things[random.integer(0, len(things) - 1)]
            name = thing.names[random.integer(0, len(thing.names) - 1)]
            return Sample(
                messages=[*locate_turn(name, num_images=1)],
                images=(found.image,),
                id=found.id if self.draws == 1 else f"{found.id}/{draw}",
                boxes=[boxes],
                meta={"dataset": self.name, "phrases": [name]},
            )
        raise RowError(f"image {index} of `{self.name}` and those behind it have nothing to look for.", "missing field")


def _boxes(thing: BoxedThing, frame: Frame) -> list[Box]:
    cut = [Box.from_xywh(edges, frame=frame).clipped() for edges in thing.boxes[:_MOST_BOXES]]
    return [box for box in cut if box.area > 0]
