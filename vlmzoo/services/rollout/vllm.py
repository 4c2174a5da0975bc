"""vLLM as a rollout engine, by its address: the package is optional. Run on a CPU (docs/vllm.md)."""

import importlib
from typing import Any

from vlmzoo.services.rollout import ROLLOUT_ENGINES, Policy, RolloutEngine, Sampling

__all__ = ["build_vllm"]


@ROLLOUT_ENGINES.register("vllm", source="vLLM, arXiv:2309.06180", tiny={"path": "tiny"})
def build_vllm(
    *, path: str, gpu_memory_utilization: float = 0.4, policy: Policy, processor: Any, sampling: Sampling
) -> RolloutEngine:
    """Build the engine of ``vlmzoo.integrations.vllm``.

    Args:
        path: a folder that vLLM can load, of the policy's architecture.
        gpu_memory_utilization: share of the device's memory that vLLM takes.
        policy: whose weights are used.
        processor: of the model.
        sampling: how tokens are drawn.

    Raises:
        ConfigError: if the policy has adapters that vLLM cannot run.
        MissingExtraError: if vLLM is not installed.
    """
    engine = importlib.import_module("vlmzoo.integrations.vllm").VllmEngine
    return engine(
        path=path,
        gpu_memory_utilization=gpu_memory_utilization,
        policy=policy,
        processor=processor,
        sampling=sampling,
    )
