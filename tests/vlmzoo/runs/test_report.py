import json
import re
import sys
from html.parser import HTMLParser

import pytest
from PIL import Image

from vlmzoo.errors import DataError
from vlmzoo.runs.folder import RunFolder
from vlmzoo.runs.journal import Journal
from vlmzoo.runs.report import GalleryItem, write_report

SCORES = {"simple": {"exact_match": {"mean": 0.9, "low": 0.85, "high": 0.95, "num": 500}}}
VOID = {"meta", "img", "source"}


class Checker(HTMLParser):
    """Follows the tags of a page: that they nest, and what they refer to."""

    def __init__(self):
        super().__init__()
        self.open, self.addresses, self.tags = [], [], set()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href", "srcset")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture
def folder(tmp_path):
    folder = RunFolder(tmp_path / "run")
    journal = Journal(folder.journal)
    for step in range(1, 21):
        journal.write({"step": step, "loss": 1 / step, "lr": 1e-3, "tokens_per_s": 1000.0})
    journal.close()
    content = {"config": {"num_steps": 20}, "versions": {"vlmzoo": "0.1.0", "torch": "2.15"}, "commit": "abcdef" * 4}
    folder.config.write_text(json.dumps(content))
    return folder


def make_item(**options):
    image = Image.new("RGB", (8, 8), (255, 255, 0))
    plain = {"image": image, "prompt": "which?", "completion": "this", "reference": "that", "is_correct": False}
    return GalleryItem(**{**plain, **options})


def check(folder):
    text = folder.report.read_text(encoding="utf-8")
    checker = Checker()
    checker.feed(text)
    checker.close()
    assert checker.open == []
    return text, checker


def test_the_page_holds_figures_scores_curves_pictures_notes_and_configuration(folder):
    write_report(
        folder,
        title="A run",
        summary={"simple_exact": 0.9, "parameters": 1234567, "reload_identical": True, "peak_rss_mb": None},
        notes=["Tables are small, `exact` is strict."],
        results=SCORES,
        gallery=[make_item(label="simple"), make_item(image=None, is_correct=True)],
    )
    text, checker = check(folder)
    for part in (
        "A run",
        "simple exact",
        "0.900",
        "1,234,567",
        "yes",
        "not measured",
        "Tables are small, <code>exact</code> is",
        "0.850 to",
    ):
        assert part in text
    for part in ("✓ right", "✗ wrong", "num_steps: 20", "commit abcdef", "torch 2.15", "prefers-color-scheme: dark"):
        assert part in text
    assert {"main", "header", "table", "figure", "article", "details"} <= checker.tags


def test_the_page_needs_nothing_beside_itself(folder):
    write_report(folder, title="A run", summary={}, results=SCORES, gallery=[make_item()])
    text, checker = check(folder)
    assert checker.addresses
    assert all(address.startswith("data:image/png;base64,") for address in checker.addresses)
    assert not re.search(r"https?://|@import|<script|<link", text)


def test_what_a_model_says_cannot_become_markup(folder):
    evil = "<script>alert('&')</script>"
    write_report(
        folder,
        title=evil,
        summary={evil: evil},
        notes=[evil],
        results={evil: {evil: SCORES["simple"]["exact_match"]}},
        gallery=[make_item(prompt=evil, completion=evil, reference=evil, label=evil)],
    )
    text, checker = check(folder)
    assert "script" not in checker.tags
    assert text.count("&lt;script&gt;") >= 8


def test_the_curves_are_files_as_well_for_light_and_for_dark_pages(folder):
    write_report(folder, title="A run", summary={})
    names = sorted(path.name for path in folder.curves.iterdir())
    assert names == [f"{curve}{look}.png" for curve in ("loss", "lr", "tokens_per_s") for look in (".dark", "")]
    assert Image.open(folder.curves / "loss.png").size[0] > 600


def test_a_figure_that_the_journal_does_not_hold_has_no_curve(tmp_path):
    folder = RunFolder(tmp_path)
    journal = Journal(folder.journal)
    for step in (1, 2):
        journal.write({"step": step, "loss": 0.5})
    write_report(folder, title="A run", summary={})
    assert sorted(path.name for path in folder.curves.iterdir()) == ["loss.dark.png", "loss.png"]


def test_a_run_without_a_journal_has_a_page_all_the_same(tmp_path):
    folder = RunFolder(tmp_path / "new")
    write_report(folder, title="A run", summary={"answer": 42})
    assert "42" in check(folder)[0]


def test_the_figures_are_top_level_keys_of_the_json(folder):
    write_report(folder, title="A run", summary={"simple_exact": 0.9}, notes=["A note."], results=SCORES)
    content = json.loads(folder.report_json.read_text())
    assert content == {"title": "A run", "simple_exact": 0.9, "scores": SCORES, "notes": ["A note."]}


def test_a_figure_that_was_not_to_be_had_is_null(folder):
    write_report(folder, title="A run", summary={"peak_rss_mb": float("nan")})
    assert json.loads(folder.report_json.read_text())["peak_rss_mb"] is None
    assert "not measured" in check(folder)[0]


def test_without_matplotlib_the_page_says_that_it_has_no_curves(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    write_report(folder, title="A run", summary={}, notes=["A note."])
    text, _ = check(folder)
    assert "The curves are left out" in text
    assert "vlmzoo[train]" in text
    assert len(json.loads(folder.report_json.read_text())["notes"]) == 2


def test_a_figure_may_not_take_a_name_of_the_reports_own(folder):
    with pytest.raises(DataError, match="must leave `scores` to the report"):
        write_report(folder, title="A run", summary={"scores": 1})


def test_a_figure_that_json_does_not_know_is_refused(folder):
    with pytest.raises(DataError, match="must hold JSON values"):
        write_report(folder, title="A run", summary={"thing": object()})


def test_large_pictures_are_made_smaller_in_the_page(folder):
    noise = Image.effect_noise((3000, 2000), 100)
    write_report(folder, title="A run", summary={}, gallery=[make_item(image=noise)])
    assert folder.report.stat().st_size < 3_000_000
    assert noise.size == (3000, 2000)
