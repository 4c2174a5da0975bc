"""DeepSpeed: ZeRO, accumulation, precision and several nodes, behind the loop's ``Engine``."""

import atexit
import json
import math
import os
import pickle
import re
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from operator import attrgetter
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vlmzoo.config.schema import RunConfig
from vlmzoo.distributed import world_size
from vlmzoo.errors import CheckpointError, ConfigError, MissingExtraError
from vlmzoo.integrations.slurm import slurm_rank
from vlmzoo.outputs import VlmOutput
from vlmzoo.registry import nearest_hint

__all__ = ["DeepSpeedEngine", "join_processes", "load_deepspeed_json", "make_engine", "resolve_auto"]

_WEIGHTS_ONLY = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"


def join_processes() -> None:
    """Join the processes that a launcher started (deepspeed, torchrun, srun), or go on alone under plain ``python``.

    Raises:
        MissingExtraError: if deepspeed is not installed.
    """
    if "RANK" not in os.environ:
        os.environ.update(slurm_rank(os.environ) or _alone())
    deepspeed = _import_deepspeed()
    if torch.cuda.is_available():  # before a model is built: every rank has a device of its own
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    else:
        # A shared-memory kernel for inference that training never calls; compiling it would take minutes.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    deepspeed.init_distributed(verbose=False)
    _leave_at_exit()


@cache
def _leave_at_exit() -> None:
    """Let gloo's threads end before the interpreter does, which now and then is aborted otherwise.

    NCCL's are left alone: where a rank has failed, leaving could wait for it for ever.
    """

    def leave() -> None:
        if torch.distributed.is_initialized() and torch.distributed.get_backend() == "gloo":
            torch.distributed.destroy_process_group()

    atexit.register(leave)


def _alone() -> dict[str, str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    return {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}


def load_deepspeed_json(spec: str | Mapping[str, Any]) -> dict[str, Any]:
    """Read a DeepSpeed configuration.

    Args:
        spec: a mapping, the path of a JSON file, or the name of one of ours (``zero0`` to ``zero3``, and with the state
            on the CPU ``zero2_offload`` and ``zero3_offload``).

    Raises:
        ConfigError: if there is no such file, or it is no JSON object.
    """
    if not isinstance(spec, str):
        return json.loads(json.dumps(spec))
    here = Path(__file__).parents[1]
    places = [
        Path(spec),
        here / "configs" / "deepspeed" / f"{spec}.json",  # in the wheel
        here.parent / "training" / "deepspeed" / f"{spec}.json",  # in a checkout
    ]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        names = ("zero0", "zero1", "zero2", "zero3", "zero2_offload", "zero3_offload")
        raise ConfigError(
            f"`deepspeed` must be a mapping, a JSON file or one of {', '.join(names)}, but is {spec!r} instead."
            f"{nearest_hint(spec, names)}"
        )
    try:
        loaded = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ConfigError(f"`deepspeed` file `{path}` is not JSON: {error}.") from error
    if not isinstance(loaded, dict):
        raise ConfigError(f"`deepspeed` file `{path}` must hold an object, but holds {type(loaded).__name__} instead.")
    return loaded


def resolve_auto(spec: Mapping[str, Any], run: RunConfig, *, dtype: torch.dtype, hidden_size: int) -> dict[str, Any]:
    """Replace every ``"auto"`` by what the run says; DeepSpeed itself knows no ``"auto"``.

    Args:
        spec: a DeepSpeed configuration.
        run: where batch sizes, optimiser and clipping stand.
        dtype: of the weights.
        hidden_size: D of the language model, which sizes ZeRO's buckets as transformers does.

    Raises:
        ConfigError: if the configuration contradicts the run, or an ``"auto"`` has no meaning here.
    """
    known = _known_values(run, dtype, hidden_size)
    if "scheduler" in spec and any(v != "auto" for v in spec["scheduler"].get("params", {}).values()):
        raise ConfigError("`deepspeed.scheduler` must be left out; the schedule is `optim.schedule`.")
    merged = _merge(_defaults(run, dtype), {name: value for name, value in spec.items() if name != "scheduler"})
    resolved = _resolve(merged, known, "deepspeed")
    for path in _SETTLED:
        found = _at(resolved, path, known[path])
        if found != known[path]:
            raise ConfigError(f'`deepspeed.{path}` is {found}, but the run makes it {known[path]}; write "auto".')
    if dtype is torch.float16 and not _at(resolved, "zero_optimization.stage", 0):
        raise ConfigError(
            "`model.dtype` float16 needs ZeRO: without it DeepSpeed's training leaves that in float32 after one step "
            "(docs/results/training.md); set `deepspeed: zero1`, or `model.dtype: bfloat16`."
        )
    return resolved


_SETTLED = (
    "train_batch_size",
    "train_micro_batch_size_per_gpu",
    "gradient_accumulation_steps",
    "gradient_clipping",
    "bf16.enabled",
    "fp16.enabled",
    "optimizer.params.lr",
    "optimizer.params.betas",
    "optimizer.params.eps",
    "optimizer.params.weight_decay",
)
"""What the run settles, so that a DeepSpeed file may only agree with it."""


def _at(node: Mapping[str, Any], path: str, default: Any) -> Any:
    for name in path.split("."):
        if not isinstance(node, Mapping) or name not in node:
            return default
        node = node[name]
    return node


def _known_values(run: RunConfig, dtype: torch.dtype, hidden_size: int) -> dict[str, Any]:
    """What an ``"auto"`` at each dotted path becomes."""
    return {
        "train_micro_batch_size_per_gpu": run.micro_batch_size,
        "gradient_accumulation_steps": run.accumulation_steps,
        "train_batch_size": run.micro_batch_size * run.accumulation_steps * world_size(),
        "gradient_clipping": run.optim.max_grad_norm,
        "optimizer.params.lr": run.optim.learning_rate,
        "optimizer.params.betas": list(run.optim.betas),
        "optimizer.params.eps": run.optim.eps,
        "optimizer.params.weight_decay": run.optim.weight_decay,
        "bf16.enabled": dtype is torch.bfloat16,
        "fp16.enabled": dtype is torch.float16,
        "zero_optimization.reduce_bucket_size": hidden_size * hidden_size,
        "zero_optimization.allgather_bucket_size": hidden_size * hidden_size,
        "zero_optimization.stage3_prefetch_bucket_size": int(0.9 * hidden_size * hidden_size),
        "zero_optimization.stage3_param_persistence_threshold": 10 * hidden_size,
    }


def _defaults(run: RunConfig, dtype: torch.dtype) -> dict[str, Any]:
    """What holds where the configuration says nothing."""
    params: dict[str, Any] = dict.fromkeys(("lr", "betas", "eps", "weight_decay"), "auto")
    if not torch.cuda.is_available():
        params["torch_adam"] = True  # DeepSpeed's own kernels need a compiler, and win nothing here
    precision = {torch.bfloat16: "bf16", torch.float16: "fp16"}.get(dtype)
    return {
        "train_micro_batch_size_per_gpu": "auto",
        "gradient_accumulation_steps": "auto",
        "gradient_clipping": "auto",
        "optimizer": {"type": "AdamW", "params": params},
        "steps_per_print": run.num_steps + 1,
        **({precision: {"enabled": True}} if precision else {}),
    }


def _merge(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for name, value in top.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(name), Mapping)
        merged[name] = _merge(merged[name], value) if both else value
    return merged


def _resolve(node: Mapping[str, Any], known: Mapping[str, Any], path: str) -> dict[str, Any]:
    resolved: dict[str, Any] = {}
    for name, value in node.items():
        here = f"{path}.{name}"
        if isinstance(value, Mapping):
            resolved[name] = _resolve(value, known, here)
        elif value == "auto":
            key = here.removeprefix("deepspeed.")
            if key not in known:
                raise ConfigError(f'`{here}` is "auto", but nothing says what it should be; write a value.')
            resolved[name] = known[key]
        else:
            resolved[name] = value
    return resolved


def make_engine(
    model: nn.Module,
    groups: Sequence[Mapping[str, Any]],
    spec: Mapping[str, Any],
    schedule: Callable[[int], float],
) -> "DeepSpeedEngine":
    """Hand a model to DeepSpeed.

    Args:
        model: the policy.
        groups: parameter groups with their learning rates.
        spec: a DeepSpeed configuration without ``"auto"``.
        schedule: step to a factor of the learning rate.
    """

    def scheduler(optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LambdaLR:
        return torch.optim.lr_scheduler.LambdaLR(optimizer, schedule)

    engine, *_ = _import_deepspeed().initialize(
        model=model, model_parameters=list(groups), config=dict(spec), lr_scheduler=scheduler
    )
    if engine.zero_optimization_stage() == 0 and hasattr(engine.optimizer, "overflow"):
        _forget_first_step(engine.optimizer.optimizer)
    return DeepSpeedEngine(engine)


def _forget_first_step(optimizer: torch.optim.Optimizer) -> None:
    """Undo what DeepSpeed does in 16 bits without ZeRO: it lets the optimiser take a step without gradients at first.

    Adam would count it: the corrections of the first real step were those of a second one, a quarter too small.
    """
    optimizer.state.clear()
    for group in optimizer.param_groups:
        group.pop("step", None)


_WHOLE_WEIGHTS = (
    "optimizer.parameter_offload._remove_module_hooks",
    "optimizer.parameter_offload.forward_hooks",
    "optimizer.parameter_offload.backward_hooks",
    "optimizer.parameter_offload.setup_zero_stage3_hooks",
    "_consolidated_16bit_state_dict",
)
"""What ``whole_weights`` and ``gathered_state_dict`` take hold of within DeepSpeed."""


def _check_parts(engine: Any, paths: Sequence[str]) -> None:
    """See at the start that parts of DeepSpeed are there which it does not promise to keep.

    Raises:
        ConfigError: naming the first that is not, and the version.
    """
    for path in paths:
        try:
            attrgetter(path)(engine)
        except AttributeError as error:
            version = getattr(_import_deepspeed(), "__version__", "unknown")
            raise ConfigError(
                f"DeepSpeed must have `engine.{path}`, but version {version} has not; install 0.19.8, with which this "
                "library is tested, or train with another `deepspeed` stage."
            ) from error


class DeepSpeedEngine:
    """DeepSpeed's engine as the loop wants it.

    Args:
        engine: what ``deepspeed.initialize`` returned.

    Raises:
        ConfigError: if this DeepSpeed has not the inner parts that are replaced or emptied here.
    """

    def __init__(self, engine: Any) -> None:
        self.engine = engine
        self.stage: int = engine.zero_optimization_stage()
        keeps_old_gradients = self.stage == 3 or (self.stage > 0 and engine.zero_use_cpu_optimizer())
        if keeps_old_gradients and hasattr(engine.module, "always_look"):
            engine.module.always_look = True
        self._clips_itself = self.stage == 0 and not hasattr(engine.optimizer, "overflow")
        _check_parts(engine, ("clip_fp32_gradients",) if self._clips_itself else ())
        _check_parts(engine, _WHOLE_WEIGHTS if self.stage == 3 else ())
        if self._clips_itself:  # the norm is wanted, and looked at, before anything is clipped: take it once
            engine.clip_fp32_gradients = lambda: None
        if hasattr(engine.optimizer, "check_grad_overflow"):
            engine.optimizer.check_grad_overflow = True  # DeepSpeed looks in 16 bits only

    @property
    def module(self) -> nn.Module:
        """The model itself."""
        return self.engine.module

    @property
    def device(self) -> torch.device:
        """Where batches must be."""
        return torch.device(self.engine.device)

    def __call__(self, **inputs: Any) -> VlmOutput:
        """Run the model."""
        return self.engine(**inputs)

    def backward(self, loss: Tensor) -> None:
        """Add this micro-batch's gradient; DeepSpeed's averaging over ranks and accumulation is cancelled."""
        self.engine.backward(loss * world_size(), scale_wrt_gas=False)

    def step(self) -> dict[str, float] | None:
        """Count a micro-batch; after the last one, update the weights.

        A gradient that is not finite is thrown away: the weights stay as they are, and the step counts as skipped.

        Returns:
            ``lr``, ``grad_norm`` and ``skipped`` (1.0 for a step without update); None before the last micro-batch.
        """
        if not self.engine.is_gradient_accumulation_boundary():
            self.engine.step()
            return None
        rates = self.engine.get_lr()
        own_norm = self._clipped_norm() if self._clips_itself else None
        skipped_before = self.engine.skipped_steps
        with self._optimiser_held(own_norm is not None and not math.isfinite(own_norm)):
            self.engine.step()
        norm = self.engine.get_global_grad_norm() if own_norm is None else own_norm
        is_skipped = self.engine.skipped_steps > skipped_before or (norm is not None and not math.isfinite(norm))
        told = {"lr": float(max(rates)), "skipped": float(is_skipped)}
        return told if norm is None or is_skipped else {**told, "grad_norm": float(norm)}

    @contextmanager
    def _optimiser_held(self, is_held: bool) -> Iterator[None]:
        """Keep the optimiser from moving anything for one step."""
        if not is_held:
            yield
            return
        for parameter in self.engine.module.parameters():
            if parameter.grad is not None:
                parameter.grad.zero_()
        step, self.engine.optimizer.step = self.engine.optimizer.step, lambda *args, **kwargs: None
        try:
            yield
        finally:
            self.engine.optimizer.step = step

    def _clipped_norm(self) -> float | None:
        """Clip the gradient without ZeRO, in float32, and return the norm that it had."""
        learned = [p for p in self.engine.module.parameters() if p.grad is not None]
        if not learned:
            return None
        limit = self.engine.gradient_clipping() or math.inf
        return float(torch.nn.utils.clip_grad_norm_(learned, limit))

    @contextmanager
    def whole_weights(self) -> Iterator[None]:
        """Hold all weights on this rank for a while, where ZeRO-3 has split them; all ranks must enter.

        Meanwhile the model runs without DeepSpeed's hooks, as often as each rank likes.
        """
        if self.stage < 3:
            yield
            return
        parameters: list[Any] = list(self.module.parameters())
        offload = self.engine.optimizer.parameter_offload
        with _import_deepspeed().zero.GatheredParameters(parameters):
            for parameter in parameters:
                parameter.ds_active_sub_modules.clear()
            offload._remove_module_hooks()
            offload.forward_hooks.clear()
            offload.backward_hooks.clear()
            try:
                yield
            finally:
                offload.setup_zero_stage3_hooks()

    def gathered_state_dict(self) -> dict[str, Tensor] | None:
        """Return the whole weights if ZeRO-3 has split them (rank 0 only; all ranks must call), else None."""
        if self.stage < 3:
            return None
        return self.engine._consolidated_16bit_state_dict()

    def save(self, folder: Path) -> None:
        """Write weights that learn, optimiser and schedule; all ranks must call."""
        self.engine.save_checkpoint(
            str(folder), tag="state", save_latest=False, exclude_frozen_parameters=self._has_frozen()
        )

    def restore(self, folder: Path) -> None:
        """Read what ``save`` wrote; all ranks must call.

        Raises:
            CheckpointError: if it is not whole.
        """
        try:
            with _no_code_from_files():
                loaded, _ = self.engine.load_checkpoint(
                    str(folder), tag="state", load_module_strict=not self._has_frozen()
                )
        except pickle.UnpicklingError as error:
            named = re.findall(r"GLOBAL ([\w.]+)", str(error)) or ["something else"]
            raise CheckpointError(
                f"`{folder}` must hold tensors, plain values and DeepSpeed's own records, but holds {named[0]}, which "
                "would be run; do not go on from a folder of a stranger."
            ) from error
        except (OSError, RuntimeError, KeyError, AssertionError) as error:
            raise CheckpointError(
                f"`{folder}` cannot be read ({str(error).splitlines()[0] if str(error) else error!r}); delete the "
                "checkpoint, and the run goes on from the one before."
            ) from error
        if loaded is None:
            raise CheckpointError(f"`{folder}` holds no state of DeepSpeed; delete the checkpoint.")

    def _has_frozen(self) -> bool:
        return any(not parameter.requires_grad for parameter in self.engine.module.parameters())


@contextmanager
def _no_code_from_files() -> Iterator[None]:
    """Let ``torch.load`` build tensors, plain values and DeepSpeed's own records alone, as it does not by itself."""
    from deepspeed.runtime.fp16.loss_scaler import DynamicLossScaler, LossScaler
    from deepspeed.runtime.zero.config import ZeroStageEnum
    from deepspeed.utils.tensor_fragment import fragment_address

    before = os.environ.get(_WEIGHTS_ONLY)
    os.environ[_WEIGHTS_ONLY] = "1"
    try:
        with torch.serialization.safe_globals([LossScaler, DynamicLossScaler, ZeroStageEnum, fragment_address]):
            yield
    finally:
        if before is None:
            del os.environ[_WEIGHTS_ONLY]
        else:
            os.environ[_WEIGHTS_ONLY] = before


def _import_deepspeed() -> Any:
    try:
        import deepspeed
    except ImportError as error:
        raise MissingExtraError.for_package("deepspeed", "train") from error
    return deepspeed
