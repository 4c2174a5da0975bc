"""Online preferences: what is trained, what is resumed, and what happens while services fail."""

import copy
import json
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch

from tests.vlmzoo.adapters.bases import make_base
from vlmzoo.errors import ConfigError, ServiceError
from vlmzoo.experience import EXPERIENCES
from vlmzoo.objectives import OBJECTIVES
from vlmzoo.outputs import IGNORED_LABEL
from vlmzoo.services.judges import Verdict
from vlmzoo.services.ledger import Ledger
from vlmzoo.services.negative_images import Rendered
from vlmzoo.services.pair_making.spool import export_pairs, read_spool

SCENES = {"type": "icon_scenes", "canvas_px": 28, "num_rows": 12}


@pytest.fixture(scope="module")
def policy():
    model = make_base("llava-llama")
    return SimpleNamespace(module=model, frozen=copy.deepcopy(model).requires_grad_(False), whole_weights=nullcontext)


def make(policy, **options):
    spec = {
        "type": "online_pairs",
        "source": SCENES,
        "judge": {"type": "object_f1"},
        "selection": {"type": "ovip_code"},  # a random policy names nothing: the reference stands against its worst
        "describer": {"type": "rejected_answer"},
        "images": {"type": "altered", "kind": "noise"},
        "reference": "frozen_copy",
        "num_prompts": 2,
        "num_rollouts": 3,
        "sampling": {"max_new_tokens": 4, "temperature": 1.2, "top_p": 0.8},
        "engine": {"type": "in_process", "batch_size": 8},
    }
    spec |= {name: value for name, value in options.items() if name not in ("run_dir", "micro_batch_size")}
    given = {"micro_batch_size": options.get("micro_batch_size", 2), "run_dir": options.get("run_dir")}
    experience = EXPERIENCES.build(spec, processor=policy.module.processor, seed=3, policy=policy, **given)
    return experience


def take(experience, num=1):
    steps = iter(experience)
    return [next(steps) for _ in range(num)]


def loss_of(policy, step, **objective):
    built = OBJECTIVES.build({"type": "preference", "strategy": "orm", **objective})
    model = policy.module.eval()
    parts = []
    for batch in step.micro_batches:
        with torch.no_grad():
            parts.append(built(model(**batch.inputs, return_logits=False), batch, dict(step.denominators)))
    return sum(float(part.loss) for part in parts)


def losses(policy, steps):
    return [loss_of(policy, step) for step in steps]


def test_a_step_holds_all_rows_of_its_pairs_and_the_ids_that_were_drawn(policy):
    experience = make(policy)
    (step,) = take(experience)
    (batch,) = step.micro_batches
    assert batch.inputs["labels"].shape[0] == 2 * 4 and step.denominators["pairs"] == 2
    pairs = list(experience._replay)
    drawn = {pair.rejected_ids for pair in pairs}
    labels = batch.inputs["labels"][batch.targets["rows"]["rejected"]]
    assert {tuple(row[row != IGNORED_LABEL].tolist()) for row in labels} == drawn
    assert step.notes["online/fallbacks"] == 1.0 and step.notes["online/trained"] == 2
    assert batch.targets["pair_weights"].tolist() == batch.targets["image_weights"].tolist() == [1.0, 1.0]
    assert all(pair.chosen_ids is None for pair in pairs)


def test_in_lockstep_a_killed_run_goes_on_to_the_last_bit_and_its_spool_has_no_double_line(policy, tmp_path):
    whole = make(policy, run_dir=str(tmp_path / "whole"), schedule={"lag": 1})
    expected = losses(policy, take(whole, 4))
    first = make(policy, run_dir=str(tmp_path / "cut"), schedule={"lag": 1})
    steps = iter(first)
    got = losses(policy, [next(steps) for _ in range(2)])
    state = json.loads(json.dumps(first.state_dict()))
    next(steps)  # a step that the kill undoes
    again = make(policy, run_dir=str(tmp_path / "cut"), schedule={"lag": 1})
    again.load_state_dict(state)
    got += losses(policy, take(again, 2))
    assert got == expected
    spools = [(tmp_path / name / "online" / "spool.jsonl").read_text() for name in ("whole", "cut")]
    assert spools[0] == spools[1]
    trained = [
        (row["place"], row["number"])
        for row in read_spool(tmp_path / "cut/online/spool.jsonl")
        if row["event"] == "trained"
    ]
    assert len(trained) == len(set(trained)) == 8
    assert len(export_pairs(tmp_path / "cut/online")) >= 8


def test_prompts_that_are_passed_over_and_completions_that_are_cut_are_told_and_go_on_being_counted(policy, tmp_path):
    asked = [{"role": "user", "content": "Which?"}], [{"role": "user", "content": "Which? " * 40}]
    answer = {"role": "assistant", "content": "a bell"}
    rows = [{"messages": [*asked[0], answer]}] * 6 + [{"messages": [*asked[1], answer]}, {"messages": asked[0]}]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    options = {
        "source": {"type": "trl", "path": str(path)},
        "prompts": {"max_tokens": 60, "on_too_long": "skip", "corrupt_limit": 0.5},
        "strategy": "dpo",
        "describer": None,
        "images": None,
    }
    experience = make(policy, **options)
    steps = iter(experience)
    told = [next(steps).notes for _ in range(8)]
    names = ("prompts_too_long", "prompts_corrupt", "completions_cut")
    assert all(told[0].get(name) is not None for name in names)  # always: ranks sum the same names
    assert told[-1]["prompts_too_long"] >= 1 and told[-1]["prompts_corrupt"] >= 1
    experience.engine.num_cut = 3  # as a server's engine counts
    state = json.loads(json.dumps(experience.state_dict()))
    later = next(steps).notes
    assert later["completions_cut"] == 3.0
    resumed = make(policy, **options)
    resumed.load_state_dict(state)
    again = take(resumed)[0].notes
    assert {name: again[name] for name in names} == {name: later[name] for name in names}
    state.pop("num_cut")  # as older checkpoints are
    older = make(policy, **options)
    older.load_state_dict(state)
    assert take(older)[0].notes["completions_cut"] == 0.0


def test_a_run_can_be_repeated_without_any_service(policy, tmp_path):
    expected = losses(policy, take(make(policy, run_dir=str(tmp_path)), 2))
    replay = make(policy, run_dir=str(tmp_path), ledger={"mode": "replay"})
    replay.maker.judge.score = lambda items: pytest.fail("a judge was asked")
    assert losses(policy, take(replay, 2)) == expected


def test_a_pair_is_trained_a_fixed_number_of_steps_after_it_was_said(policy):
    for lag in (0, 2):
        experience = make(policy, schedule={"lag": lag, "max_waiting": 100})
        take(experience, lag + 2)
        staleness = {pair.policy_step for pair in experience._replay}
        assert staleness <= {0, 1} if lag else staleness == {0, 1}


def test_free_loses_and_doubles_nothing(policy, tmp_path):
    experience = make(policy, run_dir=str(tmp_path), schedule={"type": "free", "max_wait_s": 20})
    take(experience, 4)
    rows = read_spool(tmp_path / "online/spool.jsonl")
    made = [(row["place"], row["number"]) for row in rows if row["event"] == "pair"]
    trained = [(r["place"], r["number"]) for r in rows if r["event"] == "trained" and not r["is_replay"]]
    assert len(set(made)) == len(made) and len(set(trained)) == len(trained)
    assert set(made) == set(trained) | {(pair.place, pair.number) for pair in experience._waiting}


def test_when_the_judge_dies_earlier_pairs_come_again_and_then_the_run_stops(policy):
    experience = make(policy, schedule={"lag": 0, "max_barren": 3})
    steps = iter(experience)
    first = next(steps)
    experience.maker.judge.score = lambda items: [Verdict(score=None, reason="dead", is_failure=True) for _ in items]
    experience.maker.ledger = Ledger(mode="off")
    experience._waiting.items.clear()
    second = next(steps)
    assert second.notes["online/replayed"] == 2 and second.notes["online/judge_failures"] > 0
    assert second.micro_batches[0].inputs["labels"].shape[0] == first.micro_batches[0].inputs["labels"].shape[0]
    with pytest.raises(ServiceError, match="No pair was made in 3 steps"):
        for _ in range(5):
            next(steps)


def test_all_verdicts_invalid_from_the_start_trains_rows_of_no_weight_and_stops(policy):
    experience = make(policy, judge={"type": "object_f1", "invalid": 1.0}, schedule={"lag": 0, "max_barren": 2})
    steps = iter(experience)
    step = next(steps)
    assert step.notes["online/invalid"] == 1.0 and step.notes["online/idle"] == 2 and step.denominators["pairs"] == 0
    assert loss_of(policy, step) == 0.0 and loss_of(policy, step, sft_weight=1.0) == 0.0
    with pytest.raises(ServiceError, match="No pair was made in 2 steps"):
        next(steps)


def test_without_pictures_texts_alone_are_compared(policy):
    experience = make(policy, on_image_failure="text_only", schedule={"lag": 0})
    experience.maker.images.render = lambda items: [Rendered(image=None, reason="down") for _ in items]
    (step,) = take(experience)
    (batch,) = step.micro_batches
    assert batch.targets["image_weights"].tolist() == [0.0, 0.0] and step.notes["online/text_only"] >= 2
    built = OBJECTIVES.build({"type": "preference", "strategy": "orm"})
    with torch.no_grad():
        made = built(policy.module.eval()(**batch.inputs, return_logits=False), batch, dict(step.denominators))
    margin = float(made.metrics["reward_margin"])
    assert float(made.loss) == pytest.approx(float(torch.nn.functional.softplus(torch.tensor(-margin))), abs=0.05)


def test_dpo_needs_no_pictures_and_takes_none(policy):
    experience = make(policy, strategy="dpo", describer=None, images=None)
    (step,) = take(experience)
    assert step.micro_batches[0].inputs["labels"].shape[0] == 4
    with pytest.raises(ConfigError, match="with `dpo` they are given"):
        make(policy, strategy="dpo")
    with pytest.raises(ConfigError, match="with `orm` they are missing"):
        make(policy, describer=None, images=None)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"schedule": {"max_staleness": -1}}, "`schedule.max_staleness` must be at least 0, or null, but is -1"),
        ({"schedule": {"max_waiting": 0}}, "`schedule.max_waiting` must be at least 1, or null, but is 0"),
        ({"schedule": {"type": "sync"}}, "`schedule.type` must be lockstep or free"),
        ({"schedule": {"lagg": 1}}, r"`schedule` takes no `lagg`\. Did you mean `lag`\?"),
        ({"num_prompts": 0}, "`num_prompts` must be positive"),
        ({"ledger": {"file": "x"}}, "`ledger` takes path, mode, max_calls and max_cost"),
        (
            {"judge": {"type": "chat", "client": {"type": "openai", "model": "m", "api_key_env": "NO_KEY"}}},
            "needs a key",
        ),
        ({"on_image_failure": "skip"}, "`on_image_failure` must be drop or text_only"),
        ({"strategy": "svco_ref", "on_image_failure": "text_only"}, "leaves nothing to compare"),
    ],
)
def test_what_cannot_be_is_refused_before_the_first_step(policy, options, sentence):
    with pytest.raises(ConfigError, match=sentence):
        make(policy, **options)
