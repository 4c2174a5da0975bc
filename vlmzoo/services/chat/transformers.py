"""A chat client that runs a language model of transformers in this process, in batches."""

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from vlmzoo.errors import ConfigError, ServiceError
from vlmzoo.services.chat import CHAT_CLIENTS, ChatReply, ChatRequest

__all__ = ["TransformersChat"]


@CHAT_CLIENTS.register(
    "transformers",
    source="transformers documentation, chat templates; OViP's judge is Qwen2.5-7B-Instruct, arXiv:2412.15115",
    tiny={"path": "tiny"},
)
class TransformersChat:
    """Loads the model when it is first asked, or checked.

    Args:
        path: a folder or a Hub id of a causal language model with a chat template.
        revision: of a Hub id.
        dtype: e.g. ``float16``, as OViP's judge; ``auto`` for the folder's own.
        device: where it runs.
        temperature: 0 takes the most probable token.
        max_tokens: the limit of each answer.
        batch_size: requests that are answered at once.

    Raises:
        ConfigError: if a number makes no sense.
    """

    def __init__(
        self,
        *,
        path: str,
        revision: str | None = None,
        dtype: str = "auto",
        device: str = "cpu",
        temperature: float = 0.1,
        max_tokens: int = 128,
        batch_size: int = 16,
    ) -> None:
        if temperature < 0 or max_tokens < 1 or batch_size < 1:
            raise ConfigError(
                "`temperature` must be zero or more, `max_tokens` and `batch_size` positive, but they are "
                f"{temperature}, {max_tokens} and {batch_size} instead."
            )
        self.path, self.revision, self.dtype, self.device = path, revision, dtype, device
        self.temperature, self.max_tokens, self.batch_size = temperature, max_tokens, batch_size
        self._loaded: tuple[Any, Any] | None = None
        self._lock = threading.Lock()  # one model, whoever asks

    @property
    def identity(self) -> Mapping[str, Any]:
        """The model and how it draws."""
        names = ("path", "revision", "dtype", "temperature", "max_tokens")
        return {"client": "transformers", **{name: getattr(self, name) for name in names}}

    def check(self) -> None:
        """Load the model.

        Raises:
            ServiceError: if it cannot be loaded.
        """
        with self._lock:
            self._load()

    def reply(self, requests: Sequence[ChatRequest]) -> list[ChatReply]:
        """Answer requests in batches."""
        replies: list[ChatReply] = []
        with self._lock:
            for start in range(0, len(requests), self.batch_size):
                batch = requests[start : start + self.batch_size]
                try:
                    replies += self._answer(batch)
                except (ServiceError, RuntimeError, ValueError) as error:  # what a model or its template may raise
                    replies += [ChatReply(text=None, failure=f"`{self.path}`: {error}") for _ in batch]
        return replies

    def _load(self) -> tuple[Any, Any]:
        if self._loaded is None:
            from transformers import AutoModelForCausalLM, AutoTokenizer

            try:
                tokenizer: Any = AutoTokenizer.from_pretrained(self.path, revision=self.revision, padding_side="left")
                model: Any = AutoModelForCausalLM.from_pretrained(self.path, revision=self.revision, dtype=self.dtype)
            except (OSError, ValueError) as error:
                raise ServiceError(
                    f"The language model `{self.path}` cannot be loaded ({error}); name a folder or a Hub id of a "
                    "causal language model."
                ) from error
            if tokenizer.pad_token_id is None:
                tokenizer.pad_token = tokenizer.eos_token
            self._loaded = model.to(self.device).eval(), tokenizer
        return self._loaded

    def _answer(self, requests: Sequence[ChatRequest]) -> list[ChatReply]:
        import torch

        model, tokenizer = self._load()
        inputs = tokenizer.apply_chat_template(
            [list(request.messages) for request in requests],
            add_generation_prompt=True,
            padding=True,
            return_dict=True,
            return_tensors="pt",
        ).to(self.device)
        options: dict[str, Any] = {"do_sample": False}
        if self.temperature > 0:
            options = {"do_sample": True, "temperature": self.temperature}
        devices = [self.device] if self.device.startswith("cuda") else []
        with torch.random.fork_rng(devices=devices), torch.no_grad():
            torch.manual_seed(requests[0].seed)  # training draws its own numbers, undisturbed
            made = model.generate(
                **inputs, max_new_tokens=self.max_tokens, pad_token_id=tokenizer.pad_token_id, **options
            )
        rows = made[:, inputs["input_ids"].shape[1] :]
        texts = tokenizer.batch_decode(rows, skip_special_tokens=True)
        cut = [tokenizer.eos_token_id not in row and len(row) >= self.max_tokens for row in rows.tolist()]
        return [ChatReply(text=text, is_cut=over) for text, over in zip(texts, cut, strict=True)]
