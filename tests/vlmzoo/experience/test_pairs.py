"""Preference pairs as an experience: what the loss sees, what a reference is, what is resumed, what is refused."""

import copy
import json
import math
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from tests.vlmzoo.adapters.bases import make_base, make_picture
from vlmzoo.data.preference_batches import pair_digest
from vlmzoo.data.preference_pairs import PairEncoder
from vlmzoo.data.preference_rows import LAYOUTS
from vlmzoo.errors import ConfigError, DataError, ShapeError
from vlmzoo.experience import EXPERIENCES
from vlmzoo.experience.reference_table import ReferenceTable
from vlmzoo.objectives import OBJECTIVES
from vlmzoo.types import Sample, assistant, user

CARDS = {"type": "shape_cards", "layouts": {"sequence": 1.0}, "rejected": True, "card_px": 28}
LORA = {"type": "lora", "rank": 2}


class NegativeSource:
    """Pairs about one picture, with another that contradicts the better answer."""

    size = 6

    def sample(self, position):
        return Sample(
            messages=[user("Which number?", num_images=1), assistant(f"It is {position}.")],
            images=[make_picture(position)],
            id=str(position),
            rejected=f"It is {position + 1}, I think.",
            negative_images=[make_picture(position + 1)],
        )


def make_policy(name="llava-llama", adapters=(), frozen=False):
    model = make_base(name, adapters=adapters)
    copied = copy.deepcopy(model).requires_grad_(False) if frozen else None
    return SimpleNamespace(module=model, frozen=copied, whole_weights=nullcontext)


@pytest.fixture(scope="module")
def policy():
    return make_policy(frozen=True)


def make(policy, **options):
    given = {"micro_batch_size": 2, "accumulation_steps": 1, "seed": 0, "policy": policy}
    given |= {name: options.pop(name) for name in given.keys() & options.keys()}
    spec = {"type": "pairs", "source": CARDS, "reference": "frozen_copy", **options}
    if not isinstance(spec["source"], dict):
        build = EXPERIENCES.entry("pairs").build
        return build(**{k: v for k, v in spec.items() if k != "type"}, processor=policy.module.processor, **given)
    return EXPERIENCES.build(spec, processor=policy.module.processor, **given)


def take(experience, num=1):
    steps = iter(experience)
    return [next(steps) for _ in range(num)]


def run(policy, step, **objective):
    built = OBJECTIVES.build({"type": "preference", **objective})
    model = policy.module.eval()
    parts = [built(model(**b.inputs, return_logits=False), b, step.denominators) for b in step.micro_batches]
    return sum(part.loss for part in parts), parts


@pytest.mark.parametrize("name", ["llava-llama", "eagle", "qwen2.5-vl"])
def test_a_policy_at_its_reference_costs_log_two_on_any_base(name):
    policy = make_policy(name, frozen=True)
    (step,) = take(make(policy))
    loss, _parts = run(policy, step)
    assert loss.item() == pytest.approx(math.log(2), abs=1e-4)
    assert step.denominators["pairs"] == 2
    loss.backward()
    assert any(p.grad is not None and p.grad.abs().max() > 0 for p in policy.module.parameters())


@pytest.mark.parametrize(("strategy", "mode"), sorted(LAYOUTS))
def test_every_strategy_trains_on_what_its_rows_show(policy, strategy, mode):
    (step,) = take(make(policy, source=NegativeSource(), strategy=strategy, mode=mode))
    (batch,) = step.micro_batches
    distinct = len(batch.inputs["pixel_values"])
    shown = int((batch.inputs["input_ids"] == policy.module.config.image_token_id).sum())
    assert shown == len(batch.inputs["image_index"]) * policy.module.num_image_tokens
    assert set(batch.inputs["image_index"].tolist()) == set(range(distinct))
    loss, _ = run(policy, step, strategy=strategy, mode=mode)
    assert torch.isfinite(loss)


def test_each_picture_of_a_pair_is_in_the_batch_once(policy):
    (step,) = take(make(policy, source=NegativeSource(), strategy="orm"))
    (batch,) = step.micro_batches
    assert len(batch.inputs["pixel_values"]) == 4  # two pairs, a picture and its opposite
    assert len(batch.inputs["image_index"]) == 6  # chosen, chosen beside the opposite, rejected
    pixels = batch.inputs["pixel_values"][batch.inputs["image_index"]]
    torch.testing.assert_close(pixels[:2], pixels[4:])


@pytest.mark.parametrize("reference", ["lora_off", "frozen_lora"])
def test_references_made_of_lora_are_what_they_say(reference):
    policy = make_policy(adapters=[LORA])
    experience = make(policy, reference=reference)
    before = take(experience)[0].micro_batches[0].targets["reference_logprobs"]
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in policy.module.named_parameters():
            if ".lora_B" in name:
                parameter.add_(torch.randn_like(parameter))
    again = make(policy, reference=reference) if reference == "lora_off" else experience
    again.load_state_dict({**again.state_dict(), "cursor": 0, "used": 0})
    after = take(again)[0].micro_batches[0]
    torch.testing.assert_close(after.targets["reference_logprobs"], before)
    now = policy.module.eval()(**after.inputs, return_logits=False).logprobs.sum(dim=1)
    assert not torch.allclose(now, before, atol=1e-3)


def make_table(policy, path, strategy="dpo", num=8):
    encoder = PairEncoder(policy.module.processor, strategy=strategy)
    experience = make(policy, strategy=strategy, source=FewCards())
    pairs = []
    for position in range(num):
        encoded = encoder.encode(FewCards().sample(position))
        batch = experience.collate_pairs([encoded])
        logprobs = policy.frozen.eval()(**batch.inputs, return_logits=False).logprobs.sum(dim=1).detach()
        pairs.append((pair_digest(encoded), logprobs[experience.collate_pairs.places_of(0, 1)]))
    return ReferenceTable.of(pairs, {"strategy": strategy, "mode": "single"}).write(path)


class FewCards:
    size = 8

    def sample(self, position):
        from vlmzoo.data.sources import SOURCES

        return SOURCES.build(CARDS).sample(position)


def test_precomputed_log_probabilities_are_those_of_the_frozen_copy(policy, tmp_path):
    path = make_table(policy, tmp_path / "reference.safetensors")
    known = take(make(policy, source=FewCards(), reference="precomputed", reference_file=str(path)), 3)
    asked = take(make(policy, source=FewCards()), 3)
    for one, other in zip(known, asked, strict=True):
        for left, right in zip(one.micro_batches, other.micro_batches, strict=True):
            torch.testing.assert_close(
                left.targets["reference_logprobs"], right.targets["reference_logprobs"], rtol=1e-4, atol=1e-4
            )


def test_a_file_of_other_pairs_or_another_strategy_is_refused(policy, tmp_path):
    path = make_table(policy, tmp_path / "reference.safetensors", num=1)
    with pytest.raises(DataError, match="missing"):
        take(make(policy, source=FewCards(), reference="precomputed", reference_file=str(path)), 4)
    with pytest.raises(DataError, match="orm"):
        make(policy, strategy="orm", reference="precomputed", reference_file=str(path))
    with pytest.raises(DataError, match="cannot be read"):
        make(policy, reference="precomputed", reference_file=str(tmp_path / "none.safetensors"))


def test_a_restart_gives_the_steps_that_were_left(policy):
    whole = take(make(policy), 4)
    first = make(policy)
    take(first, 2)
    state = json.loads(json.dumps(first.state_dict()))
    again = make(policy)
    again.load_state_dict(state)
    for one, other in zip(whole[2:], take(again, 2), strict=True):
        for left, right in zip(one.micro_batches, other.micro_batches, strict=True):
            assert torch.equal(left.inputs["input_ids"], right.inputs["input_ids"])
            assert torch.equal(left.targets["reference_logprobs"], right.targets["reference_logprobs"])


@pytest.mark.slow
def test_workers_give_the_same_pairs(policy):
    alone, helped = (take(make(policy, num_workers=workers), 2) for workers in (0, 1))
    for one, other in zip(alone, helped, strict=True):
        assert torch.equal(one.micro_batches[0].inputs["input_ids"], other.micro_batches[0].inputs["input_ids"])


def test_without_a_reference_only_a_reference_free_loss_runs(policy):
    (step,) = take(make(policy, reference="none"))
    assert "reference_logprobs" not in step.micro_batches[0].targets
    assert torch.isfinite(run(policy, step, reference_free=True)[0])
    with pytest.raises(ShapeError, match="reference_free"):
        run(policy, step)


def test_the_objectives_strategy_must_be_that_of_the_rows(policy):
    (step,) = take(make(policy))
    with pytest.raises(ShapeError, match="strategy and mode"):
        run(policy, step, strategy="orm")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"reference": "precomputed"}, "reference_file"),
        ({"reference_file": "x.safetensors"}, "reference_file"),
        ({"reference": "lora_off"}, "LoRA"),
        ({"reference": "frozn_copy"}, "frozen_copy"),
        ({"strategy": "dpoo"}, "dpo"),
        ({"strategy": "mdpo", "mode": "same_batch"}, "mode"),
        ({"shared_tokens": "drop"}, "shared_tokens"),
        ({"strategy": "svco_ref", "shared_tokens": "mask"}, "`shared_tokens` must be keep with `svco_ref`"),
    ],
)
def test_options_that_cannot_be_or_have_no_effect_are_refused(policy, options, says):
    with pytest.raises(ConfigError, match=says):
        make(policy, **options)


GOOD = Sample(
    messages=[user("Which?", num_images=1), assistant("This one.")],
    images=[make_picture(0)],
    id="7",
    rejected="That one.",
    negative_images=[make_picture(1)],
)


@pytest.mark.parametrize(
    ("changes", "strategy", "says"),
    [
        ({"rejected": None}, "dpo", "rejected answer"),
        ({"rejected": "  "}, "dpo", "must say something"),
        ({"messages": [GOOD.messages[0], assistant(" ")]}, "dpo", "must say something"),
        ({"rejected": "This one. "}, "dpo", "must differ"),
        ({"messages": [GOOD.messages[0]]}, "dpo", "end with the better answer"),
        ({"images": []}, "dpo", "placeholders but 0 images"),
        ({"images": [make_picture(0)] * 2}, "dpo", "1 image placeholders but 2 images"),
        ({"negative_images": []}, "orm", "negative image"),
        ({"images": [], "messages": [user("Which?"), assistant("This.")]}, "svco_ref", "must have an image"),
    ],
)
def test_corrupt_pairs_are_named(policy, changes, strategy, says):
    encoder = PairEncoder(policy.module.processor, strategy=strategy)
    with pytest.raises(DataError, match=says) as error:
        encoder.encode(replace(GOOD, **changes))
    assert "`7`" in str(error.value)


def test_masking_shared_tokens_leaves_the_others_and_refuses_to_leave_none(policy):
    processor = policy.module.processor
    sample = replace(GOOD, messages=[GOOD.messages[0], assistant("a big red cat")], rejected="a big blue cat")
    kept, masked = (
        PairEncoder(processor, strategy="dpo", shared_tokens=how).encode(sample)["rows"] for how in ("keep", "mask")
    )
    for before, after in zip(kept, masked, strict=True):
        targets = [id for id in after["labels"] if id != -100]
        assert 0 < len(targets) < sum(id != -100 for id in before["labels"])
    ids = [{id for id in row["labels"] if id != -100} for row in masked]
    assert not ids[0] & ids[1]
    longer = replace(sample, rejected="a big red cat cat")
    with pytest.raises(DataError, match="No target is left of the chosen"):
        PairEncoder(processor, strategy="dpo", shared_tokens="mask").encode(longer)


def test_the_crop_is_a_small_piece_and_always_the_same(policy):
    encoder = PairEncoder(policy.module.processor, strategy="ori_mdpo")
    one, other = (encoder.encode(GOOD)["pictures"]["pixel_values"] for _ in range(2))
    assert torch.equal(one, other)
    assert not torch.equal(one[0], one[1])
