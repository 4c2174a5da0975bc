"""The head in chunks, beside the naive way: values, gradients, and what may be bolted on a head."""

import copy

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from vlmzoo.adapters.tokens import TokenRows
from vlmzoo.blocks.language import LANGUAGE_MODELS
from vlmzoo.blocks.language.causal_lm import apply_head, build_language_model, causal_lm, target_logprobs
from vlmzoo.blocks.language.in_chunks import in_chunks

SMALL = 64 * 3
"""Logits in a chunk: three targets at a time."""


def make_model(*, tied=False, model_type="llama"):
    torch.manual_seed(0)
    tiny = LANGUAGE_MODELS.entry("causal_lm").tiny | {"model_type": model_type, "tie_word_embeddings": tied}
    return build_language_model(causal_lm(**tiny))


def make_rows():
    generator = torch.Generator().manual_seed(1)
    input_ids = torch.randint(5, 60, (2, 9), generator=generator)
    return input_ids, input_ids.masked_fill(torch.rand(2, 9, generator=generator) < 0.3, -100)


def naive_logprobs(model, hidden, labels):
    logprobs = apply_head(model, hidden).float().log_softmax(-1)[:, :-1]
    chosen = logprobs.gather(-1, labels[:, 1:, None].clamp(min=0))[..., 0] * (labels[:, 1:] != -100)
    return nn.functional.pad(chosen, (1, 0))


def chunked_logprobs(model, hidden, labels):
    return target_logprobs(model, hidden, labels, max_chunk_elements=SMALL)


def gradients_of(model, way, *, weights=True):
    """Log-probabilities, and the gradients of a weighted sum of them, of every parameter that has one."""
    model.zero_grad()
    input_ids, labels = make_rows()
    torch.manual_seed(5)  # of dropout
    logprobs = way(model, model.get_decoder()(input_ids=input_ids).last_hidden_state, labels)
    (logprobs * torch.arange(1, 10)).sum().backward()
    return logprobs.detach(), {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def assert_equal_to_the_naive_way(model):
    (ours, our_gradients), (theirs, their_gradients) = (
        gradients_of(model, way) for way in (chunked_logprobs, naive_logprobs)
    )
    torch.testing.assert_close(ours, theirs)
    assert our_gradients.keys() == their_gradients.keys()
    for name, gradient in our_gradients.items():
        torch.testing.assert_close(gradient, their_gradients[name], msg=lambda text, name=name: f"{name}: {text}")
    return our_gradients


@pytest.mark.parametrize("tied", [False, True])
def test_gradients_are_those_of_the_naive_way(tied):
    model = make_model(tied=tied)
    gradients = assert_equal_to_the_naive_way(model)
    assert ("lm_head.weight" in gradients) is not tied  # tied, it is the embedding's


def test_a_frozen_head_hands_gradients_on_to_what_is_before_it():
    model = make_model()
    model.lm_head.requires_grad_(False)
    gradients = assert_equal_to_the_naive_way(model)
    assert "lm_head.weight" not in gradients
    assert "model.norm.weight" in gradients


def test_a_head_alone_may_learn():
    model = make_model()
    model.model.requires_grad_(False)
    assert assert_equal_to_the_naive_way(model).keys() == {"lm_head.weight"}


def test_nothing_learns_and_nothing_is_kept():
    model = make_model().requires_grad_(False)
    input_ids, labels = make_rows()
    hidden = model.get_decoder()(input_ids=input_ids).last_hidden_state
    assert not chunked_logprobs(model, hidden, labels).requires_grad


def test_lora_on_the_head_learns():
    from peft import LoraConfig, inject_adapter_in_model

    model = inject_adapter_in_model(LoraConfig(target_modules=["lm_head"], init_lora_weights=False), make_model())
    gradients = assert_equal_to_the_naive_way(model)
    assert any("lm_head.lora_A" in name for name in gradients)


def test_dropout_in_the_head_is_the_same_in_the_backward_pass():
    from peft import LoraConfig, inject_adapter_in_model

    config = LoraConfig(target_modules=["lm_head"], lora_dropout=0.5, init_lora_weights=False)
    model = inject_adapter_in_model(config, make_model()).double()
    _, labels = make_rows()
    hidden = torch.randn(2, 9, 32, dtype=torch.float64, requires_grad=True)

    def total(states):
        torch.manual_seed(3)
        return chunked_logprobs(model, states, labels).double().sum()

    loss = total(hidden)
    torch.manual_seed(99)  # what happens between the passes does not matter
    state = torch.get_rng_state()
    (gradient,) = torch.autograd.grad(loss, hidden)
    assert torch.equal(torch.get_rng_state(), state)
    direction = torch.randn_like(hidden)
    step = 1e-2  # log-probabilities are float32, so differences are taken far apart
    slope = (total(hidden + step * direction) - total(hidden - step * direction)) / (2 * step)
    torch.testing.assert_close((gradient * direction).sum(), slope, rtol=2e-3, atol=0)


def test_rows_of_new_tokens_that_hooked_onto_the_head_learn():
    model = make_model()
    rows = TokenRows({"<a>": 64, "<b>": 66}, width=32, is_tied=False)
    rows.initialise(model.model.embed_tokens, model.lm_head)
    rows.install(model.model.embed_tokens, model.lm_head)
    model.rows = rows
    twin = copy.deepcopy(model)
    for each in (model, twin):
        assert "rows.output" in assert_equal_to_the_naive_way(each)


def test_whatever_a_hook_adds_to_the_head_learns():
    model = make_model()
    model.stray = nn.Parameter(torch.zeros(64))
    model.lm_head.register_forward_hook(lambda module, args, logits: logits + model.stray)
    assert "stray" in assert_equal_to_the_naive_way(model)


def test_a_weight_may_be_used_twice():
    def twice(way):
        return lambda model, hidden, labels: way(model, hidden, labels) + naive_logprobs(model, hidden * 2, labels)

    model = make_model()
    (ours, our_gradients), (theirs, their_gradients) = (
        gradients_of(model, twice(way)) for way in (chunked_logprobs, naive_logprobs)
    )
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(our_gradients["lm_head.weight"], their_gradients["lm_head.weight"])


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_the_whole_may_be_computed_again_itself(use_reentrant):
    model = make_model()

    def again(model, hidden, labels):
        return checkpoint(chunked_logprobs, model, hidden, labels, use_reentrant=use_reentrant)

    (ours, our_gradients), (theirs, their_gradients) = (gradients_of(model, way) for way in (again, naive_logprobs))
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(our_gradients, their_gradients)


def test_hooks_on_a_gradient_run_once():
    model = make_model()
    calls = []
    model.lm_head.weight.register_post_accumulate_grad_hook(lambda weight: calls.append(weight.grad.clone()))
    _, gradients = gradients_of(model, chunked_logprobs)
    assert len(calls) == 1
    assert torch.equal(calls[0], gradients["lm_head.weight"])


def make_wide_problem(dtype):
    """Sixty-four rows whose gradients are added up in sixty-four chunks."""
    generator = torch.Generator().manual_seed(2)
    weight = nn.Parameter((torch.randn(32, 16, generator=generator) / 4).to(dtype))
    states = torch.randn(64, 16, generator=generator).to(dtype)
    targets = torch.randint(32, (64,), generator=generator)

    def run(rows, own_targets):
        logits = (rows @ weight.T).float()
        return -nn.functional.cross_entropy(logits, own_targets, reduction="none")[None]

    return weight, states, targets, run


def test_shares_in_bfloat16_are_added_up_in_float32():
    weight, states, targets, run = make_wide_problem(torch.bfloat16)
    found = in_chunks(run, states, targets, num_chunks=64)
    (ours,) = torch.autograd.grad(found.sum(), weight)
    shares = [torch.autograd.grad(run(states[i : i + 1], targets[i : i + 1]).sum(), weight)[0] for i in range(64)]
    assert ours.dtype == torch.bfloat16
    assert torch.equal(ours, torch.stack(shares).float().sum(dim=0).to(torch.bfloat16))
    in_half = torch.zeros_like(weight)
    for share in shares:
        in_half += share
    residual = nn.functional.one_hot(targets, 32) - (states.double() @ weight.double().T).softmax(-1)
    exact = residual.T @ states.double()
    error, error_in_half = ((gradient.double() - exact).abs().max() for gradient in (ours, in_half))
    assert error < error_in_half / 2


def test_automatic_casts_are_those_of_the_forward_pass():
    weight, states, targets, run = make_wide_problem(torch.float32)

    def gradient(way):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = way().sum()
        return torch.autograd.grad(loss, weight)[0]

    ours = gradient(lambda: in_chunks(run, states, targets, num_chunks=4))
    torch.testing.assert_close(ours, gradient(lambda: run(states, targets)), rtol=2e-2, atol=2e-2)
    assert ours.abs().any()


def test_chunks_may_be_empty_and_more_than_rows():
    weight, states, targets, run = make_wide_problem(torch.float32)
    for rows in (0, 3):
        leaf = states[:rows].clone().requires_grad_()
        found = in_chunks(run, leaf, targets[:rows], num_chunks=5)
        gradients = torch.autograd.grad(found.sum(), [leaf, weight])
        torch.testing.assert_close(
            gradients, torch.autograd.grad(run(leaf, targets[:rows]).sum(), [leaf, weight]), rtol=1e-5, atol=1e-6
        )
