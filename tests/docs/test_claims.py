"""docs/claims.yaml names what exists, and the pages made of data are up to date."""

import datetime
import importlib.util
import os
import re
from pathlib import Path

import pytest
import yaml

from tests.docs.commands import rehearse
from tests.golden.conftest import report_missing

ROOT = Path(__file__).resolve().parents[2]
CONTENT = yaml.safe_load((ROOT / "docs" / "claims.yaml").read_text(encoding="utf-8"))
CLAIMS = [pytest.param(claim, id=claim["claim"][:40]) for system in CONTENT["systems"] for claim in system["claims"]]
DISAGREEMENTS = [row for system in CONTENT["systems"] for row in system["disagreements"]]
STATES = ("shown", "partly", "missed", "not run")


def golden_folder():
    given = os.environ.get("VLMZOO_GOLDEN")
    return Path(given) if given else ROOT.parent / "shared" / "golden"


def check_place(place):
    """A file, and after a colon something that it defines or takes."""
    path, _, name = place.partition(":")
    assert (ROOT / path).is_file(), place
    if name:
        assert re.search(rf"\b{re.escape(name)}\b", (ROOT / path).read_text(encoding="utf-8")), place
    if name[:1].isupper() or (name and path.startswith("vlmzoo/") and place in FORMULAS):
        assert re.search(rf"^(class|def) {name}\b", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE), place


def figures_of(text):
    """Figures of three decimals, with their sign; and figures with an interval, as triples."""
    text = text.replace("\N{MINUS SIGN}", "-").replace("**", "")
    number = r"(?<![\d.])[-+]?\d+(?:\.\d+)?(?: %)?"
    triples = re.findall(rf"({number}) \(({number}) (?:–|to) ({number})\)", text)
    return {*re.findall(r"(?<![\d.+-])[-+]?0\.\d{3}(?!\d)", text), *triples}


FORMULAS = [place for claim in CLAIMS for place in claim.values[0]["code"]]


@pytest.mark.parametrize("claim", CLAIMS)
def test_what_a_claim_names_exists(claim):
    for place in claim["code"]:
        check_place(place)
    for path in (*claim["tests"], claim["config"]):
        assert (ROOT / path).is_file(), path
    assert claim["code"] and claim["tests"]
    assert rehearse(claim["command"]), claim["command"]


@pytest.mark.parametrize("claim", CLAIMS)
def test_a_claims_golden_is_read_by_its_tests(claim):
    folder = golden_folder()
    if not folder.is_dir():
        report_missing(f"there is no folder {folder}")
    for name in claim["golden"]:
        assert (folder / name).exists(), name
        system = name.split("/")[0]
        assert any(path.startswith(f"tests/golden/{system}/") for path in claim["tests"]), name


@pytest.mark.parametrize("claim", CLAIMS)
def test_a_result_says_what_when_and_where(claim):
    result = claim["result"]
    assert result["status"] in STATES
    assert (ROOT / "docs" / "results" / result["page"]).is_file()
    assert result["figures"].endswith(".")
    if result["status"] == "not run":
        assert "date" not in result
    else:
        assert datetime.date.fromisoformat(result["date"]) <= datetime.date.today()
        assert re.search(r"\d", result["figures"])


@pytest.mark.parametrize("claim", CLAIMS)
def test_figures_with_an_interval_stand_on_the_page_of_results(claim):
    """Numbers, with sign and interval, are copied from the page, so that both change together."""
    result = claim["result"]
    page = (ROOT / "docs" / "results" / result["page"]).read_text(encoding="utf-8")
    missing = figures_of(result["figures"]) - figures_of(page)
    assert not missing, f"{result['page']} does not hold {missing}"


def test_a_sign_a_bound_and_an_interval_count():
    page = figures_of("gain **+0.178** (+0.091 to +0.263), 0.516")
    assert figures_of("+0.178 (+0.091 – +0.263)") <= page and figures_of("0.516") <= page
    for wrong in (
        "-0.178",
        "+0.178 (+0.090 to +0.263)",
        "+0.178 (+0.263 to +0.091)",
        "0.091 (+0.091 to +0.263)",
        "0.615",
    ):
        assert not figures_of(wrong) <= page, wrong


def test_each_system_says_where_paper_and_code_disagree():
    for system in CONTENT["systems"]:
        assert system["claims"] and system["disagreements"]
    for row in DISAGREEMENTS:
        check_place(row["at"])
        assert row["switch"].startswith("`") and row["paper"] != row["code"]


def test_pages_made_of_data_are_up_to_date(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs")  # as it is for `python docs/generate.py`
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    old = [str(path) for path, text in generate.pages().items() if path.read_text(encoding="utf-8") != text]
    assert not old, f"run `python docs/generate.py`: {old}"
