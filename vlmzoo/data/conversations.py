"""Conversations on their way to a processor: images put into their blocks, answers taken off."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from vlmzoo.data.images import load_image
from vlmzoo.errors import DataError
from vlmzoo.types import Content, Message, Sample

__all__ = ["begun_answer", "prompt_of", "text_of", "with_images", "words_of"]

_FILLED_BY = ("image", "url", "path", "base64")  # the keys under which transformers looks for a picture


def with_images(sample: Sample) -> list[Message]:
    """Return the sample's messages with each ``{"type": "image"}`` block carrying its image.

    Args:
        sample: its images are taken in order; blocks that already carry one are left alone.

    Returns:
        Messages that ``processor.apply_chat_template`` reads; the sample itself is unchanged.

    Raises:
        DataError: if there are more images than blocks that wait for one, or fewer, or an image cannot be read.
    """
    num_blocks = _num_open_blocks(sample.messages)
    if num_blocks != len(sample.images):
        raise DataError(
            f"Sample `{sample.id}` must have as many images as `{{'type': 'image'}}` blocks, but has "
            f"{len(sample.images)} images and {num_blocks} blocks instead; add the missing images to `images`, or "
            "put one block where each image belongs, e.g. `vlmzoo.types.user(text, num_images=1)`."
        )
    images = iter(sample.images)
    return [
        {
            **message,
            "content": [{**block, "image": load_image(next(images))} if _is_open(block) else block for block in blocks],
        }
        for message, blocks in ((message, _blocks(message)) for message in sample.messages)
    ]


def prompt_of(sample: Sample) -> Sample:
    """Return the sample without its final assistant turn: what a model is asked, ending with a user turn.

    Raises:
        DataError: if what remains does not end with a user turn.
    """
    messages = list(sample.messages)
    if messages and messages[-1]["role"] == "assistant":
        messages.pop()
    if not messages or messages[-1]["role"] != "user":
        roles = [message["role"] for message in sample.messages]
        raise DataError(
            f"Sample `{sample.id}` must end with a user turn, or with a user and an assistant turn, "
            f"but has turns of {roles} instead; there is nothing to ask the model."
        )
    return replace(sample, messages=messages, images=list(sample.images)[: _num_open_blocks(messages)])


def begun_answer(sample: Sample) -> str | None:
    """Return what the last turn holds of an answer that a model shall go on from; None if it is a user's turn."""
    last = sample.messages[-1]
    return _turn_text(last) if last["role"] == "assistant" else None


def text_of(messages: Sequence[Message]) -> str:
    """Return a conversation as people read it, with ``[image]`` for images; roles are named if there are several."""
    if len(messages) == 1:
        return _turn_text(messages[0])
    return "\n\n".join(f"{message['role']}: {_turn_text(message)}" for message in messages)


def words_of(message: Message) -> str:
    """Return what a turn says in words; images leave no mark."""
    return "".join(block.get("text", "") for block in _blocks(message) if block["type"] == "text")


def _turn_text(message: Message) -> str:
    text = ""
    for block in _blocks(message):
        piece = "[image]" if block["type"] == "image" else block.get("text", "")
        is_apart = not text.endswith("[image]") or piece.startswith("\n")
        text += piece if is_apart else f"\n{piece}"
    return text


def _blocks(message: Message) -> Sequence[Content]:
    content = message["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content)


def _is_open(block: Content) -> bool:
    return block["type"] == "image" and not any(key in block for key in _FILLED_BY)


def _num_open_blocks(messages: Sequence[Message]) -> int:
    return sum(_is_open(block) for block in _all_blocks(messages))


def _all_blocks(messages: Sequence[Message]) -> Iterator[Content]:
    for message in messages:
        yield from _blocks(message)
