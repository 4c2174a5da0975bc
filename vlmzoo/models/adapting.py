"""What every base has in common: it takes adapters, and with them new tokens, parts, a folder and outputs.

The rooms: `adapted` (state and processor), `new_tokens`, `parts`, `folder`, `outcome`, `generating`, `idle_encoder`.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from transformers import PreTrainedConfig

from vlmzoo.adapters import ADAPTERS, Host
from vlmzoo.models.adapter_specs import Spec, adapter_specs, check_adapters, check_labels
from vlmzoo.models.folder import FolderMixin
from vlmzoo.models.generating import GeneratingMixin
from vlmzoo.models.idle_encoder import IdleEncoderMixin
from vlmzoo.models.new_tokens import NewTokensMixin, check_tokens
from vlmzoo.models.outcome import OutcomeMixin
from vlmzoo.models.parts import PartsMixin
from vlmzoo.models.sam.weights import load_published

__all__ = ["AdapterMixin"]


class AdapterMixin(FolderMixin, NewTokensMixin, PartsMixin, OutcomeMixin, GeneratingMixin, IdleEncoderMixin):
    """Makes a base of a transformers model: stands before the model's class among the parents.

    A base says in ``family`` and ``part_prefixes`` how it is put together.
    """

    family: str = "native"
    """Folder under ``vlmzoo.models`` that composes the base."""
    accepts_loss_kwargs = True

    @classmethod
    def host_of(cls, config: PreTrainedConfig) -> Host:
        """Return what adapters are told of a base with this configuration."""
        text = config.get_text_config()
        return Host(
            family=cls.family,
            model_type=config.model_type,
            hidden_size=text.hidden_size,
            num_layers=text.num_hidden_layers,
            prefixes=cls.part_prefixes,
        )

    def attach_adapters(
        self,
        adapters: Sequence[str | Spec],
        *,
        token_ids: Mapping[str, int] | None = None,
        new_tokens: Sequence[str] = (),
    ) -> None:
        """Attach adapters, in order, to this model and to its processor.

        Args:
            adapters: names or ``{type: …}`` specs; ``name`` gives one a label of its own.
            token_ids: ids of their tokens, when a folder knows them already; None asks the tokenizer.
            new_tokens: which of those have rows beside the base's tables.

        Raises:
            ConfigError: if one cannot be attached, two have the same label, or two add the same token.
            RegistryError: if a name is unknown.
        """
        host = self.host_of(self.config)
        check_adapters(adapters, host)
        specs = adapter_specs(adapters)
        check_labels(specs, self.adapter_specs)
        reference: Tensor = next(self.parameters())
        with torch.device(reference.device):
            built = {label: ADAPTERS.build(spec, host=host) for label, spec in specs.items()}
        check_tokens({**self.attached, **built})
        self._add_tokens(
            [token for adapter in built.values() for token in adapter.special_tokens], token_ids, new_tokens
        )
        for label, adapter in built.items():
            self.adapters[label] = adapter.to(reference.dtype)
            adapter.attach(self)
            for name, source in adapter.starting_weights().items():
                load_published(adapter.get_submodule(name), source)
            specs[label] = {key: value for key, value in specs[label].items() if key not in adapter.transient_options}
        self.adapter_specs |= specs
        self._introduce()
        self._choose_what_learns()
        self.adapters.train(self.training)
