"""Every name of every registry says what it is, and stands on the page of names."""

import importlib.util
import inspect

import pytest

from tests.docs.commands import ROOT

_SPEC = importlib.util.spec_from_file_location("generate_names", ROOT / "docs" / "generate_names.py")
GENERATE = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(GENERATE)
ROWS = [
    pytest.param(entry, id=f"{registry.kind} {entry.name}")
    for registry in GENERATE.registries()
    for entry in GENERATE.entries(registry)
]


def test_all_registries_are_found():
    declared = {
        path.parent.relative_to(ROOT).as_posix().replace("/", ".")
        for path in (ROOT / "vlmzoo").rglob("__init__.py")
        if "] = Registry(" in path.read_text(encoding="utf-8")
    }
    assert {registry.home for registry in GENERATE.registries()} == declared
    assert set(GENERATE.SHOWN) <= {registry.kind for registry in GENERATE.registries()}


@pytest.mark.parametrize("entry", ROWS)
def test_a_name_says_what_it_is_and_where_it_comes_from(entry):
    summary = (inspect.getdoc(entry.build) or "").split("\n\n")[0]
    assert summary.endswith((".", "?")) and len(summary) > 12, summary
    assert entry.source.strip()
