"""A Hub on loopback, the real client pointed at it, and a small model's folder."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
from huggingface_hub import constants
from safetensors.numpy import save_file

from tests.vlmzoo.hub.fake_hub import FakeHub


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    """A running Hub, to which the client of this process talks until the test ends, as alice."""
    server = FakeHub().start()
    _point_client(monkeypatch, server.endpoint, home=tmp_path / "hf_home")
    monkeypatch.setenv("HF_TOKEN", "hf_alice")
    huggingface_hub.close_session()  # it may hold connections of another test
    yield server
    huggingface_hub.close_session()
    server.stop()


def _point_client(monkeypatch: pytest.MonkeyPatch, endpoint: str, *, home: Path) -> None:
    """Change what the client read from the environment when it was imported: offline, in these tests."""
    values = {
        "ENDPOINT": endpoint,
        "HUGGINGFACE_CO_URL_TEMPLATE": endpoint + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HUB_OFFLINE": False,
        "HF_HUB_DISABLE_XET": True,
        "HF_HUB_DISABLE_IMPLICIT_TOKEN": False,
        "HF_HUB_CACHE": str(home / "hub"),
        "HF_HOME": str(home),
        "HF_TOKEN_PATH": str(home / "token"),
        "HF_STORED_TOKENS_PATH": str(home / "stored_tokens"),
    }
    for name, value in values.items():
        monkeypatch.setattr(constants, name, value)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "HUGGING_FACE_HUB_TOKEN", "HF_OIDC_RESOURCE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that anybody wanted to wait; nobody does."""
    asked: list[float] = []
    sleep = time.sleep

    def short_sleep(seconds: float) -> None:
        asked.append(seconds)
        sleep(min(seconds, 0.002))

    monkeypatch.setattr(time, "sleep", short_sleep)
    return asked


@pytest.fixture
def make_folder(tmp_path: Path) -> Callable[..., Path]:
    """Write a model's folder: a base, LoRA and parts, with random weights of some hundred kilobytes or more."""

    def make(
        name: str = "final", *, seed: int = 0, large: int = 0, manifest: dict[str, Any] | None = None, base: bool = True
    ) -> Path:
        folder = tmp_path / name
        (folder / "lora").mkdir(parents=True)
        draws = np.random.default_rng(seed)
        config = {"model_type": "vlmzoo_llava", "architectures": ["LlavaVlm"], "seed": seed}
        texts = {
            "config.json": json.dumps(config),
            "vlmzoo.json": json.dumps({"format": 1, "vlmzoo_version": "0.1.0", **(manifest or {})}),
            "tokenizer.json": json.dumps({"version": "1.0", "seed": seed}),
            "chat_template.jinja": "{{ messages }}",
            "lora/adapter_config.json": json.dumps({"peft_type": "LORA", "r": 8}),
        }
        for file, text in texts.items():
            (folder / file).write_text(text)
        weights = {"parts.safetensors": 1000, "lora/adapter_model.safetensors": 2000}
        weights |= {f"model-{number:05d}-of-{large:05d}.safetensors": 400_000 for number in range(1, large + 1)}
        if base and not large:
            weights["model.safetensors"] = 30_000
        for file, size in weights.items():
            save_file({"weight": draws.standard_normal(size, dtype=np.float32)}, folder / file)
        if large:
            shards = [file for file in weights if file.startswith("model-")]
            index = {"metadata": {}, "weight_map": {f"part.{shard}": shard for shard in shards}}
            (folder / "model.safetensors.index.json").write_text(json.dumps(index))
        return folder

    return make


@pytest.fixture
def contents() -> Callable[[Path], dict[str, bytes]]:
    """Read a folder: every file's bytes by its name."""

    def read(folder: Path) -> dict[str, bytes]:
        files = (path for path in sorted(folder.rglob("*")) if path.is_file())
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}

    return read
