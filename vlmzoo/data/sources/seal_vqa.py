"""The data of SEAL's question-answering model, and of FaST's switch: questions with objects, and refusals."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from vlmzoo.data.focus import OBJECT_MARK, FocusObject, crop_of, forms_of, object_blocks
from vlmzoo.data.images import load_image
from vlmzoo.data.sources import SOURCES, RowError
from vlmzoo.data.sources._records import FileSource
from vlmzoo.data.sources._tiny import TINY
from vlmzoo.data.sources.llava_json import LlavaRule
from vlmzoo.data.sources.pictures import OnMissing
from vlmzoo.errors import DataError
from vlmzoo.geometry import Box, Frame
from vlmzoo.types import Content, ImageLike, Message, Sample

__all__ = ["SEAL_FILES", "SealVqaSource"]

SEAL_FILES = (
    "vaw_attribute_data.json",
    "llava_instruct_data.json",
    "GQA_data.json",
    "llava_focus_data.json",
    "spatial_relation_data.json",
    "spatial_relation_data.json",
    "negative_data.json",
)
"""In the authors' order; spatial relations are read twice."""


@SOURCES.register(
    "seal_vqa",
    source="V*, arXiv:2312.14135, section 4; craigwu/seal_vqa_data (on-disk format)",
    tiny={"root": str(TINY / "seal"), "files": ["focus.json", "negative.json"]},
)
class SealVqaSource(FileSource):
    """Conversations in which ``<object>`` marks the place of an instance, which is shown as a crop with its place.

    A row with ``search`` has ``target_instances: [{name, bbox: [x, y, width, height]}]`` in pixels; the n-th mark of a
    turn is the n-th instance. With exactly one object the image is short and the object long, otherwise the image is
    long and objects are short.

    Args:
        root: folder with the files, and the folders of images that they name.
        files: names of the files, in order.
        image_folder: where image paths start; None for ``root``.
        on_missing: what becomes of a row whose image is not there, see ``llava_json``.

    Raises:
        DataError: if a file is missing or holds no records.
    """

    def __init__(
        self,
        *,
        root: str,
        files: Sequence[str] = SEAL_FILES,
        image_folder: str | None = None,
        on_missing: OnMissing = "error",
    ) -> None:
        folder = Path(root).expanduser()
        paths = [str(folder / name) for name in files]
        super().__init__(paths, LlavaRule(), image_folder=image_folder or str(folder), on_missing=on_missing)

    def sample(self, position: int) -> Sample:
        """Read one row.

        Raises:
            RowError: if it is corrupt, or marks and instances do not fit one another.
        """
        plain = super().sample(position)
        instances = plain.meta.get("target_instances") if "search" in plain.meta else None
        meta = {key: value for key, value in plain.meta.items() if key not in ("search", "target_instances")}
        if not plain.images:
            return replace(plain, meta=meta)
        picture = load_image(plain.images[0])
        frame = Frame.original(plain.id or str(position), width=picture.width, height=picture.height)
        objects = [_instance(one, frame) for one in instances or ()]
        of_image, of_objects = forms_of(len(objects), layout="trained")
        images: list[ImageLike] = [plain.images[0]]
        messages: list[Message] = []
        for message in plain.messages:
            if message["role"] != "user" or isinstance(message["content"], str):
                messages.append(message)
                continue
            content, shown = _shown(message, objects if instances is not None else None, form=of_objects)
            images += [_crop(picture, found) for found in shown]
            is_first = not any(other["role"] == "user" for other in messages)
            lead: list[Content] = [{"type": "image", "form": of_image}] if is_first else []
            messages.append({**message, "content": [*lead, *content]})
        return replace(plain, messages=messages, images=images, meta=meta)


def _instance(value: Any, frame: Frame) -> FocusObject:
    try:
        return FocusObject(str(value["name"]), Box.from_xywh(value["bbox"], frame=frame))
    except (KeyError, TypeError, DataError) as error:
        raise RowError(
            f"an instance must be `{{name, bbox: [x, y, width, height]}}`, but is {value!r} ({error}).", "wrong value"
        ) from error


def _shown(
    message: Mapping[str, Any], objects: Sequence[FocusObject] | None, *, form: Any
) -> tuple[list[Content], list[FocusObject]]:
    """Return a turn without its image, marks replaced, and the objects that it shows."""
    text = "".join(block.get("text", "") for block in message["content"]).strip()
    if objects is None:
        return [{"type": "text", "text": text}], []
    pieces = text.split(OBJECT_MARK)
    if len(pieces) - 1 > len(objects):
        raise RowError(
            f"each `{OBJECT_MARK}` of a turn must have an instance, but there are {len(pieces) - 1} marks and "
            f"{len(objects)} instances.",
            "image count",
        )
    shown = list(objects[: len(pieces) - 1])
    content: list[dict[str, Any]] = [{"type": "text", "text": pieces[0]}]
    for found, after in zip(shown, pieces[1:], strict=True):
        before, crop, place = object_blocks(found, form=form)
        content[-1]["text"] += before["text"]
        content += [dict(crop), {"type": "text", "text": place["text"] + after}]
    return list(content), shown


def _crop(picture: Any, found: FocusObject) -> ImageLike:
    try:
        return crop_of(picture, found, scale=1.2)
    except DataError as error:
        raise RowError(str(error), "wrong value") from error
