"""What vLLM calls when it starts, and what our engine asks of it, without vLLM; tests/interop/test_vllm.py has it."""

import importlib.metadata
import tomllib
from pathlib import Path

import jinja2
import pytest
import transformers
import yaml
from PIL import Image

from vlmzoo.data.images import load_image
from vlmzoo.errors import ServiceError
from vlmzoo.integrations.vllm import _chat, _check_prompt
from vlmzoo.integrations.vllm_plugin import register
from vlmzoo.models.eagle.modeling import EagleVlm
from vlmzoo.models.llava.modeling import LlavaVlm
from vlmzoo.services.rollout import Prompt
from vlmzoo.types import Sample, user

ROOT = Path(__file__).parents[3]
TEMPLATES = yaml.safe_load((ROOT / "vlmzoo" / "data" / "prompts" / "chat_templates.yaml").read_text(encoding="utf-8"))


def test_the_entry_point_puts_composed_models_where_vllm_looks():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    value = project["entry-points"]["vllm.general_plugins"]["vlmzoo"]
    point = importlib.metadata.EntryPoint("vlmzoo", value, "vllm.general_plugins")
    assert point.load() is register
    register()
    register()  # in each of its processes, and some of them twice
    assert transformers.LlavaVlm is LlavaVlm and transformers.EagleVlm is EagleVlm
    assert transformers.AutoConfig.for_model("vlmzoo_llava").model_type == "vlmzoo_llava"


@pytest.mark.parametrize("name", [name for name in TEMPLATES if name != "plain"])  # which joins whatever it is given
def test_a_template_reads_blocks_in_a_loop(name):
    """By such a loop vLLM knows that a template takes blocks, not strings."""
    environment = jinja2.Environment()
    text = TEMPLATES[name]["template"].replace("{% generation %}", "").replace("{% endgeneration %}", "")
    loops = [loop.iter for loop in environment.parse(text).find_all(jinja2.nodes.For)]
    assert any(isinstance(found, jinja2.nodes.Getattr) and found.attr == "content" for found in loops)


def sample_of(image):
    return Sample(messages=[user("What?", num_images=1)], images=[image], id="one")


def test_pictures_go_as_they_are(tmp_path):
    picture = Image.new("RGB", (8, 6), (10, 20, 30))
    picture.save(tmp_path / "picture.png")
    [message] = _chat(sample_of(tmp_path / "picture.png"))
    image, text = message["content"]
    assert image["type"] == "image_pil" and text == {"type": "text", "text": "What?"}
    assert image["image_pil"].tobytes() == load_image(tmp_path / "picture.png").tobytes()


@pytest.mark.parametrize(("read", "place"), [([1, 2, 4], 2), ([1, 2], 2), ([1, 2, 3, 3], 3)])
def test_another_prompt_than_is_trained_is_refused(read, place):
    prompt = Prompt(sample=sample_of(Image.new("RGB", (8, 6))), encoded={"input_ids": [1, 2, 3]}, seeds=[0])
    _check_prompt(prompt, [1, 2, 3])
    with pytest.raises(
        ServiceError, match=rf"`one` .* 3 tokens, but read {len(read)}, and another one at place {place}"
    ):
        _check_prompt(prompt, read)
