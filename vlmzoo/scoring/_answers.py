"""Where the answer stands in what a model said: between the last pair of ``<answer>`` tags."""

from typing import Literal, TypeAlias

from vlmzoo.errors import ConfigError

__all__ = ["Compat", "answer_of", "check_compat", "first_answer_of"]

OPEN, CLOSE = "<answer>", "</answer>"

Compat: TypeAlias = Literal["virft", "virft_released"]
"""``virft``: the rules of Visual-RFT's released code without its symbolic verifier. ``virft_released``: with it, as far
as it acts on boxes and labels; for showing what it does, never for training."""

_MAX_CHARS = 20_000


def answer_of(text: str) -> str | None:
    """Return what stands in the last complete pair of answer tags, stripped.

    Returns:
        The whole stripped text where there is no opening tag at all; None where a tag is opened and never closed, or
        the answer has more than 20,000 characters.
    """
    found, place = None, text.find(OPEN)
    if place < 0:
        found = text
    while place >= 0:
        end = text.find(CLOSE, place + len(OPEN))
        if end < 0:
            break
        found = text[place + len(OPEN) : end]
        place = text.find(OPEN, end + len(CLOSE))
    return None if found is None or len(found) > _MAX_CHARS else found.strip()


def first_answer_of(text: str) -> str | None:
    """Return what Visual-RFT's released code takes for the answer: the first pair on one line, else the whole text."""
    place = text.find(OPEN)
    while place >= 0:
        start = place + len(OPEN)
        end, line = text.find(CLOSE, start), text.find("\n", start)
        if end < 0:
            break
        if line < 0 or end < line:
            return None if end - start > _MAX_CHARS else text[start:end].strip()
        place = text.find(OPEN, line)
    return None if len(text) > _MAX_CHARS else text.strip()


def check_compat(compat: str | None) -> None:
    """Check an option of a score.

    Raises:
        ConfigError: if it is unknown.
    """
    if compat not in (None, "virft", "virft_released"):
        raise ConfigError(f"`compat` must be virft, virft_released or null, but is {compat!r} instead.")
