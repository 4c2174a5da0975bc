"""The processor: images and conversations in, the model's inputs out.

It expands every image placeholder to the exact number of visual tokens, so that all that follows (positions, label
masks, packing, serving) sees one and the same sequence.

Letters: T text positions, N visual tokens of an image, (H, W) pixels.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor
from transformers import LlavaImageProcessorPil, PreTrainedTokenizerBase, ProcessorMixin
from transformers.processing_utils import MultiModalData
from transformers.utils.chat_template_utils import render_jinja_template

from vlmzoo.data.images import load_image
from vlmzoo.data.tokenizers import IMAGE_TOKEN
from vlmzoo.errors import ConfigError, DataError
from vlmzoo.outputs import IGNORED_LABEL
from vlmzoo.types import ImageLike, Message, Sample

__all__ = ["VlmProcessor"]


class VlmProcessor(ProcessorMixin):
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
        self.image_token_id = self.tokenizer.convert_tokens_to_ids(self.image_token)
        special = {token for token in self.tokenizer.all_special_tokens if token}
        self._control = re.compile("|".join(re.escape(token) for token in sorted(special, key=len, reverse=True)))

    def replace_image_token(self, image_inputs: dict[str, Any], image_idx: int, **kwargs: Any) -> str:
        """Return the placeholders of one image, for transformers' own ``__call__``."""
        return self.image_token * self.num_image_tokens

    def count_image_tokens(self, image_sizes: Sequence[tuple[int, int]]) -> list[int]:
        """Return N for each image, from its (height, width) in pixels alone."""
        return [self.num_image_tokens for _ in image_sizes]

    def _get_num_multimodal_tokens(
        self, image_sizes: Sequence[tuple[int, int]] | None = None, **kwargs: Any
    ) -> MultiModalData:
        """Answer vLLM's question: how many placeholders, how many patches, for images of these sizes."""
        if image_sizes is None:
            return MultiModalData()
        return MultiModalData(
            num_image_tokens=self.count_image_tokens(image_sizes), num_image_patches=[1] * len(image_sizes)
        )

    @property
    def padding_id(self) -> int:
        """The id that fills gaps: the padding token, or the end of sequence where there is none."""
        token = self.tokenizer.pad_token_id
        return int(token if token is not None else self.tokenizer.eos_token_id)

    def escape(self, text: str) -> str:
        """Return a user's text in which no special token can be read: ``<image>`` becomes ``< image>``."""
        return self._control.sub(lambda match: f"{match[0][0]} {match[0][1:]}", text)

    def apply_chat_template(self, conversation: Any, **kwargs: Any) -> Any:
        """Render conversations as transformers does, with the special tokens in users' texts made harmless."""
        is_batched = bool(conversation) and not isinstance(conversation[0], Mapping)
        conversations = conversation if is_batched else [conversation]
        escaped = [self._escape_messages(messages) for messages in conversations]
        return super().apply_chat_template(escaped if is_batched else escaped[0], **kwargs)

    def _escape_messages(self, messages: Sequence[Message]) -> list[dict[str, Any]]:
        escaped: list[dict[str, Any]] = []
        for message in messages:
            content = message["content"]
            blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
            escaped.append(
                {
                    **message,
                    "content": [
                        {**block, "text": self.escape(block["text"])} if block.get("type") == "text" else dict(block)
                        for block in blocks
                    ],
                }
            )
        return escaped

    def encode(self, sample: Sample) -> dict[str, Any]:
        """Encode one conversation for training.

        Args:
            sample: with an image for each image block.

        Returns:
            ``input_ids`` and ``labels``, lists of T integers (labels are -100 outside what the assistant says), and
            ``pixel_values`` of shape ``(images, 3, H, W)``, or None without images.

        Raises:
            DataError: if image blocks and images differ in number, or nothing is to be learned.
        """
        self._check_images(sample)
        ids, is_target = self._tokenise(sample)
        if not is_target.any():
            raise DataError(
                f"Sample `{sample.id}` holds nothing that the assistant says; end it with an assistant turn, and mark "
                "it with {% generation %} in the chat template."
            )
        repeats = np.where(ids == self.image_token_id, self.num_image_tokens, 1)
        labels = np.where(is_target, ids, IGNORED_LABEL)
        return {
            "input_ids": np.repeat(ids, repeats).tolist(),
            "labels": np.repeat(labels, repeats).tolist(),
            "pixel_values": self.encode_images(sample.images),
        }

    def encode_images(self, images: Sequence[ImageLike]) -> Tensor | None:
        """Prepare images: ``(images, 3, H, W)`` in float32, or None if there are none."""
        if not images:
            return None
        loaded = [load_image(image) for image in images]
        return self.image_processor(loaded, return_tensors="pt")["pixel_values"]

    def _tokenise(self, sample: Sample) -> tuple[np.ndarray, np.ndarray]:
        """Return ids with one placeholder per image, and what is to be learned of them."""
        messages = self._escape_messages(sample.messages)
        texts, spans = render_jinja_template(
            conversations=[messages],
            chat_template=self.get_template(),
            return_assistant_tokens_mask=True,
            **self.tokenizer.special_tokens_map,
        )
        bos = self.tokenizer.bos_token
        encoded = self.tokenizer(
            texts[0],
            add_special_tokens=not (bos and texts[0].startswith(bos)),
            return_offsets_mapping=True,
        )
        offsets = np.asarray(encoded["offset_mapping"])  # (T, 2), characters
        is_target = np.zeros(len(offsets), dtype=bool)
        for start, end in spans[0]:
            is_target |= (offsets[:, 0] < end) & (offsets[:, 1] > start)
        return np.asarray(encoded["input_ids"]), is_target

    def get_template(self) -> str:
        """Return the chat template.

        Raises:
            ConfigError: if there is none.
        """
        if not isinstance(self.chat_template, str):
            raise ConfigError("This processor has no `chat_template`; name one under `processor` of the architecture.")
        return self.chat_template

    def _check_images(self, sample: Sample) -> None:
        blocks = [
            block
            for message in sample.messages
            if not isinstance(message["content"], str)
            for block in message["content"]
            if block.get("type") == "image"
        ]
        if len(blocks) != len(sample.images):
            raise DataError(
                f"Sample `{sample.id}` has {len(blocks)} image placeholders but {len(sample.images)} images; give one "
                "image for each placeholder, in their order."
            )

    @property
    def model_input_names(self) -> list[str]:
        """The names that the model's forward takes."""
        return ["input_ids", "attention_mask", "pixel_values"]
