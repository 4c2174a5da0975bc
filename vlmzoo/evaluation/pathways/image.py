"""The picture as a whole as an evidence pathway, for any model or agent."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
from einops import rearrange
from PIL import Image

from vlmzoo.data.images import load_image
from vlmzoo.errors import DataError
from vlmzoo.evaluation.benchmarks.synthetic import derangement
from vlmzoo.evaluation.pathways import KINDS, PATHWAYS
from vlmzoo.types import Sample

__all__ = ["ImagePathway", "other_picture"]

_GREY = (122, 116, 104)  # the mean colour of CLIP's training pictures
_CELLS = 4


@PATHWAYS.register("image", source="vlmzoo's own; swapping as in S2H's control, arXiv:2501.02669", tiny={})
class ImagePathway:
    """The pictures of a question.

    ``blank`` gives a grey picture of the same size, ``swap`` the pictures of another question, ``noise`` random pixels;
    ``shuffle`` cuts a picture into 4 x 4 pieces and disorders them.

    Args:
        subject: whoever answers; it is not touched.
    """

    kinds: Sequence[str] = KINDS

    def __init__(self, *, subject: Any) -> None:
        self.subject = subject

    @contextmanager
    def disturbed(self, kind: str, samples: Sequence[Sample], *, seed: int) -> Iterator[Sequence[Sample]]:
        """Give the same questions with other pictures."""
        if kind == "swap":
            yield _swapped(samples, seed=seed)
            return
        draw = np.random.default_rng(seed)
        yield [replace(s, images=[other_picture(kind, load_image(image), draw) for image in s.images]) for s in samples]


def _swapped(samples: Sequence[Sample], *, seed: int) -> list[Sample]:
    numbers = {len(sample.images) for sample in samples}
    if len(samples) < 2 or len(numbers) > 1:
        raise DataError(
            "Pictures can be swapped among several questions with equally many of them, but there are "
            f"{len(samples)} questions with {sorted(numbers)} pictures; change `batch_size`, or leave `swap` out."
        )
    order = derangement(len(samples), seed=seed)
    return [replace(sample, images=samples[other].images) for sample, other in zip(samples, order, strict=True)]


def other_picture(kind: str, image: Image.Image, draw: np.random.Generator) -> Image.Image:
    """Return a picture of the same size in place of one: ``blank``, ``noise`` or ``shuffle``."""
    width, height = image.size
    if kind == "blank":
        return Image.new("RGB", (width, height), _GREY)
    if kind == "noise":
        return Image.fromarray(draw.integers(0, 256, (height, width, 3), dtype=np.uint8))
    side_px = _CELLS * -(-width // _CELLS), _CELLS * -(-height // _CELLS)
    pieces = rearrange(np.asarray(image.resize(side_px)), "(a h) (b w) c -> (a b) h w c", a=_CELLS, b=_CELLS)
    disordered = rearrange(pieces[draw.permutation(_CELLS**2)], "(a b) h w c -> (a h) (b w) c", a=_CELLS)
    return Image.fromarray(disordered).resize((width, height))
