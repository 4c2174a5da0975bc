"""ReasonSeg: images with questions that take thought, and the polygons that answer them."""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from vlmzoo.data.sources import SOURCES, RowError
from vlmzoo.data.sources._fields import shown
from vlmzoo.data.sources._label_maps import listed
from vlmzoo.data.sources._segmentation import (
    AnnotatedImage,
    OnMissing,
    Phrase,
    SegmentationSource,
    frame_of,
    kept_images,
    stamp_of,
)
from vlmzoo.data.sources._tiny import TINY
from vlmzoo.errors import DataError
from vlmzoo.geometry import Frame, Mask

__all__ = ["ReasonSegSource", "read_annotation"]

_NOTHING, _TARGET, _IGNORED = 0, 1, 255
_ENCODINGS = ("utf-8-sig", "cp1252", "latin-1")


@SOURCES.register(
    "reason_seg",
    source="LISA, arXiv:2308.00692, section 3.2 (ReasonSeg)",
    tiny={"root": str(TINY / "lisa"), "explanatory": 0.1},
)
class ReasonSegSource(SegmentationSource):
    """``reason_seg/ReasonSeg/SPLIT``: images, and beside each a JSON file of the same stem with texts and polygons.

    A polygon belongs to the target unless its label says ``ignore``; ``flag`` is passed over. Polygons are painted from
    the largest to the smallest, so that small ones stay visible, with their outlines. All texts of a file mean the same
    pixels; those of an image without a polygon mean none.

    Args:
        root: folder that holds ``reason_seg``.
        split: ``train``, ``val`` or ``test``, or several joined by ``_``.
        explanatory: share of explained images that are answered in words alone; None leaves explanations out. The
            authors take 0.1.
        on_missing: ``error`` or ``skip`` images that are not there.
        options: ``rounds``, ``draws`` and ``seed``, see ``SegmentationSource``.

    Raises:
        DataError: if a folder or an image is missing.
    """

    name = "reason_seg"

    def __init__(
        self,
        *,
        root: str,
        split: str = "train",
        explanatory: float | None = None,
        on_missing: OnMissing = "error",
        **options: Any,
    ) -> None:
        super().__init__(explanatory=explanatory, **options)
        folder = Path(root).expanduser() / "reason_seg" / "ReasonSeg"
        files = [file for name in split.split("_") for file in listed(folder / name, ".json")]
        kept = kept_images([file.with_suffix(".jpg") for file in files], on_missing, root=folder)
        self.files = [files[number] for number in kept]
        self.explanations = None if explanatory is None else folder / "explanatory" / "train.json"

    @property
    def num_images(self) -> int:
        """How many images there are."""
        return len(self.files)

    def read(self, index: int) -> AnnotatedImage:
        """Return one image with its texts.

        Raises:
            RowError: if the JSON file cannot be read.
        """
        path = self.files[index]
        image, content = path.with_suffix(".jpg"), read_annotation(path)
        explained = {} if self.explanations is None else _explanations(self.explanations, stamp_of(self.explanations))
        labels = partial(_paint, content["shapes"], image, path)
        phrases = [
            Phrase(
                text=text.strip(),
                mask=partial(_where, labels, _TARGET),
                ignored=partial(_where, labels, _IGNORED),
                is_sentence=bool(content.get("is_sentence")),
                explanation=explained.get(image.name),
            )
            for text in content["text"]
        ]
        return AnnotatedImage(
            id=f"{path.parent.name}/{path.stem}",
            image=image,
            phrases=phrases,
            meta={"is_sentence": bool(content.get("is_sentence"))},
        )


def read_annotation(path: Path) -> Mapping[str, Any]:
    """Return a file's JSON, whatever of three encodings it is in.

    Raises:
        RowError: if it is no such JSON.
    """
    content = _loads(path)
    texts, shapes = (content.get(key) for key in ("text", "shapes")) if isinstance(content, Mapping) else (None, None)
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise RowError(f"`{path}` must have a list of texts `text`, but has {shown(texts)} instead.", "missing field")
    if not isinstance(shapes, list) or not all(isinstance(shape, Mapping) for shape in shapes):
        raise RowError(f"`{path}` must have a list of polygons `shapes`, but has {shown(shapes)}.", "missing field")
    return content


def _loads(path: Path) -> Any:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise RowError(f"`{path}` cannot be read ({error}).", "broken row") from error
    for encoding in _ENCODINGS:
        try:
            return json.loads(raw.decode(encoding))
        except UnicodeDecodeError:
            continue
        except ValueError as error:
            raise RowError(
                f"`{path}` must be JSON, but cannot be read ({error}); fetch it again.", "broken row"
            ) from error
    raise RowError(f"`{path}` must be text, but is in none of {', '.join(_ENCODINGS)}.", "broken row")


def _paint(shapes: Sequence[Mapping[str, Any]], image: Path, path: Path) -> tuple[np.ndarray, Frame]:
    """Return the label of each pixel, ``(H, W)``, and the frame of the image."""
    frame = frame_of(image)
    painted = []
    for number, shape in enumerate(shapes):
        label = str(shape.get("label", "")).lower()
        if label == "flag":
            continue
        area = _polygon(shape.get("points"), frame, f"shape {number} of `{path}`")
        painted.append((int(area.sum()), number, area, _IGNORED if "ignore" in label else _TARGET))
    labels = np.full((frame.height, frame.width), _NOTHING, dtype=np.uint8)
    for _, _, area, value in sorted(painted, key=lambda entry: (-entry[0], entry[1])):
        labels[area] = value
    return labels, frame


def _polygon(points: Any, frame: Frame, where: str) -> np.ndarray:
    """Return the pixels of a polygon, its outline included; corners lose what is behind the point."""
    try:
        corners = [(int(x), int(y)) for x, y in points]
    except (TypeError, ValueError) as error:
        raise RowError(f"{where} must have `points` of x and y, but has {shown(points)}.", "broken mask") from error
    canvas = Image.new("1", (frame.width, frame.height))
    if len(corners) > 1:
        ImageDraw.Draw(canvas).polygon(corners, fill=1, outline=1)
    elif corners:
        ImageDraw.Draw(canvas).point(corners, fill=1)
    return np.asarray(canvas, dtype=bool)


def _where(paint: partial[tuple[np.ndarray, Frame]], value: int) -> Mask:
    labels, frame = paint()
    return Mask(labels == value, frame=frame)


@lru_cache(maxsize=4)
def _explanations(path: Path, stamp: tuple[int, int]) -> Mapping[str, str]:
    """Return the explanation of each image by its file name; once in a process while the file does not change.

    Raises:
        DataError: if the file is missing or has another form.
    """
    try:
        entries = _loads(path)
        return {str(entry["image"]): str(entry["outputs"]) for entry in entries}
    except (RowError, TypeError, KeyError) as error:
        raise DataError(
            f"Explanations `{path}` must be a list of `{{image, query, outputs}}`, but are not ({error}); set "
            "`explanatory: null` to do without."
        ) from error
