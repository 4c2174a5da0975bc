"""The parts of a base: which parameter belongs to which, how many there are, and which learn."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from vlmzoo.blocks.encoders import Encoder
from vlmzoo.models.adapted import Adapted

__all__ = ["PartsMixin", "freeze_unused"]


def freeze_unused(model: Any) -> None:
    """Keep what nothing reads from learning, whatever loaders or a thaw of all weights have said."""
    for module in model.modules():
        if isinstance(module, Encoder):
            module.freeze_unused()


class PartsMixin(Adapted):
    """Names the parts of a base; a base says in ``part_prefixes`` how it is put together."""

    part_prefixes: Mapping[str, tuple[str, ...]] = {}
    """Names of the parts, and what the names of their parameters begin with; the longest beginning decides."""

    @property
    def part_names(self) -> list[str]:
        """Names of the parts that a run may freeze, or teach at their own rate."""
        names = list(self.part_prefixes)
        names += [label for label, adapter in self.attached.items() if next(adapter.parameters(), None) is not None]
        if self.token_rows is not None:
            names.append("token_rows")
        if any(".lora_" in name for name, _ in self.named_parameters()):
            names.append("lora")
        return names

    def part_of(self, parameter_name: str) -> str:
        """Return the part that a parameter belongs to.

        Args:
            parameter_name: as ``named_parameters`` gives it.
        """
        if parameter_name.startswith("adapters."):
            return parameter_name.split(".")[1]
        if parameter_name.startswith("token_rows."):
            return "token_rows"
        if ".lora_" in parameter_name:
            return "lora"
        fitting = [
            (len(prefix), part)
            for part, prefixes in self.part_prefixes.items()
            for prefix in prefixes
            if parameter_name.startswith(prefix)
        ]
        return max(fitting)[1] if fitting else "rest"

    def count_parameters(self) -> dict[str, int]:
        """Return the number of parameters of each part; what two parts share counts once."""
        counts = dict.fromkeys(self.part_names, 0)
        for name, parameter in self.named_parameters():
            part = self.part_of(name)
            counts[part] = counts.get(part, 0) + parameter.numel()
        return counts

    def _choose_what_learns(self) -> None:
        """Set what learns by default: the base unless an adapter freezes it, and what the adapters declare."""
        attached = self.attached
        is_frozen = any(adapter.freezes_base for adapter in attached.values())
        whole = {part for adapter in attached.values() for part in adapter.whole}
        for name, parameter in self.named_parameters():
            part = self.part_of(name)
            if name.startswith("adapters."):
                inner = name.removeprefix(f"adapters.{part}.")
                learns = any(inner.startswith(start) for start in attached[part].trainable)
            else:
                learns = part in ("lora", "token_rows") or part in whole or not is_frozen
            parameter.requires_grad_(learns)
        freeze_unused(self)

    @contextmanager
    def without_lora(self) -> Iterator[None]:
        """Switch LoRA off for a while: the model is its own reference."""
        from peft.tuners.tuners_utils import BaseTunerLayer

        layers = [m for m in self.modules() if isinstance(m, BaseTunerLayer)]
        for layer in layers:
            layer.enable_adapters(enabled=False)
        try:
            yield
        finally:
            for layer in layers:
                layer.enable_adapters(enabled=True)
