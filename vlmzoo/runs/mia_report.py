"""What selection did to a folder of candidate answers, and how well attention finds those about the wrong image."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vlmzoo.data.json_lines import read_json_lines
from vlmzoo.data.mia import LAYOUT_KINDS
from vlmzoo.data.mia.selection import same_answer

__all__ = ["area_under_curve", "mia_report", "pairs_table"]

_TARGET_MIX = {"sequence": 0.52, "grid": 0.32, "pic_in_pic": 0.16}  # table 8 of the paper, LLaVA-v1.5


def mia_report(folder: Path) -> dict[str, Any]:
    """Read the candidates of a folder.

    Returns:
        ``verdicts`` by layout, ``mix`` of the kept ones beside the paper's, ``accuracy`` by layout, and ``detection``
        where the source told what the other images would have answered.
    """
    rows = [row for path in sorted(folder.glob("candidates-*.jsonl")) for row in read_json_lines(path)]
    kinds = [kind for kind in LAYOUT_KINDS if any(row["kind"] == kind for row in rows)]
    by_kind = {kind: [row for row in rows if row["kind"] == kind] for kind in kinds}
    kept = {kind: sum(row["verdict"] == "kept" for row in of_kind) for kind, of_kind in by_kind.items()}
    total = max(1, sum(kept.values()))
    return {
        "questions": len(rows),
        "verdicts": {kind: dict(Counter(row["verdict"] for row in of_kind)) for kind, of_kind in by_kind.items()},
        "mix": {kind: {"kept": round(kept[kind] / total, 3), "paper": _TARGET_MIX[kind]} for kind in kinds},
        "accuracy": {kind: round(_share(_is_right(row) for row in of_kind), 4) for kind, of_kind in by_kind.items()},
        "detection": {kind: _detection(of_kind) for kind, of_kind in by_kind.items() if _is_known(of_kind)},
    }


def pairs_table(reports: Mapping[int, Mapping[str, Any]]) -> str:
    """Return reports as a Markdown section, a line for each seed and layout."""
    heads = (
        "seed",
        "layout",
        "questions",
        "right",
        "another image's answer",
        "AUC beside right",
        "AUC beside all",
        "kept",
    )
    lines = [heads, ("---",) * len(heads)]
    for seed, found in reports.items():
        for kind, verdicts in found["verdicts"].items():
            known = found["detection"].get(kind, {})
            figures = [known.get(name) for name in ("wrong_image_rate", "auc_against_right", "auc_against_all")]
            told = ["–" if value is None else f"{value:.3f}" for value in (found["accuracy"][kind], *figures)]
            lines.append((str(seed), kind, str(sum(verdicts.values())), *told, str(verdicts.get("kept", 0))))
    rows = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return f"## What the start answered, and where it looked\n\n{rows}\n"


def area_under_curve(positives: Sequence[float], negatives: Sequence[float]) -> float | None:
    """Return the chance that a positive's score is above a negative's, ties counted half; None without either.

    Source: Hanley and McNeil, Radiology 143 (1982): the area under the receiver operating characteristic.
    """
    if not positives or not negatives:
        return None
    above = np.asarray(positives)[:, None] - np.asarray(negatives)[None, :]
    return float(((above > 0) + 0.5 * (above == 0)).mean())


def _detection(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Say how well 1 - ratio finds answers about another image, beside right answers and beside all others."""
    wrong = [1.0 - row["ratio"] for row in rows if _is_of_another(row)]
    right = [1.0 - row["ratio"] for row in rows if _is_right(row)]
    others = [1.0 - row["ratio"] for row in rows if not _is_of_another(row)]
    edges = [round(0.1 * number, 1) for number in range(11)]
    return {
        "wrong_image_rate": round(len(wrong) / len(rows), 4),
        "auc_against_right": area_under_curve(wrong, right),
        "auc_against_all": area_under_curve(wrong, others),
        "mean_ratio_wrong": _mean(1.0 - value for value in wrong),
        "mean_ratio_right": _mean(1.0 - value for value in right),
        "histogram_edges": edges,
        "histogram_wrong": np.histogram([1.0 - value for value in wrong], edges)[0].tolist(),
        "histogram_right": np.histogram([1.0 - value for value in right], edges)[0].tolist(),
    }


def _is_known(rows: Sequence[Mapping[str, Any]]) -> bool:
    return all("other_answers" in row for row in rows)


def _is_right(row: Mapping[str, Any]) -> bool:
    return same_answer(row["answer"], row["chosen"])


def _is_of_another(row: Mapping[str, Any]) -> bool:
    others = [f"{answer}." for answer in row["other_answers"]]
    return not _is_right(row) and any(same_answer(row["answer"], other) for other in others)


def _share(values: Any) -> float:
    found = list(values)
    return sum(found) / max(1, len(found))


def _mean(values: Any) -> float | None:
    found = list(values)
    return round(sum(found) / len(found), 4) if found else None
