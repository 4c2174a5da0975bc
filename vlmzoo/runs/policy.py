"""What a run gives to an experience: the common things, and to one that samples, the policy."""

import copy
import inspect
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from vlmzoo.config.schema import RunConfig
from vlmzoo.distributed import world_size
from vlmzoo.errors import ConfigError
from vlmzoo.experience import EXPERIENCES, Experience
from vlmzoo.integrations.deepspeed import DeepSpeedEngine
from vlmzoo.objectives import OBJECTIVES
from vlmzoo.objectives.weighted_sum import terms_of

__all__ = ["RunPolicy", "build_experience", "check_experience", "check_objective", "frozen_copy"]

_COMMON = ("processor", "micro_batch_size", "accumulation_steps", "seed")


class RunPolicy:
    """The engine's model, as experiences see it that sample from it.

    Args:
        engine: holds it.
        frozen: a frozen copy of the starting weights, if one was asked for.
    """

    def __init__(self, engine: DeepSpeedEngine, frozen: Any = None) -> None:
        self._engine = engine
        self.frozen = frozen

    @property
    def module(self) -> Any:
        """The model that learns."""
        return self._engine.module

    def whole_weights(self) -> AbstractContextManager[None]:
        """Hold all weights on this rank for a while; all ranks must enter."""
        return self._engine.whole_weights()


def check_experience(spec: Mapping[str, Any]) -> None:
    """Check the spec of an experience before anything is built.

    Raises:
        ConfigError: if an argument is unknown or missing.
        RegistryError: if the name is unknown.
    """
    EXPERIENCES.check(spec, runtime=(*_COMMON, *(name for name in ("policy", "run_dir") if _takes(spec, name))))


def check_objective(config: RunConfig, *, knows_ranks: bool = True) -> None:
    """See whether the objective can learn from what the experience brings.

    Args:
        config: of the run.
        knows_ranks: whether the processes have joined; without them nobody knows how many updates a batch serves.

    Raises:
        ConfigError: if a term learns from something else, none learns from it, the experience says that it does not
            fit, or a batch serves several updates where ratios are taken to be 1.
    """
    spec = config.experience
    build: Any = EXPERIENCES.entry(spec["type"]).build
    terms = terms_of(OBJECTIVES.build(config.objective))
    _check_brought(spec["type"], getattr(build, "brings", None), terms)
    check = getattr(build, "check_objective", None)
    if check is not None:
        check(spec, config.objective)
    if knows_ranks and hasattr(build, "updates_per_batch"):
        per_step = config.micro_batch_size * config.accumulation_steps * world_size()
        _check_updates(build.updates_per_batch(spec, sequences_per_step=per_step), terms)


def _check_brought(name: str, brings: str | None, terms: Mapping[str, Any]) -> None:
    """Compare what batches hold with what each term learns from; what does not say so fits everything."""
    if brings is None:
        return
    for where, term in terms.items():
        other = getattr(term, "learns_from", brings)
        if other == brings:
            continue
        fitting = [f"`{one.name}`" for one in OBJECTIVES if getattr(one.build, "learns_from", None) == brings]
        raise ConfigError(
            f"`{where}` must learn from {brings}, which the experience `{name}` brings, but learns from {other} "
            f"instead; take one of {', '.join(fitting)}."
        )


def _check_updates(num: int, terms: Mapping[str, Any]) -> None:
    """Refuse a second update on what was sampled before the first, where ratios of 1 are taken for granted."""
    for where, term in terms.items():
        if num > 1 and getattr(term, "behaviour", None) == "current":
            raise ConfigError(
                f"`{where}.behaviour: current` must have one update for each batch of rollouts, but has {num} instead; "
                "raise `micro_batch_size` or `accumulation_steps`, lower `num_prompts` or `num_epochs`, or set "
                "`behaviour: sampled`."
            )


def frozen_copy(spec: Mapping[str, Any], model: Any) -> Any:
    """Return a copy of a model that does not learn, if the experience wants one; before ZeRO-3 splits the model."""
    build: Any = EXPERIENCES.entry(spec["type"]).build
    wants = getattr(build, "wants_frozen_copy", None)
    if wants is None or not wants(spec):
        return None
    frozen = copy.deepcopy(model).eval()
    frozen.requires_grad_(False)
    return frozen


def build_experience(config: RunConfig, *, processor: Any, policy: RunPolicy) -> Experience:
    """Build the experience of a run."""
    given: dict[str, Any] = {
        "processor": processor,
        "micro_batch_size": config.micro_batch_size,
        "accumulation_steps": config.accumulation_steps,
        "seed": config.seed,
    }
    if _takes(config.experience, "policy"):
        given["policy"] = policy
    if _takes(config.experience, "run_dir"):
        given["run_dir"] = config.output_dir
    return EXPERIENCES.build(config.experience, **given)


def _takes(spec: Mapping[str, Any], name: str) -> bool:
    """Say whether an experience takes something that only a run can give: its policy, its folder."""
    return name in inspect.signature(EXPERIENCES.entry(spec["type"]).build).parameters
