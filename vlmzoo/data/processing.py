"""The processor of composed models: images and conversations in, the model's inputs out.

It expands every image placeholder to the exact number of visual tokens, so that all that follows (positions, label
masks, packing, serving) sees one and the same sequence.

Letters: N visual tokens of an image.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from transformers import LlavaImageProcessor, LlavaImageProcessorPil, PreTrainedTokenizerBase, ProcessorMixin
from transformers.image_utils import make_flat_list_of_images
from transformers.processing_utils import MultiModalData

from vlmzoo.data.encoding import SampleEncoding
from vlmzoo.data.images import MAX_PIXELS, load_image, pad_to_square
from vlmzoo.data.tiling import Tiling
from vlmzoo.data.tokenizers import IMAGE_TOKEN
from vlmzoo.errors import DataError
from vlmzoo.types import ImageLike

__all__ = ["VlmProcessor"]


class VlmProcessor(SampleEncoding, ProcessorMixin):
    """Turns images and text into inputs, for a model whose images, or tiles of images, all give as many tokens.

    Args:
        image_processor: resizes, pads or crops, and normalises; by Pillow, also where transformers loads its twin that
            scales by torchvision, whose pixels differ by a level here and there.
        tokenizer: knows ``<image>`` as a special token.
        num_image_tokens: N, what the model makes of one image or tile.
        chat_template: Jinja text with ``{% generation %}`` marks.
        tiling: options of `Tiling`; None cuts no image.
        pads_corner: whether images are padded to squares below and on the right, before all else.
    """

    return_mm_token_type_ids = False

    def __init__(
        self,
        image_processor: LlavaImageProcessorPil | LlavaImageProcessor | None = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
        num_image_tokens: int = 0,
        chat_template: str | None = None,
        tiling: Mapping[str, Any] | None = None,
        pads_corner: bool = False,
        **kwargs: Any,
    ) -> None:
        self.image_token = IMAGE_TOKEN
        self.num_image_tokens = num_image_tokens
        self.tiling = None if tiling is None else dict(tiling)
        self.pads_corner = pads_corner
        if isinstance(image_processor, LlavaImageProcessor):
            image_processor = LlavaImageProcessorPil(**_options_of(image_processor))
        super().__init__(image_processor, tokenizer, chat_template=chat_template, **kwargs)
        self.image_token_id = int(self.tokenizer.convert_tokens_to_ids(self.image_token))

    def encode_images(self, images: Sequence[ImageLike]) -> dict[str, Tensor]:
        """Return ``pixel_values`` of shape ``(images or tiles, 3, H, W)``, and how many each image gave; {} without.

        Raises:
            DataError: if an image cannot be read, or is so long that scaling its short side would fill the memory.
        """
        pieces = [self._pieces(self._scalable(load_image(image))) for image in images]
        encoded = super().encode_images([piece for of_image in pieces for piece in of_image])
        if encoded and self.tiling is not None:
            encoded["num_patches"] = torch.tensor([len(of_image) for of_image in pieces])
        return encoded

    def _process_images(self, images: Any, **kwargs: Any) -> tuple[dict[str, Any], list[str]]:
        """Cut images into tiles for transformers' own ``__call__``, if they are to be cut."""
        if self.tiling is None and not self.pads_corner:
            return super()._process_images(images, **kwargs)
        flat: Any = make_flat_list_of_images(images)
        pieces = [self._pieces(load_image(image)) for image in flat]
        processed = dict(self.image_processor([piece for of_image in pieces for piece in of_image], **kwargs))
        if self.tiling is not None:
            processed["num_patches"] = [len(of_image) for of_image in pieces]
        return processed, [self.replace_image_token(processed, index) for index in range(len(pieces))]

    def _pieces(self, image: Image.Image) -> list[Image.Image]:
        if self.pads_corner:
            red, green, blue = (int(255 * mean) for mean in self.image_processor.image_mean)
            image = pad_to_square(image, align="top_left", background=(red, green, blue))
        return [image] if self.tiling is None else Tiling.of(self.tiling).cut(image, tile=self._tile)

    @property
    def _tile(self) -> int:
        """Side of a tile, in pixels."""
        return int(self.image_processor.crop_size["height"])

    @property
    def unused_input_names(self) -> list[str]:
        """What only tells how many placeholders an image needs."""
        return ["num_patches"]

    def _scalable(self, image: Image.Image) -> Image.Image:
        """Return an image whose short side can be scaled to what the processor wants."""
        short = getattr(self.image_processor.size, "shortest_edge", None)
        if short is None:
            return image
        width, height = (side * short // min(image.size) for side in image.size)
        if width * height > MAX_PIXELS:
            raise DataError(
                f"An image of {image.size[0]}×{image.size[1]} pixels would be scaled to {width}×{height} before its "
                f"centre is cut out, more than the {MAX_PIXELS:,} pixels allowed; use `aspect: pad`, or cut it first."
            )
        return image

    def replace_image_token(self, image_inputs: dict[str, Any], image_idx: int, **kwargs: Any) -> str:
        """Return the placeholders of one image, those of all its tiles."""
        counts = image_inputs.get("num_patches")
        return self.image_token * self.num_image_tokens * (1 if counts is None else int(counts[image_idx]))

    def _get_num_multimodal_tokens(
        self, image_sizes: Sequence[tuple[int, int]] | None = None, **kwargs: Any
    ) -> MultiModalData:
        """Answer vLLM's question: how many placeholders, how many patches, for images of these sizes."""
        if image_sizes is None:
            return MultiModalData()
        tiling = None if self.tiling is None else Tiling.of(self.tiling)
        counts = [1 if tiling is None else tiling.count(size, tile=self._tile) for size in image_sizes]
        tokens = [count * self.num_image_tokens for count in counts]
        return MultiModalData(num_image_tokens=tokens, num_image_patches=counts)

    @property
    def model_input_names(self) -> list[str]:
        """The names that the model's forward takes."""
        return ["input_ids", "attention_mask", "pixel_values"]


def _options_of(image_processor: LlavaImageProcessor) -> dict[str, Any]:
    names = ("do_pad", "size", "do_center_crop", "crop_size", "resample", "image_mean", "image_std")
    others = ("do_resize", "do_rescale", "rescale_factor", "do_normalize", "do_convert_rgb")
    return {name: getattr(image_processor, name) for name in (*names, *others)}
