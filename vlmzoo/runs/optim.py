"""Which parameters learn, at what rate, and how the rate moves."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from torch import nn

from vlmzoo.config.schema import OptimConfig, ScheduleConfig
from vlmzoo.errors import ConfigError
from vlmzoo.models.adapting import AdapterMixin
from vlmzoo.registry import nearest_hint
from vlmzoo.runs.layers import layer_numbers

__all__ = ["make_schedule", "parameter_groups"]


def parameter_groups(model: AdapterMixin, optim: OptimConfig) -> list[dict[str, Any]]:
    """Freeze what is to be frozen, and group the rest by rate and by weight decay.

    What ``optim`` names is a part of the model (``encoder``), or a module within one (``encoders.0``); where several
    names fit a parameter, the longest does.

    Args:
        model: with the adapters that it will have; what they froze by default stays frozen.
        optim: rates, decay and frozen parts.

    Returns:
        Groups of ``params``, ``lr`` and ``weight_decay``; biases, norms and scales are not decayed.

    Raises:
        ConfigError: if a part is unknown, or nothing is left to learn.
    """
    named: Any = list(model.named_parameters())  # type: ignore[attr-defined]
    _check_names(model, (*optim.frozen, *optim.part_learning_rates, *optim.layer_decay), [name for name, _ in named])
    factors = _layer_factors(model, optim)
    groups: dict[tuple[float, float], dict[str, Any]] = {}
    for name, parameter in named:
        part = model.part_of(name)
        if _fitting(name, part, (*optim.frozen, *optim.part_learning_rates)) in optim.frozen:
            parameter.requires_grad_(False)
        if not parameter.requires_grad:
            continue
        own = _fitting(name, part, optim.part_learning_rates)
        rate = (optim.learning_rate if own is None else optim.part_learning_rates[own]) * factors.get(name, 1.0)
        decay = optim.weight_decay if parameter.ndim >= 2 else 0.0
        group = groups.setdefault((rate, decay), {"params": [], "lr": rate, "weight_decay": decay})
        group["params"].append(parameter)
    if not groups:
        raise ConfigError(f"`optim.frozen` leaves nothing to learn: {', '.join(optim.frozen)}; drop one of them.")
    return list(groups.values())


def _check_names(model: AdapterMixin, given: Iterable[str], parameter_names: Sequence[str]) -> None:
    """Check that each name is a part, or begins the name of a parameter.

    Raises:
        ConfigError: if one does not.
    """
    parts = model.part_names
    for name in given:
        if name not in parts and not any(parameter.startswith(f"{name}.") for parameter in parameter_names):
            raise ConfigError(
                f"The model has no part named `{name}`.{nearest_hint(name, parts)} Parts: {', '.join(parts)}; a module "
                "within one is named as its parameters are, e.g. `encoders.0`."
            )


def _fitting(name: str, part: str, given: Iterable[str]) -> str | None:
    """Return the longest of the given names that fits a parameter; a module goes before the part that it is in."""
    fitting = [(one != part, len(one), one) for one in given if one == part or name.startswith(f"{one}.")]
    return max(fitting)[2] if fitting else None


def _layer_factors(model: Any, optim: OptimConfig) -> dict[str, float]:
    """Return what multiplies the rate of each parameter under ``layer_decay``.

    A parameter of layer l of L + 1 learns at ``rate * decay ** (L + 1 - l)``: what stands behind the last block at the
    full rate, the stem slowest. Of several encoders each is a network of its own.

    Source: Clark et al., ELECTRA, arXiv:2003.10555, appendix A; Eagle's ``vision_tower_layer_decay``.

    Raises:
        ConfigError: if a network has no blocks.
    """
    factors: dict[str, float] = {}
    for given in sorted(optim.layer_decay, key=lambda name: (name not in model.part_names, len(name))):
        for path in _networks(model, given):
            numbers, last = layer_numbers(model.get_submodule(path))
            if last == 1:
                raise ConfigError(
                    f"`optim.layer_decay` needs parts that are made of blocks, but `{path}` has none; leave it out."
                )
            for name, number in numbers.items():
                factors[f"{path}.{name}"] = optim.layer_decay[given] ** (last - number)
    return factors


def _networks(model: Any, given: str) -> list[str]:
    """Return the paths of the networks that a part of the base, or a module of this name, consists of.

    Raises:
        ConfigError: if it is neither.
    """
    paths: list[str] = []
    for path in (prefix.removesuffix(".") for prefix in model.part_prefixes.get(given, (f"{given}.",))):
        try:
            module = model.get_submodule(path)
        except AttributeError as error:
            raise ConfigError(
                f"`optim.layer_decay` takes parts of the base, and modules within them, but `{given}` is neither."
            ) from error
        several = isinstance(module, nn.ModuleList)
        paths += [f"{path}.{number}" for number, _ in module.named_children()] if several else [path]
    return paths


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
