"""Sets in which a picture of labels says for each pixel which class it has."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vlmzoo.data.images import MAX_PIXELS
from vlmzoo.data.sources import RowError
from vlmzoo.data.sources._segmentation import (
    AnnotatedImage,
    OnMissing,
    Phrase,
    SegmentationSource,
    frame_of,
    kept_images,
)
from vlmzoo.errors import DataError
from vlmzoo.geometry import Frame, Mask

__all__ = ["LabelMapSource", "listed", "read_labels"]


def listed(folder: Path, suffix: str) -> list[Path]:
    """Return the files of a folder with this suffix, in order of name.

    Raises:
        DataError: if the folder is missing, or holds none.
    """
    if not folder.is_dir():
        raise DataError(f"Folder `{folder}` does not exist; check `root` and `split`.")
    found = sorted(path for path in folder.iterdir() if path.suffix == suffix)
    if not found:
        raise DataError(f"Folder `{folder}` must hold `{suffix}` files, but holds none; check `root` and `split`.")
    return found


def read_labels(path: Path) -> NDArray[np.integer[Any]]:
    """Return the numbers of a picture of labels, ``(H, W)``; a palette is not looked at.

    Raises:
        RowError: if the file is missing, cut off, or has colours instead of numbers.
    """
    try:
        with Image.open(path) as opened:
            if opened.width * opened.height > MAX_PIXELS:
                raise ValueError(f"{opened.width}×{opened.height} pixels, more than {MAX_PIXELS:,}")
            labels = np.array(opened)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise RowError(f"labels `{path}` cannot be read ({error}); fetch the file again.", "broken mask") from error
    if labels.ndim != 2:
        raise RowError(
            f"labels `{path}` must have one number for each pixel, but have {labels.shape[2]} channels instead; this "
            "is another edition of the set.",
            "broken mask",
        )
    return labels


class LabelMapSource(SegmentationSource):
    """Images, each with a picture of labels.

    Args:
        root: of the set, for messages.
        pairs: (image, labels) files.
        classes: phrase by label; pixels of other labels belong to no class, and are ignored.
        on_missing: ``error`` or ``skip`` images that are not there.
        options: of ``SegmentationSource``.
    """

    def __init__(
        self,
        *,
        root: Path,
        pairs: Sequence[tuple[Path, Path]],
        classes: Mapping[int, str],
        on_missing: OnMissing = "error",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        kept = kept_images([image for image, _ in pairs], on_missing, root=root)
        self.pairs = [pairs[number] for number in kept]
        self.classes = dict(classes)

    @property
    def num_images(self) -> int:
        """How many images there are."""
        return len(self.pairs)

    def read(self, index: int) -> AnnotatedImage:
        """Return one image with a phrase for each class that is in it.

        Raises:
            RowError: if a file cannot be read, or image and labels differ in size.
        """
        image, labels_path = self.pairs[index]
        labels = read_labels(labels_path)
        frame = frame_of(image, size=labels.shape[::-1])
        found: dict[str, list[int]] = {}  # classes of one name are one
        for label in np.unique(labels).tolist():
            if label in self.classes:
                found.setdefault(self.classes[label], []).append(label)
        ignored = partial(_pixels, labels, tuple(self.classes), frame, is_among=False)
        phrases = [
            Phrase(
                text=text, mask=partial(_pixels, labels, tuple(values), frame), ignored=ignored, ids={"labels": values}
            )
            for text, values in found.items()
        ]
        return AnnotatedImage(id=image.stem, image=image, phrases=phrases)


def _pixels(labels: NDArray[Any], values: Sequence[int], frame: Frame, *, is_among: bool = True) -> Mask:
    return Mask(np.isin(labels, list(values), invert=not is_among), frame=frame)
