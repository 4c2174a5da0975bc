"""The pictures that adapters' tokens speak of: which one each token means, and what an encoder makes of them.

Letters: I pictures, K tokens, S side of an encoder's input.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor

from vlmzoo.adapters._seg_images import ImageFeatures
from vlmzoo.adapters.contract import GenerationContext
from vlmzoo.blocks.decoders import ImageEncoding
from vlmzoo.errors import DataError, ShapeError
from vlmzoo.types import Sample

__all__ = ["encoded_pictures", "image_name", "images_of_tokens", "owners_of_tokens", "places_among"]


def owners_of_tokens(sample: Sample, token: str) -> tuple[list[int], int]:
    """Return the image of each token that the assistant says, the last one before it; and the last of all, or -1.

    Raises:
        DataError: if the assistant says the token before any image.
    """
    owners, seen = [], -1
    for role, block in _blocks(sample):
        if block.get("type") == "image":
            seen += 1
        elif role == "assistant":
            found = str(block.get("text", "")).count(token)
            if found and seen < 0:
                raise DataError(f"Sample `{sample.id}` says {token} before any image; put its image before it.")
            owners += [seen] * found
    return owners, seen


def images_of_tokens(context: GenerationContext, *, token: str, last: Tensor, named: Tensor) -> list[int]:
    """Return the picture of each token found in finished sequences: those in prompts are named, new ones mean the last.

    Args:
        context: of the generation.
        token: what was looked for.
        last: ``(B,)``, the last picture of each prompt, or -1.
        named: the picture of each token in the prompts, in order.

    Raises:
        ShapeError: if tokens in the prompts and ``named`` differ in number.
    """
    places = context.places[token].tolist()
    repeats = len(context.sequences) // len(last)  # completions of one prompt
    lasts, names = last.tolist(), named.tolist()
    in_prompt: dict[int, int] = {}
    for row, column in places:
        in_prompt[row] = in_prompt.get(row, 0) + (column < context.prompt_length)
    starts, total = {}, 0
    for prompt in range(len(lasts)):
        starts[prompt] = total
        total += in_prompt.get(prompt * repeats, 0)
    if total != len(names):
        raise ShapeError(
            f"The adapter's inputs must name the picture of each of the {total} {token} tokens in the prompts, but "
            f"have {len(names)} entries; make the prompts with the model's own processor."
        )
    images, used = [], dict.fromkeys(range(len(context.sequences)), 0)
    for row, column in places:
        prompt = row // repeats
        if column < context.prompt_length:
            images.append(names[starts[prompt] + used[row]])
            used[row] += 1
        else:
            images.append(lasts[prompt])
    return images


def encoded_pictures(
    features: ImageFeatures, encoding: ImageEncoding, pixels: Tensor, keys: Tensor, *, used: Tensor, side: int
) -> tuple[Tensor, ...]:
    """Encode the pictures that are needed; where there is none, a blank one.

    Args:
        features: runs the encoder, or remembers.
        encoding: whose encoder is meant.
        pixels: ``(I, 3, S, S)``.
        keys: ``(I, 2)``, of their content.
        used: which are needed.
        side: S.
    """
    if not len(pixels):
        pixels, keys = pixels.new_zeros(1, 3, side, side), keys.new_zeros(1, 2)
    pairs = [(int(first), int(second)) for first, second in keys[used].tolist()]
    return features(encoding, pixels[used], pairs)


def places_among(images: Tensor) -> Tensor:
    """Return where among the needed pictures, each once and in order, that of each token stands: ``(K,)``."""
    return images.unique(return_inverse=True)[1]


def image_name(key: Sequence[int]) -> str:
    """Return a name that pictures of the same content share."""
    return "image " + "".join(f"{number & 0xFFFFFFFFFFFFFFFF:016x}" for number in key)


def _blocks(sample: Sample) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for message in sample.messages:
        content = message["content"]
        for block in [{"type": "text", "text": content}] if isinstance(content, str) else content:
            yield message["role"], block
