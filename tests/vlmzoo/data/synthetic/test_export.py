"""Synthetic tasks as files: what they hold, and that they depend on nothing but what was asked."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import tarfile
import time

import pytest
from PIL import Image

from vlmzoo.data.export import Split, export_task
from vlmzoo.data.export_bench import bench_task
from vlmzoo.data.images import load_image
from vlmzoo.data.sources import SOURCES
from vlmzoo.data.synthetic import KINDS, TASKS
from vlmzoo.errors import ConfigError, DataError, MissingExtraError

NAMES = ("consecutive_table_readout", "table_readout", "grid_navigation", "visual_analogy")
ENTRIES = [TASKS.entry(name) for name in NAMES]
TINY = {"type": "consecutive_table_readout", **TASKS.entry("consecutive_table_readout").tiny}
FORMATS = ["json", "parquet", "webdataset", "vlmevalkit"]
KINDS_OF = {"vlmevalkit": ("text", "image")}
CODE = """
from vlmzoo.data.export import Split, export_task
from vlmzoo.data.synthetic import TASKS
if __name__ == "__main__":
    for task in map(TASKS.entry, NAMES):
        built = TASKS.build({"type": task.name, **task.tiny})
        split = Split(kinds=["text", "image", "image_via_text"], num=3, seed=2)
        export_task(built, split, FOLDER + "/" + task.name, shard_size=2)
"""


class Stop(BaseException):
    """What a killed export looks like from inside."""


def export(folder, format="json", *, num=5, shard_size=2, **options):
    needs_pyarrow(format)
    split = Split(kinds=KINDS_OF.get(format, ("text", "image", "conversion")), num=num, seed=1)
    return export_task(TASKS.build(TINY), split, folder, format=format, shard_size=shard_size, **options)


def needs_pyarrow(format):
    if format == "parquet":
        pytest.importorskip("pyarrow")


def digests(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_json_holds_what_the_task_draws(tmp_path):
    task = TASKS.build(TINY)
    paths = export_task(task, Split(kinds=["text", "image", "image_via_text"], num=3, seed=1), tmp_path)
    assert [path.name for path in paths] == ["text+cot.json", "image+cot.json", "image_via_text+cot.json"]
    texts, images, _ = (json.loads(path.read_text()) for path in paths)
    instance = task.instance(1, 2)
    assert "image" not in texts[2]
    assert images[2]["id"] == "consecutive_table_readout/simple/image/1/2"
    assert images[2]["reference"] == task.answer(instance)
    assert images[2]["conversations"] == [
        {"from": "human", "value": task.prompt(instance, "image")},
        {"from": "gpt", "value": task.response(instance, "image")},
    ]
    with Image.open(tmp_path / images[2]["image"]) as picture:
        assert picture.mode == "P"
        assert picture.convert("RGB").tobytes() == task.image(instance).tobytes()
    assert {path.name for path in tmp_path.iterdir()} == {"export.json", "images", *(path.name for path in paths)}


@pytest.mark.parametrize(
    ("chain", "name", "start"),
    [
        ({"cot": False}, "text.json", "The total is"),
        ({"keep": 0}, "text+cot-keep0.json", "The total is"),
        ({"cot_style": "template"}, "text+cot-template.json", ("1 ", "2 ")),
    ],
)
def test_the_chain_of_thought_shows_in_the_name(chain, name, start, tmp_path):
    (path,) = export_task(TASKS.build(TINY), Split(kinds=["text"], num=1, **chain), tmp_path)
    assert path.name == name
    assert json.loads(path.read_text())[0]["conversations"][1]["value"].startswith(start)
    assert not (tmp_path / "images").exists()


@pytest.mark.parametrize("entry", ENTRIES, ids=[entry.name for entry in ENTRIES])
@pytest.mark.parametrize("format", ["json", "parquet"])
def test_json_and_parquet_are_read_back_by_the_same_source(format, entry, tmp_path):
    needs_pyarrow(format)
    task = TASKS.build({"type": entry.name, **entry.tiny})
    for kind in KINDS:
        split = Split(kinds=[kind], num=3, seed=4)
        paths = export_task(task, split, tmp_path / kind, format=format, shard_size=2)
        source = SOURCES.build({"type": "llava_json", "path": [str(path) for path in paths]})
        assert source.size == 3
        for index in range(3):
            read, drawn = source.sample(index), task.sample(kind, 4, index)
            assert (read.id, read.messages, read.reference) == (drawn.id, list(drawn.messages), drawn.reference)
            found = [load_image(image).tobytes() for image in read.images]
            assert found == [image.tobytes() for image in drawn.images]


def test_parquet_files_are_numbered(tmp_path):
    names = [path.name for path in export(tmp_path, "parquet")]
    assert names[3:6] == [f"image+cot-0000{number}-of-00003.parquet" for number in range(3)]


def test_shards_hold_examples_under_one_key(tmp_path):
    task = TASKS.build(TINY)
    paths = export(tmp_path, "webdataset")
    assert [path.name for path in paths[3:6]] == [f"image+cot-00000{number}.tar" for number in range(3)]
    with tarfile.open(paths[4]) as archive:
        assert archive.getnames() == ["00000002.json", "00000002.png", "00000003.json", "00000003.png"]
        record = json.load(archive.extractfile("00000003.json"))
        drawn = task.sample("image", 1, 3)
        assert (record["id"], record["reference"]) == (drawn.id, drawn.reference)
        picture = Image.open(archive.extractfile("00000003.png")).convert("RGB")
        assert picture.tobytes() == drawn.images[0].tobytes()
    with tarfile.open(paths[0]) as archive:
        assert archive.getnames() == ["00000000.json", "00000001.json"]


def test_webdataset_reads_the_shards(tmp_path):
    webdataset = pytest.importorskip("webdataset")
    paths = [str(path) for path in export(tmp_path, "webdataset") if path.name.startswith("image")]
    samples = list(webdataset.WebDataset(paths, shardshuffle=False).decode("pil"))
    task = TASKS.build(TINY)
    assert [sample["__key__"] for sample in samples] == [f"{index:08d}" for index in range(5)]
    for index, sample in enumerate(samples):
        assert sample["json"]["conversations"][1]["value"] == task.response(task.instance(1, index), "image")
        assert sample["png"].tobytes() == task.image(task.instance(1, index)).tobytes()


@pytest.mark.parametrize("format", FORMATS)
def test_a_stopped_export_goes_on_and_writes_the_same_bytes(format, tmp_path):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    export(whole, format, num=7)

    def stop(done, total):
        assert total == 7
        if done == 4:
            raise Stop

    with pytest.raises(Stop):
        export(stopped, format, num=7, report=stop)
    before = {path: path.stat().st_mtime_ns for path in stopped.rglob("*") if path.is_file()}
    assert len(before) > 1
    export(stopped, format, num=7)
    assert digests(stopped) == digests(whole)
    kept = [path for path in before if path.exists()]
    assert kept
    assert all(path.stat().st_mtime_ns == before[path] for path in kept)


@pytest.mark.parametrize("format", FORMATS)
def test_a_file_that_was_half_written_is_written_again(format, tmp_path, monkeypatch):
    """The fourth instance fails in the middle of the second shard, as a full disk would; nothing half is left."""
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    export(whole, format)
    task = TASKS.build(TINY)

    def fail(instance):
        if instance == task.instance(1, 3):
            raise OSError(28, "No space left on device")
        return ",".join(map(str, instance.addends))

    with monkeypatch.context() as patch:
        patch.setattr(type(task), "answer", lambda self, instance: fail(instance))
        with pytest.raises(DataError, match="No space left on device.*the same command goes on from there"):
            export(stopped, format)
    assert not list(stopped.rglob("*.partial"))
    export(stopped, format)
    assert digests(stopped) == digests(whole)


@pytest.mark.parametrize("format", FORMATS)
def test_files_do_not_depend_on_the_number_of_workers(format, tmp_path):
    done = []
    for workers in (0, 1, 2):
        export(tmp_path / str(workers), format, num_workers=workers, report=lambda now, total: done.append(now))
    assert digests(tmp_path / "0") == digests(tmp_path / "1") == digests(tmp_path / "2")
    assert done[-1] == done[2] == 5


def test_files_do_not_depend_on_the_size_of_stretches(tmp_path):
    for size in (1, 2, 200):
        export(tmp_path / str(size), shard_size=size)
    assert digests(tmp_path / "1") == digests(tmp_path / "2") == digests(tmp_path / "200")


def test_files_do_not_depend_on_the_hash_seed(tmp_path, fresh_python, monkeypatch):
    for hash_seed in ("0", "4"):
        monkeypatch.setenv("PYTHONHASHSEED", hash_seed)
        fresh_python(CODE.replace("FOLDER", repr(str(tmp_path / hash_seed))).replace("NAMES", repr(NAMES)))
    assert digests(tmp_path / "0") == digests(tmp_path / "4")
    assert len(digests(tmp_path / "0")) == len(ENTRIES) * (3 + 3 + 1)


def test_a_longer_export_keeps_the_pictures_of_a_shorter_one(tmp_path):
    export(tmp_path / "long", num=5)
    export(tmp_path / "grown", num=3)
    first = (tmp_path / "grown/images/000000.png").stat().st_mtime_ns
    export(tmp_path / "grown", num=5)
    assert (tmp_path / "grown/images/000000.png").stat().st_mtime_ns == first
    assert digests(tmp_path / "grown") == digests(tmp_path / "long")


def test_a_folder_of_another_export_is_refused(tmp_path):
    task, split = TASKS.build(TINY), Split(kinds=["text"], num=1)
    export_task(task, split, tmp_path)
    others = [
        (task, Split(kinds=["text"], num=1, seed=1), "json"),
        (task, split, "webdataset"),
        (TASKS.build({**TINY, "image": {"cell_width": 40, "cell_height": 40}}), split, "json"),
        (TASKS.build({**TINY, "path_cells": [2, 3]}), split, "json"),
    ]
    for other, asked, format in others:
        with pytest.raises(DataError, match="says another: choose another folder"):
            export_task(other, asked, tmp_path, format=format)
    (tmp_path / "export.json").write_text("{")
    with pytest.raises(DataError, match="says another"):
        export_task(task, split, tmp_path)


def test_numbered_files_are_not_mixed_with_those_of_another_number(tmp_path):
    export(tmp_path, "webdataset", num=3)
    for other in ({"num": 5}, {"shard_size": 3, "num": 3}):
        with pytest.raises(DataError, match="says another"):
            export(tmp_path, "webdataset", **other)


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("format", FORMATS)
def test_a_place_that_cannot_be_written_is_named(format, workers, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="`out_dir` must be a folder that can be written, but `.*file` cannot"):
        export(tmp_path / "file", format)
    blocked = tmp_path / "blocked"
    names = {"json": ".parts", "parquet": ".image+cot-00000-of-00003.parquet.partial"}
    names |= {"webdataset": ".image+cot-000000.tar.partial", "vlmevalkit": ".parts"}
    blocked.mkdir()
    if names[format] == ".parts":
        (blocked / ".parts").write_text("")  # a file where a folder must go
    else:
        (blocked / names[format]).mkdir()  # a folder where a file must go
    with pytest.raises(DataError, match="`out_dir` must be a folder that can be written"):
        export(blocked, format, num_workers=workers)


def test_an_export_that_is_killed_with_its_workers_goes_on(tmp_path, repository):
    """The process group gets SIGKILL when the first files are there; nothing can be tidied up then."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    words = ["data", "s2h", "--task", "table_readout", "--level", "hard", "-n", "40", "--shard-size", "4"]
    words += ["--kinds", "text,image", "--format", "webdataset", "--workers", "2", "--out"]
    command = [sys.executable, "-c", "from vlmzoo.cli import main; main()", *words]
    process = subprocess.Popen(
        [*command, str(killed)], cwd=repository, start_new_session=True, stdout=subprocess.DEVNULL
    )
    while not list(killed.glob("*.tar")) and process.poll() is None:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert 1 <= len(list(killed.glob("*.tar"))) < 20
    for folder in (killed, whole):
        subprocess.run([*command, str(folder)], cwd=repository, check=True, stdout=subprocess.DEVNULL)
    assert digests(killed) == digests(whole)


def test_a_worker_that_dies_is_told(tmp_path):
    class Deadly(type(TASKS.build(TINY))):
        def __reduce__(self):
            return os._exit, (1,)

    with pytest.raises(DataError, match="All 1 workers must stay alive"):
        export_task(
            Deadly(**TASKS.entry("consecutive_table_readout").tiny),
            Split(kinds=["text"], num=1),
            tmp_path,
            num_workers=1,
        )


@pytest.mark.parametrize(
    "asked",
    [
        {"kinds": []},
        {"kinds": ["text", "text"]},
        {"kinds": ["texts"]},
        {"num": 0},
        {"num": 1.5},
        {"num": True},
        {"keep": 2},
        {"keep": 0.5, "cot": False},
    ],
    ids=str,
)
def test_splits_of_nothing_are_refused(asked):
    with pytest.raises(ConfigError):
        Split(**{"kinds": ["text"], "num": 1, **asked})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"format": "jsn"}, "`format` must be one of .* Did you mean `json`"),
        ({"num_workers": -1}, "`num_workers` must be an integer of at least 0, but is -1"),
        ({"shard_size": 0}, "`shard_size` must be an integer of at least 1, but is 0"),
        ({"format": "vlmevalkit"}, "`kinds` must be of text, image with `format: vlmevalkit`, but has conversion"),
    ],
)
def test_exports_that_cannot_be_are_refused(options, words, tmp_path):
    with pytest.raises(ConfigError, match=words):
        export_task(TASKS.build(TINY), Split(kinds=["text", "conversion"], num=1), tmp_path / "new", **options)
    assert not (tmp_path / "new").exists()


def test_a_chain_that_the_task_does_not_write_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="`cot_style` must be one of `standard`, `template`, `order`, but is 'value'"):
        export_task(TASKS.build(TINY), Split(kinds=["text"], num=1, cot_style="value"), tmp_path)


def test_parquet_without_its_package_is_refused_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"vlmzoo\[data\]"):
        export_task(TASKS.build(TINY), Split(kinds=["text"], num=1), tmp_path / "new", format="parquet")
    assert not (tmp_path / "new").exists()


def test_a_bench_states_rates_and_size():
    result = bench_task(TASKS.build(TINY), num=20, seed=0)
    assert json.loads(json.dumps(result)) == result
    assert {key: result[key] for key in ("task", "level", "num", "cores", "width", "height")} == {
        "task": "consecutive_table_readout",
        "level": "simple",
        "num": 20,
        "cores": 1,
        "width": 128,
        "height": 96,
    }
    for what in ("images", "written", "texts"):
        assert result[f"{what}_per_cpu_s"] > 20
        assert result[f"{what}_per_s"] > 1  # the clock runs on where other processes have the core
    with pytest.raises(ConfigError, match="`num` must be positive, but is 0"):
        bench_task(TASKS.build(TINY), num=0, seed=0)
