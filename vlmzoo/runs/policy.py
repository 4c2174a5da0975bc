"""What a run gives to an experience: the common things, and to one that samples, the policy."""

import copy
import inspect
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from vlmzoo.config.schema import RunConfig
from vlmzoo.experience import EXPERIENCES, Experience
from vlmzoo.integrations.deepspeed import DeepSpeedEngine

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


def check_objective(spec: Mapping[str, Any], objective: Mapping[str, Any]) -> None:
    """Let an experience say whether it fits the objective, before anything is built.

    Raises:
        ConfigError: if it does not.
    """
    build: Any = EXPERIENCES.entry(spec["type"]).build
    check = getattr(build, "check_objective", None)
    if check is not None:
        check(spec, objective)


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
