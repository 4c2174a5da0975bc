"""Every fenced command is run by a test, or marked as needing a GPU or the network."""

import re
import runpy
from pathlib import Path

import pytest
from PIL import Image

from tests.docs.commands import MARKS, ROOT, SHELLS, commands, fences, rehearse
from tests.docs.test_names import GENERATE

QUICKSTART = "tests/smoke/test_training.py::test_the_quickstart_config_goes_all_the_way_at_tiny_size"
PASSPORT = "tests/vlmzoo/hub/passport/test_passport.py"
TWO_NODES = "tests/smoke/test_multi_node.py::test_two_nodes_train_as_one_process_does"
COMPARE = "tests/vlmzoo/evaluation/test_compare_scores.py::test_a_file_is_compared_from_the_command_line"
LMMS_TASKS = "tests/vlmzoo/evaluation/test_lmms_export.py::test_the_command_says_what_became_a_task"
RUN_BY = {
    "vlmzoo data lmms": LMMS_TASKS,
    "python eval/compare_scores.py": COMPARE,
    "make quickstart": QUICKSTART,
    "vlmzoo train tiny/quickstart": QUICKSTART,
    "vlmzoo verify llava-1.5-7b": f"{PASSPORT}::test_a_tiny_twin_is_what_its_passport_says",
    "vlmzoo verify runs/quickstart/final": f"{PASSPORT}::test_a_folder_makes_and_replays_its_own_passport",
    "export OMP_NUM_THREADS=1 DS_ACCELERATOR=cpu": TWO_NODES,
    "for node in 0 1; do": TWO_NODES,
    "torchrun --nnodes 2": TWO_NODES,
    "done; wait": TWO_NODES,
}
"""Commands, by how they begin, and the test that runs what they run."""

COMMANDS = sorted(set(commands()))


def test_there_are_commands():
    assert len(COMMANDS) > 10


@pytest.mark.parametrize(("page", "command"), COMMANDS, ids=[f"{page}: {text[:50]}" for page, text in COMMANDS])
def test_a_command_is_run_by_a_test_or_rehearsed(page, command):
    named = [test for beginning, test in RUN_BY.items() if command.startswith(beginning)]
    for test in named:
        path, _, name = test.partition("::")
        assert f"def {name}" in (ROOT / path).read_text(encoding="utf-8")
    assert rehearse(command) or named, (
        f"{page}: nothing runs `{command}`; mark its fence `gpu` or `network`, or test it"
    )


def test_what_is_said_to_be_run_is_in_the_documentation():
    unknown = [b for b in RUN_BY if not any(command.startswith(b) for _, command in COMMANDS)]
    assert not unknown


def test_a_fence_names_its_language_and_nothing_unknown():
    for fence in fences():
        assert fence.words, f"a fence of {fence.page} names no language"
        if fence.words[0] in SHELLS:
            assert set(fence.words[1:]) <= set(MARKS), fence


@pytest.fixture
def unchanged_registries():
    """Take out again what an example registers."""
    found = GENERATE.registries()
    before = [(registry, registry.names(), dict(registry._entries)) for registry in found]
    yield
    for registry, _, entries in before:
        registry._entries = entries


PYTHON = [fence for fence in fences() if fence.words[:1] == ("python",) and fence.page != "CONTRIBUTING.md"]


@pytest.mark.parametrize("fence", PYTHON, ids=lambda fence: f"{fence.page}: {fence.text.splitlines()[0][:40]}")
def test_a_python_block_runs_or_is_marked(fence, tmp_path, monkeypatch, unchanged_registries):
    """Where a quickstart's folder and a picture lie, as the pages assume."""
    if set(fence.words) & set(MARKS):
        pytest.skip("needs what its fence says")
    from vlmzoo.checkpoint import save_model
    from vlmzoo.hub.passport import make_twin

    monkeypatch.chdir(tmp_path)
    if "runs/quickstart/final" in fence.text:
        model = make_twin("llava-1.5-7b")
        save_model(model, model.processor, Path("runs/quickstart/final"))
    Image.new("RGB", (40, 30), (200, 30, 30)).save("table.png")
    script = tmp_path / "block.py"
    script.write_text(re.sub(r"max_new_tokens=\d+", "max_new_tokens=2", fence.text), encoding="utf-8")
    runpy.run_path(str(script))
