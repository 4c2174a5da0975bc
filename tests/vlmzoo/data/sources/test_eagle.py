"""LLaVA-CC3M-595K and Eagle-1.8M as their pages give them: rows beside archives, and images that are missing."""

import io
import json
import tarfile
import zipfile

import pytest
from PIL import Image

from tests.vlmzoo.data.sources.reading import names_of, turns_of
from vlmzoo.data.archives import unpack
from vlmzoo.data.sources import SOURCES
from vlmzoo.errors import DataError

FILES = {"llava_cc3m": "chat.json", "eagle_1_8m": "eagle-sft-v1-1_8m.json"}


def jpeg(colour="red"):
    buffer = io.BytesIO()
    Image.new("RGB", (8, 6), colour).save(buffer, "JPEG")
    return buffer.getvalue()


def row(id, image=None, asked="<image>\nq"):
    said = [{"from": "human", "value": asked}, {"from": "gpt", "value": "a"}]
    return {"id": id, **({} if image is None else {"image": image}), "conversations": said}


def write_rows(folder, name, rows):
    (folder / FILES[name]).write_text(json.dumps(rows))


def read(folder, name, **options):
    return SOURCES.build({"type": name, "folder": str(folder), **options})


def split_tar(folder, files, *, top=""):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name in files:
            member, content = tarfile.TarInfo(top + name), jpeg()
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    content = buffer.getvalue()
    for number, start in enumerate(range(0, len(content), 200)):
        (folder / f"images.tar.part_{number:02d}").write_bytes(content[start : start + 200])


@pytest.mark.parametrize("top", ["", "images/"])
def test_eagle_is_read_from_the_parts_of_its_archive(tmp_path, top):
    files = ["coco/train2017/000000000009.jpg", "docvqa/x.png"]
    split_tar(tmp_path, files, top=top)
    rows = [row("1", files[0]), row(7, files[1], "Q\n<image>"), row(7, asked="text only"), row("gone", "gqa/gone.jpg")]
    write_rows(tmp_path, "eagle_1_8m", rows)
    with pytest.raises(
        DataError, match=r"must be unpacked, but lie in `images\.tar\.part_00`; run `vlmzoo data unpack"
    ):
        read(tmp_path, "eagle_1_8m")
    unpack(tmp_path / "images.tar*", tmp_path / "images")
    source = read(tmp_path, "eagle_1_8m", missing_list=str(tmp_path / "lists" / "missing.txt"))
    assert source.size == 3
    assert [source.sample(index).id for index in range(3)] == ["1", "7", "7"]
    assert names_of(source.sample(1)) == ["x.png"]
    assert turns_of(source.sample(2)) == [("user", "text only"), ("assistant", "a")]
    assert list(source.left_out) == [3]
    assert (tmp_path / "lists" / "missing.txt").read_text() == "3\tgqa/gone.jpg\n"


def test_cc3m_is_read_from_its_flat_zip(tmp_path, caplog):
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        archive.writestr("GCC_train_000000001.jpg", jpeg())
    write_rows(tmp_path, "llava_cc3m", [row("0", "GCC_train_000000000.jpg"), row("1", "GCC_train_000000001.jpg")])
    with pytest.raises(DataError, match=r"but lie in `images\.zip`"):
        read(tmp_path, "llava_cc3m")
    unpack(tmp_path / "images.zip", tmp_path / "images")
    source = read(tmp_path, "llava_cc3m")
    assert (source.size, source.sample(0).id) == (1, "1")
    assert "1 of 2 rows are left out" in caplog.text
    assert "GCC_train_000000000.jpg" in caplog.text


def test_images_may_lie_beside_the_rows_or_anywhere(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "b.jpg").write_bytes(jpeg())
    (tmp_path / "a.jpg").write_bytes(jpeg())
    write_rows(tmp_path, "llava_cc3m", [row("a", "a.jpg"), row("b", "b.jpg")])
    assert read(tmp_path, "llava_cc3m").sample(0).images == [tmp_path / "a.jpg"]
    given = read(tmp_path, "llava_cc3m", image_folder=str(tmp_path / "elsewhere"))
    assert given.sample(0).images == [tmp_path / "elsewhere" / "b.jpg"]


def test_rows_without_their_images_can_be_faults(tmp_path):
    (tmp_path / "a.jpg").write_bytes(jpeg())
    write_rows(tmp_path, "eagle_1_8m", [row("a", "a.jpg"), row("b", "b.jpg")])
    source = read(tmp_path, "eagle_1_8m", on_missing="error")
    assert source.size == 2
    with pytest.raises(DataError, match=r"\(id `b`\): image .*b\.jpg` must exist"):
        source.sample(1)


@pytest.mark.parametrize("name", FILES)
def test_a_folder_without_rows_or_images_is_one_sentence(tmp_path, name):
    with pytest.raises(DataError, match=f"`folder` must hold `{FILES[name]}`, but .* does not"):
        read(tmp_path, name)
    write_rows(tmp_path, name, [row("a", "a.jpg"), row("b", "b.jpg")])
    with pytest.raises(DataError, match="All 2 rows miss images, the first is Record 0 .* check `image_folder`"):
        read(tmp_path, name)


def test_a_broken_row_does_not_hide_the_others(tmp_path):
    (tmp_path / "a.jpg").write_bytes(jpeg())
    write_rows(tmp_path, "llava_cc3m", [{"id": "broken"}, row("a", "a.jpg")])
    source = read(tmp_path, "llava_cc3m")
    assert source.size == 2
    assert source.sample(1).id == "a"
    with pytest.raises(DataError, match=r"Record 0 .* \(id `broken`\): `conversations` must be"):
        source.sample(0)
