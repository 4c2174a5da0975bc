"""A whole tiny LISA, b2_lisa_model: splice, losses, masks, and generation with masks, with and without a cache."""

import itertools

import pytest
import torch

from tests.golden.fast.cases import case_name, read_case, sidecars
from vlmzoo import build_model
from vlmzoo.models.llava.keys import TABLES
from vlmzoo.objectives import OBJECTIVES
from vlmzoo.objectives.geometry import split_flat
from vlmzoo.outputs import IGNORED_LABEL, Batch

TOLERANCE = {"atol": 2e-4, "rtol": 0.0}
IMAGE = -200


def model_of(content, weights):
    """Build a LISA of a golden's sizes, and fill it from the authors' names."""
    config, clip, sam, tokens = (content[name] for name in ("config", "clip", "sam", "tokens"))
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
                "select_layer": config["mm_vision_select_layer"],
            },
            "projector": {"type": "linear"},
            "language_model": {
                "type": "causal_lm",
                "model_type": "llama",
                **{
                    name: config[name]
                    for name in config
                    if name.startswith(("vocab", "max_pos", "hidden", "inter", "num", "rms"))
                },
                "num_key_value_heads": config["num_attention_heads"],
                **{f"{end}_token_id": tokens[end] for end in ("bos", "eos", "pad")},
            },
            "processor": {"tokenizer": {"type": "pretrained", "repo": "none"}, "image": {"size": clip["image_size"]}},
            "image_token_id": config["vocab_size"],
        }
    )
    decoder = {
        "type": "sam",
        "image_size": sam["img"],
        "dim": sam["enc"],
        "depth": sam["depth"],
        "num_heads": sam["heads"],
        "mlp_ratio": sam["mlp_ratio"],
        "global_blocks": sam["global_attn"],
        "window_size": sam["window"],
        "prompt_dim": sam["dim"],
        "decoder_depth": sam["dec_depth"],
        "decoder_mlp_dim": sam["dec_mlp"],
        "decoder_heads": sam["dec_heads"],
        "quality_dim": weights["model.visual_model.mask_decoder.iou_prediction_head.layers.0.weight"].shape[0],
        "mask_channels": weights["model.visual_model.prompt_encoder.mask_downscaling.3.weight"].shape[0],
    }
    ids = {"[SEG]": tokens["seg"], "<im_start>": tokens["im_start"], "<im_end>": tokens["im_end"]}
    model.attach_adapters([{"type": "seg", "decoder": decoder, "image_tokens": True}], token_ids=ids)
    ours = TABLES["lisa"].dict_to_ours(weights)
    model.load_state_dict(ours, strict=True)
    return model.eval()


@pytest.fixture(params=sidecars("b2_lisa_model"), ids=case_name("b2_lisa_model"))
def case(request):
    content, tensors, weights = read_case(request.param, "b2_lisa_model")
    return content, tensors, model_of(content, weights)


def expand(model, ids):
    """Put the placeholders of an image in place of the authors' one."""
    image = [model.config.image_token_id] * model.num_image_tokens
    return [token for one in ids for token in (image if one == IMAGE else [one])]


def owners_of(content, num_rows):
    """The image of each row."""
    return [
        image for image, (start, end) in enumerate(itertools.pairwise(content["offset"])) for _ in range(start, end)
    ][:num_rows]


def seg_inputs(content, tensors, *, owners, last):
    """What the adapter takes beside ids: pictures, sizes, and the picture of each token."""
    sizes = [
        [*resized, *original] for resized, original in zip(content["resize_hw"], content["original_hw"], strict=True)
    ]
    return {
        "seg_pixels": tensors["in.images"],
        "seg_sizes": torch.tensor(sizes),
        "seg_keys": torch.arange(2 * len(sizes)).reshape(-1, 2),
        "seg_images": torch.tensor(owners, dtype=torch.long),
        "seg_last": torch.tensor(last),
    }


def batch_of(content, tensors, model):
    """The authors' batch as ours: placeholders expanded, masks flat."""
    ids, keep = tensors["in.input_ids"], tensors["in.attention"].bool()
    owners = owners_of(content, len(ids))
    width = ids.shape[1] - 1 + model.num_image_tokens
    labels = torch.full((len(ids), width), IGNORED_LABEL)
    expanded = torch.tensor([expand(model, row.tolist()) for row in ids])
    place = (ids[0] == IMAGE).nonzero().item()
    shift = model.num_image_tokens - 1
    for row in range(len(ids)):
        place = (ids[row] == IMAGE).nonzero().item()
        labels[row, :place], labels[row, place + shift + 1 :] = (
            tensors["in.labels"][row, :place],
            tensors["in.labels"][row, place + 1 :],
        )
    attention = torch.cat([torch.ones(len(ids), shift, dtype=torch.bool), keep], dim=1)
    found = [
        owner
        for owner, row in zip(owners, expanded, strict=True)
        for _ in range(int((row == content["tokens"]["seg"]).sum()))
    ]
    truth = [mask for image in range(len(content["original_hw"])) for mask in tensors.get(f"in.gt{image}", ())]
    inputs = {
        "input_ids": expanded,
        "attention_mask": attention.long(),
        "labels": labels,
        "pixel_values": tensors["in.images_clip"].float()[owners],
        **seg_inputs(content, tensors, owners=found, last=owners),
    }
    targets = {
        "masks": torch.cat([mask.flatten() for mask in truth]),
        "mask_sizes": torch.tensor([list(mask.shape) for mask in truth]).reshape(-1, 2),
    }
    return Batch(inputs=inputs, targets=targets, counts={"masks": float(len(truth))})


@torch.no_grad()
def test_b2_lisa_splice(case):
    content, tensors, model = case
    batch = batch_of(content, tensors, model)
    embeddings, _ = model.embed(batch.inputs["input_ids"][:1], batch.inputs["pixel_values"][:1])
    torch.testing.assert_close(embeddings[0], tensors["out.embeds_row0"], **TOLERANCE)
    assert torch.equal(batch.inputs["labels"], tensors["out.labels_expanded"])
    assert torch.equal(batch.inputs["attention_mask"], tensors["out.attn_expanded"].long())


@torch.no_grad()
def test_b2_lisa_losses_and_masks(case):
    content, tensors, model = case
    batch = batch_of(content, tensors, model)
    outputs = model(**batch.inputs)
    weights = content["loss_weights"]
    terms = {
        "ce": {"type": "next_token", "weight": weights["ce"]},
        "bce": {"type": "mask_bce", "weight": weights["bce"]},
        "dice": {"type": "mask_dice", "weight": weights["dice"]},
    }
    found = OBJECTIVES.build({"type": "weighted_sum", "terms": terms})(outputs, batch, batch.count())
    expected = content["losses"]
    for name, key in {"ce": "ce_loss", "bce": "mask_bce_loss", "dice": "mask_dice_loss"}.items():
        value = weights[name] * found.metrics[f"{name}/loss"]
        torch.testing.assert_close(value, torch.tensor(expected[key]), **TOLERANCE)
    torch.testing.assert_close(found.loss, torch.tensor(expected["loss"]), **TOLERANCE)
    predicted = split_flat(outputs.adapters["seg"]["mask_logits"], batch.targets["mask_sizes"])
    wanted = [
        mask for image in range(len(content["original_hw"])) for mask in tensors.get(f"out.pred_masks{image}", ())
    ]
    for logits, mask in zip(predicted, wanted, strict=True):
        torch.testing.assert_close(logits, mask, **TOLERANCE)


@torch.no_grad()
@pytest.mark.parametrize("use_cache", [True, False], ids=["cache", "no-cache"])
@pytest.mark.parametrize("name", ["gen", "gen2"])
def test_b2_lisa_generation(case, name, use_cache):
    content, tensors, model = case
    ids = tensors[f"out.{name}_ids"][0].tolist()
    given = tensors["in.gen_prompt" if name == "gen" else "in.input_ids"][0].tolist()
    prompt = [one for one, _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(ids, given, strict=False))]
    expanded = torch.tensor([expand(model, prompt)])
    owners = [0] * prompt.count(content["tokens"]["seg"])
    outputs = model.generate(
        input_ids=expanded,
        attention_mask=torch.ones_like(expanded),
        pixel_values=tensors["in.images_clip"].float()[:1],
        **seg_inputs(content, tensors, owners=owners, last=[0]),
        max_new_tokens=len(ids) - len(prompt),
        do_sample=False,
        use_cache=use_cache,
        return_dict_in_generate=True,
    )
    assert outputs.sequences[0].tolist() == expand(model, ids)
    expected = tensors[f"out.{name}_masks"]
    assert len(outputs.masks[0]) == len(expected)
    for mask, logits, wanted in zip(outputs.masks[0], outputs.mask_logits[0], expected, strict=True):
        torch.testing.assert_close(logits, wanted, **TOLERANCE)
        is_clear = wanted.abs() > 1e-3
        assert torch.equal(torch.tensor(mask.array)[is_clear], (wanted > 0)[is_clear])
