"""The report of a run: one page for people that needs nothing beside itself, and the same as JSON for programs."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vlmzoo.data.json_lines import write_whole
from vlmzoo.errors import DataError, MissingExtraError
from vlmzoo.integrations.plots import DARK, LIGHT, draw_curve
from vlmzoo.runs import _page
from vlmzoo.runs.folder import RunFolder
from vlmzoo.runs.journal import read_journal

if TYPE_CHECKING:
    from pathlib import Path

    from PIL.Image import Image

__all__ = ["GalleryItem", "write_report"]

_CURVES = {"loss": "loss, nats per token", "lr": "learning rate", "tokens_per_s": "tokens per second"}
_SMOOTHED = ("loss", "tokens_per_s")
_OWN_KEYS = ("title", "scores", "notes")


@dataclass(frozen=True, kw_only=True)
class GalleryItem:
    """One question of the gallery.

    Args:
        image: what the model saw; None where it was given text alone.
        prompt: what it was asked.
        completion: what it said.
        reference: what is right.
        is_correct: whether the main score gave full marks.
        label: where the question is from, e.g. the benchmark's label.
    """

    image: "Image | None"
    prompt: str
    completion: str
    reference: str
    is_correct: bool
    label: str = ""


def write_report(
    folder: RunFolder,
    *,
    title: str,
    summary: Mapping[str, Any],
    notes: Sequence[str] = (),
    results: _page.Scores | None = None,
    gallery: Sequence[GalleryItem] = (),
) -> "Path":
    """Write ``report.html``, ``report.json`` and ``curves/*.png`` from what the run's folder holds and what is given.

    Without matplotlib the page comes without curves, and says so.

    Args:
        folder: of the run; its journal gives the curves, its resolved configuration the last section.
        title: heading of the page.
        summary: the figures that matter, JSON values by name; they are top-level keys of ``report.json``.
        notes: what a reader must know to judge the figures, a sentence each.
        results: ``{benchmark: {score: {mean, low, high, num}}}``, as ``BenchmarkResult.to_dict`` gives them.
        gallery: pictures with prompts and answers.

    Returns:
        The path of the page.

    Raises:
        DataError: if ``summary`` uses a key of the report's own, or holds what is no JSON value.
    """
    results = results or {}
    for name in _OWN_KEYS:
        if name in summary:
            raise DataError(f"`summary` must leave `{name}` to the report, but is given it instead; rename the figure.")
    summary = {name: _known(value) for name, value in summary.items()}
    try:
        curves, missing = _draw_curves(folder), []
    except MissingExtraError as error:
        curves, missing = {}, [f"The curves are left out: {error}"]
    notes = [*notes, *missing]
    content = {"title": title, **summary, "scores": results, "notes": notes}
    write_whole(folder.report_json, _as_json(content))
    write_whole(folder.report, _html(folder, content, summary, curves=curves, gallery=gallery))
    return folder.report


def _html(
    folder: RunFolder,
    content: Mapping[str, Any],
    summary: Mapping[str, Any],
    *,
    curves: Mapping[str, "tuple[Path, Path]"],
    gallery: Sequence[GalleryItem],
) -> str:
    resolved = json.loads(folder.config.read_text(encoding="utf-8")) if folder.config.exists() else {}
    config = resolved.get("config", resolved)
    versions = {**resolved.get("versions", {}), **({"commit": resolved["commit"]} if resolved.get("commit") else {})}
    cards = "\n".join(_card(item) for item in gallery)
    parts = [
        ("Summary", _page.figures_part(summary)),
        ("Notes", _page.notes_part(content["notes"])),
        ("Scores", _page.scores_part(content["scores"])),
        ("Curves", _page.curves_part(curves)),
        ("What the model says", f'<div class="gallery">\n{cards}\n</div>' if cards else ""),
        ("How it was made", _page.details_part({"Configuration": config, "Versions": versions})),
    ]
    return _page.page(content["title"], _subtitle(resolved), parts)


def _card(item: GalleryItem) -> str:
    return _page.gallery_card(
        item.image,
        prompt=item.prompt,
        completion=item.completion,
        reference=item.reference,
        is_correct=item.is_correct,
        label=item.label,
    )


def _subtitle(resolved: Mapping[str, Any]) -> str:
    versions = resolved.get("versions", {})
    shown = [
        f"{name} {versions[name]}" for name in ("vlmzoo", "torch", "transformers", "deepspeed") if name in versions
    ]
    commit = resolved.get("commit")
    return " · ".join([*shown, *([f"commit {commit[:12]}"] if commit else [])])


def _draw_curves(folder: RunFolder) -> dict[str, "tuple[Path, Path]"]:
    """Draw what the journal holds; a figure that it does not hold has no curve."""
    rows = read_journal(folder.journal)
    curves = {}
    for name, label in _CURVES.items():
        points = [(row["step"], row[name]) for row in rows if isinstance(row.get(name), (int, float))]
        if len(points) > 1:
            steps, values = zip(*points, strict=True)
            curves[name] = tuple(
                draw_curve(
                    folder.curves / file_name, steps, values, label=label, look=look, is_smoothed=name in _SMOOTHED
                )
                for file_name, look in ((f"{name}.png", LIGHT), (f"{name}.dark.png", DARK))
            )
    return curves


def _known(value: Any) -> Any:
    """Return None for a number that was not to be had, as JSON knows no NaN."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _as_json(content: Mapping[str, Any]) -> str:
    try:
        return json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    except TypeError as error:
        raise DataError(f"`summary` must hold JSON values, but {error} instead; convert it to a number.") from error
