"""Pictures for a mask decoder: prepared by its recipe, encoded once, and kept by what they show.

Letters: I pictures, S side of the decoder's input, (H, W) pixels of the original.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vlmzoo.blocks.decoders import Features, ImageEncoding, ImageRecipe
from vlmzoo.distributed import world_size
from vlmzoo.geometry import Frame

__all__ = ["ImageFeatures", "Prepared", "decoder_frame", "image_key", "prepare_picture"]


class Prepared(NamedTuple):
    """A picture as a decoder takes it."""

    pixels: Tensor
    """``(3, S, S)``, normalised, zero where it is padded."""
    resized: tuple[int, int]
    """(height, width) of the picture inside."""
    original: tuple[int, int]
    """(H, W)."""
    key: tuple[int, int]
    """Two numbers that only pictures of the same content share."""


def decoder_frame(original: Frame, recipe: ImageRecipe) -> Frame:
    """Return the frame of a decoder's input, into which boxes and points of the image can be carried.

    The rule of :func:`prepare_picture` as geometry; goldens hold it against published prompts.

    Args:
        original: of the image.
        recipe: of the decoder.

    Raises:
        DataError: if the image is so narrow that a side would vanish.
    """
    if recipe.fit == "stretch":
        return original.resized(width=recipe.size, height=recipe.size)
    resized = original.resized_to_longest_side(recipe.size)
    return resized.padded(width=recipe.size, height=recipe.size, align="top_left")


def prepare_picture(picture: Image.Image, recipe: ImageRecipe, *, name: str = "image") -> Prepared:
    """Scale, normalise and pad a picture.

    Source: Segment Anything, arXiv:2304.02643, whose code scales 8-bit pixels bilinearly and pads after normalising.

    Args:
        picture: RGB.
        recipe: of the decoder.
        name: of the picture, for messages.

    Raises:
        DataError: if it is so narrow that a side would vanish.
    """
    original = Frame.original(name, width=picture.width, height=picture.height)
    if recipe.fit == "stretch":
        inside = original.resized(width=recipe.size, height=recipe.size)
    else:
        inside = original.resized_to_longest_side(recipe.size)
    scaled = picture.resize((inside.width, inside.height), Image.Resampling.BILINEAR)
    pixels = torch.from_numpy(np.array(scaled)).movedim(-1, 0).float()
    mean, std = (torch.tensor(values).reshape(3, 1, 1) for values in (recipe.mean, recipe.std))
    padded = torch.zeros(3, recipe.size, recipe.size)
    padded[:, : inside.height, : inside.width] = (pixels - mean) / std
    return Prepared(
        pixels=padded,
        resized=(inside.height, inside.width),
        original=(picture.height, picture.width),
        key=image_key(picture),
    )


def image_key(picture: Image.Image) -> tuple[int, int]:
    """Hash a picture's size and pixels to two signed 64-bit numbers."""
    digest = hashlib.blake2b(np.asarray(picture).tobytes(), digest_size=16, person=b"%d,%d" % picture.size).digest()
    return tuple(np.frombuffer(digest, dtype=np.int64).tolist())  # type: ignore[return-value]


class ImageFeatures:
    """Encodes pictures, each once: what was encoded lately is kept by content.

    Nothing is kept while the encoder learns, nor in training on several ranks, which must all run it equally often.

    Args:
        capacity: pictures whose features are kept; 0 for none.
        chunk: pictures in one call of the encoder; 0 for all.
        offload: whether the encoder waits on the CPU, and visits the pictures' device for each call.
    """

    def __init__(self, *, capacity: int, chunk: int, offload: bool) -> None:
        self.capacity = capacity
        self.chunk = chunk
        self.offload = offload
        self.num_encoded = 0
        self._kept: OrderedDict[tuple[object, ...], Features] = OrderedDict()

    def __call__(self, decoder: ImageEncoding, pixels: Tensor, keys: Sequence[tuple[int, int]]) -> Features:
        """Return the features of pictures.

        Args:
            decoder: whose encoder runs.
            pixels: ``(I, 3, S, S)``.
            keys: I keys of their content.
        """
        encoder = [p for n, p in decoder.named_parameters() if n.startswith(tuple(decoder.encoder_parts))]
        learns = decoder.training and any(parameter.requires_grad for parameter in encoder)
        if learns:
            self.num_encoded += len(pixels)
            return self._encode(decoder, pixels, encoder)
        with torch.no_grad():
            if decoder.training and world_size() > 1:
                self.num_encoded += len(pixels)
                return self._encode(decoder, pixels, encoder)
            state = (pixels.device, encoder[0].dtype, encoder[0].data_ptr(), sum(p._version for p in encoder))
            return self._kept_or_encoded(decoder, pixels, [(*key, *state) for key in keys], encoder)

    def _kept_or_encoded(
        self, decoder: ImageEncoding, pixels: Tensor, keys: Sequence[tuple[object, ...]], encoder: Sequence[Tensor]
    ) -> Features:
        new = {key: place for place, key in enumerate(keys) if key not in self._kept}
        found = {key: self._kept[key] for key in keys if key in self._kept}
        if new:
            self.num_encoded += len(new)
            encoded = self._encode(decoder, pixels[list(new.values())], encoder)
            for place, key in enumerate(new):
                found[key] = tuple(feature[place : place + 1] for feature in encoded)
        for key in keys:
            self._kept[key] = found[key]
            self._kept.move_to_end(key)
        while len(self._kept) > self.capacity:
            self._kept.popitem(last=False)
        return tuple(torch.cat(parts) for parts in zip(*(found[key] for key in keys), strict=True))

    def _encode(self, decoder: ImageEncoding, pixels: Tensor, encoder: Sequence[Tensor]) -> Features:
        device = pixels.device
        modules = [decoder.get_submodule(part.rstrip(".")) for part in decoder.encoder_parts]
        if self.offload:
            for module in modules:
                module.to(device)
        try:
            pieces = pixels.split(self.chunk) if self.chunk else [pixels]
            parts = [decoder.encode_images(piece.to(encoder[0].dtype)) for piece in pieces]
        finally:
            if self.offload:
                for module in modules:
                    module.to("cpu")
        return tuple(torch.cat(features) for features in zip(*parts, strict=True)) if len(parts) > 1 else parts[0]

    def __deepcopy__(self, memo: object) -> "ImageFeatures":
        """Copy the options; what is kept belongs to one model."""
        return type(self)(capacity=self.capacity, chunk=self.chunk, offload=self.offload)
