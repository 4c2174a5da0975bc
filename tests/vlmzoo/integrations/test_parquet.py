"""Parquet: rows by number over row groups, with images that stay encoded, in TRL's and verl's columns."""

import pickle
import sys

import pytest
from PIL import Image

from vlmzoo.data.images import load_image
from vlmzoo.data.sources import SOURCES, RowError
from vlmzoo.errors import DataError, MissingExtraError
from vlmzoo.integrations.parquet import ParquetRows


@pytest.fixture
def write(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")

    def write_rows(rows, name="data.parquet", **options):
        parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / name, **options)
        return tmp_path / name

    return write_rows


def png(tmp_path, colour):
    path = tmp_path / f"{colour}.png"
    Image.new("RGB", (8, 6), colour).save(path)
    return path.read_bytes()


@pytest.mark.parametrize("size", [1, 3, 7, 100])
def test_rows_are_found_in_any_order_over_any_row_groups(write, size):
    records = [{"n": n, "texts": [{"a": str(n), "b": None}]} for n in range(7)]
    path = write(records, row_group_size=size)
    rows = ParquetRows(path)
    assert len(rows) == 7
    for index in (6, 0, 3, 3, 5, 1):
        assert rows.row(index) == records[index]
    assert rows.place(6) == f"Row 6 of `{path}`"


def test_row_groups_are_kept_by_size_and_not_carried(write, monkeypatch):
    path = write([{"text": "x" * 1000} for _ in range(50)], row_group_size=10)
    monkeypatch.setattr("vlmzoo.integrations.parquet._KEPT_BYTES", 25_000)
    rows = ParquetRows(path)
    for index in (0, 10, 20, 5):
        rows.row(index)
    assert list(rows._groups) == [2, 0]
    carried = pickle.dumps(rows)
    assert len(carried) < 1000
    assert pickle.loads(carried).row(49) == rows.row(49)


def test_verl_rows_hold_their_images(write, tmp_path):
    row = {
        "data_source": "s",
        "prompt": [{"role": "user", "content": "<image>q <image>"}],
        "images": [{"bytes": png(tmp_path, "red"), "path": None}, {"bytes": None, "path": "blue.png"}],
        "reward_model": {"ground_truth": "7", "style": "rule"},
        "extra_info": {"index": 3},
    }
    png(tmp_path, "blue")
    source = SOURCES.build({"type": "verl", "path": str(write([row]))})
    sample = source.sample(0)
    assert [load_image(image).getpixel((0, 0)) for image in sample.images] == [(255, 0, 0), (0, 0, 255)]
    assert (sample.reference, sample.id, sample.meta["extra_info"]) == ("7", "3", {"index": 3})
    again = pickle.loads(pickle.dumps(source)).sample(0)
    assert again.messages == sample.messages


def test_trl_rows_may_have_blocks_whose_missing_keys_are_null(write, tmp_path):
    blocks = [{"type": "image", "text": None}, {"type": "text", "text": "q"}]
    answer = [{"type": "text", "text": "a"}]
    rows = [
        {
            "messages": [{"role": "user", "content": blocks}, {"role": "assistant", "content": answer}],
            "images": [{"bytes": png(tmp_path, "red"), "path": "red.png"}],
            "solution": None,
        }
    ]
    write(rows, "b.parquet")
    write(rows * 2, "a.parquet")
    source = SOURCES.build({"type": "trl", "path": str(tmp_path / "*.parquet")})
    assert source.size == 3
    sample = source.sample(2)
    assert sample.messages[0]["content"] == [{"type": "image"}, {"type": "text", "text": "q"}]
    assert load_image(sample.images[0]).size == (8, 6)
    assert sample.meta == {}


def test_broken_images_are_faults_of_their_rows(write, tmp_path):
    rows = [
        {"prompt": "q", "image": {"bytes": content, "path": None}} for content in (png(tmp_path, "red"), b"nothing")
    ]
    path = write(rows)
    source = SOURCES.build({"type": "trl", "path": str(path)})
    assert source.sample(0).images
    with pytest.raises(RowError, match=rf"Row 1 of `{path}`: an image of 7 bytes") as caught:
        source.sample(1)
    assert caught.value.kind == "broken image"


def test_files_that_are_no_parquet_or_damaged_are_named(write, tmp_path):
    (tmp_path / "text.parquet").write_text("text")
    with pytest.raises(DataError, match=r"text\.parquet` cannot be read as parquet"):
        ParquetRows(tmp_path / "text.parquet")
    with pytest.raises(DataError, match="must hold records, but holds none"):
        ParquetRows(write([], "empty.parquet"))
    path = write([{"text": "x" * 5000}], compression="snappy")
    content = bytearray(path.read_bytes())
    content[4:60] = b"\xff" * 56
    path.write_bytes(bytes(content))
    with pytest.raises(RowError, match=r"its row group \(0\) cannot be read") as caught:
        ParquetRows(path).row(0)
    assert caught.value.kind == "broken row"


def test_without_pyarrow_the_error_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "data.parquet").write_bytes(b"PAR1")
    with pytest.raises(MissingExtraError, match=r"`pyarrow` is not installed; .*vlmzoo\[data\]"):
        SOURCES.build({"type": "trl", "path": str(tmp_path / "data.parquet")})
