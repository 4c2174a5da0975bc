"""Chat clients: turns in, words of a language model out, from this process or from an endpoint."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from vlmzoo.registry import Registry

__all__ = ["CHAT_CLIENTS", "ChatClient", "ChatReply", "ChatRequest", "filled"]


@dataclass(frozen=True, kw_only=True)
class ChatRequest:
    """What is asked.

    Args:
        messages: ``{"role": …, "content": text}``, or with content blocks of OpenAI's kind.
        as_json: whether the answer shall be a JSON object.
        seed: of the drawing, where the model draws.
    """

    messages: Sequence[Mapping[str, Any]]
    as_json: bool = False
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class ChatReply:
    """What came back.

    Args:
        text: the words; None for a failure.
        failure: why there are none.
        cost: of the call.
        is_cut: whether the limit of tokens ended it.
    """

    text: str | None
    failure: str | None = None
    cost: float = 0.0
    is_cut: bool = False


class ChatClient(Protocol):
    """Answers requests."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """Model and parameters, all that decides an answer, as JSON values; never a key."""
        ...

    def check(self) -> None:
        """See whether it can answer, within some seconds.

        Raises:
            ServiceError: if it cannot; with its address and what to do.
        """
        ...

    def reply(self, requests: Sequence[ChatRequest]) -> list[ChatReply]:
        """Answer requests, in order; one that fails is a reply without text, and never an error."""
        ...


CHAT_CLIENTS: Registry[ChatClient] = Registry("chat client", "vlmzoo.services.chat")


def filled(template: str, texts: Mapping[str, str]) -> str:
    """Put texts into the last places of a template that have their names; no brace within a text is filled.

    Args:
        template: with ``{name}`` for each name.
        texts: by name, in the order of the places.
    """
    for name, text in texts.items():
        before, found, after = template.rpartition(f"{{{name}}}")
        template = before + text + after if found else template
    return template
