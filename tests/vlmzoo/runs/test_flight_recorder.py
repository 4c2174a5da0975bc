"""The flight recorder: what it writes, a step computed again from it, and each disease named, and it alone."""

import json
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch

from tests.vlmzoo.adapters.bases import make_base
from vlmzoo.cli import app
from vlmzoo.data.json_lines import read_json_lines
from vlmzoo.errors import ConfigError, DataError
from vlmzoo.experience import EXPERIENCES
from vlmzoo.experience._trajectories import Trajectory, batch_of
from vlmzoo.loop import train
from vlmzoo.objectives import OBJECTIVES
from vlmzoo.runs.diseases import diagnose
from vlmzoo.runs.flight import read_rollouts, replay_step
from vlmzoo.runs.folder import RunFolder
from vlmzoo.runs.journal import Journal
from vlmzoo.runs.recorder import RecordOptions, recorded
from vlmzoo.services.rollout import Rollout

HERE = "tests.vlmzoo.runs.test_flight_recorder"
PAIRS = {"type": "synthetic", "kinds": {"image": 1.0}, "task": {"type": "same_or_not", "canvas_px": 24}}
BOXES = {"type": "synthetic", "kinds": {"image": 1.0}, "task": {"type": "shape_detection", "num_objects": [1, 1]}}
OBJECTIVE = {"type": "grpo_verl", "kl_coef": 0.1, "clip_low": 1e-3, "normaliser": "micro_token"}


def letters(completion, reference):
    """A reward that nearly every two completions disagree about."""
    return sum(map(ord, completion)) % 97 / 97


def nothing(completion, reference):
    return 0.0


class PlainEngine:
    """What the loop needs of an engine, in plain torch."""

    device = torch.device("cpu")

    def __init__(self, model, accumulation_steps):
        self.model, self.accumulation_steps, self.num_seen = model, accumulation_steps, 0
        self.optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-3)

    def __call__(self, **inputs):
        return self.model(**inputs)

    def backward(self, loss):
        loss.backward()

    def step(self):
        self.num_seen += 1
        if self.num_seen % self.accumulation_steps:
            return None
        self.optimizer.step()
        self.optimizer.zero_grad()
        return {"lr": 1e-3}


class ScriptedEngine:
    """Says what it is told to, with the log-probabilities that the policy has for it."""

    num_cut = 0

    def __init__(self, experience, say):
        self.experience, self.say = experience, say

    def complete(self, prompts):
        return [[self.rollout(prompt, seed) for seed in prompt.seeds] for prompt in prompts]

    @torch.no_grad()
    def rollout(self, prompt, seed):
        tokenizer = self.experience.engine_processor.tokenizer
        text = self.say(prompt.sample, seed)
        ids = [*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
        one = Trajectory(place=0, ids=ids, logprobs=[0.0] * len(ids), text=text, is_finished=True, reward=0.0,
                         values={}, group_rewards=[0.0])  # fmt: skip
        batch = batch_of([one], [prompt.encoded], collate=self.experience.collate, options={})
        nats = self.experience.policy.module.eval()(**batch.inputs, return_logits=False).logprobs[0]
        where = batch.inputs["labels"][0] != -100
        return Rollout(ids=tuple(ids), logprobs=tuple(nats[where].tolist()), text=text, is_finished=True)


@pytest.fixture(scope="module")
def policy():
    model = make_base("llava-llama", adapters=[{"type": "lora", "rank": 2}]).eval()
    return SimpleNamespace(module=model, frozen=None, whole_weights=nullcontext)


def fly(root, policy, *, function="letters", say=None, wrap=None, num_steps=2, **options):
    """Take some steps with a recorder, and leave a folder as a run does."""
    spec = {
        "type": "rollouts",
        "source": PAIRS,
        "rewards": [{"type": "python", "function": f"{HERE}:{function}", "name": "letters"}],
        "num_prompts": 4,
        "num_rollouts": 3,
        "sampling": {"max_new_tokens": 12, "temperature": 1.0},
        "reference": "lora_off",
        **options,
    }
    processor = policy.module.processor
    experience = EXPERIENCES.build(
        spec, processor=processor, micro_batch_size=4, accumulation_steps=3, seed=0, policy=policy
    )
    experience.engine_processor = processor
    if say is not None:
        experience.engine = ScriptedEngine(experience, say)
    if wrap is not None:
        experience.engine = wrap(experience.engine)
    folder = RunFolder(root).ensure()
    folder.config.write_text(json.dumps({"config": {"objective": OBJECTIVE, "num_steps": num_steps}}))
    journal = Journal(folder.journal)
    with recorded(OBJECTIVES.build(OBJECTIVE), experience, folder, 0) as (objective, reports):
        train(
            PlainEngine(policy.module, 3),
            experience,
            objective,
            num_steps=num_steps,
            reports=[lambda report: journal.write(report.record()), *reports],
        )
    journal.close()
    return folder


def moved(policy):
    """Let the adapter say something of its own."""
    generator = torch.Generator().manual_seed(1)
    for name, parameter in policy.module.named_parameters():
        if ".lora_B" in name:
            parameter.data = 0.3 * torch.randn(parameter.shape, generator=generator)


def varied(sample, seed):
    return f"<answer>{'yes' if seed % 2 else 'no'}</answer> {seed % 5}"


@pytest.fixture(scope="module")
def healthy(tmp_path_factory, policy):
    moved(policy)
    return fly(tmp_path_factory.mktemp("healthy"), policy, say=varied)


def test_a_line_tells_all_of_a_completion(healthy):
    lines = read_json_lines(healthy.rollouts)
    assert len(lines) == 2 * 4 * 3
    for line in lines:
        assert line["prompt"].startswith("[image]") and line["completion"].startswith("<answer>")
        assert set(line["rewards"]) == {"letters"} and line["reward"] in line["group_rewards"]
        assert line["gap_nats"] < 1e-4 and line["clip_fraction"] <= 1 and line["kl_nats"] > 0
        assert line["answer"] in ("yes", "no")
    group = [line for line in lines if line["step"] == 1 and line["place"] == 0]
    assert sorted(line["number"] for line in group) == [0, 1, 2]
    assert abs(sum(line["advantage"] for line in group)) < 1e-4


def test_a_step_computed_again_from_the_record_has_the_same_loss(healthy):
    for step in (1, 2):
        replay = replay_step(healthy, step)
        assert replay.num_completions == 12
        assert replay.loss == pytest.approx(replay.journal_loss, abs=1e-7)
    assert replay_step(healthy, 1).loss != pytest.approx(replay_step(healthy, 2).loss, abs=1e-6)


def test_a_healthy_run_has_no_disease(healthy):
    assert diagnose(read_rollouts(healthy)) == []


def names(folder):
    return [finding.name for finding in diagnose(read_rollouts(folder))]


def test_constant_groups_are_named(tmp_path, policy):
    assert names(fly(tmp_path, policy, function="nothing", say=varied)) == ["all groups constant"]


def test_truncated_completions_are_named_and_not_what_follows(tmp_path, policy):
    folder = fly(tmp_path, policy, function="nothing", sampling={"max_new_tokens": 2})
    assert names(folder) == ["completions truncated"]


def test_boxes_of_another_frame_are_named_with_the_frame_that_fits(tmp_path, policy):
    def in_pixels(sample, seed):
        edges = [int(edge) for edge in sample.reference.split("[{'Position': [")[1].split("]")[0].split(",")]
        box = [round(edge * 64 / 1000) for edge in edges]
        return f"<answer>[{{'Position': {box}, 'Confidence': 0.{seed % 9 + 1}}}]</answer>"

    folder = fly(tmp_path, policy, say=in_pixels, source=BOXES, rewards=[{"type": "iou"}])
    (finding,) = diagnose(read_rollouts(folder))
    assert finding.name == "format satisfied, IoU always 0: wrong frame"
    assert "taken as pixels, where the data are norm1000" in finding.evidence


def test_an_adapter_that_does_not_sample_is_named(tmp_path, policy):
    def without(engine):
        def complete(prompts):
            with policy.module.without_lora():
                return engine.complete(prompts)

        return SimpleNamespace(complete=complete, num_cut=engine.num_cut)

    moved(policy)
    assert names(fly(tmp_path, policy, say=varied, wrap=without)) == ["adapter not in the rollout engine"]


def test_a_policy_that_always_says_the_same_is_named(tmp_path, policy):
    def says_yes(sample, seed):
        return "<answer>yes</answer>"

    folder = fly(tmp_path, policy, say=says_yes, rewards=[{"type": "same_or_not"}], num_steps=3)
    assert names(folder) == ["collapsed to one answer"]


def test_doctor_names_the_disease_and_replays_a_step(tmp_path, policy, healthy):
    from typer.testing import CliRunner

    runner = CliRunner()
    well = runner.invoke(app, ["doctor", "run", str(healthy.root)])
    assert well.exit_code == 0 and "nothing found" in well.stdout
    again = runner.invoke(app, ["doctor", "run", str(healthy.root), "--step", "2"])
    assert again.exit_code == 0 and "loss" in again.stdout
    ill = runner.invoke(app, ["doctor", "run", str(fly(tmp_path, policy, function="nothing", say=varied).root)])
    assert ill.exit_code == 1 and "all groups constant" in ill.stdout


def test_less_can_be_recorded(tmp_path, policy):
    folder = fly(tmp_path, policy, say=varied, num_steps=3, record={"every": 2, "tokens": False})
    lines = read_json_lines(folder.rollouts)
    assert {line["step"] for line in lines} == {1, 3} and "tokens" not in lines[0]
    with pytest.raises(DataError, match="must be recorded with its tokens"):
        replay_step(folder, 1)
    with pytest.raises(DataError, match="Step 2 must be recorded"):
        replay_step(folder, 2)


def test_nothing_recorded_and_bad_options_are_told(tmp_path):
    with pytest.raises(DataError, match=r"must hold `rollouts.jsonl`"):
        read_rollouts(RunFolder(tmp_path))
    with pytest.raises(ConfigError, match="`record` takes no `token`. Did you mean `tokens`"):
        RecordOptions.parse({"token": True})
    with pytest.raises(ConfigError, match=r"`record.every` must be zero or more"):
        RecordOptions.parse({"every": -1})
