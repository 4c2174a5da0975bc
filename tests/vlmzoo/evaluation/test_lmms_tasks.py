"""What lmms-eval hands back, written down as our own evaluation is; lmms-eval itself runs in ``tests/interop``."""

import json

from rich.console import Console

from vlmzoo.config import LmmsEvalConfig
from vlmzoo.evaluation import lmms_tasks
from vlmzoo.evaluation.compare_scores import compare_scores
from vlmzoo.evaluation.lmms_tasks import TaskScore, evaluate_tasks, generations_of, scores_of_results, task_table

RESULTS = {
    "pope": {"alias": "pope", "pope_accuracy,none": 0.5, "pope_accuracy_stderr,none": "N/A", "samples": 2},
    "gqa": {"exact_match,none": 0.25, "exact_match_stderr,none": 0.1, "exact_match,strict": float("nan")},
}
LOGGED = {
    "pope": [
        {
            "doc_id": number, "doc": {"category": "random"}, "target": "yes", "doc_hash": "x",
            "arguments": ["Is there a dog?", {"max_new_tokens": 4}], "resps": [[said]], "filtered_resps": [said],
            "token_counts": [{"input_tokens": 9, "output_tokens": length}],
            "pope_accuracy": {"score": float(said == "yes"), "prediction": said}, "extra": 2, "text": "t",
        }
        for number, (said, length) in enumerate([("yes", 2), ("yes.", 4)])
    ]
}  # fmt: skip


def test_figures_and_answers_are_written_where_ours_lie(tmp_path, monkeypatch):
    asked = {}

    def ask(model, processor, tasks, **options):
        asked.update(options, tasks=tasks)
        return RESULTS, LOGGED

    monkeypatch.setattr(lmms_tasks, "ask_tasks", ask)
    config = LmmsEvalConfig(tasks=["pope", "gqa"], limit=2, num_frames=4)
    scores = evaluate_tasks("model", "processor", config, out_dir=tmp_path, batch_size=3)
    assert asked == {
        "tasks": ["pope", "gqa"], "out_dir": tmp_path, "include_path": None, "limit": 2, "force_simple": False,
        "batch_size": 3, "max_new_tokens": 1024, "num_frames": 4,
    }  # fmt: skip
    assert json.loads((tmp_path / "scores.json").read_text())[0] == {
        "task": "pope", "metric": "pope_accuracy", "value": 0.5, "stderr": None
    }  # fmt: skip
    rows = [json.loads(line) for line in (tmp_path / "pope" / "generations.jsonl").read_text().splitlines()]
    assert [row["completion"] for row in rows] == ["yes", "yes."]
    assert [row["finished"] for row in rows] == [True, False]  # the second has as many tokens as it might have
    assert rows[0]["scores"] == {"pope_accuracy": 1.0, "extra": 2.0} and rows[0]["prompt"] == "Is there a dog?"
    assert (rows[0]["reference"], rows[0]["meta"], rows[0]["num_prompt_tokens"]) == ("yes", {"category": "random"}, 9)
    compared = compare_scores(tmp_path / "pope" / "generations.jsonl", task="pope")
    assert [float(mean) for mean in compared.means.values()] == [0.5, 1.0, 1.0]
    assert len(scores) == 2


def test_only_numbers_are_figures_and_filters_are_named():
    errors = {"c_stderr,none": 0.1, "a_stderr_clt,none": 0.2, "a_stderr_clustered,none": 0.3}
    found = scores_of_results({"t": {"a,none": 1, "b,strict": 0.5, "d,none": "x", **errors}})
    assert found == [
        TaskScore(task="t", metric="a", value=1.0, stderr=None),
        TaskScore(task="t", metric="b (strict)", value=0.5, stderr=None),
    ]


def test_of_compared_likelihoods_the_likeliest_option_is_the_answer():
    place = (0, "mine", "test")
    row = {
        "doc_id": 0, "target": 1, "acc": 0.0, "token_counts": [None, None], "arguments":
        ["Which?", "a dog", *place, "Which?", "a cat", *place], "resps": [[(0.5, False)], [(0.75, True)]],
        "filtered_resps": [(0.5, False), (0.75, True)],
    }  # fmt: skip
    (found,) = generations_of([row], max_new_tokens=8)
    assert (found.completion, found.prompt, found.reference, found.scores) == ("a dog", "Which?", 1, {"acc": 0.0})


def test_the_table_names_each_task_once():
    console = Console(record=True, width=80)
    console.print(task_table([*scores_of_results(RESULTS), TaskScore(task="gqa", metric="more", value=1, stderr=None)]))
    text = console.export_text()
    assert text.count("gqa") == 1 and "0.1000" in text and "0.2500" in text
