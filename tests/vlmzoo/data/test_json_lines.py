import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmzoo.data.json_lines import JsonLinesWriter, read_json_lines, write_whole
from vlmzoo.errors import DataError

rows = st.lists(st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.text()), max_size=4)


@given(rows)
def test_what_is_written_is_read_back(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("lines") / "new" / "rows.jsonl"
    with JsonLinesWriter(path) as writer:
        for row in rows:
            writer.write(row)
    assert read_json_lines(path) == rows


@given(st.integers(1, 40))
def test_a_torn_last_line_is_dropped_by_the_reader_and_cut_off_by_the_writer(tmp_path_factory, num_bytes_lost):
    path = tmp_path_factory.mktemp("lines") / "rows.jsonl"
    with JsonLinesWriter(path) as writer:
        writer.write({"step": 1})
        writer.write({"step": 2, "words": "été, and more than forty bytes of them"})
    path.write_bytes(path.read_bytes()[:-num_bytes_lost])
    assert read_json_lines(path) == [{"step": 1}]
    with JsonLinesWriter(path) as writer:
        writer.write({"step": 3})
    assert read_json_lines(path) == [{"step": 1}, {"step": 3}]


def test_a_row_is_on_disk_as_soon_as_it_is_written(tmp_path):
    writer = JsonLinesWriter(tmp_path / "rows.jsonl")
    writer.write({"step": 1})
    assert read_json_lines(tmp_path / "rows.jsonl") == [{"step": 1}]
    writer.close()


def test_nothing_is_made_before_the_first_row(tmp_path):
    JsonLinesWriter(tmp_path / "rows.jsonl").close()
    assert not list(tmp_path.iterdir())
    assert read_json_lines(tmp_path / "rows.jsonl") == []


def test_a_broken_line_in_the_middle_is_an_error_with_its_number(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"step": 1}\n{"ste\n{"step": 3}\n')
    with pytest.raises(DataError, match=r"Line 2 of .* must be a JSON object, but is"):
        read_json_lines(path)


def test_a_value_that_json_does_not_know_is_refused_and_leaves_no_half_line(tmp_path):
    path = tmp_path / "rows.jsonl"
    with JsonLinesWriter(path) as writer, pytest.raises(DataError, match="must hold JSON values only"):
        writer.write({"step": 1, "image": object()})
    assert read_json_lines(path) == []


def test_a_file_is_written_whole_with_its_folder_and_nothing_beside_it(tmp_path):
    path = tmp_path / "new" / "file.json"
    for text in ("first", "second"):
        write_whole(path, text)
        assert path.read_text() == text
    assert list(path.parent.iterdir()) == [path]
