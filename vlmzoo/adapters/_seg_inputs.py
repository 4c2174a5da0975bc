"""What the seg adapter wants of the data: pictures for its decoder, and the true masks.

Letters: B rows, I pictures, K masks, P pixels of all masks, S side of the decoder's input.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vlmzoo.adapters._seg_images import prepare_picture
from vlmzoo.adapters._token_images import owners_of_tokens
from vlmzoo.blocks.decoders import ImageRecipe
from vlmzoo.data.adapter_inputs import AdapterBatch, AdapterInputs
from vlmzoo.data.images import load_image
from vlmzoo.errors import DataError
from vlmzoo.geometry import Mask
from vlmzoo.outputs import IGNORED_PIXEL
from vlmzoo.types import Sample

__all__ = ["INPUT_NAMES", "SegInputs", "mask_target"]

INPUT_NAMES = ("seg_pixels", "seg_sizes", "seg_keys", "seg_images", "seg_last")


class SegInputs(AdapterInputs):
    """Makes pictures and masks from samples.

    The k-th ``[SEG]`` that the assistant says has the k-th of ``sample.masks``, in the original frame of its image, the
    last image before it. Pictures are prepared for samples that say ``[SEG]``; for a prompt, which may yet make the
    model say it, the last image is prepared, too.

    Args:
        token: ``[SEG]``.
        recipe: how the decoder wants pictures.
    """

    def __init__(self, *, token: str, recipe: ImageRecipe) -> None:
        self.token = token
        self.recipe = recipe

    def encode(self, sample: Sample) -> Mapping[str, Any]:
        """Return one row.

        Args:
            sample: with a mask for each ``[SEG]``; a prompt, which ends with a user's turn, needs none.

        Raises:
            DataError: if masks and tokens differ in number, a mask is not of its image's size, a ``[SEG]`` has no image
                before it, or an image is too narrow for the decoder.
        """
        is_prompt = bool(sample.messages) and sample.messages[-1]["role"] == "user"
        owners, last = owners_of_tokens(sample, self.token)
        if not is_prompt and len(sample.masks) != len(owners):
            raise DataError(
                f"Sample `{sample.id}` says {self.token} {len(owners)} times, but has {len(sample.masks)} masks; give "
                "one for each, in order (an empty one where nothing belongs to it)."
            )
        wanted = sorted({*owners, last} - {-1} if is_prompt else set(owners))
        pictures = [load_image(sample.images[number]) for number in wanted]
        prepared = [
            prepare_picture(picture, self.recipe, name=f"{sample.id or 'sample'}, image {number + 1}")
            for picture, number in zip(pictures, wanted, strict=True)
        ]
        place_of = {number: place for place, number in enumerate(wanted)}
        flat, sizes = [], []
        for number, mask in enumerate(() if is_prompt else sample.masks):
            size = prepared[place_of[owners[number]]].original
            ignored = sample.ignored_masks[number] if sample.ignored_masks else None
            flat.append(mask_target(mask, ignored, size=size, sample=sample, number=number))
            sizes.append(size)
        return {
            "pixels": [one.pixels for one in prepared],
            "sizes": [[*one.resized, *one.original] for one in prepared],
            "keys": [one.key for one in prepared],
            "images": [place_of[number] for number in owners],
            "last": place_of.get(last, -1),
            "masks": flat,
            "mask_sizes": sizes,
        }

    def collate(self, rows: Sequence[Mapping[str, Any]]) -> AdapterBatch:
        """Put B rows together.

        Returns:
            Inputs ``seg_pixels`` ``(I, 3, S, S)``, ``seg_sizes`` ``(I, 4)`` (height and width inside the decoder's
            input, then of the original), ``seg_keys`` ``(I, 2)``, ``seg_images`` ``(K,)`` (the picture of each
            ``[SEG]``) and ``seg_last`` ``(B,)`` (the last picture of each row, or -1); targets ``masks`` ``(P,)`` of
            0, 1 and 255 (ignored) and ``mask_sizes`` ``(K, 2)``; the count ``masks``, K.
        """
        starts = np.cumsum([0, *(len(row["pixels"]) for row in rows)]).tolist()
        pixels = [one for row in rows for one in row["pixels"]]
        side = self.recipe.size
        masks = [mask for row in rows for mask in row["masks"]]
        images = [start + place for row, start in zip(rows, starts, strict=False) for place in row["images"]]
        last = [start + row["last"] if row["last"] >= 0 else -1 for row, start in zip(rows, starts, strict=False)]
        return AdapterBatch(
            inputs={
                "seg_pixels": torch.stack(pixels) if pixels else torch.zeros(0, 3, side, side),
                "seg_sizes": _whole([size for row in rows for size in row["sizes"]], width=4),
                "seg_keys": _whole([key for row in rows for key in row["keys"]], width=2),
                "seg_images": torch.tensor(images, dtype=torch.long),
                "seg_last": torch.tensor(last, dtype=torch.long),
            },
            targets={
                "masks": torch.cat(masks) if masks else torch.zeros(0, dtype=torch.uint8),
                "mask_sizes": _whole([size for row in rows for size in row["mask_sizes"]], width=2),
            },
            counts={"masks": float(len(masks))},
        )


def mask_target(mask: Mask, ignored: Mask | None, *, size: tuple[int, int], sample: Sample, number: int) -> Tensor:
    """Return a mask ``(H · W,)`` of 0, 1 and 255.

    Raises:
        DataError: if it stands in another frame than that of its image, or has another size.
    """
    for one in (mask, ignored):
        if one is not None and (one.array.shape != size or one.frame.kind != "original"):
            raise DataError(
                f"Mask {number + 1} of sample `{sample.id}` must stand in the original frame of its image, "
                f"{size[1]}×{size[0]} pixels, but stands in {one.frame} instead; convert it with `.to(frame)`, or look "
                "whether image and mask belong together."
            )
    target = mask.array.astype(np.uint8)
    if ignored is not None:
        target[ignored.array] = IGNORED_PIXEL
    return torch.from_numpy(target).flatten()


def _whole(rows: Sequence[Sequence[int]], *, width: int) -> Tensor:
    return torch.tensor(rows, dtype=torch.long).reshape(-1, width)
