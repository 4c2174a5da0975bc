"""The forecast of memory: its laws, and what a real step allocates."""

from dataclasses import asdict

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.vlmzoo.zoo.conftest import NAMES
from tests.vlmzoo.zoo.measuring import bytes_of, make_architecture, make_inputs, make_model, peak_bytes, peak_of_step
from vlmzoo.errors import ConfigError
from vlmzoo.zoo import Lora, forecast_memory, load_card, model_info, read_architecture
from vlmzoo.zoo.arithmetic import count_parameters

QWEN = load_card("qwen2-vl-2b").architecture
LLAVA = load_card("llava-1.5-7b").architecture
architectures = st.sampled_from([load_card(name).architecture for name in NAMES])
options = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["float32", "bfloat16"]),
        "batch_size": st.integers(1, 8),
        "text_tokens": st.integers(1, 4096),
        "image_sizes": st.lists(st.sampled_from([(56, 56), (512, 512), (700, 1300)]), max_size=3),
    }
)
training = st.fixed_dictionaries(
    {
        "trainable": st.sampled_from(["all", 0.5, Lora(rank=8), ("projector",), ("projector", "language_model")]),
        "zero_stage": st.integers(0, 3),
        "world_size": st.integers(1, 16),
        "activation_checkpointing": st.booleans(),
    }
)


@pytest.mark.parametrize("name", NAMES)
def test_mixed_precision_adam_takes_sixteen_bytes_a_parameter(name):
    forecast = forecast_memory(load_card(name).architecture, dtype="bfloat16")
    total = sum(count_parameters(load_card(name).architecture).values())  # Ψ: 2 Ψ, 2 Ψ and 12 Ψ, ZeRO's section 3.1
    assert (forecast.weights, forecast.gradients, forecast.optimizer) == (2 * total, 2 * total, 12 * total)


def test_zero_shares_states_then_gradients_then_weights():
    total = model_info("qwen2-vl-2b").num_parameters
    found = [forecast_memory(QWEN, zero_stage=stage, world_size=8) for stage in range(4)]
    assert [forecast.optimizer for forecast in found] == [12 * total, *[12 * total // 8] * 3]
    assert [forecast.gradients for forecast in found] == [2 * total, 2 * total, *[2 * total // 8] * 2]
    gathered = 2 * 151936 * 1536  # the head in use
    assert [forecast.weights for forecast in found] == [2 * total] * 3 + [2 * total // 8 + gathered]


@given(architectures, options, training)
def test_the_total_lies_between_what_always_stands_and_the_sum(architecture, load, how):
    forecast = forecast_memory(architecture, **load, **how)
    sums = asdict(forecast)
    assert all(isinstance(value, int) and value >= 0 for value in sums.values())
    total = sums.pop("total")
    assert forecast.weights + forecast.optimizer + max(forecast.activations, forecast.gradients) <= total
    whole = forecast_memory(architecture, **load, **(how | {"activation_checkpointing": False}))
    update = 2 * forecast.gradients + 8 * 152064 * 5120  # a float32 copy, or two of the largest tensor
    assert total <= sum(sums.values()) + update + whole.activations


@given(architectures, options, training)
def test_more_of_anything_never_takes_less(architecture, load, how):
    before = forecast_memory(architecture, **load, **how)
    for more in (
        {"batch_size": load["batch_size"] + 1},
        {"text_tokens": load["text_tokens"] + 100},
        {"image_sizes": [*load["image_sizes"], (512, 512)]},
        {"accumulates": True},
    ):
        after = forecast_memory(architecture, **(load | how | more))
        assert after.total >= before.total
        assert after.activations >= before.activations


@given(architectures, options, training)
def test_saving_measures_never_take_more(architecture, load, how):
    before = forecast_memory(architecture, **load, **how)
    assert forecast_memory(architecture, **load, **(how | {"world_size": how["world_size"] * 2})).total <= before.total
    assert forecast_memory(architecture, **load, **how, max_chunk_elements=2**20).activations <= before.activations
    kept = forecast_memory(architecture, **load, **(how | {"activation_checkpointing": False})).activations
    assert forecast_memory(architecture, **load, **(how | {"activation_checkpointing": True})).activations <= kept


@given(architectures, options)
def test_learning_less_takes_less(architecture, load):
    totals = [
        forecast_memory(architecture, **load, trainable=trainable) for trainable in (Lora(rank=4), Lora(rank=16), "all")
    ]
    gradients = [forecast.gradients for forecast in totals]
    assert gradients == sorted(gradients)
    assert gradients[1] == 4 * gradients[0]
    assert totals[0].total <= totals[1].total <= totals[2].total
    half = forecast_memory(architecture, **load, trainable=0.5)
    assert half.gradients == pytest.approx(gradients[2] / 2, rel=1e-6)
    assert half.activations == totals[2].activations


@given(architectures, options)
def test_an_answer_needs_weights_cache_and_little_more(architecture, load):
    answer = forecast_memory(architecture, mode="inference", **load)
    assert (answer.gradients, answer.optimizer) == (0, 0)
    assert answer.weights + max(answer.cache, answer.activations) <= answer.total
    assert answer.total <= answer.weights + answer.cache + answer.activations
    twice = forecast_memory(architecture, mode="inference", **(load | {"batch_size": 2 * load["batch_size"]}))
    assert twice.cache == 2 * answer.cache


def test_the_cache_of_llava_is_half_a_mebibyte_a_token():
    answer = forecast_memory(LLAVA, mode="inference", text_tokens=1024, image_sizes=[])
    assert answer.cache == 1024 * 2**19  # 2 x 32 layers x 4096 numbers x 2 bytes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "bfloat61"}, "but is 'bfloat61' instead. Did you mean `bfloat16`?"),
        ({"mode": "dreaming"}, "must be training or inference, but is 'dreaming' instead"),
        ({"batch_size": 0}, "`batch_size` must be at least 1, but is 0 instead"),
        ({"zero_stage": 4}, "must be 0, 1, 2 or 3, but is 4 instead"),
        ({"trainable": 1.5}, "must be a fraction above 0 and up to 1, but is 1.5 instead"),
        ({"trainable": "everything"}, "must be all, a fraction, a LoRA or parts, but is 'everything' instead"),
        ({"trainable": ["encodr"]}, "no part named `encodr`. Did you mean `encoder`?"),
        ({"trainable": []}, "must name a part that learns, but is empty"),
        ({"mode": "inference", "zero_stage": 2}, "leave the options of training alone"),
        ({"image_sizes": [(0, 1)]}, "both positive, but is (0, 1) instead"),
    ],
)
def test_options_that_cannot_be_are_refused(options, message):
    with pytest.raises(ConfigError) as caught:
        forecast_memory(QWEN, **options)
    assert message in str(caught.value)


def test_a_lora_with_a_fault_is_refused():
    with pytest.raises(ConfigError, match="`rank` must be positive, but is 0 instead"):
        Lora(rank=0)
    with pytest.raises(ConfigError, match="but one is `q_prj`. Did you mean `q_proj`?"):
        Lora(rank=1, targets=["q_prj"])


def lora_on(model):
    """Detour the language model's matrices, and train nothing else."""
    from peft import LoraConfig, inject_adapter_in_model

    names = "|".join(Lora(rank=8).targets)
    inject_adapter_in_model(LoraConfig(r=8, target_modules=rf".*language_model.*\.({names})"), model)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("lora_" in name)


def freeze_encoder(model):
    """Train what LLaVA's second stage trains."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(".encoder." not in name and ".encoders." not in name)


def checkpoint(model):
    """Compute blocks again in the backward pass."""
    model.gradient_checkpointing_enable({"use_reentrant": False})


slow = pytest.mark.slow


@pytest.mark.parametrize(
    ("name", "prepare", "options"),
    [
        ("llava-1.5-7b", None, {}),
        ("qwen2-vl-2b", None, {}),
        *(pytest.param(name, None, {}, marks=slow) for name in ("qwen2.5-vl-3b", "qwen3-vl-4b")),
        *(pytest.param(name, None, {}, marks=slow) for name in ("llava-1.5-7b-hf", "internvl3.5-1b")),
        *(pytest.param(name, None, {}, marks=slow) for name in ("eagle-x2-vicuna-7b", "eagle-x5-7b")),
        pytest.param("eagle-x5-7b", freeze_encoder, {"trainable": ["projector", "language_model"]}, marks=slow),
        pytest.param("qwen2-vl-2b", None, {"max_chunk_elements": 2**20}, marks=slow),
        pytest.param("qwen2-vl-2b", lora_on, {"trainable": Lora(rank=8)}, marks=slow),
        pytest.param("qwen2-vl-2b", checkpoint, {"activation_checkpointing": True}, marks=slow),
        pytest.param("llava-1.5-7b", checkpoint, {"activation_checkpointing": True}, marks=slow),
        pytest.param("llava-1.5-7b", freeze_encoder, {"trainable": ["projector", "language_model"]}, marks=slow),
    ],
)
def test_a_step_allocates_what_was_forecast(name, prepare, options):
    architecture, load = make_architecture(name), {"text_tokens": 300, "image_size": (336, 336)}
    model, inputs = make_model(architecture), make_inputs(architecture, **load)
    if prepare is not None:
        prepare(model)
    chunk = {key: value for key, value in options.items() if key == "max_chunk_elements"}
    standing, peak = peak_of_step(model, lambda: model(**inputs, **chunk))
    peak += bytes_of([inputs["pixel_values"]])
    forecast = forecast_memory(
        read_architecture(architecture), dtype="float32", text_tokens=300, image_sizes=[(336, 336)], **options
    )
    assert 40e6 < sum(parameter.numel() for parameter in model.parameters()) < 100e6
    assert forecast.weights + forecast.optimizer == pytest.approx(standing, rel=0.01)
    assert forecast.total - forecast.weights - forecast.optimizer == pytest.approx(peak, rel=0.05)
    assert forecast.total == pytest.approx(standing + peak, rel=0.15)


@slow
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(("text_tokens", "image_size"), [(2000, (336, 336)), (20, (1000, 1000))])
@pytest.mark.parametrize("name", ["qwen2-vl-2b", "qwen2.5-vl-3b", "qwen3-vl-4b"])
def test_reading_a_prompt_allocates_what_was_forecast(name, text_tokens, image_size, dtype):
    architecture = make_architecture(name)
    model = make_model(architecture).eval().to(getattr(torch, dtype))
    inputs = make_inputs(architecture, text_tokens=text_tokens, image_size=image_size)
    del inputs["labels"]
    with torch.no_grad():
        peak = peak_bytes(lambda: model.vlm(**inputs, use_cache=True, logits_to_keep=1))
    peak += bytes_of([inputs["pixel_values"]])
    forecast = forecast_memory(
        read_architecture(architecture),
        mode="inference",
        dtype=dtype,
        text_tokens=text_tokens,
        image_sizes=[image_size],
    )
    assert forecast.weights == bytes_of(model.parameters())
    assert forecast.total == pytest.approx(forecast.weights + peak, rel=0.15)
    assert forecast.total - forecast.weights == pytest.approx(peak, rel=0.2)
