"""The bridge to VLMEvalKit against its interface; its own command line runs in ``tests/interop``."""

import sys
from types import SimpleNamespace

import pytest

from tests.vlmzoo.adapters.bases import make_base, make_picture
from vlmzoo.errors import ConfigError, DataError, MissingExtraError
from vlmzoo.evaluation import complete
from vlmzoo.integrations import vlmevalkit
from vlmzoo.types import Sample, user


class BaseModel:
    """What VLMEvalKit's base class does with a message of parts."""

    def __init__(self):
        self.dump_image_func = None

    def generate(self, message, dataset=None):
        return self.generate_inner(message, dataset)


@pytest.fixture
def kit(monkeypatch):
    """VLMEvalKit's modules, as far as the bridge knows them."""
    run = SimpleNamespace(main=lambda: run.seen.append(list(sys.argv)), seen=[])
    config = SimpleNamespace(supported_VLM={})
    for name, module in (("vlm.base", SimpleNamespace(BaseModel=BaseModel)), ("config", config), ("run", run)):
        monkeypatch.setitem(sys.modules, f"vlmeval.{name}", module)
    monkeypatch.setattr(sys, "argv", ["here"])
    vlmevalkit.kit_class.cache_clear()
    yield SimpleNamespace(run=run, config=config)
    vlmevalkit.kit_class.cache_clear()


def test_a_message_is_answered_as_our_own_evaluation_answers(kit, tmp_path, monkeypatch):
    base = make_base("llava-llama").eval()
    asked = []
    monkeypatch.setattr(vlmevalkit, "load_for_harness", lambda **given: asked.append(given) or (base, base.processor))
    paths = [tmp_path / f"{number}.png" for number in range(2)]
    for number, path in enumerate(paths):
        make_picture(number).save(path)
    model = vlmevalkit.inject_model({"pretrained": "folder", "dtype": "float32", "max_new_tokens": "5"})()
    assert asked == [{"path": "folder", "name": None, "dtype": "float32"}] and kit.config.supported_VLM["vlmzoo"]
    pictures = [{"type": "image", "value": str(path)} for path in paths]
    said = model.generate([*pictures, {"type": "text", "value": "What is it?"}], dataset="POPE")
    sample = Sample(messages=[user("What is it?", num_images=2)], images=paths, id="q")
    assert said == complete(base, base.processor, [sample], max_new_tokens=5)[0].text


def test_pictures_keep_their_places_among_the_words():
    parts = [("text", "a"), ("image", "x.png"), ("text", "b"), ("image", "y.png")]
    sample = vlmevalkit.sample_of_message([{"type": kind, "value": value} for kind, value in parts], id="q")
    assert [block["type"] for block in sample.messages[0]["content"]] == ["text", "image", "text", "image"]
    assert sample.images == ["x.png", "y.png"]
    with pytest.raises(DataError, match="has `video`, too"):
        vlmevalkit.sample_of_message([{"type": "video", "value": "v.mp4"}], id="q")


def test_its_command_line_is_started_on_our_model(kit):
    vlmevalkit.main(["pretrained=folder", "--", "--data", "POPE", "--judge", "exact_matching"])
    assert kit.run.seen == [["vlmevalkit", "--data", "POPE", "--judge", "exact_matching", "--model", "vlmzoo"]]
    vlmevalkit.main(["pretrained=folder", "--", "--config", "mine.json"])
    assert kit.run.seen[1] == ["vlmevalkit", "--config", "mine.json"]


def test_what_cannot_be_is_told(kit):
    for given in ([], ["pretrained=x"], ["--", "--data", "POPE"], ["folder", "--", "--data", "POPE"]):
        with pytest.raises(ConfigError, match="Say `pretrained=FOLDER -- --data POPE"):
            vlmevalkit.main(given)
    with pytest.raises(ConfigError, match="`temperature` is no option of a model here"):
        vlmevalkit.inject_model({"temperature": "1"})


def test_without_vlmevalkit_the_way_to_it_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "vlmeval.vlm.base", None)
    vlmevalkit.kit_class.cache_clear()
    with pytest.raises(MissingExtraError, match="make .venv-vlmeval/.installed"):
        vlmevalkit.kit_class()
