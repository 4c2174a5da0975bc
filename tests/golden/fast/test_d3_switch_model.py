"""A tiny question-answering model of SEAL, d3_seal_vqa: layouts of its working memory, options, a training batch."""

import pytest
import torch

from tests.golden.fast.cases import case_name, read_case, sidecars
from vlmzoo import build_model
from vlmzoo.data.focus import forms_of
from vlmzoo.models.llava.keys import TABLES
from vlmzoo.models.option_scoring import option_nats

TOLERANCE = {"atol": 1e-4, "rtol": 0.0}
IMAGE, OBJECT = -200, -300
FOLDER = "d3_seal_vqa"


def model_of(content, weights):
    """Build a model of a golden's sizes, and fill it from the authors' names."""
    config, clip, perceiver = (content[name] for name in ("config", "clip", "perceiver"))
    model = build_model(
        {
            "family": "llava",
            "encoder": {
                "type": "clip",
                "image_size": clip["image_size"],
                "patch_size": clip["patch_size"],
                "hidden_size": clip["hidden_size"],
                "intermediate_size": clip["intermediate_size"],
                "num_layers": clip["num_hidden_layers"],
                "num_heads": clip["num_attention_heads"],
            },
            "projector": {"type": content["mm_projector_type"]},
            "language_model": {
                "type": "causal_lm",
                "model_type": "llama",
                **{name: value for name, value in config.items() if not name.startswith("mm_")},
                "num_key_value_heads": config["num_attention_heads"],
                "bos_token_id": 1,
                "eos_token_id": 2,
                "pad_token_id": 0,
            },
            "processor": {"tokenizer": {"type": "pretrained", "repo": "none"}, "image": {"size": clip["image_size"]}},
            "image_token_id": config["vocab_size"],
        }
    )
    switch = {
        "type": "switch",
        "depth": perceiver["depth"],
        "head_dim": perceiver["dim_head"],
        "num_heads": perceiver["heads"],
        "num_latents": perceiver["num_latents"],
    }
    model.attach_adapters([switch])
    model.load_state_dict(TABLES["seal_vqa"].dict_to_ours(weights), strict=True)
    return model.eval()


@pytest.fixture(params=sidecars(FOLDER), ids=case_name(FOLDER))
def case(request):
    content, tensors, weights = read_case(request.param, FOLDER)
    return content, tensors, model_of(content, weights)


def expand(model, ids, is_long):
    """Put the placeholders of each image and object in place of the authors' one."""
    forms, latents = iter(is_long), model.adapters["switch"].num_latents
    expanded = []
    for one in ids:
        if one in (IMAGE, OBJECT):
            expanded += [model.config.image_token_id] * (model.num_image_tokens if next(forms) else latents)
        else:
            expanded.append(one)
    return expanded


def inputs_of(model, content, tensors, name):
    told = content["cases"][name]
    is_long = [*(told["images_long"] or [True]), *(told["objects_long"] or [])]
    ids = torch.tensor([expand(model, tensors[f"{name}.ids"][0].tolist(), is_long)])
    pictures = [tensors["in.image"], *([tensors[f"{name}.objects"]] if f"{name}.objects" in tensors else [])]
    assert ids.shape[1] == told["seq_len"]
    return {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "pixel_values": torch.cat(pictures),
        "switch_is_long": torch.tensor(is_long),
    }


@torch.no_grad()
def test_d3_layouts_are_spliced_and_read_as_the_authors_do(case):
    content, tensors, model = case
    assert content["cases"]
    for name in content["cases"]:
        inputs = inputs_of(model, content, tensors, name)
        own = {"switch_is_long": inputs["switch_is_long"]}
        embeddings, _ = model.embed(inputs["input_ids"], inputs["pixel_values"], adapter_inputs=own)
        torch.testing.assert_close(embeddings, tensors[f"{name}.embeds"], **TOLERANCE)
        torch.testing.assert_close(model(**inputs).logits[:, -1], tensors[f"{name}.logits_last"], **TOLERANCE)


@torch.no_grad()
def test_d3_options_behind_a_shared_prompt(case):
    content, tensors, model = case
    for name, told in content["cases"].items():
        options = [tensors[f"{name}.opt{number}"][0].tolist() for number in range(len(told["option_losses"]))]
        nats = option_nats(model, inputs_of(model, content, tensors, name), options)
        torch.testing.assert_close(nats, torch.tensor(told["option_losses"]), **TOLERANCE)
        assert int(nats.argmin()) == told["chosen"]


def test_d3_layout_rule_is_the_authors(case):
    """The layouts named after their number of objects follow the rule for asking; the others are free choices."""
    content, _, _ = case
    for name in ("fast", "one_object", "two_objects", "three_objects"):
        told = content["cases"].get(name)
        if told is not None:
            image, objects = forms_of(told["n_objects"], layout="seal")
            assert [image == "long"] == (told["images_long"] or [True])
            assert [objects == "long"] * told["n_objects"] == (told["objects_long"] or [])


@torch.no_grad()
def test_d3_training_batch(case):
    content, tensors, model = case
    told = content["train"]
    rows, num_slots = len(tensors["train.ids"]), len(told["objects_long"]) // len(told["images_long"])
    objects = tensors["train.objects"].split(num_slots)
    pictures, forms, ids, masks, labels = [], [], [], [], []
    for row in range(rows):
        own = [told["images_long"][row], *told["objects_long"][row * num_slots : (row + 1) * num_slots]]
        given, keep = tensors["train.ids"][row].tolist(), tensors["train.att"][row].tolist()
        ids.append(expand(model, given, own))
        masks.append(widen(model, given, keep, own))
        labels.append(widen(model, given, tensors["train.labels"][row].tolist(), own, filling=-100))
        forms += own
        pictures += [tensors["train.images"][row : row + 1], objects[row]]
    inputs = {
        "input_ids": torch.tensor(ids),
        "attention_mask": torch.tensor(masks),
        "labels": torch.tensor(labels),
        "position_ids": torch.arange(len(ids[0])).expand(rows, -1),
        "pixel_values": torch.cat(pictures),
        "switch_is_long": torch.tensor(forms),
    }
    assert torch.equal(inputs["attention_mask"], tensors["train.att_expanded"].long())
    assert torch.equal(inputs["labels"], tensors["train.labels_expanded"])
    own = {"switch_is_long": inputs["switch_is_long"]}
    embeddings, _ = model.embed(inputs["input_ids"], inputs["pixel_values"], adapter_inputs=own)
    torch.testing.assert_close(embeddings, tensors["train.embeds"], **TOLERANCE)
    torch.testing.assert_close(model(**inputs).loss, torch.tensor(told["loss"]), **TOLERANCE)


def widen(model, ids, values, is_long, *, filling=None):
    """Repeat what is told of a placeholder for all of its tokens."""
    forms, latents, widened = iter(is_long), model.adapters["switch"].num_latents, []
    for one, value in zip(ids, values, strict=True):
        if one in (IMAGE, OBJECT):
            length = model.num_image_tokens if next(forms) else latents
            widened += [value if filling is None else filling] * length
        else:
            widened.append(value)
    return widened
