"""Which parameters learn, at what rate, and how the rate moves."""

import math
from collections.abc import Callable
from typing import Any

from vlmzoo.config.schema import OptimConfig, ScheduleConfig
from vlmzoo.errors import ConfigError
from vlmzoo.models.adapting import AdapterMixin
from vlmzoo.registry import nearest_hint

__all__ = ["make_schedule", "parameter_groups"]


def parameter_groups(model: AdapterMixin, optim: OptimConfig) -> list[dict[str, Any]]:
    """Freeze what is to be frozen, and group the rest by part and by weight decay.

    Args:
        model: with the adapters that it will have; what they froze by default stays frozen.
        optim: rates, decay and frozen parts.

    Returns:
        Groups of ``params``, ``lr`` and ``weight_decay``; biases, norms and scales are not decayed.

    Raises:
        ConfigError: if a part is unknown, or nothing is left to learn.
    """
    parts = model.part_names
    for name in (*optim.frozen, *optim.part_learning_rates):
        if name not in parts:
            raise ConfigError(
                f"The model has no part named `{name}`.{nearest_hint(name, parts)} Parts: {', '.join(parts)}."
            )
    groups: dict[tuple[float, float], dict[str, Any]] = {}
    named: Any = model.named_parameters()  # type: ignore[attr-defined]
    for name, parameter in named:
        part = model.part_of(name)
        if part in optim.frozen:
            parameter.requires_grad_(False)
        if not parameter.requires_grad:
            continue
        rate = optim.part_learning_rates.get(part, optim.learning_rate)
        decay = optim.weight_decay if parameter.ndim >= 2 else 0.0
        group = groups.setdefault((rate, decay), {"params": [], "lr": rate, "weight_decay": decay})
        group["params"].append(parameter)
    if not groups:
        raise ConfigError(f"`optim.frozen` leaves nothing to learn: {', '.join(optim.frozen)}; drop one of them.")
    return list(groups.values())


def make_schedule(schedule: ScheduleConfig, num_steps: int) -> Callable[[int], float]:
    """Return the factor of the learning rate at each step, from 0.

    Args:
        schedule: shape, warm-up and end.
        num_steps: of the whole run.
    """
    num_warmup = max(1, round(schedule.warmup * num_steps)) if schedule.warmup else 0

    def factor(step: int) -> float:
        if step < num_warmup:
            return (step + 1) / num_warmup
        progress = min(1.0, (step - num_warmup) / max(1, num_steps - num_warmup))
        shape = {
            "cosine": 0.5 * (1.0 + math.cos(math.pi * progress)),
            "linear": 1.0 - progress,
            "constant": 1.0,
        }[schedule.type]
        return schedule.final + (1.0 - schedule.final) * shape

    return factor
