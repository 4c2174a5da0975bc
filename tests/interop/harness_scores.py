"""Scores that a harness's own functions give: ``harness_scores.py ENVIRONMENT CASES.json SCORES.json``."""

import copy
import json
import sys
from pathlib import Path


def lmms(tasks, options):
    """Score as lmms-eval's tasks do; it strips answers before they are scored."""
    from lmms_eval.api.metrics import exact_match_hf_evaluate
    from lmms_eval.tasks.mmstar.utils import exact_match
    from lmms_eval.tasks.pope.utils import pope_process_results
    from lmms_eval.tasks.textvqa.utils import textvqa_process_results

    def pope(said, reference):
        doc = {"answer": reference, "question_id": "0"}
        return pope_process_results(doc, [said.strip()])["pope_accuracy"]["score"]

    def textvqa(said, reference):
        doc = {"answers": copy.copy(reference), "question_id": "0"}
        return textvqa_process_results(doc, [said.strip()])["exact_match"]

    def gqa(said, reference):
        found = exact_match_hf_evaluate([said.strip()], [reference], ignore_case=True, ignore_punctuation=True)
        return float(found["exact_match"])

    rules = {"pope": pope, "textvqa": textvqa, "gqa": gqa, "mmstar": lambda s, r: exact_match(s.strip(), r)}
    return {task: [rules[task](said, case["reference"]) for said in case["said"]] for task, case in tasks.items()}


def kit(tasks, options):
    """Score as VLMEvalKit does without a judge."""
    import numpy as np
    from vlmeval.dataset.utils.multiple_choice import eval_vanilla
    from vlmeval.dataset.utils.vqa_eval import process_line
    from vlmeval.dataset.utils.yorn import YOrN_Extraction

    def line(said, reference, method):
        return float(np.mean(process_line({"answer": str(reference), "prediction": said}, method=method)["match"]))

    def choice(said, reference):
        return float(eval_vanilla(None, {"question": "?", "prediction": said, "GT": reference, **options})["hit"])

    rules = {
        "pope": lambda said, reference: float(YOrN_Extraction(said).lower() == reference),
        "mmstar": choice,
        "textvqa": lambda said, reference: line(said, reference, "vqa_score"),
        "gqa": lambda said, reference: line(said, reference, "accuracy"),
    }
    return {task: [rules[task](said, case["reference"]) for said in case["said"]] for task, case in tasks.items()}


def main(environment: str, cases: Path, scores: Path) -> None:
    given = json.loads(cases.read_text())
    found = (lmms if environment == ".venv-lmms" else kit)(given["tasks"], given["options"])
    scores.write_text(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
