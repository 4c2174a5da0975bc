"""From a conversation to ids, labels and pictures, for any processor of transformers' kind.

Letters: T text positions, N visual tokens of an image.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from jinja2 import TemplateError
from torch import Tensor
from transformers.utils.chat_template_utils import render_jinja_template

from vlmzoo.data.adapter_inputs import AdapterInputs
from vlmzoo.data.images import load_image
from vlmzoo.errors import ConfigError, DataError
from vlmzoo.outputs import IGNORED_LABEL
from vlmzoo.types import ImageLike, Message, Sample

if TYPE_CHECKING:
    from transformers import ProcessorMixin as _Processor
else:
    _Processor = object  # the processor's class stands behind the mixin

__all__ = ["SampleEncoding"]


class SampleEncoding(_Processor):
    """Teaches a processor to encode whole conversations, labels included; stands before its class among the parents.

    It uses what transformers' processors share: ``image_processor``, ``tokenizer``, ``image_token_id``,
    ``replace_image_token`` and a chat template with ``{% generation %}`` marks.
    """

    image_processor: Any
    tokenizer: Any
    _get_num_multimodal_tokens: Any
    image_token_id: int
    chat_template: Any
    max_image_tokens: int | None = None
    """The most visual tokens that one image may become; None for no limit."""

    @cached_property
    def adapter_inputs(self) -> dict[str, AdapterInputs]:
        """What makes the inputs of the attached adapters, by label."""
        return {}

    @cached_property
    def _control(self) -> re.Pattern[str]:
        special = {token for token in self.tokenizer.all_special_tokens if token}
        return re.compile("|".join(re.escape(token) for token in sorted(special, key=len, reverse=True)) or r"(?!)")

    @cached_property
    def _replacement_ids(self) -> dict[str, np.ndarray]:
        return {}

    @property
    def padding_id(self) -> int:
        """The id that fills gaps: the padding token, or the end of sequence where there is none."""
        token = self.tokenizer.pad_token_id
        return int(token if token is not None else self.tokenizer.eos_token_id)

    def count_image_tokens(self, image_sizes: Sequence[tuple[int, int]]) -> list[int]:
        """Return what each image puts into the sequence, from its (height, width) in pixels alone."""
        return list(self._get_num_multimodal_tokens(list(image_sizes))["num_image_tokens"])

    def escape(self, text: str) -> str:
        """Return a user's text in which no special token can be read: ``<image>`` becomes ``< image>``."""
        return self._control.sub(lambda match: f"{match[0][0]} {match[0][1:]}", text)

    def apply_chat_template(self, conversation: Any, **kwargs: Any) -> Any:
        """Render conversations as transformers does, with the special tokens in users' texts made harmless."""
        is_batched = bool(conversation) and not isinstance(conversation[0], Mapping)
        conversations = conversation if is_batched else [conversation]
        escaped = [self._escape_messages(messages) for messages in conversations]
        return super().apply_chat_template(escaped if is_batched else escaped[0], **kwargs)

    def encode(
        self, sample: Sample, *, pictures: Mapping[str, Tensor] | None = None, with_adapters: bool = True
    ) -> dict[str, Any]:
        """Encode one conversation for training.

        Args:
            sample: with an image for each image block.
            pictures: what :meth:`encode_images` made of its images, where that is known.
            with_adapters: False leaves out what adapters do to the conversation and want of it, for its ids alone.

        Returns:
            ``input_ids`` and ``labels``, lists of T integers (labels are -100 outside what the assistant says), what
            the image processor makes of the images (absent without images), ``mm_token_type_ids`` where the model
            wants them, and the rows of the adapters under ``adapters``.

        Raises:
            DataError: if image blocks and images differ in number, an image is over the limit, or nothing is to be
                learned.
        """
        return self._encode(sample, is_prompt=False, pictures=pictures, with_adapters=with_adapters)

    def encode_prompt(
        self, sample: Sample, *, pictures: Mapping[str, Tensor] | None = None, with_adapters: bool = True
    ) -> dict[str, Any]:
        """Encode one conversation that the assistant is to go on with.

        Args:
            sample: ends with a user's turn.
            pictures: what :meth:`encode_images` made of its images, where that is known.
            with_adapters: False leaves out what adapters do to the conversation and want of it, for its ids alone.

        Returns:
            As ``encode``, with the words that open the assistant's turn at the end of ``input_ids``, and no labels.

        Raises:
            DataError: if the last turn is not a user's, image blocks and images differ in number, or an image is over
                the limit.
        """
        if not sample.messages or sample.messages[-1]["role"] != "user":
            raise DataError(f"A prompt must end with a user's turn, but sample `{sample.id}` does not.")
        return self._encode(sample, is_prompt=True, pictures=pictures, with_adapters=with_adapters)

    def _encode(
        self, sample: Sample, *, is_prompt: bool, pictures: Mapping[str, Tensor] | None, with_adapters: bool
    ) -> dict[str, Any]:
        adapter_inputs = self.adapter_inputs if with_adapters else {}
        for inputs in adapter_inputs.values():
            sample = inputs.prepare(sample)
        self._check_images(sample)
        if pictures is None:
            pictures = self.encode_images(sample.images)
        ids, is_target = self._tokenise(sample, is_prompt=is_prompt)
        if is_prompt:
            is_target[:] = False
        elif not is_target[1:].any():  # the first position has nothing before it
            raise DataError(
                f"Sample `{sample.id}` holds nothing that the assistant says; end it with an assistant turn, and mark "
                "it with {% generation %} in the chat template."
            )
        told = [enumerate(inputs.image_token_counts(sample)) for inputs in adapter_inputs.values()]
        shortened = {number: count for counts in told for number, count in counts if count is not None}
        ids, is_target = self._expand(ids, is_target, pictures, sample, shortened)
        encoded = {"input_ids": ids.tolist(), "labels": np.where(is_target, ids, IGNORED_LABEL).tolist()}
        if getattr(self, "return_mm_token_type_ids", False):
            encoded["mm_token_type_ids"] = self.create_mm_token_type_ids([encoded["input_ids"]])[0]
        if adapter_inputs:
            encoded["adapters"] = {label: inputs.encode(sample) for label, inputs in adapter_inputs.items()}
        return {**encoded, **self._kept(pictures)}

    def encode_images(self, images: Sequence[ImageLike]) -> dict[str, Tensor]:
        """Return what the image processor makes of images: ``pixel_values`` and what else it tells; {} without any."""
        if not images:
            return {}
        return dict(self.image_processor([load_image(image) for image in images], return_tensors="pt"))

    def _kept(self, pictures: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return what the model wants of it, without what was only needed to count tokens."""
        unused = set(getattr(self, "unused_input_names", ())) | {"num_patches"}
        return {name: value for name, value in pictures.items() if name not in unused}

    def _tokenise(self, sample: Sample, *, is_prompt: bool) -> tuple[np.ndarray, np.ndarray]:
        """Return ids with one placeholder per image, and what is to be learned of them."""
        messages = self._escape_messages(sample.messages)
        render: Any = render_jinja_template  # annotated for its documented arguments alone
        try:
            texts, spans = render(
                conversations=[messages],
                chat_template=self.get_template(),
                return_assistant_tokens_mask=True,
                add_generation_prompt=is_prompt,
                **self.tokenizer.special_tokens_map,
            )
        except TemplateError as error:
            raise DataError(f"The chat template refuses sample `{sample.id}`: {error}") from error
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

    def _expand(
        self,
        ids: np.ndarray,
        is_target: np.ndarray,
        pictures: Mapping[str, Tensor],
        sample: Sample,
        shortened: Mapping[int, int],
    ) -> tuple[np.ndarray, np.ndarray]:
        """Put what stands for each image in place of its placeholder; adapters give some a number of their own."""
        places = np.flatnonzero(ids == self.image_token_id)
        if not len(places):
            return ids, is_target
        id_parts, target_parts, last = [], [], 0
        for number, place in enumerate(places):
            if number not in shortened:
                replacement = self._ids_of(self.replace_image_token(dict(pictures), number))
            else:
                replacement = np.full(shortened[number], self.image_token_id)
            self._check_budget(len(replacement), number, sample)
            id_parts += [ids[last:place], replacement]
            target_parts += [is_target[last:place], np.full(len(replacement), is_target[place])]
            last = place + 1
        return np.concatenate([*id_parts, ids[last:]]), np.concatenate([*target_parts, is_target[last:]])

    def _ids_of(self, replacement: str) -> np.ndarray:
        if replacement not in self._replacement_ids:
            self._replacement_ids[replacement] = np.asarray(
                self.tokenizer(replacement, add_special_tokens=False)["input_ids"]
            )
        return self._replacement_ids[replacement]

    def _check_budget(self, num_tokens: int, number: int, sample: Sample) -> None:
        if self.max_image_tokens is not None and num_tokens > self.max_image_tokens:
            raise DataError(
                f"Image {number + 1} of sample `{sample.id}` becomes {num_tokens} visual tokens, but "
                f"{self.max_image_tokens} are allowed; give the processor a smaller pixel budget."
            )

    def get_template(self) -> str:
        """Return the chat template.

        Raises:
            ConfigError: if there is none.
        """
        if not isinstance(self.chat_template, str):
            raise ConfigError("This processor has no `chat_template`; name one under `processor` of the architecture.")
        return self.chat_template

    def _escape_messages(self, messages: Sequence[Message]) -> list[dict[str, Any]]:
        escaped: list[dict[str, Any]] = []
        for message in messages:
            content = message["content"]
            blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
            is_trusted = message["role"] == "assistant"  # what we teach may hold special tokens of adapters
            escaped.append(
                {
                    **message,
                    "content": [
                        {**block, "text": self._escape_block(block["text"], is_trusted=is_trusted)}
                        if block.get("type") == "text"
                        else dict(block)
                        for block in blocks
                    ],
                }
            )
        return escaped

    def _escape_block(self, text: str, *, is_trusted: bool) -> str:
        if is_trusted and self.adapter_tokens:
            kept = "|".join(re.escape(token) for token in self.adapter_tokens)
            pieces = re.split(f"({kept})", text)
            return "".join(piece if piece in self.adapter_tokens else self.escape(piece) for piece in pieces)
        return self.escape(text)

    @property
    def adapter_tokens(self) -> Sequence[str]:
        """Tokens of adapters that an assistant may say."""
        return getattr(self, "_adapter_tokens", ())

    def allow_tokens(self, tokens: Sequence[str]) -> None:
        """Let assistants say these special tokens; users never can."""
        self._adapter_tokens = tuple(dict.fromkeys((*self.adapter_tokens, *tokens)))
        self.__dict__.pop("_control", None)  # the tokenizer has grown

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
