"""lmms-eval's own command line on our models and tasks; run by ``make test-slow``, in an environment beside ours."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.interop import harness
from vlmzoo.data.sources._tiny import TINY
from vlmzoo.evaluation import complete
from vlmzoo.evaluation.benchmarks import BENCHMARKS
from vlmzoo.evaluation.lmms_export import export_tasks
from vlmzoo.models.option_scoring import option_losses
from vlmzoo.scoring.answer_tag import COUNTS, YES_NO, AnswerParser, is_pair
from vlmzoo.scoring.exact_match import ExactMatch
from vlmzoo.scoring.option_letter import OptionLetter

REPOSITORY = Path(__file__).parents[2]
PYTHON = REPOSITORY / ".venv-lmms" / "bin" / "python"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON.exists(), reason="needs the interop environment: make .venv-lmms/.installed"),
]

POPE = """
include: {pope}
task: local_pope
dataset_path: parquet
dataset_kwargs: {{data_files: {{test: {data}}}}}
"""
CHOICES = """
task: local_choices
dataset_path: parquet
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: multiple_choice
target_delimiter: ""
doc_to_visual: !function functions.pictures
doc_to_text: !function functions.text
doc_to_choice: !function functions.choices
doc_to_target: !function functions.target
metric_list: [{{metric: acc, aggregation: mean, higher_is_better: true}}]
"""
PANELS = {
    "type": "conversations",
    "source": {"type": "colour_panels", "panel_px": 16, "seed": 5},
    "num_questions": 4,
    "score": "exact_match",
    "max_new_tokens": 6,
}
CARD = """---
configs: [{config_name: in_domain, data_files: [{split: test, path: in.parquet}]}]
---
"""
FUNCTIONS = """
def pictures(doc):
    return [doc["image"].convert("RGB")]

def text(doc):
    return doc["question"] + "\\nAnswer the question using a single word or phrase."

def choices(doc):
    return ["yes", "no"]

def target(doc):
    return choices(doc).index(doc["answer"])
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A taught model, POPE-like data, FGVQA's miniature where its name is looked for, and tasks over them."""
    root = tmp_path_factory.mktemp("lmms")
    harness.save_taught(root / "model")
    rows = [{n: row[n] for n in ("question_id", "question", "answer", "picture")} for row in harness.pope_rows()]
    rows = [{"image" if name == "picture" else name: value for name, value in row.items()} for row in rows]
    harness.write_parquet(root / "pope.parquet", rows, images=["image"])
    tasks = root / "tasks"
    shutil.copytree(REPOSITORY / "eval" / "lmms_eval", tasks)
    (own := tasks / "local").mkdir()
    pope = next((PYTHON.parents[1] / "lib").glob("python*/site-packages/lmms_eval/tasks/pope/pope.yaml"))
    (own / "pope.yaml").write_text(POPE.format(pope=pope, data=root / "pope.parquet"))
    (own / "choices.yaml").write_text(CHOICES.format(data=root / "pope.parquet"))
    (own / "functions.py").write_text(FUNCTIONS)
    export_tasks({"panels": PANELS}, root / "exported")
    shutil.copytree(root / "exported" / "panels", tasks / "panels")
    (data := root / "work" / "glab-caltech" / "FGVQA").mkdir(parents=True)  # the data set's name on the Hub
    lines = [json.dumps(row) + "\n" for row in harness.whole_fgvqa_rows()]
    (data / "test.jsonl").write_text("".join(lines))
    shutil.copytree(TINY / "twin" / "images", root / "images")  # the rows say `../images`
    (data := root / "work" / "lmms-lab-encoder" / "LLaVA-NeXT-Interleave-Bench").mkdir(parents=True)
    harness.write_parquet(data / "in.parquet", harness.nlvr2_rows(), images=["image_0", "image_1"])
    (data / "README.md").write_text(CARD)
    return root


def run(folder, command):
    """Run a command where the data lie."""
    return subprocess.run(
        command,
        cwd=folder / "work",
        env={
            **os.environ,
            "PYTHONPATH": str(REPOSITORY), "HF_HOME": str(folder / "cache"), "HF_HUB_OFFLINE": "1",
            "ACCELERATE_USE_CPU": "true",
        },
        capture_output=True,
        text=True,
        timeout=1500,
        check=False,
    )  # fmt: skip


def run_lmms_eval(folder, out, *arguments):
    """Run the command line, and return the results and the samples by task."""
    done = run(
        folder,
        [
            str(PYTHON), "-m", "lmms_eval", "--model", "vlmzoo",
            "--model_args", f"pretrained={folder / 'model'},dtype=float32,device=cpu",
            "--include_path", str(folder / "tasks"), "--batch_size", "4", "--log_samples",
            "--output_path", str(out), *arguments,
        ],
    )  # fmt: skip
    found = list(out.rglob("*_results.json"))  # it ends with 0 whatever happens
    assert done.returncode == 0 and len(found) == 1, done.stdout[-3000:] + done.stderr[-3000:]
    samples = {
        path.stem.split("_samples_")[1]: [json.loads(line) for line in path.read_text().splitlines()]
        for path in out.rglob("*_samples_*.jsonl")
    }
    return json.loads(found[0].read_text())["results"], samples


@pytest.fixture(scope="module")
def chat(folder):
    return run_lmms_eval(
        folder,
        folder / "chat",
        "--tasks",
        "local_pope,vlmzoo_fgvqa,vlmzoo_nlvr2,vlmzoo_panels",
        "--gen_kwargs",
        "max_new_tokens=32",
    )


@pytest.mark.timeout(1800)
def test_its_pope_gives_our_score(chat):
    results, samples = chat
    model, rows = harness.taught_model(), harness.pope_rows()
    asked = [harness.sample_of(row["question"] + harness.SUFFIX, [row["picture"]]) for row in rows]
    ours = [said.text for start in (0, 4, 8) for said in complete(
        model, model.processor, asked[start : start + 4], max_new_tokens=32)]  # fmt: skip
    theirs = {sample["doc_id"]: sample["filtered_resps"] for sample in samples["local_pope"]}
    assert [theirs[number] for number in range(len(rows))] == ours
    score = ExactMatch(casefold=True)
    expected = sum(score(said, row["answer"]) for said, row in zip(ours, rows, strict=True)) / len(rows)
    assert results["local_pope"]["pope_accuracy,none"] == pytest.approx(expected)
    assert 0 < expected < 1


@pytest.mark.timeout(1800)
def test_our_fgvqa_tasks_are_run_by_it_and_score_as_ours(chat):
    results, samples = chat
    model, rows, means = harness.taught_model(), harness.whole_fgvqa_rows(), []
    by_task = {name: found for name, found in samples.items() if name.startswith("vlmzoo_fgvqa")}
    assert set(by_task) == {f"vlmzoo_fgvqa_{row['dataset_source'].removeprefix('fgvqa_')}" for row in rows}
    assert len(by_task) == 6 and sum(map(len, by_task.values())) == len(rows)
    for task, found in by_task.items():
        name = task.removeprefix("vlmzoo_fgvqa_")
        subset = [row for row in rows if row["dataset_source"].removeprefix("fgvqa_") == name]
        for sample in found:
            doc = subset[sample["doc_id"]]
            pictures = [harness.FGVQA / path for path in doc["images"]]
            asked = harness.sample_of(doc["question"] + harness.FGVQA_SUFFIX, pictures)
            (said,) = complete(model, model.processor, [asked], max_new_tokens=32)
            assert sample["filtered_resps"] == said.text.strip()
            pair = is_pair(doc["question_type"])
            parser = AnswerParser(labels=YES_NO if pair else COUNTS, compat="fgvqa")
            assert sample["overall_total"] == float(parser.agrees(said.text, doc["answer"]))
        means.append(sum(sample["overall_total"] for sample in found) / len(found))
        assert results[task]["overall_total,none"] == pytest.approx(means[-1])
    assert results["vlmzoo_fgvqa"]["overall_total,none"] == pytest.approx(sum(means) / len(means))
    assert {sample["overall_total"] for found in by_task.values() for sample in found} == {0.0, 1.0}


@pytest.mark.timeout(1800)
def test_our_task_of_two_pictures_is_run_by_it_and_scores_as_ours(chat):
    results, samples = chat
    model, rows = harness.taught_model(), harness.nlvr2_rows()[:2]
    ours = [complete(model, model.processor, [harness.nlvr2_sample(row)], max_new_tokens=32)[0].text for row in rows]
    assert [sample["filtered_resps"] for sample in samples["vlmzoo_nlvr2"]] == ours
    scores = [OptionLetter()(said, row["answer"]) for said, row in zip(ours, rows, strict=True)]
    assert scores == [1.0, 0.0]
    assert results["vlmzoo_nlvr2"]["accuracy,none"] == pytest.approx(0.5)


@pytest.mark.timeout(1800)
def test_a_benchmark_of_ours_is_asked_and_scored_by_it_as_by_us(chat):
    results, samples = chat
    model, benchmark = harness.taught_model(), BENCHMARKS.build(PANELS)
    questions = list(benchmark.questions())
    ours = [complete(model, model.processor, [question], max_new_tokens=32)[0].text for question in questions]
    assert [sample["filtered_resps"] for sample in samples["vlmzoo_panels"]] == ours
    scores = [benchmark.scores["exact_match"](said, one.reference) for said, one in zip(ours, questions, strict=True)]
    assert results["vlmzoo_panels"]["exact_match,none"] == pytest.approx(sum(scores) / len(scores))


@pytest.mark.timeout(1800)
def test_its_likelihood_tasks_choose_as_our_losses_do(folder):
    results, _ = run_lmms_eval(folder, folder / "simple", "--tasks", "local_choices", "--force_simple")
    hits = [chosen == row["answer"] for chosen, row in zip(chosen_by_losses(), harness.pope_rows(), strict=True)]
    assert results["local_choices"]["acc,none"] == pytest.approx(sum(hits) / len(hits))
    assert 0 < sum(hits) < len(hits)


@pytest.mark.timeout(1800)
def test_a_config_of_ours_asks_its_tasks_and_writes_what_came_of_it(folder):
    asked = {"tasks": ["local_pope", "local_choices"], "include_path": str(folder / "tasks"), "force_simple": True}
    config = {"model": {"path": str(folder / "model")}, "output_dir": "run", "lmms_eval": asked}
    (folder / "config.yaml").write_text(json.dumps(config))
    script = REPOSITORY / "eval" / "evaluate.py"
    done = run(folder, [str(PYTHON), str(script), str(folder / "config.yaml")])
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    out = folder / "work" / "run" / "lmms_eval"
    scores = {(one["task"], one["metric"]): one["value"] for one in json.loads((out / "scores.json").read_text())}
    said = {task: said_in(out / task / "generations.jsonl") for task in asked["tasks"]}
    rows, score = harness.pope_rows(), ExactMatch(casefold=True)
    assert said["local_pope"] == [row["said"] for row in rows]
    assert said["local_choices"] == chosen_by_losses()
    for task, metric in (("local_pope", "pope_accuracy"), ("local_choices", "acc")):
        right = sum(score(one, row["answer"]) for one, row in zip(said[task], rows, strict=True))
        assert scores[task, metric] == pytest.approx(right / len(rows))
    assert not [metric for _, metric in scores if "_stderr" in metric]


def chosen_by_losses():
    """Return the option with the least loss, of each question."""
    options, chosen = ["yes", "no"], []
    for row in harness.pope_rows():
        asked = harness.sample_of(row["question"] + harness.SUFFIX, [row["picture"]])
        chosen.append(options[int(option_losses(harness.taught_model(), asked, options).argmin())])
    return chosen


def said_in(path):
    """Return the answers of a file, in the order of its rows."""
    return [json.loads(line)["completion"] for line in path.read_text().splitlines()]
