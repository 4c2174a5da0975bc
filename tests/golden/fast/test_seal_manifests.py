"""Names and shapes of SEAL's models, FaST's switch, Chain-of-Spot and OWL-ViT against ours: nothing missing or left."""

import json

import pytest
import torch

from tests.golden.fast.test_lisa_manifests import manifest
from vlmzoo import build_model, model_info
from vlmzoo.blocks.decoders.owlvit import OwlVitDetector
from vlmzoo.hub.verify import verify_model
from vlmzoo.models.keys import compare_keys
from vlmzoo.models.owlvit_keys import OWLVIT
from vlmzoo.models.weights import shapes_of
from vlmzoo.zoo import load_card

CARDS = {
    "seal-vqa-7b": "craigwu__seal_vqa_7b",
    "seal-vsm-7b": "craigwu__seal_vsm_7b",
    "fast-switch-7b": "fast_switch_swillava_7b_merged",
    "cos-7b": "liuhaotian__llava-v1.5-7b",
    "cos-13b": "liuhaotian__llava-v1.5-13b",
}
TOWER = "model.vision_tower.vision_tower.vision_model."


@pytest.fixture(params=CARDS, ids=lambda name: f"fast-manifests-{name}")
def case(request):
    return request.param, *manifest(CARDS[request.param])


def test_the_manifest_is_the_card(case):
    name, path, content, shapes = case
    report = verify_model(name, path)
    assert report.layout == load_card(name).weights.layout
    assert (report.missing, report.unexpected, report.mismatched) == ((), (), ())
    assert report.num_matched + len(report.dropped) == len(shapes)
    own = [part for part in model_info(name).parameters if part != "encoder" or any(TOWER in key for key in shapes)]
    numbers = [torch.Size(shape).numel() for key, shape in shapes.items() if key not in content["buffers"]]
    assert sum(model_info(name).parameters[part] for part in own) == sum(numbers)


def test_the_image_encoder_may_be_there_or_elsewhere(case, tmp_path):
    name, _, _, shapes = case
    if load_card(name).weights.encoder is None:
        return
    encoder = shapes_of(build_model(name, device="meta"))
    tower = {
        f"{TOWER}{key.removeprefix('encoder.vision.')}": shape
        for key, shape in encoder.items()
        if key.startswith("encoder.")
    }
    without = {key: shape for key, shape in shapes.items() if not key.startswith(TOWER)}
    for changed in (without, {**without, **tower}):
        path = tmp_path / "manifest.json"
        path.write_text(json.dumps({"shapes": changed}), encoding="utf-8")
        assert verify_model(name, path).is_clean
    lost = next(key for key in without if "rotary" not in key)
    path.write_text(json.dumps({"shapes": {key: s for key, s in without.items() if key != lost}}), encoding="utf-8")
    assert verify_model(name, path).missing == (lost,)


def test_the_tower_is_owlvit(tmp_path):
    _, _, shapes = manifest("google__owlvit-base-patch16__hf")
    with torch.device("meta"):
        tower = OwlVitDetector().owlvit
    report = compare_keys(shapes_of(tower), [(OWLVIT, shapes)])
    assert (report.missing, report.unexpected, report.mismatched) == ((), (), ())
    assert report.num_matched == len(shapes_of(tower))
    assert all("text" in key or "projection" in key or "logit_scale" in key for key in report.dropped)
