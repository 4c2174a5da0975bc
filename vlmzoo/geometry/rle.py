"""Masks as run lengths, in the two notations of COCO: lists of counts, and compressed strings.

Pixels are read column by column; the first run counts zeros, and may be empty.

Source: the COCO data format, https://cocodataset.org/#format-data, and its mask API.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, TypedDict, cast

import numpy as np

from vlmzoo.errors import DataError, ShapeError
from vlmzoo.geometry.frames import Frame
from vlmzoo.geometry.masks import Mask

__all__ = ["Rle", "decode_rle", "encode_rle"]

_OFFSET = 48  # a group of bits is written as the character of this code and those that follow
_SIGN, _MORE = 0x10, 0x20
_MAX_GROUPS = 13  # of 5 bits, which hold any 64-bit count


class Rle(TypedDict):
    """Run lengths as COCO stores them in JSON: ``size`` is height and width."""

    size: list[int]
    counts: str | list[int]


def encode_rle(mask: Mask, *, compressed: bool = True) -> Rle:
    """Return the runs of a mask; ``counts`` is a string, or a list of integers where not ``compressed``."""
    pixels = mask.array.ravel(order="F")
    changes = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
    empty_run = [0] if pixels[0] else []  # of zeros, before a first pixel that is set
    edges = [0, *empty_run, *changes.tolist(), pixels.size]
    counts = [stop - start for start, stop in pairwise(edges)]
    return {"size": list(mask.array.shape), "counts": _compress(counts) if compressed else counts}


def decode_rle(rle: Mapping[str, Any], *, frame: Frame) -> Mask:
    """Return the mask that runs describe.

    Args:
        rle: ``size`` and ``counts``: a string, the same as bytes, or a list of integers.
        frame: of the image that was annotated.

    Raises:
        DataError: if a key is missing, or ``counts`` are no runs, or do not sum up to the number of pixels.
        ShapeError: if ``size`` is not the height and width of the frame.
    """
    if not {"size", "counts"} <= rle.keys():
        raise DataError(
            f"Run lengths must have `size` and `counts`, but have {sorted(rle)} instead; is this a polygon?"
        )
    size = [int(side) for side in rle["size"]]
    if size != [frame.height, frame.width]:
        raise ShapeError(
            f"The `size` (height, width) of the runs must be {[frame.height, frame.width]}, but is {size} instead; "
            f"the mask belongs to another image than {frame}."
        )
    counts = _counts(rle["counts"])
    if sum(counts) != frame.width * frame.height or min(counts) < 0:
        raise DataError(
            f"`counts` must be zero or more and sum up to {frame.width * frame.height} pixels, but sum up to "
            f"{sum(counts)} with a least run of {min(counts, default=0)} instead; the file is damaged."
        )
    pixels = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    return Mask(pixels.reshape(frame.width, frame.height).T, frame=frame)


def _counts(counts: object) -> list[int]:
    """Return the runs as integers, whatever their notation."""
    if isinstance(counts, bytes):
        return _decompress(counts)
    if isinstance(counts, str):
        return _decompress(counts.encode("utf-8"))
    runs = list(cast("Sequence[object]", counts)) if isinstance(counts, Sequence | np.ndarray) else [counts]
    if not all(isinstance(run, int | np.integer) for run in runs):
        raise DataError(f"`counts` must be a string or a list of integers, but is {counts!r:.80} instead.")
    return [int(cast("int", run)) for run in runs]


def _compress(counts: Sequence[int]) -> str:
    """Write each run, from the fourth on its difference to the last but one, in groups of 5 bits, lowest first."""
    codes = bytearray()
    for index, count in enumerate(counts):
        rest = count - counts[index - 2] if index > 2 else count
        has_more = True
        while has_more:
            group, rest = rest & 0x1F, rest >> 5
            has_more = rest != (-1 if group & _SIGN else 0)  # what is left is more than the repeated sign
            codes.append(_OFFSET + group + (_MORE if has_more else 0))
    return codes.decode("ascii")


def _decompress(codes: bytes) -> list[int]:
    """Read what ``_compress`` writes.

    Raises:
        DataError: if a character is none of the notation, or the text ends within a number.
    """
    counts: list[int] = []
    value = num_groups = 0
    for place, code in enumerate(codes):
        group = code - _OFFSET
        if not 0 <= group < 2 * _MORE or num_groups == _MAX_GROUPS:
            raise DataError(
                f"`counts` must be compressed runs, but has {bytes([code])!r} at place {place} instead; the text is "
                "damaged, or in another notation."
            )
        value |= (group & 0x1F) << (5 * num_groups)
        num_groups += 1
        if group & _MORE:
            continue
        if group & _SIGN:
            value -= 1 << (5 * num_groups)
        counts.append(value + counts[-2] if len(counts) > 2 else value)
        value = num_groups = 0
    if num_groups:
        raise DataError(f"`counts` must end with a whole number, but breaks off after {len(counts)} runs instead.")
    return counts
