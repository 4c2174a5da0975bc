"""The client of OpenAI's package behind the protocol of ``services/chat``; repeating is ours, so it does not repeat."""

import importlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

from vlmzoo.errors import ConfigError, MissingExtraError, ServiceError
from vlmzoo.services.calling import Caller, CallPolicy, TransientError
from vlmzoo.services.chat import ChatReply, ChatRequest
from vlmzoo.services.posting import key_from

__all__ = ["OpenAiChat"]

_CHECK_S = 5.0
_OWN_URL = "https://api.openai.com/v1"
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class OpenAiChat:
    """Asks an endpoint; its arguments are those of ``services/chat/openai.py``.

    Args:
        base_url: of the endpoint.
        model: name of the model there.
        api_key_env: environment variable with the key.
        parameters: of the drawing.
        num_parallel: requests at once.
        prices: of a million tokens, in and out.
        policy: of repeating.

    Raises:
        ConfigError: if there is no key and the endpoint is not on this machine.
        MissingExtraError: if the package is not installed.
    """

    def __init__(
        self,
        *,
        base_url: str | None,
        model: str,
        api_key_env: str | None,
        parameters: Mapping[str, Any],
        num_parallel: int,
        prices: tuple[float, float],
        policy: CallPolicy,
    ) -> None:
        try:
            self._openai: Any = importlib.import_module("openai")
        except ImportError as error:
            raise MissingExtraError.for_package("openai", "judge") from error
        if num_parallel < 1:
            raise ConfigError(f"`num_parallel` of the client must be positive, but is {num_parallel} instead.")
        self.url = base_url or _OWN_URL
        self.model, self.parameters, self.num_parallel, self.prices = model, dict(parameters), num_parallel, prices
        self._key = _key_of(self.url, api_key_env)
        self.call = Caller(self.url, policy)
        self._client: Any = self._openai.OpenAI(
            base_url=self.url, api_key=self._key, timeout=policy.timeout_s, max_retries=0
        )

    @property
    def identity(self) -> Mapping[str, Any]:
        """The model and how it draws; not the address, so that a ledger outlives a server."""
        return {"client": "openai", "model": self.model, **self.parameters}

    def check(self) -> None:
        """Ask for the list of models.

        Raises:
            ServiceError: if the endpoint cannot be reached or refuses the key.
        """
        try:
            self._client.with_options(timeout=_CHECK_S).models.list()
        except self._openai.NotFoundError:
            return  # it answers, and has no such list
        except self._openai.OpenAIError as error:
            raise ServiceError(
                f"`{self.url}` cannot be used ({self._told(error)}); start the server (e.g. `vlmzoo serve judge`), or "
                "mend `base_url` and the key."
            ) from None

    def reply(self, requests: Sequence[ChatRequest]) -> list[ChatReply]:
        """Answer requests, as many at once as is allowed."""
        if not requests:
            return []
        with ThreadPoolExecutor(min(self.num_parallel, len(requests))) as pool:
            return list(pool.map(self._reply, requests))

    def _reply(self, request: ChatRequest) -> ChatReply:
        try:
            return self.call(lambda: self._ask(request))
        except ServiceError as error:
            return ChatReply(text=None, failure=str(error))

    def _ask(self, request: ChatRequest) -> ChatReply:
        """Send one request.

        Raises:
            ServiceError: whatever goes wrong, in our words and without the key.
        """
        options: dict[str, Any] = dict(self.parameters)
        if request.as_json:
            options["response_format"] = {"type": "json_object"}
        try:
            found = self._client.chat.completions.create(
                model=self.model, messages=list(request.messages), seed=request.seed % 2**31, **options
            )
        except (
            self._openai.APIConnectionError,
            self._openai.InternalServerError,
            self._openai.RateLimitError,
        ) as error:
            raise TransientError(self._told(error)) from None
        except self._openai.APIStatusError as error:
            raise ServiceError(f"`{self.url}` refuses the request: {self._told(error)}") from None
        except (self._openai.OpenAIError, ValueError) as error:  # no JSON, or JSON of another shape
            raise TransientError(f"`{self.url}` answers what is no completion: {self._told(error)}") from None
        return self._read(found)

    def _read(self, found: Any) -> ChatReply:
        try:
            choice = found.choices[0]
            text, reason = choice.message.content, choice.finish_reason
            usage = getattr(found, "usage", None)
            tokens = (int(usage.prompt_tokens), int(usage.completion_tokens)) if usage is not None else (0, 0)
        except (AttributeError, IndexError, TypeError, ValueError) as error:
            raise ServiceError(f"`{self.url}` answers a completion of another shape: {error!r}") from None
        if not isinstance(text, str):
            raise ServiceError(f"`{self.url}` answers a completion without text.")
        cost = sum(number * price / 1e6 for number, price in zip(tokens, self.prices, strict=True))
        return ChatReply(text=text, cost=cost, is_cut=reason == "length")

    def _told(self, error: Exception) -> str:
        """Return what an error says, without the key."""
        return f"{type(error).__name__}: {error}".replace(self._key, "***")[:300]


def _key_of(url: str, api_key_env: str | None) -> str:
    if api_key_env is not None:
        return key_from(api_key_env, url=url)
    if urlsplit(url).hostname not in _LOOPBACK:
        raise ConfigError(
            f"`{url}` is not on this machine, so it must have a key: name the environment variable that holds it, e.g. "
            "`api_key_env: OPENAI_API_KEY`."
        )
    return "no-key-on-loopback"
