"""COCO's five notations of a mask, read by one function.

Source: the COCO data format, https://cocodataset.org/#format-data; REFER's lists of run lengths (refCLEF).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vlmzoo.data.sources import RowError
from vlmzoo.data.sources._fields import shown
from vlmzoo.errors import DataError
from vlmzoo.geometry import Frame, Mask, decode_rle, polygons_to_mask

__all__ = ["decode_segmentation"]

_LEAST_NUMBERS = 6  # of a polygon: three corners


def decode_segmentation(segmentation: Any, *, frame: Frame) -> Mask:
    """Return the mask of an annotation; parts that overlap count once.

    Args:
        segmentation: a list of polygons ``[x, y, x, y, …]``, run lengths as counts or compressed, a list of run
            lengths, or nothing. Polygons of fewer than three corners are left out.
        frame: of the image that was annotated.

    Raises:
        RowError: if it is none of these, or is of another size than the image.
    """
    try:
        if isinstance(segmentation, Mapping):
            return decode_rle(segmentation, frame=frame)
        mask = Mask(np.zeros((frame.height, frame.width), dtype=bool), frame=frame)
        for part in _parts(segmentation):
            if isinstance(part, Mapping):
                mask = mask | decode_rle(part, frame=frame)
            elif len(part) >= _LEAST_NUMBERS and len(part) % 2 == 0:
                mask = mask | polygons_to_mask([np.reshape(part, (-1, 2))], frame=frame)
    except (DataError, TypeError, ValueError) as error:
        raise RowError(f"`segmentation` cannot be read: {error}", "broken mask") from error
    return mask


def _parts(segmentation: Any) -> Sequence[Any]:
    if not isinstance(segmentation, Sequence) or isinstance(segmentation, (str, bytes)):
        raise DataError(f"it must be polygons or run lengths, but is {shown(segmentation)} instead; mend the file.")
    for part in segmentation:
        if not isinstance(part, (Mapping, Sequence)) or isinstance(part, (str, bytes)):
            raise DataError(f"a part must be a polygon or run lengths, but is {shown(part)} instead; mend the file.")
    return segmentation
