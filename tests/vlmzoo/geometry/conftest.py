"""Frames, boxes and masks to draw from."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from vlmzoo.geometry import Box, Frame, Mask

sides = st.integers(1, 30)


def make_frame(width=10, height=8, image="cat.jpg"):
    return Frame.original(image, width=width, height=height)


def make_mask(rows, image="cat.jpg"):
    """A mask from lines of ``.`` and ``#``."""
    array = np.array([[character == "#" for character in row] for row in rows])
    return Mask(array, frame=make_frame(width=array.shape[1], height=array.shape[0], image=image))


@st.composite
def boxes(draw, frame, *, beyond=1):
    """Boxes with edges in sixteenths, exact in floating point; they may leave the frame by ``beyond`` of its sides."""
    edges = []
    for size in (frame.width, frame.height):
        edge = st.integers(-16 * size * beyond, 16 * size * (1 + beyond))
        edges.append(sorted(draw(edge) / 16 for _ in range(2)))
    (x0, x1), (y0, y1) = edges
    return Box.from_xyxy((x0, y0, x1, y1), frame=frame)


@st.composite
def pixel_boxes(draw, frame):
    """Boxes of whole pixels inside the frame."""
    x0, y0 = draw(st.integers(0, frame.width - 1)), draw(st.integers(0, frame.height - 1))
    x1, y1 = draw(st.integers(x0 + 1, frame.width)), draw(st.integers(y0 + 1, frame.height))
    return Box.from_xyxy((x0, y0, x1, y1), frame=frame)


@st.composite
def padded(draw, frame):
    return frame.padded(
        width=frame.width + draw(st.integers(0, 9)),
        height=frame.height + draw(st.integers(0, 9)),
        align=draw(st.sampled_from(["center", "top_left"])),
    )


@st.composite
def cropped(draw, frame):
    return frame.cropped(draw(pixel_boxes(frame)))


@st.composite
def resized(draw, frame):
    return frame.resized(width=draw(sides), height=draw(sides))


@st.composite
def derived(draw, frame, *, steps=(padded, cropped, resized), max_steps=4):
    """Frames of pixels, up to ``max_steps`` away."""
    for _ in range(draw(st.integers(0, max_steps))):
        frame = draw(draw(st.sampled_from(steps))(frame))
    return frame


@st.composite
def originals(draw, image="cat.jpg"):
    return make_frame(width=draw(sides), height=draw(sides), image=image)


@st.composite
def frames(draw):
    """Frames of pixels, and fractions of them."""
    frame = draw(derived(draw(originals())))
    return draw(st.sampled_from([frame, frame, frame.unit, frame.norm999, frame.norm1000]))


@st.composite
def frames_of_one_image(draw, num):
    original = draw(originals())
    found = [draw(derived(original)) for _ in range(num)]
    return [draw(st.sampled_from([frame, frame, frame.unit, frame.norm1000])) for frame in found]


@st.composite
def masks(draw, max_side=9):
    array = draw(arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=max_side)))
    return Mask(array, frame=make_frame(width=array.shape[1], height=array.shape[0]))
