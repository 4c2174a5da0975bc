"""Every file under configs/ is a config, opens with the command that runs it, and trains at tiny size."""

import re
import shlex
from contextlib import nullcontext
from itertools import takewhile
from pathlib import Path

import pytest

from tests.configs.miniatures import in_small
from vlmzoo import build_model
from vlmzoo.config import (
    AgentStudyConfig,
    AlignmentConfig,
    AuditConfig,
    EvalConfig,
    MiaConfig,
    RunConfig,
    StudyConfig,
    SweepConfig,
    list_configs,
    load_config,
)
from vlmzoo.config.files import read_config_file
from vlmzoo.experience.curriculum import steps_of_phases
from vlmzoo.runs import train_run
from vlmzoo.runs.agent_study import plan_agent_study
from vlmzoo.runs.checking import check_evaluation, check_run
from vlmzoo.runs.checking_plans import check_agent_study, check_study, check_sweep
from vlmzoo.runs.journal import read_journal
from vlmzoo.runs.study import plan_study
from vlmzoo.runs.sweep import plan_arms

FOLDER = Path(__file__).resolve().parents[2] / "configs"
FILES = sorted(FOLDER.rglob("*.yaml"))
SCHEMAS = {"eval": EvalConfig, "audit": AuditConfig}
SHRINKABLE = ("eagle", "fast", "mia_dpo", "preference", "s2h", "tiny", "twin")
"""Folders for whose runs a card's miniature and the registries' smallest examples can stand."""
STUDIES = {
    "supervisions": SweepConfig,
    "arms": StudyConfig,
    "stages": AgentStudyConfig,
    "num_examples": AlignmentConfig,
    "layouts": MiaConfig,
}
"""Schemas of what is no training run, by a key that only they have."""


def schema_of(path):
    known = SCHEMAS.get(path.relative_to(FOLDER).parts[0])
    if known is not None:
        return known
    return next((schema for key, schema in STUDIES.items() if key in read_config_file(path)), RunConfig)


RUNS = [path for path in FILES if path.relative_to(FOLDER).parts[0] in SHRINKABLE and schema_of(path) is RunConfig]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(FOLDER).as_posix())
def test_every_config_is_valid(path):
    schema = schema_of(path)
    of_any_model = schema in SCHEMAS.values()  # which model is for the caller to say
    load_config(path, ["model=owner/name"] if of_any_model else [], schema=schema)
    if schema is EvalConfig:
        check_evaluation(load_config(path, ["model=owner/name"], schema=EvalConfig))


OF_EACH_KIND = ("coco_2b", "pets_2b", "lisa_7b", "sft_aircraft_7b")
"""The 36 configs of ViRFT differ in their sets and lengths alone; these have each task, size and way of training."""
RUNS += [FOLDER / "virft" / f"{name}.yaml" for name in OF_EACH_KIND]


ALL_RUNS = [path for path in FILES if schema_of(path) is RunConfig]


@pytest.mark.parametrize("path", ALL_RUNS, ids=lambda path: path.relative_to(FOLDER).as_posix())
def test_every_run_gives_experience_and_objective_what_they_take(path):
    check_run(load_config(path))


@pytest.mark.parametrize(
    "path",
    [path for path in FILES if schema_of(path) is SweepConfig],
    ids=lambda path: path.relative_to(FOLDER).as_posix(),
)
def test_every_sweep_can_be_planned(path):
    config = load_config(path, schema=SweepConfig)
    check_sweep(config)
    arms = plan_arms(config)
    assert len(arms) == len(config.supervisions) * len(config.budgets) * len(config.seeds)


@pytest.mark.parametrize(
    "path",
    [path for path in FILES if schema_of(path) is StudyConfig],
    ids=lambda path: path.relative_to(FOLDER).as_posix(),
)
def test_every_study_can_be_planned(path):
    config = load_config(path, schema=StudyConfig)
    check_study(config)
    starts = 1 if config.start is None else 2
    assert len(plan_study(config)) == (len(config.arms) + starts - 1) * len(config.seeds)


@pytest.mark.parametrize(
    "path",
    [path for path in FILES if schema_of(path) is AgentStudyConfig],
    ids=lambda path: path.relative_to(FOLDER).as_posix(),
)
def test_every_study_of_an_agent_can_be_planned(path):
    config = load_config(path, schema=AgentStudyConfig)
    check_agent_study(config)
    assert len(plan_agent_study(config)) == len(config.stages) * len(config.seeds)


def curricula():
    for path in RUNS:
        if load_config(path).experience["type"] == "curriculum":
            yield pytest.param(path, id=path.relative_to(FOLDER).as_posix())


@pytest.mark.parametrize("path", curricula())
def test_a_curriculum_has_as_many_steps_as_its_config_says(path):
    run = load_config(path)
    processes = 8 if path.is_relative_to(FOLDER / "s2h") else 1  # as the authors' machine
    batch_size = run.micro_batch_size * run.accumulation_steps * processes
    steps = steps_of_phases(run.experience, batch_size=batch_size)
    phase = run.experience.get("phase")
    assert run.num_steps == (sum(steps) if phase is None else steps[phase - 1])


def models_of_all_configs():
    """Every model that is named, once, with one of the configs that names it."""
    found = {}
    for path in FILES:
        schema = schema_of(path)
        if "model" in schema.model_fields:
            model = load_config(path, ["model=owner/name"] if schema in SCHEMAS.values() else [], schema=schema).model
            if model.path is None:
                found.setdefault(model.model_dump_json(), (path, model))
    return [pytest.param(model, id=path.relative_to(FOLDER).as_posix()) for path, model in found.values()]


class ReachedError(Exception):
    """Published weights were wanted: all that comes before is in order."""


@pytest.mark.parametrize("model", models_of_all_configs())
def test_every_model_of_a_config_is_built_or_its_published_weights_are_wanted(model, monkeypatch):
    def fetch(repo, revision=None):
        raise ReachedError(repo)

    monkeypatch.setattr("vlmzoo.hub.download.fetch_model", fetch)
    asked = pytest.raises(ReachedError) if model.pretrained else nullcontext()
    with asked:
        build_model(model, pretrained=model.pretrained, dtype=model.dtype, device="meta")


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.relative_to(FOLDER).as_posix())
def test_every_run_builds_and_takes_two_steps_at_tiny_size(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = in_small(load_config(path), output_dir=str(tmp_path / "run"))
    folder = train_run(config).folder
    losses = [line["loss"] for line in read_journal(folder.journal)]
    assert len(losses) == 2
    if config.experience["type"] == "rollouts":  # advantages of a group add up to 0
        assert all(abs(loss) < 1 for loss in losses)
    else:
        assert all(0 < loss < 20 for loss in losses)


@pytest.mark.slow
def test_the_steps_of_eagle_follow_one_another_at_tiny_size(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("prealign_clip", "prealign_convnext", "stage1", "stage2"):
        folder = train_run(load_config(f"tiny/eagle/{name}", ["num_steps=4", "report_to=[]"])).folder
        assert len(read_journal(folder.journal)) == 4


COMMAND = re.compile(
    r"(python eval/\w+\.py|deepspeed(?: --\w+ \d+)? training/train\.py|"
    r"vlmzoo [a-z-]+(?: mia)?|make (?:reproduce|quickstart))"
    r"(?: (.*?))?\)?(?:`|\s{2,}|$)",
    re.MULTILINE,
)
PROGRAMS = {
    "python eval/evaluate.py": EvalConfig,
    "python eval/audit.py": AuditConfig,
    "python eval/gradient_alignment.py": AlignmentConfig,
    "vlmzoo sweep": SweepConfig,
    "vlmzoo study": StudyConfig,
    "vlmzoo data mia": MiaConfig,
    "vlmzoo train": RunConfig,
}


def commands_of(path):
    """The program, its arguments and the schema of each command in the lines that a config opens with."""
    head = takewhile(lambda line: line.startswith("#"), path.read_text(encoding="utf-8").splitlines())
    for program, rest in COMMAND.findall("\n".join(head)):
        yield program, shlex.split(rest), RunConfig if program.startswith("deepspeed") else PROGRAMS.get(program)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(FOLDER).as_posix())
def test_the_commands_that_a_config_opens_with_are_understood(path):
    commands = list(commands_of(path))
    assert commands and all(
        schema is not None or program.startswith(("make", "vlmzoo serve")) for program, _, schema in commands
    )
    for program, words, schema in commands:
        if schema is not None:
            load_config([*takewhile(lambda word: not word.startswith("--"), words)], schema=schema)
        elif program.startswith("make"):
            names = [word.removeprefix("NAME=") for word in words if word.startswith("NAME=")]
            assert all((FOLDER / "reproduce" / f"{name}.yaml").is_file() for name in names)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(FOLDER).as_posix())
def test_every_config_opens_with_what_it_is(path):
    assert path.read_text(encoding="utf-8").startswith("# ")


def test_every_config_is_found_by_its_name(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # not from the checkout: through the package
    assert {path.relative_to(FOLDER).with_suffix("").as_posix() for path in FILES} <= set(list_configs())
