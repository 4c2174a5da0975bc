"""What the search adapter wants of the data: pictures for its detector, boxes and masks of what is looked for.

Letters: B rows, I pictures, K tokens, M boxes, P pixels of all masks, S side of the detector's input.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vlmzoo.adapters._seg_images import image_key
from vlmzoo.adapters._seg_inputs import mask_target
from vlmzoo.adapters._token_images import owners_of_tokens
from vlmzoo.data.adapter_inputs import AdapterBatch, AdapterInputs
from vlmzoo.data.assembly import build_image_processor
from vlmzoo.data.images import load_image
from vlmzoo.errors import DataError
from vlmzoo.geometry import Box, Frame
from vlmzoo.outputs import IGNORED_PIXEL
from vlmzoo.types import Sample

__all__ = ["INPUT_NAMES", "SearchInputs"]

INPUT_NAMES = ("search_pixels", "search_sizes", "search_keys", "search_images", "search_last", "search_heat_sizes")


class SearchInputs(AdapterInputs):
    """Makes pictures, boxes and masks from samples.

    The k-th ``[LOC]`` that the assistant says has the k-th of ``sample.boxes`` and of ``sample.heat_masks``. None of
    either says that nobody drew any: the token then learns nothing from it, and counts in no denominator. A sample may
    leave ``heat_masks`` out altogether, as data sets with boxes alone do.

    Args:
        token: ``[LOC]``.
        size: S; pictures are stretched to it.
    """

    def __init__(self, *, token: str, size: int) -> None:
        self.token = token
        self.size = size
        self.image_processor = build_image_processor(size=size, aspect="square")

    def encode(self, sample: Sample) -> Mapping[str, Any]:
        """Return one row.

        Args:
            sample: with boxes for each ``[LOC]``; a prompt, which ends with a user's turn, needs none.

        Raises:
            DataError: if tokens, boxes and masks differ in number, one is not of its image, or a ``[LOC]`` has no image
                before it.
        """
        is_prompt = bool(sample.messages) and sample.messages[-1]["role"] == "user"
        owners, last = owners_of_tokens(sample, self.token)
        if not is_prompt:
            self._check_numbers(sample, len(owners))
        wanted = sorted({*owners, last} - {-1} if is_prompt else set(owners))
        pictures = [load_image(sample.images[number]) for number in wanted]
        place_of = {number: place for place, number in enumerate(wanted)}
        places = [place_of[number] for number in owners]
        boxes, is_boxed, heat, heat_sizes = [], [], [], []
        for number, place in enumerate([] if is_prompt else places):
            size = pictures[place].height, pictures[place].width
            given = sample.boxes[number] if sample.boxes else None
            boxes.append(_fractions(given or (), size=size, sample=sample, number=number))
            is_boxed.append(given is not None)
            mask = sample.heat_masks[number] if sample.heat_masks else None
            if mask is None:
                heat.append(torch.tensor([IGNORED_PIXEL], dtype=torch.uint8))  # one pixel, which nobody judges
            else:
                heat.append(mask_target(mask, None, size=size, sample=sample, number=number))
            heat_sizes.append([1, 1] if mask is None else list(size))
        return {
            "pixels": [self.image_processor(one, return_tensors="pt")["pixel_values"][0] for one in pictures],
            "sizes": [[one.height, one.width] for one in pictures],
            "keys": [image_key(one) for one in pictures],
            "images": places,
            "last": place_of.get(last, -1),
            "boxes": boxes,
            "is_boxed": is_boxed,
            "heat": heat,
            "heat_sizes": heat_sizes,
            "num_masks": sum(mask is not None for mask in sample.heat_masks) if not is_prompt else 0,
        }

    def collate(self, rows: Sequence[Mapping[str, Any]]) -> AdapterBatch:
        """Put B rows together.

        Returns:
            Inputs ``search_pixels`` ``(I, 3, S, S)``, ``search_sizes`` ``(I, 2)`` (height and width of the originals),
            ``search_keys`` ``(I, 2)``, ``search_images`` ``(K,)`` (the picture of each ``[LOC]``), ``search_last``
            ``(B,)`` (the last picture of each row, or -1) and ``search_heat_sizes`` ``(K, 2)`` (of the maps that are
            wanted); targets ``boxes`` ``(M, 4)`` (centre, width and height as fractions), ``num_boxes`` ``(K,)``,
            ``is_boxed`` ``(K,)``, ``heat_masks`` ``(P,)`` of 0, 1 and 255 (nobody judged) and ``heat_sizes``
            ``(K, 2)``; the counts ``boxes``, of tokens that have some, and ``heat_masks``.
        """
        starts = np.cumsum([0, *(len(row["pixels"]) for row in rows)]).tolist()
        pixels = _all(rows, "pixels")
        boxes: list[list[list[float]]] = _all(rows, "boxes")
        images = [start + place for row, start in zip(rows, starts, strict=False) for place in row["images"]]
        last = [start + row["last"] if row["last"] >= 0 else -1 for row, start in zip(rows, starts, strict=False)]
        heat, heat_sizes = _all(rows, "heat"), _whole(_all(rows, "heat_sizes"))
        flat = [box for group in boxes for box in group]
        return AdapterBatch(
            inputs={
                "search_pixels": torch.stack(pixels) if pixels else torch.zeros(0, 3, self.size, self.size),
                "search_sizes": _whole(_all(rows, "sizes")),
                "search_keys": _whole(_all(rows, "keys")),
                "search_images": torch.tensor(images, dtype=torch.long),
                "search_last": torch.tensor(last, dtype=torch.long),
                "search_heat_sizes": heat_sizes,
            },
            targets={
                "boxes": torch.tensor(flat, dtype=torch.float32).reshape(-1, 4),
                "num_boxes": torch.tensor([len(group) for group in boxes], dtype=torch.long),
                "is_boxed": torch.tensor(_all(rows, "is_boxed"), dtype=torch.bool),
                "heat_masks": torch.cat(heat) if heat else torch.zeros(0, dtype=torch.uint8),
                "heat_sizes": heat_sizes,
            },
            counts={"boxes": float(len(flat)), "heat_masks": float(sum(row["num_masks"] for row in rows))},
        )

    def _check_numbers(self, sample: Sample, num_tokens: int) -> None:
        for name, given in (("boxes", sample.boxes), ("heat_masks", sample.heat_masks)):
            is_optional = name == "heat_masks" or num_tokens == 0
            if len(given) != num_tokens and not (is_optional and not given):
                raise DataError(
                    f"Sample `{sample.id}` says {self.token} {num_tokens} times, but has {len(given)} entries in "
                    f"`{name}`; give one for each, in order (None where nobody drew any)."
                )


def _fractions(boxes: Sequence[Box], *, size: tuple[int, int], sample: Sample, number: int) -> list[list[float]]:
    """Return boxes as centre, width and height in fractions of their image, cut at its borders."""
    found = []
    for box in boxes:
        frame = box.frame
        if frame.kind != "original" or (frame.height, frame.width) != size:
            raise DataError(
                f"The boxes of token {number + 1} of sample `{sample.id}` must stand in the original frame of its "
                f"image, {size[1]}×{size[0]} pixels, but one stands in {frame} instead; convert it with `.to(frame)`."
            )
        cut = box.clipped()
        if cut.area <= 0:
            raise DataError(
                f"The boxes of token {number + 1} of sample `{sample.id}` must have an area inside its image, but one "
                f"is {box.xyxy} instead; leave it out."
            )
        whole = Frame.original(frame.image, width=frame.width, height=frame.height)
        found.append(list(cut.to(whole.unit).cxcywh))
    return found


def _all(rows: Sequence[Mapping[str, Any]], name: str) -> list[Any]:
    return [value for row in rows for value in row[name]]


def _whole(rows: Sequence[Sequence[int]]) -> Tensor:
    return torch.tensor(rows, dtype=torch.long).reshape(-1, 2)
