"""A whole tiny search model of SEAL, d1_vsm_model: heads, losses, matching, masks, and what generation finds."""

import itertools

import pytest
import torch

from tests.golden.fast.cases import case_name, read_case, sidecars
from vlmzoo import build_model
from vlmzoo.blocks.decoders.owlvit import cell_bias
from vlmzoo.models.llava.keys import TABLES
from vlmzoo.objectives import OBJECTIVES
from vlmzoo.objectives.detection import focal_loss, match_boxes, paired_giou
from vlmzoo.objectives.geometry import split_flat
from vlmzoo.outputs import IGNORED_LABEL, Batch

TOLERANCE = {"atol": 3e-4, "rtol": 0.0}
IMAGE, IGNORED = -200, 255
FOLDER = "d1_vsm_model"


def model_of(content, weights):
    """Build a search model of a golden's sizes, and fill it from the authors' names."""
    config, clip, tokens = (content[name] for name in ("config", "clip", "tokens"))
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
                    name: config[name] for name in config if name.startswith(("vocab", "hidden", "inter", "num", "rms"))
                },
                "num_key_value_heads": config["num_attention_heads"],
                **{f"{end}_token_id": tokens[end] for end in ("bos", "eos", "pad")},
            },
            "processor": {"tokenizer": {"type": "pretrained", "repo": "none"}, "image": {"size": clip["image_size"]}},
            "image_token_id": config["vocab_size"],
        }
    )
    owl, prompt, decoder = content["owlvit"]["vision_config"], content["prompt_encoder"], content["mask_decoder"]
    detector = {
        **{name: owl[name] for name in ("image_size", "patch_size", "hidden_size", "intermediate_size")},
        "num_layers": owl["num_hidden_layers"],
        "num_heads": owl["num_attention_heads"],
        "query_dim": config["out_dim"],
        "prompt_dim": prompt["embed_dim"],
        "mask_channels": prompt["mask_in_chans"],
        "decoder_depth": decoder["depth"],
        "decoder_mlp_dim": decoder["mlp"],
        "decoder_heads": decoder["heads"],
        "quality_dim": weights["model.mask_decoder.iou_prediction_head.layers.0.weight"].shape[0],
    }
    ids = {"[LOC]": tokens["loc"], "<im_start>": tokens["im_start"], "<im_end>": tokens["im_end"]}
    model.attach_adapters([{"type": "search", "detector": detector, "image_tokens": True}], token_ids=ids)
    model.load_state_dict(TABLES["seal_vsm"].dict_to_ours(weights), strict=True)
    return model.eval()


@pytest.fixture(params=sidecars(FOLDER), ids=case_name(FOLDER))
def case(request):
    content, tensors, weights = read_case(request.param, FOLDER)
    return content, tensors, model_of(content, weights)


def expand(model, ids):
    """Put the placeholders of an image in place of the authors' one."""
    image = [model.config.image_token_id] * model.num_image_tokens
    return [token for one in ids for token in (image if one == IMAGE else [one])]


def owners_of(content):
    """The image of each row."""
    return [
        image for image, (start, end) in enumerate(itertools.pairwise(content["offset"])) for _ in range(start, end)
    ]


def batch_of(content, tensors, model):
    """The authors' batch as ours: placeholders expanded, every row one token, boxes and masks with their flags."""
    ids, keep, owners = tensors["in.input_ids"], tensors["in.attention"], owners_of(content)
    shift, image_id = model.num_image_tokens - 1, model.config.image_token_id
    expanded = torch.tensor([expand(model, row.tolist()) for row in ids])
    labels = torch.full(expanded.shape, IGNORED_LABEL)
    attention = torch.ones_like(expanded)
    for row in range(len(ids)):
        place = (ids[row] == IMAGE).nonzero().item()
        for target, source in ((labels, tensors["in.labels"]), (attention, keep.long())):
            target[row, :place], target[row, place + shift + 1 :] = source[row, :place], source[row, place + 1 :]
    assert (expanded == image_id).sum() == len(ids) * model.num_image_tokens
    truth = [mask for image in range(len(content["original_hw"])) for mask in tensors[f"in.gt{image}"]]
    flags = [bool(flag) for of_image in content["masks_valid"] for flag in of_image]
    masks = [mask if flag else torch.full_like(mask, IGNORED) for mask, flag in zip(truth, flags, strict=True)]
    boxes = [tensors[f"in.boxes{row}"] for row in range(len(ids))]
    is_boxed = torch.tensor(content["bboxes_valid"], dtype=torch.bool)
    sizes = torch.tensor([list(mask.shape) for mask in truth])
    inputs = {
        "input_ids": expanded,
        "attention_mask": attention,
        "labels": labels,
        "pixel_values": tensors["in.images_clip"].float()[owners],
        **search_inputs(content, tensors, owners),
        "search_heat_sizes": sizes,
    }
    targets = {
        "boxes": torch.cat(boxes),
        "num_boxes": torch.tensor([len(own) for own in boxes]),
        "is_boxed": is_boxed,
        "heat_masks": torch.cat([mask.flatten() for mask in masks]),
        "heat_sizes": sizes,
    }
    num_boxes = sum(len(own) for own, flag in zip(boxes, is_boxed, strict=True) if flag)
    return Batch(inputs=inputs, targets=targets, counts={"boxes": float(num_boxes), "heat_masks": float(sum(flags))})


def search_inputs(content, tensors, images):
    """What the adapter takes beside ids."""
    number = len(content["original_hw"])
    return {
        "search_pixels": tensors["in.images"],
        "search_sizes": torch.tensor(content["original_hw"]),
        "search_keys": torch.arange(2 * number).reshape(-1, 2),
        "search_images": torch.tensor(images),
        "search_last": torch.tensor(images),
        "search_heat_sizes": torch.zeros(0, 2, dtype=torch.long),
    }


@torch.no_grad()
def test_d1_heads(case):
    _, tensors, model = case
    detector = model.adapters["search"].decoder
    features = detector.features(detector.encode_images(tensors["in.images"]))
    torch.testing.assert_close(features, tensors["out.visual_embs"], **TOLERANCE)
    torch.testing.assert_close(cell_bias(detector.grid_size), tensors["out.box_bias"], **TOLERANCE)
    logits, boxes = detector.detect(features[:1], tensors["in.head_query"][:, 0])
    torch.testing.assert_close(logits, tensors["out.head_logits"].squeeze(-1), **TOLERANCE)
    torch.testing.assert_close(boxes, tensors["out.head_boxes"], **TOLERANCE)


@torch.no_grad()
def test_d1_losses_and_masks(case):
    content, tensors, model = case
    batch = batch_of(content, tensors, model)
    outputs = model(**batch.inputs)
    weights, expected = content["loss_weights"], content["losses"]
    terms = {
        "ce": {"type": "next_token", "weight": weights["ce"]},
        "bce": {"type": "mask_bce", "of": "heat", "weight": weights["bce"]},
        "dice": {"type": "mask_dice", "of": "heat", "weight": weights["dice"]},
        "det": {"type": "detection", "compat_giou": True, "weight": weights["det"]},
    }
    found = OBJECTIVES.build({"type": "weighted_sum", "terms": terms})(outputs, batch, batch.count())
    names = {"ce": "ce_loss", "bce": "mask_bce_loss", "dice": "mask_dice_loss", "det": "detection_loss"}
    for name, key in names.items():
        torch.testing.assert_close(
            weights[name] * found.metrics[f"{name}/loss"], torch.tensor(expected[key]), **TOLERANCE
        )
    for name, key in {"scores": "ce", "l1": "bbox", "giou": "giou"}.items():
        value = torch.tensor(expected[f"detection_loss_{key}"])
        torch.testing.assert_close(found.metrics[f"det/{name}"], value, **TOLERANCE)
    torch.testing.assert_close(found.loss, torch.tensor(expected["loss"]), **TOLERANCE)
    adapter = outputs.adapters["search"]
    number = len(tensors["out.pred_masks0"])
    masks = split_flat(adapter["heat_logits"], batch.targets["heat_sizes"])[:number]
    for mask, wanted in zip(masks, tensors["out.pred_masks0"], strict=True):
        torch.testing.assert_close(mask, wanted, **TOLERANCE)
    number = len(tensors["out.pred_boxes"])
    torch.testing.assert_close(adapter["box_logits"][:number], tensors["out.pred_logits"].squeeze(-1), **TOLERANCE)
    torch.testing.assert_close(adapter["boxes"][:number], tensors["out.pred_boxes"], **TOLERANCE)


@torch.no_grad()
def test_d1_right_giou_is_the_mean_over_valid_boxes(case):
    content, tensors, model = case
    batch = batch_of(content, tensors, model)
    outputs = model(**batch.inputs)
    ours = OBJECTIVES.build({"type": "detection"})(outputs, batch, batch.count())
    theirs = OBJECTIVES.build({"type": "detection", "compat_giou": True})(outputs, batch, batch.count())
    assert 0 <= float(ours.metrics["giou"]) <= 2 < float(theirs.metrics["giou"])
    assert ours.metrics["l1"] == theirs.metrics["l1"] and ours.metrics["scores"] == theirs.metrics["scores"]


@torch.no_grad()
def test_d1_matching_and_raw_terms(case):
    content, tensors, _ = case
    logits, boxes = tensors["out.pred_logits"].squeeze(-1), tensors["out.pred_boxes"]
    scores, pairs = [], []
    for row, (cells, places) in enumerate(content["matcher"]):
        truth = tensors[f"in.boxes{row}"]
        matched = match_boxes(logits[row], boxes[row], truth)
        assert sorted(zip(matched.tolist(), range(len(truth)), strict=True)) == sorted(zip(cells, places, strict=True))
        targets = torch.zeros_like(logits[row])
        targets[matched] = 1.0
        scores.append(focal_loss(logits[row], targets).sum())
        pairs += [(boxes[row][cell], truth[place]) for cell, place in zip(cells, places, strict=True)]
    torch.testing.assert_close(torch.stack(scores), tensors["out.loss_ce_per_query"].flatten(), **TOLERANCE)
    found, truth = (torch.stack(side) for side in zip(*pairs, strict=True))
    num_boxes = content["num_boxes_isolated"]
    assert len(pairs) == num_boxes
    torch.testing.assert_close((found - truth).abs() / num_boxes, tensors["out.loss_bbox_raw"], **TOLERANCE)
    torch.testing.assert_close((1 - paired_giou(found, truth)) / num_boxes, tensors["out.loss_giou_raw"], **TOLERANCE)


@torch.no_grad()
def test_d1_detection_of_a_prompt(case):
    content, tensors, model = case
    prompt = expand(model, tensors["in.det_prompt"][0].tolist())
    count = prompt.count(content["tokens"]["loc"])
    ids = torch.tensor([prompt])
    inputs = search_inputs(content, tensors, [0] * count)
    outputs = model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        pixel_values=tensors["in.images_clip"].float()[:1],
        **{**inputs, "search_last": torch.tensor([0])},
        max_new_tokens=1,
        do_sample=False,
        return_dict_in_generate=True,
    )
    mask = tensors["out.det_mask"]
    torch.testing.assert_close(torch.stack(outputs.loc_heat[0][:count]), mask.clamp(min=0), **TOLERANCE)
    boxes, logits = tensors["out.det_boxes"], tensors["out.det_logits"].squeeze(-1)
    torch.testing.assert_close(torch.stack(outputs.loc_boxes[0][:count]), boxes, **TOLERANCE)
    torch.testing.assert_close(torch.stack(outputs.loc_probabilities[0][:count]), logits.sigmoid(), **TOLERANCE)
