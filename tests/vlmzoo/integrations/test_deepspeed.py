"""DeepSpeed's configuration: every "auto" is resolved, contradictions are refused."""

import json
from types import SimpleNamespace

import pytest
import torch

from vlmzoo.config.schema import RunConfig
from vlmzoo.errors import ConfigError
from vlmzoo.integrations.deepspeed import DeepSpeedEngine, load_deepspeed_json, resolve_auto

RUN = RunConfig.model_validate(
    {
        "model": {"name": "llava-1.5-7b"},
        "experience": {"type": "supervised", "source": {}},
        "optim": {"learning_rate": 2e-5, "max_grad_norm": 0.7},
        "num_steps": 10,
        "micro_batch_size": 3,
        "accumulation_steps": 4,
        "output_dir": "x",
    }
)


def resolve(spec, dtype=torch.float32):
    return resolve_auto(spec, RUN, dtype=dtype, hidden_size=64)


def holds_auto(node):
    return node == "auto" or (isinstance(node, dict) and any(holds_auto(value) for value in node.values()))


@pytest.mark.parametrize("name", ["zero0", "zero1", "zero2", "zero3", "zero2_offload", "zero3_offload"])
def test_our_own_files_are_found_by_name_and_fully_resolved(name):
    resolved = resolve(load_deepspeed_json(name))
    assert not holds_auto(resolved)
    assert resolved["zero_optimization"]["stage"] == int(name[4])
    assert resolved["train_micro_batch_size_per_gpu"] == 3
    assert resolved["gradient_accumulation_steps"] == 4
    assert resolved["gradient_clipping"] == 0.7
    assert resolved["optimizer"]["params"]["lr"] == 2e-5


def test_an_empty_spec_is_a_plain_run():
    resolved = resolve({})
    assert resolved["optimizer"]["type"] == "AdamW" and "bf16" not in resolved


def test_precision_follows_the_dtype():
    assert resolve({}, torch.bfloat16)["bf16"] == {"enabled": True}
    auto = {"bf16": {"enabled": "auto"}, "fp16": {"enabled": "auto"}}
    assert resolve(auto)["bf16"] == {"enabled": False}
    assert resolve(auto | {"zero_optimization": {"stage": 1}}, torch.float16)["fp16"] == {"enabled": True}


@pytest.mark.parametrize("spec", [{}, {"zero_optimization": {"stage": 0}}])
def test_float16_without_zero_is_refused_with_the_way_out(spec):
    with pytest.raises(ConfigError, match=r"float16 needs ZeRO: .*set `deepspeed: zero1`, or `model.dtype: bfloat16`"):
        resolve(spec, torch.float16)


def test_a_file_of_transformers_kind_is_taken_as_it_is(tmp_path):
    path = tmp_path / "hf.json"
    auto = dict.fromkeys(("warmup_min_lr", "warmup_max_lr", "warmup_num_steps"), "auto")
    spec = {
        "train_batch_size": "auto",
        "train_micro_batch_size_per_gpu": "auto",
        "gradient_accumulation_steps": "auto",
        "zero_optimization": {"stage": 3, "reduce_bucket_size": "auto", "stage3_prefetch_bucket_size": "auto"},
        "scheduler": {"type": "WarmupLR", "params": auto},
    }
    path.write_text(json.dumps(spec))
    resolved = resolve(load_deepspeed_json(str(path)))
    assert resolved["train_batch_size"] == 12
    assert resolved["zero_optimization"]["reduce_bucket_size"] == 4096
    assert "scheduler" not in resolved


def test_contradictions_and_unknowns_are_refused_with_their_path():
    with pytest.raises(ConfigError, match=r"deepspeed.train_batch_size` is 5, but the run makes it 12"):
        resolve({"train_batch_size": 5})
    for precision, dtype in (("bf16", torch.float32), ("fp16", torch.bfloat16)):
        with pytest.raises(ConfigError, match=rf"deepspeed.{precision}.enabled` is True, but the run makes it False"):
            resolve({precision: {"enabled": True}}, dtype)
    with pytest.raises(ConfigError, match=r"deepspeed.bf16.enabled` is False, but the run makes it True"):
        resolve({"bf16": {"enabled": False}}, torch.bfloat16)
    with pytest.raises(ConfigError, match=r"deepspeed.optimizer.params.lr` is 0.1, but the run makes it 2e-05"):
        resolve({"optimizer": {"type": "AdamW", "params": {"lr": 0.1}}})
    with pytest.raises(ConfigError, match=r"deepspeed.gradient_clipping` is 1.0, but the run makes it 0.7"):
        resolve({"gradient_clipping": 1.0})
    with pytest.raises(ConfigError, match=r"deepspeed.scheduler` must be left out"):
        resolve({"scheduler": {"type": "WarmupLR", "params": {"warmup_num_steps": 5}}})
    with pytest.raises(ConfigError, match=r"deepspeed.wall_clock_breakdown` is \"auto\", but nothing says"):
        resolve({"wall_clock_breakdown": "auto"})


def test_files_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(ConfigError, match="zero3_offload, but is 'zero9' instead. Did you mean"):
        load_deepspeed_json("zero9")
    broken = tmp_path / "broken.json"
    broken.write_text("{")
    with pytest.raises(ConfigError, match=r"broken.json` is not JSON"):
        load_deepspeed_json(str(broken))
    broken.write_text("[]")
    with pytest.raises(ConfigError, match="must hold an object, but holds list"):
        load_deepspeed_json(str(broken))


@pytest.mark.parametrize(
    ("stage", "missing"), [(0, "clip_fp32_gradients"), (3, "optimizer.parameter_offload.setup_zero_stage3_hooks")]
)
def test_a_deepspeed_without_the_inner_parts_that_are_replaced_is_refused_at_the_start(monkeypatch, stage, missing):
    monkeypatch.setattr("vlmzoo.integrations.deepspeed._import_deepspeed", lambda: SimpleNamespace(__version__="9.9"))
    offload = SimpleNamespace(
        _remove_module_hooks=None, forward_hooks=[], backward_hooks=[], setup_zero_stage3_hooks=None
    )
    engine = SimpleNamespace(
        zero_optimization_stage=lambda: stage,
        module=torch.nn.Linear(1, 1),
        optimizer=SimpleNamespace(parameter_offload=offload),
        clip_fp32_gradients=None,
        _consolidated_16bit_state_dict=None,
    )
    DeepSpeedEngine(engine)
    delattr(engine if stage == 0 else offload, missing.rpartition(".")[2])
    with pytest.raises(ConfigError, match=f"must have `engine.{missing}`, but version 9.9 has not"):
        DeepSpeedEngine(engine)
