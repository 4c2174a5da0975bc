"""Key verification by folder and by manifest, with a model or with its name."""

import json

import pytest
import torch
from safetensors.torch import save_file

from tests.vlmzoo.models.conftest import make_architecture
from vlmzoo import build_model
from vlmzoo.errors import CheckpointError, ConfigError, RegistryError
from vlmzoo.hub.verify import key_tables, read_manifest, verify_model
from vlmzoo.models.llava.keys import TABLES
from vlmzoo.models.weights import shapes_of, write_layout


@pytest.fixture(scope="module")
def model():
    return build_model(make_architecture())


def write_manifest(path, shapes, **others):
    path.write_text(json.dumps({"shapes": shapes, **others}), encoding="utf-8")
    return path


WITH_ADAPTERS = ("lisa", "seal_vsm", "seal_vqa")
"""Layouts that are LLaVA's where a model has none of their adapters."""


@pytest.mark.parametrize("layout", [layout for layout in TABLES if layout not in WITH_ADAPTERS])
def test_a_folder_is_recognised_by_its_names(model, layout, tmp_path):
    write_layout(model.state_dict(), TABLES[layout], tmp_path / "weights")
    report = verify_model(model, tmp_path / "weights")
    assert (report.layout, report.is_clean) == (layout, True)
    assert report.num_matched == len(model.state_dict())
    assert str(report).splitlines()[0] == f"layout {layout}: {report.num_matched} tensors fit"
    assert str(report).endswith("0 missing, 0 unexpected, 0 of another shape")


def test_only_the_header_of_a_file_is_read(model, tmp_path):
    """The weights are cut away from the middle of the file without changing its length: headers alone are sound."""
    folder = write_layout(model.state_dict(), TABLES["llava"], tmp_path / "weights")
    path = folder / "model.safetensors"
    content = path.read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    path.write_bytes(content[:header])
    with path.open("r+b") as file:
        file.truncate(len(content))  # a hole, which takes no room
    assert verify_model(model, folder).is_clean


def test_a_model_on_the_meta_device_is_compared_just_as_well(model, tmp_path):
    folder = write_layout(model.state_dict(), TABLES["llava"], tmp_path / "weights")
    architecture = make_architecture(
        language_model={**make_architecture()["language_model"], "vocab_size": model.config.text_config.vocab_size}
    )
    assert verify_model(build_model(architecture, device="meta"), folder).is_clean


def test_a_name_builds_the_model_of_its_card(model, tmp_path):
    shapes = TABLES["llava"].dict_to_theirs(shapes_of(build_model("llava-1.5-7b", device="meta")))
    path = write_manifest(tmp_path / "manifest.json", shapes)
    assert verify_model("llava-1.5-7b", path).is_clean
    assert not verify_model("llava-1.5-13b", path).is_clean
    with pytest.raises(RegistryError, match="Did you mean `llava-1.5-7b`"):
        verify_model("llava-1.5-7bb", path)


def test_a_layout_can_be_named(model, tmp_path):
    path = write_manifest(tmp_path / "manifest.json", TABLES["llava"].dict_to_theirs(shapes_of(model)))
    assert verify_model(model, path, layout="llava").is_clean
    assert not verify_model(model, path, layout="llava_hf_5").is_clean
    with pytest.raises(ConfigError, match="must be one of `llava`.* but is `lava`. Did you mean `llava`"):
        verify_model(model, path, layout="lava")


def test_a_head_with_rows_that_no_table_cuts_is_a_mismatch(model, tmp_path):
    tensors = {key: tensor.clone() for key, tensor in TABLES["llava_hf_4"].dict_to_theirs(model.state_dict()).items()}
    head = tensors["language_model.lm_head.weight"]
    tensors["language_model.lm_head.weight"] = torch.cat([head, head[:1]])
    save_file(tensors, tmp_path / "model.safetensors")
    (mismatch,) = verify_model(model, tmp_path).mismatched
    assert mismatch.key == "language_model.lm_head.weight"


def test_a_family_without_tables_is_told():
    with pytest.raises(ConfigError, match="`Linear` must have key tables in `torch.nn.modules.keys`"):
        key_tables(torch.nn.Linear(1, 1))


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"shapes": 3}', '{"shapes": {"a": 3}}', '{"shapes": {"a": ["b"]}}']
)
def test_what_is_no_manifest_is_refused(content, tmp_path):
    path = tmp_path / "manifest.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(CheckpointError, match="must be a folder of weights or a manifest"):
        read_manifest(path)


def test_a_path_that_does_not_exist_is_refused(model, tmp_path):
    with pytest.raises(CheckpointError, match="nowhere.*must be a folder of weights or a manifest"):
        verify_model(model, tmp_path / "nowhere")


def test_a_buffer_without_a_shape_is_told(tmp_path):
    path = write_manifest(tmp_path / "manifest.json", {"a": [1]}, buffers=["a", "b"])
    with pytest.raises(CheckpointError, match="lists the buffer `b`"):
        read_manifest(path)
