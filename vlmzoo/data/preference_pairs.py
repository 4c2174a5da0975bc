"""From a question with two answers to the rows of a preference strategy; pictures are prepared once a pair."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from PIL import Image
from torch import Tensor

from vlmzoo.data.adapter_inputs import AdapterInputs
from vlmzoo.data.encoding import SampleEncoding
from vlmzoo.data.images import load_image
from vlmzoo.data.preference_batches import joined_pictures, num_pictures
from vlmzoo.data.preference_rows import Picture, PreferenceRow, rows_of
from vlmzoo.data.shared_tokens import SharedCompat, mask_shared_tokens
from vlmzoo.errors import ConfigError, DataError
from vlmzoo.outputs import IGNORED_LABEL
from vlmzoo.types import ImageLike, Message, Sample, assistant

__all__ = ["PairEncoder", "SharedTokens", "without_images"]

SharedTokens = Literal["keep", "mask", "mask_as_ovip"]
"""What becomes of tokens that both answers hold; ``mask_as_ovip`` finds them as OViP's code does."""

_BLANK = Image.new("RGB", (64, 64), (255, 255, 255))  # S-VCO's picture of nothing
_CROP_AREA = (0.01, 0.2)  # mDPO, arXiv:2406.11839, section 4: a fifth of the picture at most
_TEXTS: tuple[Literal["chosen", "rejected"], ...] = ("chosen", "rejected")
_ROW_FIELDS = ("input_ids", "labels", "mm_token_type_ids", "adapters")


class PairEncoder:
    """Encodes the rows of one pair; stands where a processor stands, so that pairs are fetched as conversations are.

    Args:
        processor: of the model.
        strategy: whose rows, e.g. ``dpo`` or ``orm``.
        mode: ``single`` or ``same_batch``.
        shared_tokens: what becomes of tokens that both answers hold.
        seed: of the crops of ``ori_mdpo``.

    Raises:
        ConfigError: if there is no such strategy, mode or treatment of shared tokens, or the strategy has rows of one
            answer only, so that no tokens are shared.
    """

    def __init__(
        self,
        processor: SampleEncoding,
        *,
        strategy: str,
        mode: str = "single",
        shared_tokens: SharedTokens = "keep",
        seed: int = 0,
    ) -> None:
        if shared_tokens not in ("keep", "mask", "mask_as_ovip"):
            raise ConfigError(f"`shared_tokens` must be keep, mask or mask_as_ovip, but is {shared_tokens!r} instead.")
        self.processor, self.shared_tokens, self.seed = processor, shared_tokens, seed
        self.strategy = strategy
        self.rows = list(rows_of(strategy, mode=mode, num_pairs=1))
        if shared_tokens != "keep" and {row.text for row in self.rows} != set(_TEXTS):
            raise ConfigError(
                f"`shared_tokens` must be keep with `{strategy}` ({mode}), which compares pictures under one answer, "
                f"but is {shared_tokens!r} instead."
            )
        self.pictures: list[Picture] = list(dict.fromkeys(row.picture for row in self.rows))

    @property
    def padding_id(self) -> int:
        """The id that fills gaps."""
        return self.processor.padding_id

    @property
    def adapter_inputs(self) -> Mapping[str, AdapterInputs]:
        """What makes the inputs of the attached adapters, by label."""
        return self.processor.adapter_inputs

    def encode(self, sample: Sample) -> dict[str, Any]:
        """Encode one pair.

        Args:
            sample: ends with the better answer; ``rejected`` is the other.

        Returns:
            ``rows``, encoded, in the order of ``rows_of``; ``shown``, the numbers of each row's pictures; ``pictures``,
            what the image processor made of them, each once; ``input_ids`` of the longest row.

        Raises:
            DataError: if an answer is missing, empty, or equal to the other one; if pictures are missing, or are not
                as many as their places; or if no target is left.
        """
        self._check(sample)
        shown_to = {picture: self._images(sample, picture) for picture in self.pictures}
        made = {picture: self.processor.encode_images(images) for picture, images in shown_to.items()}
        encoded = [self._row(sample, row, shown_to[row.picture], made[row.picture]) for row in self.rows]
        pictures = {  # as the processor hands them to the model
            row.picture: {name: value for name, value in whole.items() if name not in _ROW_FIELDS}
            for row, whole in zip(self.rows, encoded, strict=True)
        }
        numbers, start = {}, 0
        for picture, tensors in pictures.items():
            numbers[picture] = list(range(start, start + num_pictures(tensors)))
            start += len(numbers[picture])
        rows = [{name: whole[name] for name in _ROW_FIELDS if name in whole} for whole in encoded]
        if self.shared_tokens != "keep":
            self._mask_shared(rows, sample)
        return {
            "rows": rows,
            "shown": [numbers[row.picture] for row in self.rows],
            "pictures": joined_pictures(list(pictures.values())),
            "input_ids": max((row["input_ids"] for row in rows), key=len),
        }

    def _check(self, sample: Sample) -> None:
        _check_answers(sample)

    def _row(
        self, sample: Sample, row: PreferenceRow, images: Sequence[ImageLike], pictures: Mapping[str, Tensor]
    ) -> dict[str, Any]:
        messages = list(sample.messages)
        if row.text == "rejected":
            messages[-1] = assistant(sample.rejected or "")
        if row.picture == "none":
            messages = [without_images(message) for message in messages]
        told = replace(sample, messages=messages, images=images, rejected=None, negative_images=())
        return self.processor.encode(told, pictures=pictures)

    def _images(self, sample: Sample, picture: Picture) -> Sequence[ImageLike]:
        """Return what rows with this picture are shown."""
        if picture == "none":
            return []
        if picture == "positive":
            return sample.images
        if not sample.images:
            raise DataError(
                f"Sample `{sample.id}` must have an image for the strategy `{self.strategy}`, but has none; leave it "
                "out, or use a strategy that compares answers only (`dpo`)."
            )
        if picture == "blank":
            return [_BLANK] * len(sample.images)
        if picture == "cropped":
            return [_crop(load_image(image), f"{self.seed}/{sample.id}/{n}") for n, image in enumerate(sample.images)]
        if len(sample.negative_images) != len(sample.images):
            raise DataError(
                f"Sample `{sample.id}` must have a negative image for each of its {len(sample.images)} images, but has "
                f"{len(sample.negative_images)}; name them in the data, or use the strategy `dpo`."
            )
        return sample.negative_images

    def _mask_shared(self, rows: Sequence[dict[str, Any]], sample: Sample) -> None:
        compat: SharedCompat = "ovip" if self.shared_tokens == "mask_as_ovip" else None
        first = {text: next(r for r, row in zip(rows, self.rows, strict=True) if row.text == text) for text in _TEXTS}
        masked = mask_shared_tokens(first["chosen"]["labels"], first["rejected"]["labels"], compat=compat)
        kept = {text: _kept(first[text]["labels"], labels) for text, labels in zip(_TEXTS, masked, strict=True)}
        for encoded, row in zip(rows, self.rows, strict=True):
            if not any(kept[row.text]):
                raise DataError(
                    f"No target is left of the {row.text} answer of sample `{sample.id}` when the tokens that both "
                    "answers hold are masked; leave the pair out, or set `shared_tokens: keep`."
                )
            flags = iter(kept[row.text])
            encoded["labels"] = [
                id if id == IGNORED_LABEL or next(flags) else IGNORED_LABEL for id in encoded["labels"]
            ]


def _check_answers(sample: Sample) -> None:
    name = f"Sample `{sample.id}`"
    if not sample.messages or sample.messages[-1]["role"] != "assistant":
        raise DataError(f"{name} must end with the better answer, an assistant turn, but does not.")
    if sample.rejected is None:
        raise DataError(f"{name} must have a rejected answer, but has none; is the source one of preferences?")
    content = sample.messages[-1]["content"]
    chosen = content if isinstance(content, str) else "".join(block.get("text", "") for block in content)
    for which, text in (("chosen", chosen), ("rejected", sample.rejected)):
        if not text.strip():
            raise DataError(f"The {which} answer of sample `{sample.id}` must say something, but is {text!r}.")
    if chosen.strip() == sample.rejected.strip():
        raise DataError(f"The answers of sample `{sample.id}` must differ, but both are {chosen.strip()[:80]!r}.")


def without_images(message: Message) -> Message:
    """Return a turn without its image blocks; its texts are untouched."""
    content = message["content"]
    if isinstance(content, str):
        return message
    return {**message, "content": [block for block in content if block.get("type") != "image"]}


def _crop(image: Image.Image, seed: str) -> Image.Image:
    """Return a piece of a picture, of its shape and at most a fifth of its area."""
    draw = random.Random(seed)
    scale = draw.uniform(*_CROP_AREA) ** 0.5
    width, height = (max(1, round(side * scale)) for side in image.size)
    left, top = draw.randint(0, image.size[0] - width), draw.randint(0, image.size[1] - height)
    return image.crop((left, top, left + width, top + height))


def _kept(before: Sequence[int], after: Sequence[int]) -> list[bool]:
    """Return for each target whether it still is one."""
    return [new != IGNORED_LABEL for old, new in zip(before, after, strict=True) if old != IGNORED_LABEL]
