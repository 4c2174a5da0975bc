"""A language model as describer, asked in the released words of OViP."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from vlmzoo.data.prompts import load_prompts
from vlmzoo.registry import NestedSpecs
from vlmzoo.services.chat import CHAT_CLIENTS, ChatClient, ChatReply, ChatRequest, filled
from vlmzoo.services.describers import DESCRIBERS, DescribeItem, Description

__all__ = ["ChatDescriber"]


@DESCRIBERS.register(
    "chat", source="OViP, arXiv:2505.15963, online loop", tiny={"client": {"type": "transformers", "path": "tiny"}}
)
class ChatDescriber:
    """Asks a chat client for descriptions; one that the limit of tokens cut ends with its last whole sentence.

    Args:
        client: ``{type: openai | transformers, …}``.

    Raises:
        ConfigError: if the client cannot be built.
    """

    nested_specs: ClassVar[NestedSpecs] = {"client": CHAT_CLIENTS.check}

    def __init__(self, *, client: Mapping[str, Any] | ChatClient) -> None:
        self.client: ChatClient = CHAT_CLIENTS.build(client) if isinstance(client, Mapping) else client

    @property
    def identity(self) -> Mapping[str, Any]:
        """The client's."""
        return {"describer": "chat", **self.client.identity}

    def check(self) -> None:
        """Check the client."""
        self.client.check()

    def describe(self, items: Sequence[DescribeItem]) -> list[Description]:
        """Describe pictures."""
        return [_description(reply) for reply in self.client.reply([_request(item) for item in items])]


def _request(item: DescribeItem) -> ChatRequest:
    """Ask for what agrees with the rejected answer: it takes the right one's place, as in OViP's code."""
    texts = {"question": item.question, "answer": item.rejected, "response": item.chosen}
    return ChatRequest(messages=[{"role": "user", "content": filled(load_prompts("ovip")["describe"], texts)}])


def _description(reply: ChatReply) -> Description:
    if reply.text is None:
        return Description(text=None, reason=reply.failure or "no answer", cost=reply.cost, is_failure=True)
    text = reply.text.strip()
    if reply.is_cut and "." in text:
        text = text[: text.rindex(".") + 1]
    return Description(text=text or None, reason="" if text else "an empty description", cost=reply.cost)
