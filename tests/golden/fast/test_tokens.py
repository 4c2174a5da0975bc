"""Prompts, ids and what is learned of them, g_tokens, for LISA and the switch."""

import json

import pytest
from PIL import Image

from tests.golden.conftest import golden_folder, report_missing
from vlmzoo.adapters._switch_inputs import SwitchInputs
from vlmzoo.data.assembly import build_tokenizer, make_processor
from vlmzoo.data.focus import OBJECT_MARK, FocusObject, object_blocks
from vlmzoo.data.refusals import missing_objects, refusal_of
from vlmzoo.geometry import Box, Frame
from vlmzoo.outputs import IGNORED_LABEL
from vlmzoo.types import Sample, assistant, user

FOLDER = "g_tokens"
IMAGE, OBJECT, OURS = -200, -300, "<image>"


@pytest.fixture(scope="module")
def golden_labels():
    path = golden_folder("fast") / FOLDER / "labels.json"
    if not path.is_file():
        report_missing("g_tokens holds no labels.json")
    return json.loads(path.read_text(encoding="utf-8"))


def lisa_processor(template):
    """The golden's tokenizer with LISA's tokens, and a chat template."""
    spec = {
        "type": "pretrained",
        "repo": str(golden_folder("fast") / FOLDER),
        "tight_tokens": ["[SEG]", "<im_start>", "<im_end>"],
    }
    tokenizer = build_tokenizer({"tokenizer": spec})
    processor = make_processor(
        {"image": {"size": 28}, "chat_template": template}, tokenizer=tokenizer, num_image_tokens=1
    )
    processor.allow_tokens(("[SEG]",))
    return processor


def conversation_of(turns):
    """Turn the authors' strings into messages; ``<image>`` and a line break stand for a picture."""
    messages, images = [], []
    for number, text in enumerate(turns):
        pictures = text.count("<image>\n")
        images += [Image.new("RGB", (28, 28))] * pictures
        text = text.replace("<image>\n", "")
        messages.append(assistant(text) if number % 2 else user(text, num_images=pictures))
    return Sample(messages=messages, images=images)


def test_g_tokens_lisa(golden_labels):
    assert golden_labels["lisa"]
    for group in golden_labels["lisa"]:
        processor = lisa_processor(group["conv"])
        tokenizer, vocab = processor.tokenizer, golden_labels["vocab"]
        names = {"[SEG]": "seg", "<im_start>": "im_start", "<im_end>": "im_end"}
        assert {token: tokenizer.convert_tokens_to_ids(token) for token in names} == {
            token: vocab[name] for token, name in names.items()
        }
        for turns, ids, labels, attention in zip(
            group["turns"], group["input_ids"], group["labels"], group["attention"], strict=True
        ):
            encoded = processor.encode(conversation_of(turns))
            length = sum(attention)
            image_id = tokenizer.convert_tokens_to_ids(OURS)
            assert [IMAGE if id == image_id else id for id in encoded["input_ids"]] == ids[:length]
            assert encoded["labels"] == labels[:length]
            assert labels[length:] == [IGNORED_LABEL] * (len(labels) - length)


def switch_conversation(turns):
    """Turn the authors' strings into messages; ``<image>`` goes to the front, ``<object>`` stays where it is."""
    messages, images = [], []
    for number, text in enumerate(turns):
        if number % 2:
            messages.append(assistant(text))
            continue
        pictures = text.count(OURS)
        content = [{"type": "image"}] * pictures
        for place, piece in enumerate(text.replace(OURS, "").strip().split(OBJECT_MARK)):
            content += [{"type": "image", "form": "short", "inline": True}] if place else []
            content += [{"type": "text", "text": piece}] if piece else []
        images += [Image.new("RGB", (28, 28))] * sum(block["type"] == "image" for block in content)
        messages.append({"role": "user", "content": content})
    return Sample(messages=messages, images=images)


def test_g_tokens_switch(golden_labels):
    spec = {"type": "pretrained", "repo": str(golden_folder("fast") / FOLDER)}
    tokenizer = build_tokenizer({"tokenizer": spec})
    processor = make_processor(
        {"image": {"size": 28}, "chat_template": "vicuna_v1"}, tokenizer=tokenizer, num_image_tokens=1
    )
    processor.adapter_inputs = {"switch": SwitchInputs(num_latents=1)}
    assert golden_labels["seal_switch"]
    for row in golden_labels["seal_switch"]:
        sample = switch_conversation(row["final_turns"])
        encoded = processor.encode(sample)
        image_id = tokenizer.convert_tokens_to_ids(OURS)
        forms = iter(encoded["adapters"]["switch"]["is_long"])
        ids = [(IMAGE if next(forms) else OBJECT) if id == image_id else id for id in encoded["input_ids"]]
        assert ids == row["input_ids"], row["name"]
        assert encoded["labels"] == row["labels"]


def test_g_tokens_what_is_said_of_objects(golden_labels):
    """Boxes whose places in the square are those that the golden tells give the authors' words."""
    frame = Frame.original("square", width=1000, height=1000)
    for row in golden_labels["seal_switch"]:
        for told in row["object_strings"] or ():
            name, place = told.split(f" {OBJECT_MARK} at location ")
            edges = [float(edge) * 1000 for edge in place.strip("[]").split(",")]
            blocks = object_blocks(FocusObject(name, Box.from_xyxy(edges, frame=frame)), form="long")
            assert "".join(block.get("text", OBJECT_MARK) for block in blocks) == told
        if row["name"].startswith("refusal"):
            said = row["final_turns"][1]
            assert refusal_of(missing_objects(said, strict=True)) == said
