from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmzoo.hub.files import model_files, read_bases, replaceable_files

folders = st.sampled_from(["", "lora/", "onnx/", "checkpoints/step-1/", "additional_chat_templates/"])
stems = st.sampled_from(["config", "model-00001", "tokenizer", "notes", "README", "LICENSE", "training_args", "merges"])
suffixes = st.sampled_from([".json", ".safetensors", ".bin", ".pt", ".txt", ".md", ".jinja", ".model", ".png", ""])
names = st.sets(st.tuples(folders, stems, suffixes).map("".join))


@given(names)
def test_what_is_fetched_is_part_of_what_is_there_and_needs_nothing_else(there):
    wanted = model_files(there)
    assert set(wanted) <= there
    assert model_files(wanted) == wanted == sorted(set(wanted))


@given(names)
def test_no_folder_gives_both_safetensors_and_pickles(there):
    kinds = {(str(PurePosixPath(name).parent), PurePosixPath(name).suffix) for name in model_files(there)}
    assert not any((folder, ".bin") in kinds and (folder, ".safetensors") in kinds for folder, _ in kinds)


@given(names)
def test_all_safetensors_of_the_model_are_fetched_and_no_other_models(there):
    found = {name for name in model_files(there) if name.endswith(".safetensors")}
    wanted = {name for name in there if name.endswith(".safetensors") and not name.startswith(("onnx", "checkpoints"))}
    assert found == wanted


@given(names)
def test_what_people_write_is_never_replaced(there):
    by_people = ("README", "LICENSE", "notes")
    saves = (".safetensors", ".bin", ".model", ".jinja")
    for name in replaceable_files(there):
        path = PurePosixPath(name)
        assert not path.stem.startswith(by_people) or path.suffix in saves


@given(names)
def test_replaceable_files_are_files_of_the_model(there):
    assert set(replaceable_files(there)) <= set(model_files(there))


@pytest.mark.parametrize(
    ("base", "bases"),
    [
        (None, []),
        ({}, []),
        ("a/b", [("a/b", None)]),
        ({"id": "a/b", "revision": "v1"}, [("a/b", "v1")]),
        ({"repo": "a/b"}, [("a/b", None)]),
        (["a/b", {"id": "c/d"}], [("a/b", None), ("c/d", None)]),
        (3, []),
    ],
)
def test_bases_are_read_from_a_manifest_of_any_shape(base, bases):
    assert read_bases({"base": base}) == bases


def test_a_manifest_without_a_base_names_none():
    assert read_bases({}) == []
