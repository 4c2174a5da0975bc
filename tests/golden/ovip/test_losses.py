"""OViP's losses against the authors' own: values and gradients of every strategy, and what their options really did."""

from dataclasses import replace

import pytest
import torch
from safetensors import safe_open

from vlmzoo.data.preference_rows import rows_by_role, rows_of
from vlmzoo.errors import ConfigError
from vlmzoo.objectives.next_token import NextTokenObjective
from vlmzoo.objectives.preference import PreferenceObjective
from vlmzoo.outputs import IGNORED_LABEL, Batch, VlmOutput

GOLDEN = ("ovip", "losses.jsonl")
AVERAGED = ("sft", "grpo")  # plain likelihood
UNANSWERED = ("orpo", "simpo")  # offered by the authors' command line, written nowhere
NO_SFT = ("vtcl", "mdpo", "ori_mdpo")
NO_NEG = ("svco_ref", "svco_textref")


def is_preference(config):
    return config["strategy"] not in (*AVERAGED, "grpo-update")


def options_of(config):
    """The options as the authors' configuration words them."""
    return {
        "strategy": config["strategy"].replace("-", "_"),
        "mode": {"single": "single", "sameBatch": "same_batch"}[config["mode"]],
        "dpo_beta": config["beta"],
        "loss": config["loss"],
        "label_smoothing": config["ls"],
        "anchor": config["anchor"],
        "reference_neg_anchor": config["neg"],
        "sft_weight": config["ftx"],
        "sft_normaliser": "sequence",
        "image_weight": None if config["half"] else 1.0,
    }


def effective(options):
    """The options as the authors' code heeds them."""
    strategy, is_double = options["strategy"], options["mode"] == "same_batch"
    made = dict(options)
    if strategy != "orm":
        made["image_weight"] = None
        made["anchor"] = float(options["anchor"] >= 1e-6) if is_double else options["anchor"]
    if not options["anchor"] or strategy in NO_NEG or (is_double and strategy != "orm"):
        made["reference_neg_anchor"] = 0.0
    if strategy in NO_SFT:
        made["sft_weight"] = 0.0
    return made


def evaluate(options, golden, *, strategy=None):
    """Loss and gradient of an objective on the golden rows."""
    config, name = golden.content["config"], golden.content["id"]
    with safe_open(golden.path.with_name("losses.safetensors"), "pt") as file:
        policy, reference, labels = (
            file.get_tensor(f"{name}.{key}") for key in ("policy_logits", "ref_logits", "labels")
        )
    policy.requires_grad_()
    layout = options["strategy"]
    objective = PreferenceObjective(**{**options, "strategy": strategy or layout})
    rows = list(rows_of(layout, mode=options["mode"], num_pairs=config["n"], distinct=False))
    assert len(rows) == labels.shape[0]
    places = rows_by_role(rows, objective.roles, strategy=layout)
    batch = Batch(
        inputs={"labels": labels},
        targets={
            "rows": {role: torch.tensor(found) for role, found in places.items()},
            "reference_logprobs": token_logprobs(reference, labels).sum(dim=1),
        },
    )
    made = objective(VlmOutput(logprobs=token_logprobs(policy, labels)), batch, {"pairs": float(config["n"])})
    made.loss.backward()
    return made, policy.grad


def token_logprobs(logits, labels):
    targets = labels[:, 1:]
    found = logits[:, :-1].log_softmax(-1).gather(2, targets.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    return torch.cat([torch.zeros(len(labels), 1), found * (targets != IGNORED_LABEL)], dim=1)


def tensor_of(golden, key):
    with safe_open(golden.path.with_name("losses.safetensors"), "pt") as file:
        return file.get_tensor(f"{golden.content['id']}.{key}")


def assert_is(made, gradient, golden, *, corrected):
    prefix = "corrected_" if corrected else ""
    loss, expected = tensor_of(golden, f"{prefix}loss"), tensor_of(golden, f"{prefix}grad_policy_logits")
    relative = 1e-4 if golden.content["config"]["loss"] == "ipo" else 1e-5
    torch.testing.assert_close(made.loss.detach(), loss.squeeze(), rtol=relative, atol=1e-6)
    torch.testing.assert_close(gradient, expected, rtol=0, atol=1e-5 * max(1.0, expected.abs().max().item()))


@pytest.mark.golden_cases(where=lambda content: content["config"]["strategy"] != "grpo-update")
def test_loss_and_gradient_are_the_authors(golden):
    content, config = golden.content, golden.content["config"]
    if not is_preference(config):
        return check_likelihood(golden)
    options = options_of(config)
    if config["normal"] and options["strategy"] in NO_SFT:
        options |= {"strategy": options["strategy"]}
        made = evaluate(effective(options), golden, strategy="dpo")
        return assert_is(*made, golden, corrected=False)
    corrected = "corrected_loss" in content
    if content["error"] is None or corrected:
        return assert_is(*evaluate(effective(options), golden), golden, corrected=corrected)
    return check_refusal(options)


def check_likelihood(golden):
    """Plain likelihood is the next-token objective with each row's mean; GRPO's update is tested with its objective."""
    labels = tensor_of(golden, "labels")
    policy = tensor_of(golden, "policy_logits").requires_grad_()
    batch = Batch(inputs={"labels": labels})
    outputs = VlmOutput(logprobs=token_logprobs(policy, labels))
    made = NextTokenObjective(normaliser="sequence")(outputs, batch, {"sequences": float(len(labels))})
    made.loss.backward()
    assert_is(made, policy.grad, golden, corrected=False)


def check_refusal(options):
    """Where the authors' code breaks without a clear intent, ours refuses the configuration, or knows better."""
    if options["loss"] in UNANSWERED or (options["mode"] == "same_batch" and options["strategy"] != "svco_noref"):
        with pytest.raises(ConfigError):
            PreferenceObjective(**options)
    else:  # `kto_pair`, and the likelihood beside `svco_noref`: both have a meaning here
        known = {**options, "reference_neg_anchor": 0.0}
        assert PreferenceObjective(**known).loss == options["loss"]


def is_flawed(content):
    return is_preference(content["config"]) and content["error"] is None and bool(content["reference_flaws"])


@pytest.mark.golden_cases(where=is_flawed)
def test_an_option_that_the_authors_code_passes_over_is_refused_or_heeded(golden):
    config = golden.content["config"]
    options, heeded = options_of(config), effective(options_of(config))
    changed = {name for name in options if options[name] != heeded[name]}
    if changed & {"image_weight", "reference_neg_anchor"}:
        with pytest.raises(ConfigError):
            PreferenceObjective(**options)
    elif changed:
        made, _ = evaluate(options, golden)
        theirs, _ = evaluate(heeded, golden)
        terms = ("anchor_loss", "sft_loss")
        ours, bare = (made.metrics, theirs.metrics)
        assert ours["preference_loss"] == bare["preference_loss"]
        assert any(ours.get(term, 0.0) != bare.get(term, 0.0) for term in terms)


@pytest.mark.golden_cases(where=lambda content: is_preference(content["config"]) and content["config"]["neg"])
def test_the_bounded_anchor_replaces_the_unbounded_one(golden):
    config = golden.content["config"]
    options = effective(options_of(config))
    if options["reference_neg_anchor"]:
        bounded = {**options, "rejected_anchor": options["reference_neg_anchor"], "reference_neg_anchor": 0.0}
        made, _ = evaluate(bounded, golden)
        assert made.metrics["rejected_anchor_loss"] > 0


def test_objectives_are_frozen_values():
    objective = PreferenceObjective(strategy="orm", image_weight=1.0)
    assert replace(objective, image_weight=None) == PreferenceObjective(strategy="orm")
