"""Memory and speed of a model in training: activations computed again, kernels made to measure, what a step needs."""

from collections.abc import Sequence
from typing import Any

from vlmzoo.config.schema import RunConfig
from vlmzoo.distributed import world_size
from vlmzoo.errors import ConfigError, MemoryLimitError
from vlmzoo.models.assembler import architecture_of
from vlmzoo.models.composed import ComposedVlm
from vlmzoo.models.feature_cache import FeatureCache
from vlmzoo.registry import nearest_hint
from vlmzoo.zoo.card import read_architecture
from vlmzoo.zoo.memory import forecast_memory

__all__ = ["checkpoint_activations", "compile_model", "forecast_sentence", "keep_features"]


_FLAGS = ("gradient_checkpointing", "grad_checkpointing")  # of transformers' blocks, and of timm's


def checkpoint_activations(model: Any, parts: Sequence[str]) -> int:
    """Let blocks of some parts compute their activations again in the backward pass.

    Args:
        model: a base with adapters.
        parts: names of parts, e.g. ``[language_model]``.

    Returns:
        The number of modules that do.

    Raises:
        ConfigError: if a part is unknown, or has no blocks that can.
    """
    for part in parts:
        if part not in model.part_names:
            raise ConfigError(
                f"`activation_checkpointing` names the part `{part}`, which the model does not have."
                f"{nearest_hint(part, model.part_names)} Parts: {', '.join(model.part_names)}."
            )
    if not parts:
        return 0
    model.gradient_checkpointing_enable({"use_reentrant": False})
    chosen: dict[str, int] = dict.fromkeys(parts, 0)
    for name, module in model.named_modules():
        for flag in _FLAGS:
            if hasattr(module, flag):
                part = model.part_of(f"{name}.")
                setattr(module, flag, part in chosen)
                if part in chosen:
                    chosen[part] += 1
    empty = [part for part, number in chosen.items() if not number]
    if empty:
        raise ConfigError(f"Part `{empty[0]}` has no blocks whose activations can be computed again; leave it out.")
    return sum(chosen.values())


def keep_features(model: Any, folder: str | None) -> None:
    """Let a model keep on disk what its frozen encoders make of images.

    Args:
        model: what is frozen in it is frozen already, and its weights are whole.
        folder: of the cache; None for none.

    Raises:
        ConfigError: if the encoders learn, or are not ours to call.
    """
    if folder is None:
        return
    if not isinstance(model, ComposedVlm):
        raise ConfigError("`feature_cache` needs a composed base; leave it out for a native one.")
    encoders = [model.get_submodule(prefix.removesuffix(".")) for prefix in model.part_prefixes["encoder"]]
    named = ("encoder", "encoders", "image_size")
    described = {name: getattr(model.config, name) for name in named if hasattr(model.config, name)}
    model.feature_cache = FeatureCache(folder, encoders, description=described)


def compile_model(model: Any) -> None:
    """Let torch.compile make the model's kernels, for sequences of any length."""
    model.compile(dynamic=True)


def forecast_sentence(config: RunConfig, fault: MemoryLimitError, *, dtype: str, zero_stage: int) -> str:
    """Say what a step with such a batch needs, by part; the empty string for models that have no formula.

    Args:
        config: of the run.
        fault: says how large the batch was.
        dtype: of the weights.
        zero_stage: of the run.
    """
    try:
        forecast = forecast_memory(
            read_architecture(architecture_of(config.model)),
            dtype=dtype,
            batch_size=fault.rows,
            text_tokens=fault.width,
            image_sizes=(),
            zero_stage=zero_stage,
            world_size=world_size(),
            accumulates=config.accumulation_steps > 1,
            activation_checkpointing="language_model" in config.activation_checkpointing,
        )
    except (ConfigError, KeyError, TypeError):
        return ""
    parts = ("weights", "gradients", "optimizer", "activations")
    shown = ", ".join(f"{part} {getattr(forecast, part) / 2**30:.2f}" for part in parts)
    return f" A full step of this size needs about {forecast.total / 2**30:.2f} GiB on each rank ({shown})."
