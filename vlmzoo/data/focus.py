"""Questions with evidence: objects that were looked for, each as a crop and a place in words, before the question.

Source: V*, arXiv:2312.14135, section 3.1, its visual working memory; penghao-wu/vstar@4ede664, by its rules.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

from PIL import Image

from vlmzoo.data.images import load_image
from vlmzoo.data.object_crops import location_text, object_crop
from vlmzoo.data.prompts import load_prompts
from vlmzoo.errors import ConfigError, DataError
from vlmzoo.geometry import Box, Frame
from vlmzoo.types import Content, ImageLike, Message, Sample

__all__ = ["OBJECT_MARK", "FocusObject", "Form", "Layout", "focus_sample", "forms_of", "object_blocks"]

OBJECT_MARK = "<object>"
"""Marks the place of an object in text."""

Form: TypeAlias = Literal["long", "short"]
Layout: TypeAlias = Literal["seal", "trained"]

_LAYOUTS = ("seal", "trained")
_CROP_SCALE = 1.2


class FocusObject(NamedTuple):
    """An object that an answer may lean on."""

    name: str
    """What it is called."""
    box: Box
    """Where it is, in a frame of the image."""
    crop: Image.Image | None = None
    """What is shown of it; None for the pixels around its box."""
    place: str | None = None
    """Where it is, in words; None tells its box."""


def forms_of(num_objects: int, *, layout: Layout = "seal") -> tuple[Form, Form]:
    """Return the form of the image and that of the objects.

    Args:
        num_objects: how many there are.
        layout: ``seal`` is the authors' way of asking: with objects, the image is short, and up to two objects are
            long. ``trained`` is what their training showed: one object is long beside a short image, several are short
            beside a long one.

    Raises:
        ConfigError: if there is no such layout.
    """
    if layout not in _LAYOUTS:
        raise ConfigError(f"`layout` must be seal or trained, but is {layout!r} instead.")
    if num_objects == 0:
        return "long", "short"
    if layout == "trained":
        return ("short", "long") if num_objects == 1 else ("long", "short")
    return "short", "long" if num_objects <= 2 else "short"


def focus_sample(
    image: ImageLike,
    question: str,
    objects: Sequence[FocusObject] = (),
    *,
    layout: Layout = "seal",
    scale: float | None = _CROP_SCALE,
    id: str = "",
) -> Sample:
    """Return a question about an image, with what was found before it.

    Args:
        image: that is asked about.
        question: of the user.
        objects: what was found, in the order in which it is told; none gives the plain question.
        layout: of the forms, see ``forms_of``.
        scale: sides of the crops as multiples of the objects'; None makes them at least 224 pixels.
        id: of the sample.

    Raises:
        DataError: if the image cannot be used, or an object lies outside of it.
    """
    picture = load_image(image)
    of_image, of_objects = forms_of(len(objects), layout=layout)
    content: list[Content] = [{"type": "image", "form": of_image}]
    images: list[ImageLike] = [picture]
    if objects:
        prompts = load_prompts("seal")["switch"]
        before, after = prompts["focus"].split("{objects}")
        pieces: list[Content] = [{"type": "text", "text": before}]
        for number, found in enumerate(objects):
            pieces += [{"type": "text", "text": prompts["separator"]}] if number else []
            pieces += object_blocks(found, form=of_objects)
            images.append(found.crop or crop_of(picture, found, scale=scale))
        pieces.append({"type": "text", "text": after.replace("{question}", question)})
        content += _joined(pieces)
    else:
        content.append({"type": "text", "text": question})
    message: Message = {"role": "user", "content": content}
    return Sample(messages=[message], images=images, id=id)


def object_blocks(found: FocusObject, *, form: Form) -> list[Content]:
    """Return what stands for an object in a question: its name, its crop, and where it is."""
    text = load_prompts("seal")["switch"]["object"]
    place = location_text(found.box) if found.place is None else found.place
    before, after = text.replace("{location}", place).split(OBJECT_MARK)
    return [
        {"type": "text", "text": before.replace("{name}", found.name)},
        {"type": "image", "form": form, "inline": True},
        {"type": "text", "text": after},
    ]


def crop_of(picture: Image.Image, found: FocusObject, *, scale: float | None) -> Image.Image:
    """Return the pixels around an object.

    Raises:
        DataError: if nothing of them lies inside the picture.
    """
    frame = found.box.frame
    original = Frame.original(frame.image, width=frame.x.original, height=frame.y.original)
    if (original.width, original.height) != picture.size:
        raise DataError(
            f"The box of `{found.name}` must stand in a frame of its image, {picture.width}×{picture.height} pixels, "
            f"but stands in one of {original.width}×{original.height}; look where samples were mixed up."
        )
    box = found.box.to(original)
    inside = box.clipped()
    if inside.area <= 0:
        raise DataError(f"The box of `{found.name}` must hold a pixel of its image, but is {found.box}; leave it out.")
    x0, y0, x1, y1 = (int(edge) for edge in object_crop(box, scale=scale).xyxy)
    return picture.crop((x0, y0, max(x1, x0 + 1), max(y1, y0 + 1)))


def _joined(blocks: Sequence[Content]) -> list[Content]:
    """Join neighbouring texts."""
    joined: list[Mapping[str, Any]] = []
    for block in blocks:
        if joined and block["type"] == joined[-1]["type"] == "text":
            joined[-1] = {"type": "text", "text": joined[-1]["text"] + block["text"]}
        else:
            joined.append(block)
    return joined
