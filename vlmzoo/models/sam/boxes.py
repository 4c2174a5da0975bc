"""SAM asked with boxes: a picture and a box in, the mask of what is in it out.

Letters: K boxes, (H, W) pixels of the image.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from vlmzoo.adapters._seg_images import ImageFeatures, prepare_picture
from vlmzoo.blocks.decoders.postprocess import logits_in_original
from vlmzoo.errors import ConfigError

__all__ = ["BoxSegmenter"]


class BoxSegmenter:
    """Turns boxes into masks, one each; pictures that are asked about again are not encoded again.

    Source: Segment Anything, arXiv:2304.02643, section 3 and appendix A; Visual-RFT, arXiv:2503.01785, table 6, prompts
    it so.

    Args:
        decoder: a SAM decoder with weights.
        device: where it runs.

    Raises:
        ConfigError: if the decoder takes no boxes.
    """

    def __init__(self, decoder: Any, *, device: str | torch.device = "cpu") -> None:
        if not hasattr(decoder, "embed_boxes"):
            raise ConfigError(f"A `{type(decoder).__name__}` takes no boxes; use sam-vit-b, sam-vit-l or sam-vit-h.")
        self.decoder = decoder.to(device).eval()
        self.device = device
        self._features = ImageFeatures(capacity=1, chunk=0, offload=False)

    @torch.no_grad()
    def __call__(self, picture: Image.Image, boxes_xyxy_px: Sequence[Sequence[float]]) -> NDArray[np.bool_]:
        """Return ``(K, H, W)``, True where a pixel belongs to what is in the box.

        Args:
            picture: RGB.
            boxes_xyxy_px: K boxes in pixels of the picture.
        """
        if not boxes_xyxy_px:
            return np.zeros((0, picture.height, picture.width), dtype=bool)
        prepared = prepare_picture(picture, self.decoder.recipe)
        features = self._features(self.decoder, prepared.pixels.unsqueeze(0).to(self.device), [prepared.key])
        scale = [prepared.resized[1] / picture.width, prepared.resized[0] / picture.height] * 2
        boxes = torch.tensor(boxes_xyxy_px, dtype=torch.float32, device=self.device) * torch.tensor(scale).to(
            self.device
        )
        repeated = tuple(feature.expand(len(boxes), *feature.shape[1:]) for feature in features)
        found = self.decoder.decode(repeated, self.decoder.embed_boxes(boxes))
        logits = logits_in_original(
            found.logits, recipe=self.decoder.recipe, resized=prepared.resized, original=prepared.original
        )
        return (logits[:, 0] > 0).cpu().numpy()
