"""Prompts, ids and what is learned of them, g_tokens, for LISA."""

import json

import pytest
from PIL import Image

from tests.golden.conftest import golden_folder, report_missing
from vlmzoo.data.assembly import build_tokenizer, make_processor
from vlmzoo.outputs import IGNORED_LABEL
from vlmzoo.types import Sample, assistant, user

FOLDER = "g_tokens"
IMAGE, OURS = -200, "<image>"


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
