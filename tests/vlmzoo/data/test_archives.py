"""Archives: whole, split, compressed or zipped; never outside their folder, and never half a file."""

import io
import tarfile
import zipfile

import pytest
from typer.testing import CliRunner

from vlmzoo.cli import app
from vlmzoo.data.archives import find_parts, unpack
from vlmzoo.errors import DataError

FILES = {"images/a.bin": b"a" * 3000, "images/deep/b.bin": bytes(range(256)) * 40, "empty.txt": b""}


def make_tar(mode="w", files=FILES, extra=()):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as tar:
        folder = tarfile.TarInfo("images")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        for member in extra:
            tar.addfile(member)
    return buffer.getvalue()


def make_zip(names):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, b"x" * 100)
    return buffer.getvalue()


def split(content, folder, *, num=3, name="images.tar.part_"):
    size = -(-len(content) // num)
    for number in range(num):
        (folder / f"{name}a{chr(ord('a') + number)}").write_bytes(content[number * size : (number + 1) * size])
    return folder / f"{name}*"


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz", "w:bz2"])
@pytest.mark.parametrize("num", [1, 2, 7])
def test_a_split_tar_is_unpacked_whatever_its_compression(tmp_path, mode, num):
    pattern = split(make_tar(mode), tmp_path, num=num)
    counted = []
    assert unpack(pattern, tmp_path / "into", report=counted.append) == len(FILES) == len(counted)
    assert contents(tmp_path / "into") == FILES


def test_a_zip_is_known_by_its_first_bytes(tmp_path):
    (tmp_path / "images.tar").write_bytes(make_zip(["a.jpg", "b/c.jpg"]))
    assert unpack(tmp_path / "images.tar", tmp_path / "into") == 2
    assert set(contents(tmp_path / "into")) == {"a.jpg", "b/c.jpg"}


def test_parts_are_joined_in_order_of_their_names(tmp_path):
    for name in ("x.part_ab", "x.part_aa", "x.part_ba"):
        (tmp_path / name).touch()
    assert [path.name for path in find_parts(tmp_path / "x.part_*")] == ["x.part_aa", "x.part_ab", "x.part_ba"]
    given = [str(tmp_path / "x.part_ba"), str(tmp_path / "x.part_aa")]
    assert [path.name for path in find_parts(given)] == ["x.part_ba", "x.part_aa"]
    with pytest.raises(DataError, match=r"nothing\.tar.* does not exist; give a file, or a pattern"):
        find_parts(tmp_path / "nothing.tar*")


@pytest.mark.parametrize("name", ["../evil", "images/../../evil", "/evil", "..\\evil", "C:/evil", "a/../../evil"])
@pytest.mark.parametrize("make", ["tar", "zip"])
def test_a_member_that_would_leave_the_folder_is_refused(tmp_path, name, make):
    content = make_zip(["good", name]) if make == "zip" else make_tar(files={"good": b"x", name: b"evil"})
    (tmp_path / "archive").write_bytes(content)
    before = set(contents(tmp_path))
    with pytest.raises(DataError, match="must stay inside the folder .* would leave it; nothing more is unpacked"):
        unpack(tmp_path / "archive", tmp_path / "deep" / "into")
    assert set(contents(tmp_path)) - before <= {"deep/into/good"}


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_are_refused(tmp_path, kind):
    member = tarfile.TarInfo("link")
    member.type, member.linkname = kind, "../../etc/passwd"
    (tmp_path / "archive").write_bytes(make_tar(extra=[member]))
    with pytest.raises(DataError, match="must hold files and folders only, but `link` is a link or a device"):
        unpack(tmp_path / "archive", tmp_path / "into")


def test_a_link_that_lies_in_the_folder_does_not_lead_out_of_it(tmp_path):
    (tmp_path / "into").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "into" / "images").symlink_to(tmp_path / "outside")
    (tmp_path / "archive").write_bytes(make_tar())
    with pytest.raises(DataError, match="`images/a.bin` would leave it"):
        unpack(tmp_path / "archive", tmp_path / "into")
    assert not contents(tmp_path / "outside")


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_a_missing_part_is_one_sentence_and_leaves_no_half_file(tmp_path, mode):
    pattern = split(make_tar(mode, files={"a": bytes(5000), "b": b"b" * 20_000}), tmp_path, num=4)
    (tmp_path / "images.tar.part_ad").unlink()
    (tmp_path / "images.tar.part_ac").unlink()
    with pytest.raises(DataError, match=r"part_aa` \(2 files\) cannot be read .* a part may be missing or cut off"):
        unpack(pattern, tmp_path / "into")
    assert "b" not in contents(tmp_path / "into")


def test_what_is_no_archive_is_one_sentence(tmp_path):
    (tmp_path / "images.tar").write_text("<html>not found</html>")
    with pytest.raises(DataError, match="cannot be read after 0 files"):
        unpack(tmp_path / "images.tar", tmp_path / "into")
    (tmp_path / "part_a").write_bytes(make_zip(["a"]))
    (tmp_path / "part_b").write_bytes(b"")
    with pytest.raises(DataError, match="A zip must be one file"):
        unpack(tmp_path / "part_*", tmp_path / "into")


def test_a_broken_run_goes_on_where_it_stopped(tmp_path):
    (tmp_path / "archive").write_bytes(make_tar())
    unpack(tmp_path / "archive", tmp_path / "into")
    whole, cut = tmp_path / "into" / "images" / "a.bin", tmp_path / "into" / "images" / "deep" / "b.bin"
    stamp = whole.stat().st_mtime_ns
    cut.write_bytes(cut.read_bytes()[:10])
    unpack(tmp_path / "archive", tmp_path / "into")
    assert contents(tmp_path / "into") == FILES
    assert whole.stat().st_mtime_ns == stamp


def test_the_command_unpacks_and_counts(tmp_path):
    pattern = split(make_tar("w:gz"), tmp_path)
    result = CliRunner().invoke(app, ["data", "unpack", str(pattern), "--into", str(tmp_path / "into")])
    assert result.exit_code == 0, result.output
    assert "3 files in" in result.output
    assert contents(tmp_path / "into") == FILES
