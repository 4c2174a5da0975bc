"""An encoder that is shown a part of the picture."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.nn.functional import interpolate

from vlmzoo.blocks.encoders import ENCODERS, Encoder
from vlmzoo.blocks.sizes import as_height_width
from vlmzoo.errors import ConfigError

__all__ = ["CroppedEncoder"]


@ENCODERS.register(
    "cropped",
    source="vlmzoo's own: a fixed view, for several encoders that share a picture",
    tiny={
        "encoder": {
            "type": "clip",
            "image_size": 28,
            "patch_size": 14,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_layers": 2,
            "num_heads": 2,
        },
        "image_size": [28, 56],
        "box": [0.0, 0.0, 0.5, 1.0],
    },
)
class CroppedEncoder(Encoder):
    """Cuts a box out of the picture, brings it to the size of another encoder, and lets that one look.

    Args:
        encoder: ``{type: …}`` for the encoder registry.
        image_size: side or (height, width) of the whole picture, in pixels.
        box: (x0, y0, x1, y1) as fractions of the picture.

    Raises:
        ConfigError: if the box is empty, or not inside the picture.
    """

    def __init__(self, *, encoder: Mapping[str, Any], image_size: int | Sequence[int], box: Sequence[float]) -> None:
        super().__init__()
        self.image_size = as_height_width(image_size)
        height, width = self.image_size
        x0, y0, x1, y1 = box if len(box) == 4 else (0.0,) * 4
        self.box_xyxy_px = round(x0 * width), round(y0 * height), round(x1 * width), round(y1 * height)
        left, top, right, bottom = self.box_xyxy_px
        if not (0 <= left < right <= width and 0 <= top < bottom <= height):
            raise ConfigError(
                f"`box` must be (x0, y0, x1, y1) as fractions of the picture, with an area, but is {list(box)} instead."
            )
        self.inner: Encoder = ENCODERS.build(encoder)
        self.grid_size = self.inner.grid_size
        self.out_channels = self.inner.out_channels

    def features(self, pixel_values: Tensor) -> Tensor:
        """Encode: ``(B, 3, H, W)`` to ``(B, C, h, w)``, the grid lying over the box."""
        left, top, right, bottom = self.box_xyxy_px
        view = pixel_values[..., top:bottom, left:right]
        if tuple(view.shape[-2:]) != self.inner.image_size:
            view = interpolate(view, size=self.inner.image_size, mode="bilinear", antialias=True)
        return self.inner(view)
