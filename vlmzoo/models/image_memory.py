"""Feature maps of images that were seen lately, by what they show: many questions about an image encode it once.

Letters: I images, K encoders, (H, W) pixels.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor

__all__ = ["ImageMemory", "remembered_images"]

Encode = Callable[[Tensor], list[Tensor]]


class ImageMemory:
    """Keeps the K maps of the latest images.

    Args:
        capacity: images that are kept.

    Attributes:
        num_encoded: images that went through the encoders.
    """

    def __init__(self, *, capacity: int) -> None:
        self.capacity = capacity
        self.num_encoded = 0
        self._kept: OrderedDict[bytes, list[Tensor]] = OrderedDict()

    def maps(self, pixel_values: Tensor, encode: Encode) -> list[Tensor]:
        """Return the maps of images, of which each that is not kept is encoded once.

        Args:
            pixel_values: ``(I, 3, H, W)``.
            encode: makes K maps, the k-th of shape ``(images, C_k, h_k, w_k)``.
        """
        keys = [_key(image) for image in pixel_values]
        found = {key: self._kept[key] for key in keys if key in self._kept}
        new = {key: place for place, key in enumerate(keys) if key not in found}
        if new:
            made = encode(pixel_values[list(new.values())])
            self.num_encoded += len(new)
            for row, key in enumerate(new):
                found[key] = [one[row] for one in made]
        for key in keys:
            self._kept[key] = found[key]
            self._kept.move_to_end(key)
        while len(self._kept) > self.capacity:
            self._kept.popitem(last=False)
        return [torch.stack(maps) for maps in zip(*(found[key] for key in keys), strict=True)]


@contextmanager
def remembered_images(models: Iterable[Any], *, capacity: int = 16) -> Iterator[None]:
    """Let composed bases remember images while questions are asked; other bases encode each image as ever.

    Args:
        models: in evaluation mode, whose weights do not change meanwhile.
        capacity: images that each of them keeps.
    """
    with ExitStack() as stack:
        for model in {id(one): one for one in models}.values():
            if getattr(model, "image_memory", False) is None:
                model.image_memory = ImageMemory(capacity=capacity)
                stack.callback(setattr, model, "image_memory", None)
        yield


def _key(image: Tensor) -> bytes:
    held = image.detach().cpu().contiguous()
    digest = hashlib.blake2b(f"{held.dtype} {tuple(held.shape)}".encode(), digest_size=16)
    digest.update(held.view(torch.uint8).numpy().data)
    return digest.digest()
