"""Log-probabilities of the reference: a frozen copy, LoRA switched off, or the LoRA that training began with.

Letters: B sequences, T text positions.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, TypeAlias, get_args

import torch
from torch import Tensor

from vlmzoo.errors import ConfigError
from vlmzoo.outputs import Batch
from vlmzoo.registry import nearest_hint
from vlmzoo.services.rollout import Policy

__all__ = ["ReferenceKind", "ReferenceModel"]

ReferenceKind: TypeAlias = Literal["none", "frozen_copy", "lora_off", "frozen_lora"]
"""``frozen_copy``: the starting weights, a second time. ``lora_off``: the base without LoRA. ``frozen_lora``: the LoRA
that training began with, put in place of the present one."""


class ReferenceModel:
    """Computes what the reference thinks of completions.

    Args:
        kind: which of them.
        policy: whose weights, or whose frozen copy, are used.

    Raises:
        ConfigError: if the kind is unknown, or the policy has not what it needs.
    """

    def __init__(self, kind: ReferenceKind, policy: Policy) -> None:
        _check_kind(kind)
        self.kind = kind
        self.policy = policy
        self._start: dict[str, Tensor] = {}
        if kind in ("lora_off", "frozen_lora") and not _lora_of(policy.module):
            raise ConfigError(f"`reference: {kind}` needs a model with LoRA, but this one has none; use `frozen_copy`.")
        if kind == "frozen_copy" and policy.frozen is None:
            raise ConfigError("`reference: frozen_copy` needs a frozen copy of the policy, but none was given.")
        if kind == "frozen_lora":
            with policy.whole_weights():
                self._start = {name: value.detach().clone() for name, value in _lora_of(policy.module).items()}

    @torch.no_grad()
    def logprobs(self, batch: Batch) -> Tensor | None:
        """Return ``(B, T)`` for the targets of a batch; None if there is no reference.

        The policy's weights must be whole (``policy.whole_weights()``).
        """
        if self.kind == "none":
            return None
        if self.kind == "frozen_copy":
            return _run(self.policy.frozen, batch)
        module = self.policy.module
        with module.without_lora() if self.kind == "lora_off" else self._started_lora():
            return _run(module, batch)

    @contextmanager
    def _started_lora(self) -> Iterator[None]:
        present = _lora_of(self.policy.module)
        now = {name: parameter.data for name, parameter in present.items()}
        for name, parameter in present.items():
            parameter.data = self._start[name]
        try:
            yield
        finally:
            for name, parameter in present.items():
                parameter.data = now[name]


def _check_kind(kind: str) -> None:
    if kind == "precomputed":
        raise ConfigError(
            "`reference: precomputed` is for completions that exist beforehand; these are drawn anew in every batch. "
            f"Use one of {', '.join(get_args(ReferenceKind))}."
        )
    if kind not in get_args(ReferenceKind):
        raise ConfigError(
            f"`reference` must be one of {', '.join(get_args(ReferenceKind))}, but is {kind!r} instead."
            f"{nearest_hint(kind, get_args(ReferenceKind))}"
        )


def _lora_of(module: Any) -> dict[str, torch.nn.Parameter]:
    return {name: parameter for name, parameter in module.named_parameters() if ".lora_" in name}


def _run(model: Any, batch: Batch) -> Tensor:
    """Run a model without dropout on a batch, and return the log-probabilities on the CPU."""
    was_training = model.training
    model.eval()
    try:
        inputs = {name: value for name, value in batch.to(model.device).inputs.items() if name != "return_entropy"}
        return model(**inputs, return_logits=False).logprobs.cpu()
    finally:
        model.train(was_training)
