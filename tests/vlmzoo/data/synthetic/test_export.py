import hashlib
import json

import pytest
from PIL import Image

from vlmzoo.data.export import bench_task, export_task
from vlmzoo.data.synthetic import TASKS
from vlmzoo.errors import ConfigError, DataError

TINY = {"type": "consecutive_table_readout", **TASKS.entry("consecutive_table_readout").tiny}
CODE = """
import sys
from vlmzoo.data.export import export_task
from vlmzoo.data.synthetic import TASKS
task = TASKS.build({"type": "consecutive_table_readout", "style": "compact"})
export_task(task, kinds=["text", "image", "image_via_text"], num=5, seed=2, out_dir=sys.argv[1])
"""


def digests(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_an_export_holds_what_the_task_draws(tmp_path):
    task = TASKS.build(TINY)
    paths = export_task(task, kinds=["text", "image", "image_via_text"], num=3, seed=1, out_dir=tmp_path)
    assert [path.name for path in paths] == ["text+cot.json", "image+cot.json", "image_via_text+cot.json"]
    texts, images, _ = (json.loads(path.read_text()) for path in paths)
    instance = task.instance(1, 2)
    assert "image" not in texts[2]
    assert images[2]["id"] == "consecutive_table_readout/simple/image/1/2"
    assert images[2]["conversations"] == [
        {"from": "human", "value": task.prompt(instance, "image")},
        {"from": "gpt", "value": task.response(instance, "image")},
    ]
    with Image.open(tmp_path / images[2]["image"]) as picture:
        assert picture.mode == "P"
        assert picture.convert("RGB").tobytes() == task.image(instance).tobytes()


def test_exports_without_reasoning_have_another_name(tmp_path):
    (path,) = export_task(TASKS.build(TINY), kinds=["text"], num=1, seed=0, out_dir=tmp_path, cot=False)
    assert path.name == "text.json"
    assert json.loads(path.read_text())[0]["conversations"][1]["value"].startswith("The total is")
    assert not (tmp_path / "images").exists()


def test_a_stopped_export_continues(tmp_path):
    task = TASKS.build(TINY)
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    kinds = ["image", "conversion"]
    export_task(task, kinds=kinds, num=6, seed=0, out_dir=whole)

    def stop(done, total):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_task(task, kinds=kinds, num=6, seed=0, out_dir=stopped, report=stop)
    assert sorted(path.name for path in stopped.iterdir()) == ["export.json", "images"]
    first = (stopped / "images" / "000000.png").stat().st_mtime_ns
    export_task(task, kinds=kinds, num=6, seed=0, out_dir=stopped)
    assert (stopped / "images" / "000000.png").stat().st_mtime_ns == first
    assert digests(stopped) == digests(whole)


def test_exports_do_not_depend_on_the_hash_seed(tmp_path, fresh_python, monkeypatch):
    for hash_seed in ("0", "4"):
        monkeypatch.setenv("PYTHONHASHSEED", hash_seed)
        fresh_python(CODE.replace("sys.argv[1]", repr(str(tmp_path / hash_seed))))
    assert digests(tmp_path / "0") == digests(tmp_path / "4")
    assert len(digests(tmp_path / "0")) == 3 + 5 + 1


def test_another_seed_is_refused(tmp_path):
    task = TASKS.build(TINY)
    export_task(task, kinds=["text"], num=1, seed=0, out_dir=tmp_path)
    with pytest.raises(DataError, match="another"):
        export_task(task, kinds=["text"], num=1, seed=1, out_dir=tmp_path)
    with pytest.raises(DataError, match="another"):
        other = TASKS.build({**TINY, "image": {"cell_width": 40, "cell_height": 40}})
        export_task(other, kinds=["text"], num=1, seed=0, out_dir=tmp_path)


@pytest.mark.parametrize(("kinds", "num"), [([], 1), (["text", "text"], 1), (["texts"], 1), (["text"], 0)])
def test_exports_of_nothing_are_refused(kinds, num, tmp_path):
    with pytest.raises(ConfigError):
        export_task(TASKS.build(TINY), kinds=kinds, num=num, seed=0, out_dir=tmp_path)


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
    assert min(result[key] for key in ("images_per_s", "written_per_s", "texts_per_s")) > 20
