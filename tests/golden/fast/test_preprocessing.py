"""Pictures as each system sees them: c_sam_preprocess and c2_clip_owlvit_preprocess."""

import hashlib

import numpy as np
import pytest
import torch

from tests.golden.fast.cases import case_name, read_case, sidecars, synthetic_picture
from vlmzoo.adapters._seg_images import decoder_frame, prepare_picture
from vlmzoo.blocks.decoders import ImageRecipe
from vlmzoo.data.assembly import build_image_processor
from vlmzoo.data.images import pad_to_square
from vlmzoo.geometry import Frame

RECIPE = ImageRecipe(size=1024)
PIPELINES = {  # padding, then what the processor does
    "lisa_clip224_no_pad": (None, {"size": 224, "aspect": "crop"}),
    "llava15_clip336_center_pad": ("center", {"size": 336, "aspect": "square"}),
    "seal_vqa_clip224_center_pad": ("center", {"size": 224, "aspect": "square"}),
    "seal_vsm_clip224_corner_pad": ("top_left", {"size": 224, "aspect": "square"}),
    "seal_vsm_owlvit768": (None, {"size": 768, "aspect": "square"}),
}


def sha256(array):
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


@pytest.mark.parametrize("path", sidecars("c_sam_preprocess"), ids=case_name("c_sam_preprocess"))
def test_c_sam_preprocess(path):
    content, tensors, _ = read_case(path, "c_sam_preprocess")
    assert content["items"]
    for item in content["items"]:
        picture = synthetic_picture(item["width"], item["height"], item["seed"])
        assert sha256(np.asarray(picture)) == item["input_sha256"]
        prepared = prepare_picture(picture, RECIPE)
        height, width = prepared.resized
        assert [height, width] == item["resized_hw"]
        assert prepared.original == (item["height"], item["width"])
        frame = decoder_frame(Frame.original("picture", width=item["width"], height=item["height"]), RECIPE)
        assert (frame.width, frame.height) == (1024, 1024)
        mean, std = (torch.tensor(values).reshape(3, 1, 1) for values in (RECIPE.mean, RECIPE.std))
        scaled = (prepared.pixels[:, :height, :width] * std + mean).round().to(torch.uint8).movedim(0, -1)
        assert sha256(scaled.numpy()) == item["resized_uint8_sha256"]
        assert list(prepared.pixels.shape) == item["out_shape"]
        assert float(prepared.pixels.double().sum()) == pytest.approx(item["out_sum"], rel=1e-6, abs=1.0)
        assert float(prepared.pixels.double().abs().sum()) == pytest.approx(item["out_abs_sum"], rel=1e-6)
        places = {
            "top_left": np.s_[:, :8, :8],
            "stride64": np.s_[:, ::64, ::64],
        }
        for name, place in places.items():
            expected = tensors[f"{item['key']}.{name}"]
            torch.testing.assert_close(prepared.pixels[place], expected, atol=1e-5, rtol=0)
        edge = tensors[f"{item['key']}.edge"]
        found = prepared.pixels[:, max(height - 4, 0) : height + 4, max(width - 4, 0) : width + 4]
        torch.testing.assert_close(found, edge, atol=1e-5, rtol=0)


@pytest.mark.parametrize("path", sidecars("c2_clip_owlvit_preprocess"), ids=case_name("c2_clip_owlvit_preprocess"))
def test_c2_clip_owlvit_preprocess(path):
    content, tensors, _ = read_case(path, "c2_clip_owlvit_preprocess")
    background = tuple(content["background"])
    assert content["items"]
    for item in content["items"]:
        size, seed = item["image"].split("_s")
        picture = synthetic_picture(*map(int, size.split("x")), int(seed))
        align, options = PIPELINES[item["pipeline"]]
        if align is not None:
            picture = pad_to_square(picture, align=align, background=background)
        [pixels] = build_image_processor(**options)(picture, return_tensors="pt")["pixel_values"]
        assert list(pixels.shape) == item["shape"]
        assert float(pixels.double().sum()) == pytest.approx(item["sum"], rel=1e-5, abs=2.0)
        assert float(pixels.double().abs().sum()) == pytest.approx(item["abs_sum"], rel=1e-5)
        name = f"{item['image']}.{item['pipeline']}"
        step = pixels.shape[1] // tensors[f"{name}.stride"].shape[1]
        torch.testing.assert_close(pixels[:, ::step, ::step], tensors[f"{name}.stride"], atol=1e-5, rtol=0)
        torch.testing.assert_close(pixels[:, :4, :4], tensors[f"{name}.tl"], atol=1e-5, rtol=0)
