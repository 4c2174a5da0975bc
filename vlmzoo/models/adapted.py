"""What the rooms of an adapted base share: the fields that one of them sets and another reads."""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast

from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel

from vlmzoo.adapters import Adapter
from vlmzoo.adapters._generation import StateRecorder
from vlmzoo.adapters.tokens import TokenRows
from vlmzoo.data.encoding import SampleEncoding
from vlmzoo.errors import ConfigError

__all__ = ["Adapted", "add_special_tokens"]

if TYPE_CHECKING:
    _Model = PreTrainedModel
else:
    _Model = object  # the model's class stands behind the mixin


class Adapted(_Model):
    """The state of an adapted base: its adapters, its tokens and its processor."""

    config: PreTrainedConfig
    adapters: nn.ModuleDict
    token_rows: TokenRows | None

    def __init__(self, config: PreTrainedConfig, *args: Any, **kwargs: Any) -> None:
        super().__init__(config, *args, **kwargs)
        self.adapters = nn.ModuleDict()
        self.token_rows = None
        self.adapter_specs: dict[str, dict[str, Any]] = {}
        self.token_ids: dict[str, int] = {}
        self._processor: SampleEncoding | Callable[[], SampleEncoding] | None = None
        self._recorder: StateRecorder | None = None
        self._image_inputs: Mapping[str, Tensor] = {}  # of the adapter that shapes images, while it is generated

    @property
    def attached(self) -> dict[str, Adapter]:
        """The adapters by label, in the order in which they were attached."""
        return cast("dict[str, Adapter]", dict(self.adapters.items()))

    @property
    def processor(self) -> Any:
        """The processor that belongs to this model.

        Raises:
            ConfigError: if none was attached, as after transformers' own ``from_pretrained``.
        """
        if self._processor is None:
            raise ConfigError("This model has no processor attached; load both with `vlmzoo.load_model(path)`.")
        if not isinstance(self._processor, SampleEncoding):
            self._processor = self._processor()
            self._introduce()
        return self._processor

    def attach_processor(self, processor: Any) -> None:
        """Attach a processor, or what builds it when it is first wanted."""
        self._processor = processor
        self._introduce()

    def _introduce(self) -> None:
        """Tell the processor of the adapters: the tokens that may be said, and what makes their inputs."""
        if not isinstance(self._processor, SampleEncoding):
            return
        add_special_tokens(self._processor.tokenizer, self.token_ids)
        _check_whole(self._processor.tokenizer, self.token_ids)
        self._processor.allow_tokens(tuple(self.token_ids))
        made = {label: adapter.make_inputs() for label, adapter in self.attached.items()}
        self._processor.adapter_inputs = {label: inputs for label, inputs in made.items() if inputs is not None}


def add_special_tokens(tokenizer: Any, tokens: Iterable[str]) -> None:
    """Add tokens that the tokenizer does not know, in their order."""
    known = tokenizer.get_vocab()
    new = [token for token in tokens if token not in known]
    if new:
        tokenizer.add_special_tokens({"extra_special_tokens": new}, replace_extra_special_tokens=False)


def _check_whole(tokenizer: Any, token_ids: Mapping[str, int]) -> None:
    """Refuse a tokenizer that cuts an adapter's token into pieces, so that it could never be learned or found."""
    for token, id in token_ids.items():
        ids = tokenizer(f"a {token}.", add_special_tokens=False)["input_ids"]
        if tokenizer.convert_tokens_to_ids(token) != id or list(ids).count(id) != 1:
            pieces = tokenizer.convert_ids_to_tokens(ids)
            raise ConfigError(
                f"The tokenizer must keep `{token}` whole as id {id}, but reads `a {token}.` as {pieces}; add it with "
                "`tokenizer.add_special_tokens`, and check the tokenizer's normaliser."
            )
