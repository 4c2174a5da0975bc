"""Rows of JSON files: each as the standard library reads it, and a fault stays with its row."""

import json
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmzoo.data.sources import RowError
from vlmzoo.data.sources._rows import open_rows
from vlmzoo.errors import DataError

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
records = st.lists(st.dictionaries(st.text(), values, max_size=4), min_size=1, max_size=5)


@given(records, st.sampled_from([None, 0, 3]), st.booleans(), st.booleans())
def test_a_list_is_read_as_the_json_module_reads_it(tmp_path_factory, records, indent, is_ascii, has_mark):
    path = tmp_path_factory.mktemp("rows") / "data.json"
    text = json.dumps(records, indent=indent, ensure_ascii=is_ascii)
    path.write_bytes(text.encode("utf-8-sig" if has_mark else "utf-8"))
    rows = open_rows(str(path))
    assert [rows.row(index) for index in range(len(rows))] == records


@given(records, st.lists(st.integers(0, 2), min_size=5, max_size=5))
def test_lines_are_read_as_the_json_module_reads_them_and_blank_ones_are_passed_over(tmp_path_factory, records, blanks):
    path = tmp_path_factory.mktemp("rows") / "data.jsonl"
    lines, numbers = [], []
    for record, num_blank in zip(records, blanks, strict=False):
        lines += [*[" "] * num_blank, json.dumps(record)]
        numbers.append(len(lines))
    path.write_text("\n".join(lines))
    rows = open_rows(str(path))
    assert [rows.row(index) for index in range(len(rows))] == records
    assert [rows.place(index) for index in range(len(rows))] == [f"Line {number} of `{path}`" for number in numbers]


@pytest.mark.parametrize(
    ("name", "text", "place"),
    [
        ("data.json", '[{"a": 0}, {"a": nope}, {"a": 2}]', "Record 1"),
        ("data.json", '[{"a": 0}, {"a": [}], {"a": 2}]', "Record 1"),
        ("data.json", '[{"a": 0}, "text, with a comma", {"a": 2},\n]\n', "Record 1"),
        ("data.jsonl", '{"a": 0}\n{"a": \n{"a": 2}\n', "Line 2"),
        ("data.jsonl", '{"a": 0}\n[1]\n{"a": 2}', "Line 2"),
        ("data.json", '{"a": 0}\n{"a": "\xff"}\n{"a": 2}', "Line 2"),
    ],
)
def test_a_broken_row_says_where_it_is_and_leaves_the_others_alone(tmp_path, name, text, place):
    path = tmp_path / name
    path.write_bytes(text.encode("latin-1"))
    rows = open_rows(str(path))
    assert len(rows) == 3
    assert [rows.row(0), rows.row(2)] == [{"a": 0}, {"a": 2}]
    with pytest.raises(RowError, match="it must be a JSON object, but") as caught:
        rows.row(1)
    assert caught.value.kind == "broken row"
    assert rows.place(1) == f"{place} of `{path}`"


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ('[{"a": 1}, {"b": ', r"cannot be read as JSON: the list does not end, its last record \(1, from 0\) is open"),
        ("[", "the list does not end"),
        ('[{"a": "b}]', "the list does not end"),
        ("[]", "must hold records, but holds none"),
        ("", "must hold records, but holds none"),
        (" \n", "must hold records, but holds none"),
        ("[{}] [{}]", "holds more behind it"),
        ('{\n  "a": 1\n}', r"must hold a list of records, or one record a line, in UTF-8, but begins b'\{'"),
        ("id,text\n1,a\n", "but begins b'id,text'"),
    ],
)
def test_a_file_that_is_no_list_of_records_says_so_at_once(tmp_path, text, match):
    path = tmp_path / "data.json"
    path.write_text(text)
    with pytest.raises(DataError, match=match) as caught:
        open_rows(str(path))
    assert str(path) in str(caught.value)


def test_a_missing_file_and_an_unknown_kind_of_file_are_named(tmp_path):
    with pytest.raises(DataError, match=r"none\.json` does not exist; check `source.path`"):
        open_rows(str(tmp_path / "none.json"))
    with pytest.raises(DataError, match=r"ends in `\.csv` instead; convert it"):
        open_rows(str(tmp_path / "data.csv"))
    with pytest.raises(DataError, match="must hold data files .* but holds none"):
        open_rows(str(tmp_path / "*.json"))
    for path in ([], 3, [""], None):
        with pytest.raises(DataError, match="`path` must name a data file or several"):
            open_rows(path)


def test_a_file_that_changes_is_noticed(tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_text('{"a": 1}\n{"a": 2}\n')
    rows = open_rows(str(path))
    path.write_text('{"a": 10}\n{"a": 2}\n')
    with pytest.raises(DataError, match="has changed since it was opened"):
        rows.row(1)
    path.unlink()
    with pytest.raises(DataError, match="cannot be read any more"):
        rows.row(1)


def test_several_files_are_one_table_in_order_of_name(tmp_path):
    for name, count in (("b.jsonl", 2), ("a.jsonl", 1), ("c.jsonl", 3)):
        (tmp_path / name).write_text("".join(f'{{"from": "{name}", "n": {n}}}\n' for n in range(count)))
    expected = [(name, n) for name, count in (("a.jsonl", 1), ("b.jsonl", 2), ("c.jsonl", 3)) for n in range(count)]
    for path in (str(tmp_path), str(tmp_path / "*.jsonl"), [str(tmp_path / f"{x}.jsonl") for x in "abc"]):
        rows = open_rows(path)
        assert [(rows.row(i)["from"], rows.row(i)["n"]) for i in range(len(rows))] == expected
        assert rows.place(3) == f"Line 1 of `{tmp_path / 'c.jsonl'}`"


def test_a_table_is_carried_as_an_index_and_without_open_files(tmp_path):
    path = tmp_path / "data.json"
    record = {"text": "x" * 10_000}
    path.write_text(json.dumps([record] * 200))
    num_open = len(list(Path("/proc/self/fd").iterdir()))
    rows = open_rows(str(path))
    rows.row(3)
    assert len(list(Path("/proc/self/fd").iterdir())) == num_open
    carried = pickle.dumps(rows)
    assert len(carried) < 4000 < path.stat().st_size / 100
    again = pickle.loads(carried)
    assert [again.row(index) for index in (0, 199)] == [record, record]
