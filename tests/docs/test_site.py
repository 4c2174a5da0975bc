"""The site of the documentation is built without a warning, and shows what it should."""

import os
import subprocess
import sys

import pytest
import yaml

from tests.docs.commands import ROOT


def test_every_page_of_the_navigation_is_there():
    def pages(node):
        if isinstance(node, str):
            return [node]
        values = node.values() if isinstance(node, dict) else node
        return [page for value in values for page in pages(value)]

    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    shown = pages(site["nav"])
    assert len(shown) == len(set(shown)) > 20
    assert all((ROOT / "docs" / page).is_file() for page in shown)
    results = {f"results/{path.name}" for path in (ROOT / "docs" / "results").glob("*.md")}
    assert {page for page in results if not page.endswith("-study.md")} <= set(shown)


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(tmp_path):
    pytest.importorskip("mkdocs")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    reference = (tmp_path / "reference.html").read_text(encoding="utf-8")
    assert all(name in reference for name in ("build_model", "load_model", "verify_model", "PreferenceObjective"))
    assert "needs GPUs; not run here" in (tmp_path / "multi-node.html").read_text(encoding="utf-8")
    assert "house.svg" in (tmp_path / "house.html").read_text(encoding="utf-8")
