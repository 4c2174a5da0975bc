"""Files of references: pickles of plain values are read, all others are refused before they can do anything."""

import os
import pickle
from collections import OrderedDict

import pytest

from vlmzoo.data.sources._refs_file import find_refs_file, read_refs
from vlmzoo.errors import DataError

REF = {
    "ref_id": 1,
    "ann_id": "2_1",
    "image_id": 3,
    "split": "train",
    "sentences": [{"sent": "a caf\u00e9", "tokens": []}],
}


class Foreign:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", range(6))
def test_plain_references_are_read_in_every_protocol(tmp_path, protocol):
    path = tmp_path / "refs(unc).p"
    path.write_bytes(pickle.dumps([REF, {**REF, "ref_id": 2**70, "score": 0.5, "flag": None}], protocol))
    assert read_refs(path)[0] == REF


def test_texts_of_python_2_are_read(tmp_path):
    path = tmp_path / "refs(unc).p"
    body = b"(lp0\n(dp1\nS'sentences'\np2\n(lp3\n(dp4\nS'sent'\np5\nS'caf\\xe9'\np6\nsasS'split'\np7\nS'val'\np8\n"
    body += b"sS'ref_id'\nL7L\nsS'ann_id'\nI8\nsS'image_id'\nI9\nsa."
    path.write_bytes(body)
    assert read_refs(path)[0]["sentences"][0]["sent"] == "café"


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_pickle_that_calls_something_is_refused_before_it_does(tmp_path, protocol):
    path, trap = tmp_path / "refs(unc).p", tmp_path / "made by the pickle"
    path.write_bytes(pickle.dumps([REF, Foreign(trap)], protocol))
    with pytest.raises(DataError, match="must hold plain values, but it names `.*mkdir` instead; .* tampered with"):
        read_refs(path)
    assert not trap.exists()


@pytest.mark.parametrize("value", [OrderedDict(a=1), {1, 2}, range(3), complex(1, 2), b"x"])
def test_values_of_any_class_are_refused(tmp_path, value):
    path = tmp_path / "refs(unc).p"
    path.write_bytes(pickle.dumps([{**REF, "extra": value}], 2))
    with pytest.raises(DataError, match="must hold plain values"):
        read_refs(path)


@pytest.mark.parametrize("content", [b"", b"no pickle", pickle.dumps([REF])[:-20], b"]q\x00(h\x05e."])
def test_what_is_no_pickle_is_told(tmp_path, content):
    path = tmp_path / "refs(unc).p"
    path.write_bytes(content)
    with pytest.raises(DataError, match="References `.*refs\\(unc\\).p`"):
        read_refs(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"split": 3}, "must have `split` as str, but has 3"),
        ({"ann_id": None}, "must have `ann_id` as int or str or list, but has None"),
        ({"sentences": [{"raw": "x"}]}, "must have a text `sent` each"),
    ],
)
def test_references_of_another_form_are_told(tmp_path, change, message):
    path = tmp_path / "refs(unc).p"
    path.write_bytes(pickle.dumps([{**REF, **change}]))
    with pytest.raises(DataError, match=message):
        read_refs(path)
    path.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(DataError, match="must be a list, but are dict"):
        read_refs(path)


def test_a_missing_file_names_what_there_is(tmp_path):
    (tmp_path / "refs(google).p").write_bytes(b"")
    with pytest.raises(DataError, match="but holds `refs\\(google\\).p` instead"):
        find_refs_file(tmp_path, split_by="unc")
    with pytest.raises(DataError, match="cannot be read"):
        read_refs(tmp_path / "none.p")
