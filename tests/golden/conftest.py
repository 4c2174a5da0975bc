"""Where the authors' numbers lie, and what happens where they do not.

A module of golden tests names a folder and a pattern, ``GOLDEN = ("s2h", "table_readout_*.json")``; each test that
takes the argument ``golden`` then runs once for every entry of the matching files: a line of JSON lines, an entry of a
list of cases (which may stand under ``cases``), or the whole of a file that is one case.

``@pytest.mark.golden_cases("chair", where=has_captions)`` takes the cases of that ``kind``, or of these, for which
``where`` holds. A kind that no case has fails the test: it would check nothing.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest


@dataclass(frozen=True)
class GoldenCase:
    """One entry of a golden file."""

    path: Path
    content: Any


def golden_folder(name: str) -> Path:
    """Return the folder of one system; skip the test, or fail it if goldens are required, where it does not exist.

    ``VLMZOO_GOLDEN`` names the folder of all systems, by default ``../shared/golden`` beside the checkout.
    ``VLMZOO_REQUIRE_GOLDEN=1`` makes a missing folder a failure.
    """
    folder = _root() / name
    if not folder.is_dir():
        report_missing(f"there is no folder {folder}")
    return folder


def report_missing(reason: str) -> None:
    """Skip the running test, or fail it if goldens are required."""
    if os.environ.get("VLMZOO_REQUIRE_GOLDEN") == "1":
        pytest.fail(f"Goldens are required, but {reason}.")
    pytest.skip(f"No goldens: {reason}.")


@dataclass(frozen=True)
class NoCases:
    """Why a test has no case, and whether that is a fault whether goldens are required or not."""

    reason: str
    is_fault: bool = False


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> GoldenCase:
    """One case of the files that the module's ``GOLDEN`` names."""
    return request.param


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> None:
    """Skip or fail a test whose files are missing; here, and not in the fixture, so that it fails and not errs."""
    case = pyfuncitem.funcargs.get("golden")
    if isinstance(case, NoCases):
        if case.is_fault:
            pytest.fail(case.reason)
        report_missing(case.reason)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that takes ``golden`` once for every case."""
    if "golden" not in metafunc.fixturenames:
        return
    name, pattern = metafunc.module.GOLDEN
    paths = sorted((_root() / name).glob(pattern))
    cases = [
        pytest.param(
            GoldenCase(path, content), id=f"{name}-{path.stem}-{content.get('uid', content.get('id', number))}"
        )
        for path in paths
        for number, content in enumerate(_cases(path))
    ]
    mark = metafunc.definition.get_closest_marker("golden_cases")
    why = NoCases(f"{_root() / name} has no {pattern}")
    if mark is not None and cases:
        kinds, where = mark.args, mark.kwargs.get("where", bool)
        of_kind = [case for case in cases if not kinds or case.values[0].content["kind"] in kinds]
        cases = [case for case in of_kind if where(case.values[0].content)]
        why = NoCases(f"no case of {pattern} is of {kinds} and what is asked of them", is_fault=not of_kind)
    metafunc.parametrize(
        "golden", cases or [pytest.param(why, id=f"{name}-{Path(pattern).stem}-missing")], indirect=True
    )


def _cases(path: Path) -> list[Any]:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    content = json.loads(text)
    cases = content if isinstance(content, list) else content.get("cases", [content])
    return [{"id": name, **case} for name, case in cases.items()] if isinstance(cases, dict) else cases


def _root() -> Path:
    default = Path(__file__).resolve().parents[3] / "shared" / "golden"
    return Path(os.environ.get("VLMZOO_GOLDEN") or default)
