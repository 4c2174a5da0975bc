"""The authors' splicing and language model: embeddings, mask, labels, logits and loss of rows with and without images.

The authors put an image's tokens in the place of -200 within the model, and give a row without an image a dummy one;
here the processor has expanded the placeholders, and no dummy is needed. They cut what is too long, images included;
we cut only to compare, since a conversation that is too long is refused.
"""

import pytest
import torch
from torch.nn.functional import adaptive_avg_pool2d

from tests.golden.eagle.loading import assert_golden, tensors_of, weights_of
from vlmzoo.blocks.encoders import ENCODERS, Encoder
from vlmzoo.data.collation import LengthPolicy
from vlmzoo.errors import DataError
from vlmzoo.models import FAMILIES
from vlmzoo.models.eagle.keys import TABLES

GOLDEN = ("eagle", "splice_lm_*.json")
THEIR_IMAGE, IGNORED, TOWER = -200, -100, "model.vision_tower.lin."


class PooledEncoder(Encoder):
    """The authors' stub: means of the four quarters, and a linear layer."""

    def __init__(self, *, image_size, channels):
        super().__init__()
        self.lin = torch.nn.Linear(3, channels)
        self.image_size, self.grid_size, self.out_channels = (image_size, image_size), (2, 2), channels

    def features(self, pixel_values):
        return self.lin(adaptive_avg_pool2d(pixel_values, 2).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


@pytest.fixture(autouse=True)
def stub(monkeypatch):
    ENCODERS.names()  # filled, so that what is put back is the whole
    monkeypatch.setattr(ENCODERS, "_entries", dict(ENCODERS._entries))
    ENCODERS.register("pooled_stub", source="these tests", tiny={"image_size": 8, "channels": 6})(PooledEncoder)


def build(golden):
    llm, weights, tensors = golden.content["llm"], weights_of(golden), tensors_of(golden)
    model = FAMILIES.build(
        {
            "type": "eagle",
            "encoders": [
                {
                    "type": "pooled_stub",
                    "image_size": tensors["images"].shape[-1],
                    "channels": len(weights[f"{TOWER}bias"]),
                }
            ],
            "projector": {"type": "mlp2x_gelu"},
            "language_model": {
                "type": "causal_lm",
                "model_type": "llama",
                "vocab_size": llm["vocab_size"],
                "hidden_size": llm["hidden_size"],
                "intermediate_size": llm["intermediate_size"],
                "num_hidden_layers": llm["layers"],
                "num_attention_heads": llm["heads"],
                "num_key_value_heads": llm["kv_heads"],
                "rms_norm_eps": llm["rms_norm_eps"],
                "rope_parameters": {"rope_type": "default", "rope_theta": llm["rope_theta"]},
                "tie_word_embeddings": False,
            },
            "image_token_id": llm["vocab_size"],
        }
    ).eval()
    tower = {name: value for name, value in weights.items() if name.startswith(TOWER)}
    others = TABLES["eagle"].dict_to_ours({name: value for name, value in weights.items() if name not in tower})
    model.load_state_dict({name.replace(TOWER, "encoders.0.lin."): value for name, value in tower.items()} | others)
    return model


def expand(golden, model):
    """Rows of ids and labels with N placeholders for each image, as our processor makes them."""
    tensors = tensors_of(golden)
    rows = []
    for ids, labels, mask in zip(tensors["input_ids"], tensors["labels"], tensors["attention_mask"], strict=True):
        row = ([], [])
        for token, label in zip(ids[mask.bool()].tolist(), labels[mask.bool()].tolist(), strict=True):
            is_image = token == THEIR_IMAGE
            row[0].extend([model.config.image_token_id] * model.num_image_tokens if is_image else [token])
            row[1].extend([IGNORED] * model.num_image_tokens if is_image else [label])
        rows.append(row)
    has_image = torch.tensor([bool((ids == THEIR_IMAGE).any()) for ids in tensors["input_ids"]])
    return rows, tensors["images"][has_image]


def lay(rows, out):
    """Cut rows to the authors' length and put them where their mask says."""
    ids, labels = torch.zeros_like(out["out.labels"]), torch.full_like(out["out.labels"], IGNORED)
    for number, (row_ids, row_labels) in enumerate(rows):
        place = out["out.attention_mask"][number].bool()
        count = int(place.sum())
        ids[number, place] = torch.tensor(row_ids[:count])
        labels[number, place] = torch.tensor(row_labels[:count])
    return ids, labels


@torch.no_grad()
def test_rows_with_and_without_images_become_what_the_authors_make_of_them(golden):
    model, out = build(golden), tensors_of(golden)
    rows, images = expand(golden, model)
    ids, labels = lay(rows, out)
    whole = torch.full((len(rows), max(len(row[0]) for row in rows)), 0)
    for number, (row_ids, _) in enumerate(rows):
        whole[number, : len(row_ids)] = torch.tensor(row_ids)
    embedded, features = model.embed(whole, images)  # before anything is cut
    mask = out["out.attention_mask"]
    embeddings = torch.zeros_like(out["out.inputs_embeds"])
    for number in range(len(rows)):
        embeddings[number, mask[number].bool()] = embedded[number, : int(mask[number].sum())]
    is_token = mask.bool().unsqueeze(-1)
    assert features.shape == (len(images), model.num_image_tokens, model.config.text_config.hidden_size)
    assert_golden(embeddings * is_token, out["out.inputs_embeds"] * is_token, golden)
    assert torch.equal(labels, out["out.labels"])
    outputs = model(inputs_embeds=embeddings, attention_mask=mask, labels=labels)
    assert_golden(outputs.logits * is_token, out["out.logits"] * is_token, golden)
    assert_golden(outputs.loss.reshape(1), out["out.loss"], golden)
    if len(whole[0]) <= golden.content["tokenizer_model_max_length"]:
        from_ids = model(input_ids=ids, attention_mask=mask, pixel_values=images, labels=labels)
        assert_golden(from_ids.logits * is_token, out["out.logits"] * is_token, golden)
        assert_golden(from_ids.loss.reshape(1), out["out.loss"], golden)


def test_what_the_authors_cut_is_refused(golden):
    model, limit = build(golden), golden.content["tokenizer_model_max_length"]
    policy = LengthPolicy(max_tokens=limit)
    for number, (ids, labels) in enumerate(expand(golden, model)[0]):
        if len(ids) <= limit:
            assert policy.admits({"input_ids": ids, "labels": labels}, name=str(number))
        else:
            with pytest.raises(DataError, match=f"has {len(ids)} tokens, visual ones included, but only {limit}"):
                policy.admits({"input_ids": ids, "labels": labels}, name=str(number))
