"""Packed sequences against the same rows alone: the same log-probabilities, losses and gradients, at a lower cost."""

import copy
import random
import statistics
import time
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers import AutoConfig, AutoModelForCausalLM

from tests.vlmzoo.adapters import probe  # noqa: F401  (registers it)
from tests.vlmzoo.adapters.bases import make_base, make_samples
from tests.vlmzoo.models.conftest import make_architecture
from vlmzoo import build_model
from vlmzoo.data.collation import Collator
from vlmzoo.data.packing import PackedCollator, Segments, pack_rows
from vlmzoo.errors import ConfigError, ShapeError
from vlmzoo.models.packed import PACKED_SDPA, enable_packing, packed_sdpa, place_rows
from vlmzoo.objectives import OBJECTIVES
from vlmzoo.types import Sample, assistant, user
from vlmzoo.zoo import load_card

NATIVE = ("qwen2-vl-2b", "qwen2.5-vl-3b", "qwen3-vl-4b", "llava-1.5-7b-hf", "internvl3.5-1b")
COMPOSED = ("llama", "qwen2")
SIZES = ([(40, 60)], [], [(60, 40), (56, 56)], [(90, 30)])


def build(name):
    torch.manual_seed(0)
    if name in NATIVE:
        return build_model(load_card(name).miniature())
    architecture = make_architecture()
    text = {**architecture["language_model"], "model_type": name, "num_attention_heads": 4}
    return build_model(make_architecture(language_model=text))


@pytest.fixture(scope="module", params=(*COMPOSED, *NATIVE))
def model(request):
    return build(request.param)


@pytest.fixture(scope="module")
def packing_model(model):
    packing = copy.deepcopy(model)
    enable_packing(packing)
    assert packing.get_decoder().config._attn_implementation == PACKED_SDPA
    return packing


def make_picture(size, seed):
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (size[1], size[0], 3), generator=generator, dtype=torch.uint8)
    return Image.fromarray(pixels.numpy())


def make_row(model, index, *, seed=0):
    """Encode a conversation with 0, 1 or 2 pictures, of a length of its own."""
    sizes = SIZES[index % len(SIZES)]
    sample = Sample(
        messages=[
            user("What is it? " * (1 + index), num_images=len(sizes)),
            assistant(f"Number {index} is red, " * (1 + 2 * index % 3) + "I believe."),
        ],
        images=[make_picture(size, 10 * index + number + seed) for number, size in enumerate(sizes)],
        id=str(index),
    )
    return model.processor.encode(sample)


@pytest.fixture(scope="module")
def rows(model):
    return [make_row(model, index) for index in range(5)]


def segments_of(rows):
    return Segments(tuple(len(row["input_ids"]) for row in rows))


def logprobs_alone(model, rows):
    collate = Collator(pad_token_id=model.processor.padding_id)
    return [model(**collate([row]).inputs, return_logits=False).logprobs[0] for row in rows]


def logprobs_packed(model, rows):
    logprobs = model(**PackedCollator()([rows]).inputs, return_logits=False).logprobs
    return logprobs[0].split(segments_of(rows).lengths)


def assert_rows_close(found, expected, *, atol):
    for number, (one, other) in enumerate(zip(found, expected, strict=True)):
        torch.testing.assert_close(one[1:], other[1:], atol=atol, rtol=0, msg=lambda m, n=number: f"row {n}: {m}")


@torch.no_grad()
def test_logprobs_are_those_of_the_rows_alone(model, packing_model, rows):
    alone = logprobs_alone(model, rows)
    assert_rows_close(logprobs_packed(packing_model, rows), alone, atol=1e-5)
    assert_rows_close(logprobs_packed(model, rows), alone, atol=1e-5)  # transformers' dense mask


@torch.no_grad()
def test_logits_on_request_are_those_of_the_rows_alone(model, packing_model, rows):
    packed = packing_model(**PackedCollator()([rows]).inputs).logits[0].split(segments_of(rows).lengths)
    collate = Collator(pad_token_id=model.processor.padding_id)
    alone = [model(**collate([row]).inputs).logits[0] for row in rows]
    for one, other in zip(packed, alone, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=0)


@torch.no_grad()
def test_one_row_or_rows_without_pictures_are_packed_alike(model, packing_model, rows):
    text = [make_row(model, index) for index in (1, 5)]
    for some in ([rows[2]], [rows[1]], text):
        assert_rows_close(logprobs_packed(packing_model, some), logprobs_alone(model, some), atol=1e-5)


def test_losses_and_gradients_are_those_of_the_rows_alone(model, packing_model, rows):
    for one in (model, packing_model):
        one.zero_grad(set_to_none=True)
    packed = packing_model(**PackedCollator()([rows]).inputs, return_logits=False).loss
    packed.backward()
    num_targets = PackedCollator()([rows]).count()["tokens"]
    alone = -sum(line.sum() for line in logprobs_alone(model, rows)) / num_targets
    alone.backward()
    torch.testing.assert_close(packed, alone, atol=1e-5, rtol=0)
    compared = 0
    for (name, ours), theirs in zip(packing_model.named_parameters(), model.parameters(), strict=True):
        assert (ours.grad is None) == (theirs.grad is None), name
        if ours.grad is not None:
            torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-5, rtol=1e-4, msg=lambda m, n=name: f"{n}: {m}")
            compared += bool(ours.grad.any())
    assert compared > 20


@torch.no_grad()
def test_without_positions_of_their_own_rows_would_disturb_one_another(model, rows):
    inputs = {name: value for name, value in PackedCollator()([rows]).inputs.items() if name != "position_ids"}
    mixed = model(**inputs, return_logits=False).logprobs[0].split(segments_of(rows).lengths)
    alone = logprobs_alone(model, rows)
    assert all(float((one[1:] - other[1:]).abs().max()) > 1e-4 for one, other in zip(mixed[1:], alone[1:], strict=True))


@torch.no_grad()
@pytest.mark.parametrize("changed", [0, 2, 4])
def test_another_token_in_a_row_leaves_the_others_alone(packing_model, rows, changed):
    other = copy.deepcopy(rows)
    target = next(place for place, label in enumerate(other[changed]["labels"]) if label != -100)
    other[changed]["input_ids"][target] = other[changed]["input_ids"][target + 1]
    check_only_one_changes(packing_model, rows, other, changed)


@torch.no_grad()
@pytest.mark.parametrize("changed", [0, 2, 3])
def test_another_picture_in_a_row_leaves_the_others_alone(packing_model, rows, changed):
    other = [*rows]
    other[changed] = make_row(packing_model, changed, seed=1000)
    assert other[changed]["input_ids"] == rows[changed]["input_ids"]
    check_only_one_changes(packing_model, rows, other, changed)


def check_only_one_changes(model, rows, other, changed):
    before, after = logprobs_packed(model, rows), logprobs_packed(model, other)
    for number, (one, two) in enumerate(zip(before, after, strict=True)):
        if number == changed:
            assert not torch.allclose(one, two, atol=1e-6, rtol=0)
        else:
            torch.testing.assert_close(one, two, atol=1e-6, rtol=0)


@torch.no_grad()
def test_padded_batches_go_the_same_way_as_before(model, packing_model, rows):
    inputs = Collator(pad_token_id=model.processor.padding_id)(rows).inputs
    assert torch.equal(model(**inputs).logits, packing_model(**inputs).logits)
    left = Collator(pad_token_id=model.processor.padding_id, side="left")([rows[0], rows[2]]).inputs
    left = {name: value for name, value in left.items() if name != "labels"}
    options = {"max_new_tokens": 4, "do_sample": False, "suppress_tokens": [model.config.image_token_id]}
    assert torch.equal(model.generate(**left, **options), packing_model.generate(**left, **options))


def test_a_folder_does_not_know_that_its_model_was_packed(model, packing_model):
    assert packing_model.config.to_dict() == model.config.to_dict()


@torch.no_grad()
def test_attention_costs_the_squares_of_the_rows(packing_model, rows, monkeypatch):
    plain, pairs = torch.nn.functional.scaled_dot_product_attention, []

    def counting(query, key, value, attn_mask=None, is_causal=False, **kwargs):
        if is_causal or attn_mask is not None or query.shape[2] == 1:  # not the encoder's
            assert attn_mask is None
            pairs.append(query.shape[2] * key.shape[2])
        return plain(query, key, value, attn_mask=attn_mask, is_causal=is_causal, **kwargs)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", counting)
    inputs = PackedCollator()([rows]).inputs
    packing_model(**inputs, return_logits=False)
    num_layers = packing_model.config.get_text_config().num_hidden_layers
    assert sum(pairs) == num_layers * sum(length**2 for length in segments_of(rows).lengths)


@pytest.mark.parametrize("name", ["llama", "qwen2.5-vl-3b"])
def test_layers_that_are_computed_again_see_the_same_rows(name):
    gradients = []
    for again in (False, True):
        model = build(name).train()
        enable_packing(model)
        if again:
            model.gradient_checkpointing_enable()
        rows = [make_row(model, index) for index in range(4)]
        model(**PackedCollator()([rows]).inputs, return_logits=False).loss.backward()
        gradients.append({n: p.grad for n, p in model.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for found, expected in zip(gradients[1].values(), gradients[0].values(), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-7, rtol=1e-5)


@settings(max_examples=40)
@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=6),
    st.sampled_from([1, 2]),
    st.sampled_from([None, 1, 3, 20]),
    st.integers(0, 100),
)
def test_attention_is_that_of_the_dense_mask(lengths, groups, window, seed):
    generator = torch.Generator().manual_seed(seed)
    total, heads, width = sum(lengths), 4, 8

    def draw(num_heads):
        return torch.randn(1, num_heads, total, width, generator=generator, dtype=torch.float64).requires_grad_()

    query, key, value = draw(heads), draw(heads // groups), draw(heads // groups)
    layer = SimpleNamespace(num_key_value_groups=groups, is_causal=True)
    bounds = Segments(tuple(lengths)).bounds.view(1, 1, 1, -1)
    found, _ = packed_sdpa(layer, query, key, value, bounds, sliding_window=window, scaling=0.3)

    row = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    back = torch.arange(total)[:, None] - torch.arange(total)
    is_seen = (row[:, None] == row) & (back >= 0) & (back < (window or total))
    wide_key, wide_value = (states.repeat_interleave(groups, dim=1) for states in (key, value))
    scores = (query @ wide_key.mT * 0.3).masked_fill(~is_seen, -torch.inf)
    expected = (scores.softmax(dim=-1) @ wide_value).transpose(1, 2)
    torch.testing.assert_close(found, expected)

    weight = torch.randn(expected.shape, generator=generator, dtype=torch.float64)
    for ours, theirs in zip(
        torch.autograd.grad((found * weight).sum(), [query, key, value]),
        torch.autograd.grad((expected * weight).sum(), [query, key, value]),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


def make_text_model(model_type, attention="sdpa", **fields):
    torch.manual_seed(0)
    small = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64, "pad_token_id": 0}
    config = AutoConfig.for_model(model_type, **{**small, **heads, **fields})
    language_model = AutoModelForCausalLM.from_config(config, attn_implementation=attention).eval()
    return SimpleNamespace(get_decoder=lambda: language_model.get_decoder())


SLIDING = {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1}


@torch.no_grad()
@pytest.mark.parametrize(
    ("model_type", "fields"),
    [
        ("llama", {}),
        ("mistral", {"sliding_window": 4}),
        ("qwen2", SLIDING),
        ("qwen3", {"head_dim": 8, **SLIDING}),
        ("gemma", {"head_dim": 8}),
        ("gemma3_text", {"head_dim": 8, "sliding_window": 4}),
        ("phi3", {"bos_token_id": 1, "eos_token_id": 2}),
        ("olmo2", {}),
        ("gpt2", {"n_embd": 32, "n_layer": 2, "n_head": 4}),
    ],
)
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_rows_stay_apart_in_language_models_of_many_kinds(model_type, fields, attention):
    base = make_text_model(model_type, attention, **fields)
    segments = Segments((9, 1, 4, 12))
    ids = torch.randint(1, 64, (1, 26))
    decoder = base.get_decoder()
    alone = [decoder(input_ids=row, use_cache=False).last_hidden_state[0] for row in ids.split(segments.lengths, dim=1)]
    enable_packing(base)
    mask, positions = place_rows(base, segments, input_ids=ids, position_ids=segments.position_ids)
    found = decoder(input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=False).last_hidden_state[0]
    torch.testing.assert_close(found, torch.cat(alone), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("model_type", "fields", "reason"),
    [
        ("rwkv", {}, "its state would run on from one row into the next"),
        ("mamba", {"state_size": 4}, "layers of kind `linear_attention`"),
        ("qwen3_next", {"layer_types": ["linear_attention", "full_attention"]}, "layers of kind `linear_attention`"),
        ("gemma3_text", {"head_dim": 8, "use_bidirectional_attention": True}, "its attention is not causal"),
        ("bloom", {"n_layer": 1, "n_head": 4}, "takes no function from outside"),
    ],
)
def test_a_base_that_would_mix_rows_is_refused_with_the_reason(model_type, fields, reason):
    base = make_text_model(model_type, "eager", **fields)
    with pytest.raises(ConfigError, match=f"cannot be packed for a language model of type `{model_type}.*{reason}"):
        enable_packing(base)


def test_other_attention_keeps_rows_apart_by_positions():
    """Kernels of variable length (flash attention) read them from the text positions, one sequence, no mask."""
    model = build("qwen2.5-vl-3b")
    batch = PackedCollator()([[make_row(model, index) for index in range(3)]])
    segments = Segments.of(batch.inputs["position_ids"])
    model.get_decoder().config._attn_implementation = "flash_attention_2"
    mask, positions = place_rows(model, segments, **batch.inputs)
    assert mask is None and positions.shape == (4, 1, batch.inputs["input_ids"].shape[1])
    assert Segments.of(positions) == segments
    assert not torch.equal(positions[1], positions[0])  # the pictures' own
    assert torch.equal(place_rows(model, segments, **{**batch.inputs, "position_ids": positions})[1], positions)


@torch.no_grad()
@pytest.mark.parametrize("name", ["qwen2-vl-2b", "qwen2.5-vl-3b", "qwen3-vl-4b"])
def test_rotary_positions_are_those_of_each_row_alone(name):
    """Attention sees differences only, so this does not show in the log-probabilities of short sequences."""
    model = build(name)
    rows = [make_row(model, index) for index in range(5)]
    inputs = PackedCollator()([rows]).inputs
    _, positions = place_rows(model, segments_of(rows), **inputs)
    for row, found in zip(rows, positions[1:].split(segments_of(rows).lengths, dim=2), strict=True):
        given = Collator(pad_token_id=0)([row]).inputs
        names = ("input_ids", "mm_token_type_ids", "image_grid_thw")
        expected, _ = model.model.get_rope_index(**{name: given.get(name) for name in names})
        assert torch.equal(found, expected)


@torch.no_grad()
@pytest.mark.parametrize("name", ["llama", "qwen2.5-vl-3b"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_rows_stay_apart_without_labels_and_begin_no_cache(name, attention):
    model = build(name)
    model.set_attn_implementation(attention)
    enable_packing(model)
    rows = [make_row(model, index) for index in range(3)]
    packed, collate = PackedCollator()([rows]).inputs, Collator(pad_token_id=model.processor.padding_id)
    found = model(**{name: value for name, value in packed.items() if name != "labels"})
    assert found.cache is None
    alone = torch.cat([model(**collate([row]).inputs).logits for row in rows], dim=1)
    torch.testing.assert_close(found.logits, alone, atol=1e-4, rtol=0)


def test_pictures_without_the_types_of_the_tokens_are_refused():
    model = build("qwen2-vl-2b")
    inputs = dict(PackedCollator()([[make_row(model, 0), make_row(model, 2)]]).inputs)
    del inputs["mm_token_type_ids"]
    with pytest.raises(ShapeError, match="must have `input_ids` and `mm_token_type_ids`"):
        model(**inputs)


@pytest.mark.parametrize("name", ["llava-llama", "qwen2.5-vl"])
def test_adapters_see_rows_as_in_a_padded_batch(name):
    model = make_base(name, adapters=["probe", {"type": "lora", "rank": 4}])
    enable_packing(model)
    inputs = model.processor.adapter_inputs
    rows = [model.processor.encode(sample) for sample in make_samples(4)]
    packed = PackedCollator(adapter_inputs=inputs)([rows[:1], rows[1:]])
    padded = Collator(pad_token_id=model.processor.padding_id, adapter_inputs=inputs)(rows)
    assert packed.count() == padded.count()
    seen = {}
    for label, batch in (("packed", packed), ("padded", padded)):
        handle = model.adapters["probe"].register_forward_pre_hook(
            lambda module, args, label=label: seen.__setitem__(label, args[0])
        )
        found = model(**batch.inputs, return_logits=False)
        handle.remove()
        score = found.adapters["probe"]["score"]
        model.zero_grad(set_to_none=True)
        (score.square().sum() + found.loss).backward()
        gradients = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
        seen[label] = (seen[label], score.detach(), gradients)
    (ours, our_score, our_gradients), (theirs, their_score, their_gradients) = seen["packed"], seen["padded"]
    torch.testing.assert_close(our_score, their_score, atol=1e-5, rtol=0)
    assert torch.equal(ours.attention_mask, theirs.attention_mask) and torch.equal(ours.labels, theirs.labels)
    assert our_gradients.keys() == their_gradients.keys()
    for parameter, gradient in our_gradients.items():
        torch.testing.assert_close(gradient, their_gradients[parameter], atol=1e-5, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("normaliser", ["global_token", "sequence"])
def test_the_objective_is_that_of_the_padded_batch(normaliser):
    model = build("llama")
    enable_packing(model)
    rows = [make_row(model, index) for index in range(4)]
    objective = OBJECTIVES.build({"type": "next_token", "normaliser": normaliser})
    packed, padded = PackedCollator()([rows]), Collator(pad_token_id=model.processor.padding_id)(rows)
    ours, theirs = (
        objective(model(**batch.inputs, return_logits=False), batch, batch.count()).loss for batch in (packed, padded)
    )
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


NUM_PAIRS = 10


def make_skewed_rows(num, *, low=32, high=512):
    """Rows of text whose lengths are log-uniform."""
    draw = random.Random(0)
    lengths = [round(low * (high / low) ** draw.random()) for _ in range(num)]
    ids = [[draw.randrange(5, 250) for _ in range(length)] for length in lengths]
    return [{"input_ids": row, "labels": [-100, *row[1:]]} for row in ids]


@pytest.mark.slow
def test_packed_rows_train_faster_than_padded_ones(record_property):
    torch.set_num_threads(1)
    text = {**make_architecture()["language_model"], "hidden_size": 128, "intermediate_size": 512}
    text |= {"num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 4}
    model = build_model(make_architecture(language_model=text)).train()
    packing_model = copy.deepcopy(model)
    enable_packing(packing_model)

    rows = make_skewed_rows(32)
    lengths = [len(row["input_ids"]) for row in rows]
    bins = pack_rows(lengths, capacity=1536, window=len(rows))
    size = -(-len(rows) // len(bins))
    pad, pack = Collator(pad_token_id=0), PackedCollator()
    packed = [pack([[rows[index] for index in bin]]) for bin in bins]
    padded = [pad(rows[start : start + size]) for start in range(0, len(rows), size)]
    by_length = sorted(rows, key=lambda row: len(row["input_ids"]))
    grouped = [pad(by_length[start : start + size]) for start in range(0, len(rows), size)]
    for arm in (padded, grouped):
        assert sum(batch.count()["tokens"] for batch in arm) == sum(batch.count()["tokens"] for batch in packed)

    def seconds(one, batches):
        started = time.perf_counter()
        for batch in batches:
            one(**batch.inputs, return_logits=False).loss.backward()
        one.zero_grad(set_to_none=True)
        return time.perf_counter() - started

    arms = [(packing_model, packed), (model, padded), (model, grouped), (model, packed)]
    for arm in arms:
        seconds(*arm)
    trials = [[seconds(*arm) for arm in arms] for _ in range(NUM_PAIRS)]
    ours, in_order, sorted_by_length, dense = zip(*trials, strict=True)
    for name, others in (("", in_order), ("_to_sorted", sorted_by_length), ("_to_dense_mask", dense)):
        ratio = statistics.median(other / one for one, other in zip(ours, others, strict=True))
        record_property(f"ratio{name}", round(ratio, 3))
    record_property("tokens_per_s", round(sum(lengths) / statistics.median(ours)))
    record_property(
        "share_of_real_tokens_padded", round(sum(lengths) / sum(b.inputs["input_ids"].numel() for b in padded), 3)
    )
    ratio = statistics.median(other / one for one, other in zip(ours, in_order, strict=True))
    assert statistics.median(ours) >= 0.2
    assert ratio >= 1.5, f"{ratio:.3f}"
