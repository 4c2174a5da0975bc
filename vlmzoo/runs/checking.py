"""What a configuration alone decides, checked before anything is built or read: at the start and in dry runs.

What takes seconds to import is imported where a configuration has something of it, so that a dry run stays quick.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from vlmzoo.config import EvalConfig, ModelConfig, RunConfig
from vlmzoo.errors import ConfigError
from vlmzoo.experience import EXPERIENCES
from vlmzoo.integrations.deepspeed import load_deepspeed_json
from vlmzoo.objectives import OBJECTIVES
from vlmzoo.runs.policy import check_experience, check_objective
from vlmzoo.zoo import load_card

__all__ = ["check_evaluation", "check_run"]


def check_run(config: RunConfig) -> None:
    """Check all names and all that must fit together, on whatever number of ranks the run will have.

    Raises:
        ConfigError: if something is unknown, missing or does not fit; naming it.
        RegistryError: if a name is unknown.
    """
    _check_model(config.model)
    check_experience(config.experience)
    OBJECTIVES.check(config.objective)
    _check_benchmarks(config.evaluation)
    _check_waiting(config)
    _check_evaluate_every(config)
    check_objective(config, knows_ranks=False)


def check_evaluation(config: EvalConfig) -> None:
    """Check the model's and the benchmarks' names and options.

    Raises:
        ConfigError: if something is unknown or missing; naming it.
        RegistryError: if a name is unknown.
    """
    _check_model(config.model)
    _check_benchmarks(config.benchmarks)


def _check_model(config: ModelConfig) -> None:
    if config.name is not None:
        load_card(config.name)
    if config.adapters:
        from vlmzoo.models.adapter_specs import check_adapter_specs

        check_adapter_specs(config.adapters)


def _check_benchmarks(benchmarks: Mapping[str, Any]) -> None:
    if benchmarks:
        from vlmzoo.evaluation import BENCHMARKS

        BENCHMARKS.check_each(benchmarks.values())


def _check_waiting(config: RunConfig) -> None:
    """Ask an experience whether it trains adapters that wait for a token, as far as the configuration names them."""
    check: Any = getattr(EXPERIENCES.entry(config.experience["type"]).build, "check_tokens", None)
    if check is None:
        return
    name = config.model.name if config.model.architecture is None else None
    published = [] if name is None else load_card(name).adapters
    if adapters := [*published, *config.model.adapters]:
        check(_tokens_of(adapters))


def _tokens_of(adapters: Sequence[str | Mapping[str, Any]]) -> list[str]:
    """Return the token that each adapter waits for, if it waits for one."""
    from vlmzoo.models.adapter_specs import adapter_specs, check_adapter_specs

    specs = adapter_specs(adapters)
    waiting = {label: build.special_tokens for label, build in check_adapter_specs(adapters).items()}
    return [str(specs[label].get("token", tokens[0])) for label, tokens in waiting.items() if tokens]


def _check_evaluate_every(config: RunConfig) -> None:
    """Refuse to evaluate along the way where no rank has the whole model."""
    zero: Any = load_deepspeed_json(config.deepspeed).get("zero_optimization", {})
    if config.evaluate_every and isinstance(zero, Mapping) and zero.get("stage") == 3:
        raise ConfigError(
            f"`evaluate_every` must be 0 under ZeRO-3, but is {config.evaluate_every} instead: one rank alone cannot "
            "run a model that is split over all. Evaluate at the end, or train with `deepspeed: zero2`."
        )
