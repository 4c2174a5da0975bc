"""What SECURITY.md promises; each line of its first list names a test, here or where the code is tested."""

import ast
import json
import os
import re
import types
import zipfile
from pathlib import Path

import pytest
import torch
from PIL import Image, PngImagePlugin

import vlmzoo
from vlmzoo.checkpoint import save_model
from vlmzoo.config import dump_resolved, load_config
from vlmzoo.data.archives import unpack
from vlmzoo.data.images import load_image
from vlmzoo.data.sources._label_maps import read_labels
from vlmzoo.errors import CheckpointError, ConfigError, DataError
from vlmzoo.hub.model_card import make_model_card
from vlmzoo.hub.passport import make_twin
from vlmzoo.integrations.deepspeed import DeepSpeedEngine
from vlmzoo.services.calling import plain_url
from vlmzoo.services.serving import ServiceServer

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted(path for folder in ("vlmzoo", "training", "eval") for path in (ROOT / folder).rglob("*.py"))
FORBIDDEN = {
    "eval": "evaluates text",
    "exec": "runs text",
    "compile": "makes code of text",
    "__import__": "imports by text without a rule",
    "os.system": "runs a shell",
    "os.popen": "runs a shell",
    "pickle.load": "runs what a stranger wrote",
    "pickle.loads": "runs what a stranger wrote",
    "marshal.loads": "makes code of bytes",
    "shelve.open": "is a pickle",
    "dill.load": "is a pickle",
    "joblib.load": "is a pickle",
    "yaml.load": "may make objects",
    "yaml.unsafe_load": "makes objects",
    "tempfile.mktemp": "can be raced",
}
PICKLES = {"vlmzoo/data/sources/_refs_file.py"}
"""The one place with an unpickler, which knows no class."""


def dotted(node):
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def calls_of(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call)]


def option(call, name):
    return next((word.value.value for word in call.keywords if word.arg == name and hasattr(word.value, "value")), None)


def faults_of(path):
    """What a file does that it must not."""
    place = path.relative_to(ROOT).as_posix()
    for call in calls_of(path):
        name = dotted(call.func)
        where = f"{place}:{call.lineno}: {name}"
        if name in FORBIDDEN:
            yield f"{where} {FORBIDDEN[name]}"
        if name == "torch.load" and option(call, "weights_only") is not True:
            yield f"{where} without weights_only"
        if name in ("np.load", "numpy.load") and option(call, "allow_pickle"):
            yield f"{where} with pickles"
        if option(call, "trust_remote_code") or option(call, "shell") or option(call, "verify") is False:
            yield f"{where} with an unsafe option"
        if name.endswith(".extractall") or (name.endswith("Unpickler") and place not in PICKLES):
            yield where


def test_no_text_and_no_pickle_is_run():
    assert len(SOURCES) > 300
    assert [fault for path in SOURCES for fault in faults_of(path)] == []


@pytest.mark.parametrize(
    "line",
    [
        "eval('1')",
        "import pickle; pickle.loads(b'')",
        "torch.load('x')",
        "np.load('x', allow_pickle=True)",
        "Auto.from_pretrained('x', trust_remote_code=True)",
        "subprocess.run('x', shell=True)",
        "archive.extractall('x')",
    ],
)
def test_what_must_not_be_is_found(line, tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    (tmp_path / "file.py").write_text(line, encoding="utf-8")
    assert list(faults_of(tmp_path / "file.py"))


class _Marks:
    """Makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_a_checkpoint_runs_nothing_when_a_run_goes_on_from_it(tmp_path):
    """DeepSpeed reads with ``weights_only=False``, which here is what this does."""
    torch.save({"step": 3, "evil": _Marks(tmp_path / "ran")}, tmp_path / "state.pt")
    engine = types.SimpleNamespace(
        module=torch.nn.Linear(2, 2),
        load_checkpoint=lambda folder, **_: (torch.load(Path(folder) / "state.pt", weights_only=False), {}),
    )
    restored = types.SimpleNamespace(engine=engine, _has_frozen=lambda: False)
    with pytest.raises(CheckpointError, match=r"but holds posix\.mkdir, which would be run"):
        DeepSpeedEngine.restore(restored, tmp_path)
    assert not (tmp_path / "ran").exists()
    engine.load_checkpoint(tmp_path)
    assert (tmp_path / "ran").exists()  # without us it would have run


def test_an_archive_that_would_fill_the_disk_is_refused_before_it_does(tmp_path):
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("readme.txt", "fine")
        for number in range(3):
            archive.writestr(f"{number}.txt", b"\0" * 40_000_000)
    with pytest.raises(DataError, match=r"must unpack to at most 100,000,000 bytes.*`2.txt` would bring it to 120"):
        unpack(path, tmp_path / "out")
    assert not (tmp_path / "out" / "2.txt").exists()


def huge_picture(path, side=30_000):
    """A header that says more pixels than there are; nothing is decoded."""
    picture = Image.new("L", (1, 1))
    picture.save(path)
    content = bytearray(path.read_bytes())
    content[16:24] = side.to_bytes(4, "big") * 2
    content[29:33] = (PngImagePlugin._crc32(bytes(content[12:29])) & 0xFFFFFFFF).to_bytes(4, "big")
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("side", [10_100, 30_000])
def test_a_picture_that_would_fill_the_memory_is_refused_by_its_header(tmp_path, side):
    path = huge_picture(tmp_path / "huge.png", side)
    with pytest.raises(DataError, match="pixels|cannot be opened"):
        load_image(path)
    with pytest.raises(DataError, match="cannot be read"):
        read_labels(path)


def test_secrets_of_the_environment_reach_no_config_and_no_card(tmp_path, monkeypatch):
    secrets = {name: f"secret-{name.lower()}" for name in ("HF_TOKEN", "WANDB_API_KEY", "OPENAI_API_KEY")}
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    run = {
        "output_dir": str(tmp_path / "run"),
        "model": {"name": "llava-1.5-7b"},
        "experience": {"type": "supervised"},
        "optim": {"learning_rate": 1e-3},
        "num_steps": 1,
    }
    path = tmp_path / "run.yaml"
    path.write_text(json.dumps(run), encoding="utf-8")
    text = dump_resolved(load_config(path), tmp_path).read_text(encoding="utf-8")
    assert "llava-1.5-7b" in text and "secret-" not in text
    twin = make_twin("llava-1.5-7b")
    folder = save_model(twin, twin.processor, tmp_path / "model")
    card = make_model_card(folder, repo_id="me/mine")
    assert "me/mine" in str(card) and "secret-" not in str(card)


@pytest.mark.parametrize("url", ["http://me:secret-word@host/v1", "https://secret-word@host/v1"])
def test_an_address_with_a_password_is_refused_and_not_repeated(url):
    with pytest.raises(ConfigError, match="must hold no name and no password") as caught:
        plain_url(url)
    assert "secret-word" not in str(caught.value)
    assert plain_url("http://127.0.0.1:8001/v1/") == "http://127.0.0.1:8001/v1"


@pytest.mark.parametrize("host", ["0.0.0.0", "", "10.0.0.1"])
def test_a_server_listens_on_this_machine_alone(host):
    with pytest.raises(ConfigError, match="`host` must be this machine"):
        ServiceServer("/v1/x", lambda body: body, name="test", host=host, port=0)


def test_every_promise_names_a_test_that_exists():
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    promises = text.split("## What this library does to keep you safe")[1].split("\n## ")[0]
    items = re.findall(r"^- .*?(?=^- |\Z)", promises, re.MULTILINE | re.DOTALL)
    assert len(items) > 8
    for item in items:
        paths = re.findall(r"`(tests/[\w/.]+\.py)`", item)
        assert paths, item
        assert all((ROOT / path).is_file() for path in paths), paths
    assert vlmzoo.__version__
