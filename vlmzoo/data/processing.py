"""The processor of composed models: images and conversations in, the model's inputs out.

It expands every image placeholder to the exact number of visual tokens, so that all that follows (positions, label
masks, packing, serving) sees one and the same sequence.

Letters: N visual tokens of an image.
"""

from collections.abc import Sequence
from typing import Any

from PIL import Image
from torch import Tensor
from transformers import LlavaImageProcessorPil, PreTrainedTokenizerBase, ProcessorMixin
from transformers.processing_utils import MultiModalData

from vlmzoo.data.encoding import SampleEncoding
from vlmzoo.data.images import MAX_PIXELS, load_image
from vlmzoo.data.tokenizers import IMAGE_TOKEN
from vlmzoo.errors import DataError
from vlmzoo.types import ImageLike

__all__ = ["VlmProcessor"]


class VlmProcessor(SampleEncoding, ProcessorMixin):
    """Turns images and text into inputs, for a model whose images all give the same number of tokens.

    Args:
        image_processor: resizes, pads or crops, and normalises.
        tokenizer: knows ``<image>`` as a special token.
        num_image_tokens: N, what the model makes of one image.
        chat_template: Jinja text with ``{% generation %}`` marks.
    """

    return_mm_token_type_ids = False

    def __init__(
        self,
        image_processor: LlavaImageProcessorPil | None = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
        num_image_tokens: int = 0,
        chat_template: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.image_token = IMAGE_TOKEN
        self.num_image_tokens = num_image_tokens
        super().__init__(image_processor, tokenizer, chat_template=chat_template, **kwargs)
        self.image_token_id = int(self.tokenizer.convert_tokens_to_ids(self.image_token))

    def encode_images(self, images: Sequence[ImageLike]) -> dict[str, Tensor]:
        """Return ``pixel_values`` of shape ``(images, 3, H, W)``; {} without any image.

        Raises:
            DataError: if an image cannot be read, or is so long that scaling its short side would fill the memory.
        """
        return super().encode_images([self._scalable(load_image(image)) for image in images])

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
        """Return the placeholders of one image, for transformers' own ``__call__``."""
        return self.image_token * self.num_image_tokens

    def _get_num_multimodal_tokens(
        self, image_sizes: Sequence[tuple[int, int]] | None = None, **kwargs: Any
    ) -> MultiModalData:
        """Answer vLLM's question: how many placeholders, how many patches, for images of these sizes."""
        if image_sizes is None:
            return MultiModalData()
        number = len(image_sizes)
        return MultiModalData(num_image_tokens=[self.num_image_tokens] * number, num_image_patches=[1] * number)

    @property
    def model_input_names(self) -> list[str]:
        """The names that the model's forward takes."""
        return ["input_ids", "attention_mask", "pixel_values"]
