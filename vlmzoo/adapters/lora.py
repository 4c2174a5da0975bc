"""Low-rank adaptation through peft, with targets by part of the model."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import nn

from vlmzoo.adapters import ADAPTERS
from vlmzoo.adapters.contract import Adapter, Host
from vlmzoo.errors import ConfigError
from vlmzoo.registry import nearest_hint

__all__ = ["LORA_NAME", "LoraAdapter"]

LORA_NAME = "default"
"""What peft calls the one set of low-rank weights."""


@ADAPTERS.register(
    "lora",
    source="LoRA, arXiv:2106.09685, section 4.1; DoRA, arXiv:2402.09353; rsLoRA, arXiv:2312.03732",
    tiny={"rank": 2},
)
class LoraAdapter(Adapter):
    """Low-rank updates of linear layers; the base stands still.

    Args:
        rank: r, inner width of the update.
        alpha: the update is scaled by alpha / r, or alpha / sqrt(r) with ``rslora``; None takes 2 r.
        dropout: on what enters the update.
        targets: layers by part: ``{language_model: [q_proj, v_proj], projector: all}``, or a list of parts of which
            all linear layers are taken; the head is never one of them.
        dora: whether magnitudes and directions are learned apart.
        rslora: whether the scale is alpha / sqrt(r).
        whole: parts that learn whole beside it, e.g. ``[projector]``, as LLaVA's scripts have it.
        host: the base.
    """

    trainable: Sequence[str] = ()
    freezes_base: ClassVar[bool] = True

    def __init__(
        self,
        *,
        rank: int = 8,
        alpha: float | None = None,
        dropout: float = 0.0,
        targets: Mapping[str, Any] | Sequence[str] = ("language_model",),
        dora: bool = False,
        rslora: bool = False,
        whole: Sequence[str] = (),
        host: Host,
    ) -> None:
        super().__init__(host=host)
        self.check_host(host, rank=rank, dropout=dropout, targets=targets, whole=whole)
        self.whole = tuple(whole)
        self.targets = _by_part(targets)
        self.options: dict[str, Any] = {
            "r": rank,
            "lora_alpha": 2 * rank if alpha is None else alpha,
            "lora_dropout": dropout,
            "use_dora": dora,
            "use_rslora": rslora,
        }

    @classmethod
    def check_host(cls, host: Host, **options: Any) -> None:
        """Refuse parts that the base does not have, and ranks and rates that mean nothing.

        Raises:
            ConfigError: naming the option.
        """
        rank, dropout = options.get("rank", 8), options.get("dropout", 0.0)
        if isinstance(rank, bool) or not isinstance(rank, int) or rank < 1:
            raise ConfigError(f"adapter `lora`: `rank` must be a whole number of 1 or more, but is {rank!r} instead.")
        if not 0.0 <= dropout < 1.0:
            raise ConfigError(f"adapter `lora`: `dropout` must be in [0, 1), but is {dropout!r} instead.")
        named = [("targets", part) for part in _by_part(options.get("targets", ("language_model",)))]
        for option, part in [*named, *(("whole", part) for part in options.get("whole", ()))]:
            if part not in host.prefixes:
                known = ", ".join(host.prefixes)
                raise ConfigError(
                    f"adapter `lora`: `{option}` names the part `{part}`, which `{host.model_type}` does not have."
                    f"{nearest_hint(part, host.prefixes)} Parts: {known}."
                )

    def attach(self, model: nn.Module) -> None:
        """Put the low-rank weights into the base's linear layers.

        Raises:
            ConfigError: if a part has no such layer.
        """
        if getattr(model, "peft_config", None):
            raise ConfigError(
                "A model holds one `lora`, and this one has it; give that one more `targets`, or merge it first with "
                "`vlmzoo export --merge`."
            )
        from peft import LoraConfig, inject_adapter_in_model  # takes a while to import

        pattern = self._pattern(model)
        config = LoraConfig(target_modules=pattern, bias="none", **self.options)
        inject_adapter_in_model(config, model, adapter_name=LORA_NAME)

    def _pattern(self, model: nn.Module) -> str:
        """Return a regular expression of the full names of the layers, as short as it can be."""
        heads = {id(model.get_output_embeddings())} if hasattr(model, "get_output_embeddings") else set()  # type: ignore[operator]
        linear = [
            name for name, module in model.named_modules() if isinstance(module, nn.Linear) and id(module) not in heads
        ]
        alternatives = []
        for part, wanted in self.targets.items():
            inside = [name for name in linear if self._part_of(name) == part]
            leaves = sorted({name.rsplit(".", 1)[-1] for name in inside})
            missing = [leaf for leaf in wanted if leaf not in leaves] if wanted is not None else []
            if not inside or missing:
                asked = missing[0] if missing else "linear"
                raise ConfigError(
                    f"adapter `lora`: part `{part}` has no layer named `{asked}`."
                    f"{nearest_hint(asked, leaves)} Its linear layers: {', '.join(leaves) or 'none'}."
                )
            chosen = [name for name in inside if wanted is None or name.rsplit(".", 1)[-1] in wanted]
            alternatives += _generalised(chosen)
        return "|".join(sorted(set(alternatives)))

    def _part_of(self, name: str) -> str | None:
        """Return the part whose prefix is the longest that ``name`` begins with."""
        fitting = [
            (len(prefix), part)
            for part, prefixes in self.host.prefixes.items()
            for prefix in prefixes
            if f"{name}.".startswith(prefix)
        ]
        return max(fitting)[1] if fitting else None


def _by_part(targets: Mapping[str, Any] | Sequence[str]) -> dict[str, list[str] | None]:
    """Return names of layers by part; None for all of them."""
    if isinstance(targets, str):
        return {targets: None}
    if not isinstance(targets, Mapping):
        return dict.fromkeys(targets)
    return {part: None if leaves in ("all", None) else list(leaves) for part, leaves in targets.items()}


def _generalised(names: Sequence[str]) -> list[str]:
    """Return expressions for full names, block numbers left open."""
    return sorted({re.sub(r"(?<=\\\.)\d+(?=\\\.)", r"\\d+", re.escape(name)) for name in names})
