"""Names and shapes of LISA and SAM as published against our models: nothing missing, nothing unexpected."""

import json

import pytest
import torch

from tests.golden.conftest import golden_folder, report_missing
from vlmzoo import build_model, model_info
from vlmzoo.blocks.decoders import DECODERS
from vlmzoo.hub.verify import verify_model
from vlmzoo.models.keys import compare_keys
from vlmzoo.models.llava.keys import CLIP
from vlmzoo.models.sam.keys import TABLES
from vlmzoo.models.weights import shapes_of
from vlmzoo.zoo import list_models, load_card

LISA = list_models("lisa-*")
SAM = {
    "sam_vit_b*": ("sam-vit-b", "sam"),
    "sam_vit_l*": ("sam-vit-l", "sam"),
    "sam_vit_h*": ("sam-vit-h", "sam"),
    "facebook__sam-vit-huge*": ("sam-vit-h", "sam_hf"),
}


def manifest(pattern):
    """Return the path and the shapes of the manifest that fits."""
    found = sorted((golden_folder("fast") / "manifests").glob(f"{pattern}.json"))
    if not found:
        report_missing(f"there is no manifest {pattern}")
    content = json.loads(found[0].read_text(encoding="utf-8"))
    return found[0], content, {key: tuple(shape) for key, shape in content["shapes"].items()}


def lisa_manifest(name):
    """The explanatory models have the layout of the others."""
    return manifest(load_card(name).weights.repo.replace("/", "__").removesuffix("-explanatory"))


@pytest.mark.parametrize("name", LISA, ids=lambda name: f"fast-manifests-{name}")
def test_the_manifest_is_the_card(name):
    path, content, shapes = lisa_manifest(name)
    report = verify_model(name, path)
    assert report.layout == load_card(name).weights.layout == "lisa"
    assert (report.missing, report.unexpected, report.mismatched) == ((), (), ())
    assert report.num_matched + len(report.dropped) == len(shapes)
    assert sum(model_info(name).parameters[part] for part in ("projector", "language_model", "seg")) == sum(
        torch.Size(shape).numel()
        for key, shape in shapes.items()
        if key not in content["buffers"] and "positional_encoding_gaussian_matrix" not in key
    )


@pytest.mark.parametrize("name", LISA[:1], ids=lambda name: f"fast-manifests-{name}-clip")
def test_the_image_encoder_may_be_there_or_elsewhere_but_not_in_part(name, tmp_path):
    _, _, shapes = lisa_manifest(name)
    model = build_model(name, device="meta")
    prefix = "model.vision_tower.vision_tower.vision_model."
    encoder = {
        f"{prefix}{key.removeprefix('encoder.vision.')}": shape
        for key, shape in shapes_of(model).items()
        if key.startswith("encoder.")
    }
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps({"shapes": shapes | encoder}), encoding="utf-8")
    assert verify_model(name, path).is_clean
    lost = next(iter(encoder))
    path.write_text(json.dumps({"shapes": shapes | {k: v for k, v in encoder.items() if k != lost}}), encoding="utf-8")
    assert verify_model(name, path).missing == (lost,)
    _, _, clip = manifest("openai__clip-vit-large-patch14_vision")
    expected = {key: shape for key, shape in shapes_of(model).items() if key.startswith("encoder.")}
    assert compare_keys(expected, [(CLIP, clip)]).is_clean


@pytest.mark.parametrize("pattern", SAM, ids=lambda pattern: f"fast-manifests-{pattern.strip('*')}")
def test_the_manifest_is_the_decoder(pattern):
    name, layout = SAM[pattern]
    _, content, shapes = manifest(pattern)
    with torch.device("meta"):
        decoder = DECODERS.build({"type": name})
    expected = shapes_of(decoder)
    report = compare_keys(expected, [(TABLES[layout], shapes)])
    assert (report.missing, report.unexpected, report.mismatched) == ((), (), ())
    assert report.num_matched == len(expected)
    published = TABLES[layout].dict_to_theirs(expected)
    assert TABLES[layout].dict_to_ours(published) == expected
    assert published.items() <= shapes.items()
    del content
