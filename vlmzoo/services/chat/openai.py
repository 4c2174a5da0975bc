"""A chat client for any endpoint that speaks OpenAI's protocol, by its address: the package is optional."""

import importlib
from collections.abc import Mapping
from typing import Any

from vlmzoo.services.calling import CallPolicy, plain_url
from vlmzoo.services.chat import CHAT_CLIENTS, ChatClient

__all__ = ["build_openai"]


@CHAT_CLIENTS.register(
    "openai",
    source="OpenAI API reference, chat completions",
    tiny={"base_url": "http://127.0.0.1:9/v1", "model": "judge"},
)
def build_openai(
    *,
    base_url: str | None = None,
    model: str,
    api_key_env: str | None = None,
    temperature: float = 0.1,
    max_tokens: int = 128,
    top_p: float | None = None,
    num_parallel: int = 16,
    price_in: float = 0.0,
    price_out: float = 0.0,
    calls: Mapping[str, Any] | CallPolicy | None = None,
) -> ChatClient:
    """Build the client of ``vlmzoo.integrations.openai_chat``.

    Args:
        base_url: up to ``/v1``; None for OpenAI's own.
        model: name under which the endpoint serves it.
        api_key_env: name of the environment variable that holds the key, which is read when the client is built and
            never written anywhere; None where an endpoint on this machine asks for none.
        temperature: of the drawing (OViP's judge: 0.1).
        max_tokens: the limit of each answer (OViP's judge: 128).
        top_p: share of the mass that is drawn from; None leaves it to the server.
        num_parallel: requests that are under way at once.
        price_in: of a million tokens that are sent.
        price_out: of a million tokens that come back.
        calls: ``timeout_s``, ``retries``, ``pause_s``, ``breaker_after`` …, see ``CallPolicy``.

    Raises:
        ConfigError: if the key is not there, or a number makes no sense.
        MissingExtraError: if the package is not installed.
    """
    client = importlib.import_module("vlmzoo.integrations.openai_chat").OpenAiChat
    return client(
        base_url=None if base_url is None else plain_url(base_url),
        model=model,
        api_key_env=api_key_env,
        parameters={
            "temperature": temperature,
            "max_tokens": max_tokens,
            **({} if top_p is None else {"top_p": top_p}),
        },
        num_parallel=num_parallel,
        prices=(price_in, price_out),
        policy=CallPolicy.parse(calls),
    )
