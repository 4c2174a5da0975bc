"""The worked examples of CONTRIBUTING.md are run as they stand there."""

import re
import tomllib
import types

import pytest
import torch
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from vlmzoo.blocks.projectors import PROJECTORS
from vlmzoo.config import load_config
from vlmzoo.registry import PLUGIN_GROUP
from vlmzoo.scoring import SCORES


@pytest.fixture(scope="module")
def blocks(repository):
    text = (repository / "CONTRIBUTING.md").read_text(encoding="utf-8")
    return re.findall(r"^```(\w+)\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def registered(blocks):
    """Run the examples, and take their entries out again afterwards."""
    assert PROJECTORS.names()  # filled, so that what is put back is the whole
    assert SCORES.names()
    before = dict(PROJECTORS._entries), dict(SCORES._entries)
    for number, (language, code) in enumerate(blocks):
        if language == "python":
            assert ".register(" in code
            module = types.ModuleType(f"contributing_example_{number}")
            exec(compile(code, "CONTRIBUTING.md", "exec"), module.__dict__)
    yield
    PROJECTORS._entries, SCORES._entries = before


def test_the_example_of_a_block_is_built_from_a_config(registered):
    entry = PROJECTORS.entry("scaled_linear")
    projector = PROJECTORS.build({"type": "scaled_linear", "start": 0.5}, **entry.tiny)
    features = torch.ones(2, 3, entry.tiny["in_dim"])
    assert projector(features).shape == (2, 3, entry.tiny["out_dim"])
    assert torch.equal(
        projector(features), 0.5 * torch.nn.functional.linear(features, projector.weight, projector.bias)
    )


@given(before=st.text(), reference=st.text(), after=st.text())
@example(before="", reference="\u0391\u03a3", after="\u0391")  # its sigma is a last one alone, and not within
def test_the_example_of_a_score_obeys_its_law(registered, before, reference, after):
    for options in ({}, {"ignore_case": False}):
        assert SCORES.build({"type": "contains", **options})(before + reference + after, reference) == 1.0


def test_the_example_of_a_stage_is_a_config(blocks, tmp_path):
    [stage] = [code for language, code in blocks if language == "yaml"]
    (tmp_path / "stage2.yaml").write_text(stage)
    base = {"model": {"path": "x/y"}, "experience": {"type": "supervised"}, "num_steps": 1, "output_dir": "x"}
    (tmp_path / "stage1.yaml").write_text(yaml.safe_dump({**base, "optim": {"learning_rate": 1.0}}))
    assert load_config(tmp_path / "stage2.yaml").optim.frozen == ["encoder"]


def test_the_example_of_a_plug_in_registers_and_its_entry_point_is_one(registered, blocks):
    assert SCORES.entry("mine").build.__name__ == "mine"
    [project] = [code for language, code in blocks if language == "toml"]
    [(group, points)] = tomllib.loads(project)["project"]["entry-points"].items()
    assert group == PLUGIN_GROUP and points == {"mine": "my_package.scores"}
