"""The wheel alone, in an environment without this checkout: it imports, lists, builds a tiny model and generates."""

import os
import site
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.docs.commands import ROOT

CODE = """
import pathlib, sys
import vlmzoo
assert "site-packages" in vlmzoo.__file__, vlmzoo.__file__
assert pathlib.Path(vlmzoo.__file__).is_relative_to(sys.prefix), vlmzoo.__file__
assert len(vlmzoo.list_models()) > 30
from vlmzoo.config import list_configs
assert "tiny/quickstart" in list_configs()
from vlmzoo.hub.passport import make_twin, shipped_passport
assert shipped_passport("llava-1.5-7b")["twin"]
model = make_twin("llava-1.5-7b")
from vlmzoo.hub.passport.probes import probe_pictures
blocks = [{"type": "image", "image": probe_pictures()["wide"]}, {"type": "text", "text": "What?"}]
chat = [{"role": "user", "content": blocks}]
inputs = model.processor.apply_chat_template(
    chat, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
)
print(model.generate(**inputs, max_new_tokens=3, do_sample=False).shape[1] - inputs["input_ids"].shape[1])
"""


def run(*words, **options):
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.slow
def test_the_wheel_alone_imports_lists_builds_and_generates(tmp_path):
    """What it depends on stands beneath, from this environment, so that nothing is downloaded."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path, ROOT, env=environment)
    [wheel] = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "vlmzoo/hub/passport/entries/llava-1.5-7b.json" in names
    assert "vlmzoo/configs/tiny/quickstart.yaml" in names
    assert not [name for name in names if name.startswith(("tests/", "docs/"))]
    home = tmp_path / "env"
    run(sys.executable, "-m", "venv", "--without-pip", home)
    python = home / "bin" / "python"
    packages = Path(run(python, "-c", "import site; print(site.getsitepackages()[0])").strip())
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    beneath = [folder for folder in site.getsitepackages() if Path(folder).is_dir()]
    # behind our own folder, and without the editable install of the checkout, whose .pth file is not followed
    (packages / "beneath.pth").write_text(f"import sys; sys.path.extend({beneath!r})\n", encoding="utf-8")
    assert run(python, "-c", CODE, cwd=tmp_path, env=environment).strip().splitlines()[-1] == "3"
