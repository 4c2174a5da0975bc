"""The SAM path of LISA, b_sam_path: image encoder, prompts, masks and post-processing against the authors' values."""

import pytest
import torch

from tests.golden.fast.cases import case_name, read_case, sidecars
from vlmzoo.blocks.decoders import DECODERS
from vlmzoo.blocks.decoders.postprocess import logits_in_original

TOLERANCE = {"atol": 1e-4, "rtol": 0.0}


def decoder_of(cfg, weights):
    """Build a decoder of a golden's sizes and fill it."""
    blocks = {int(key.split(".")[2]) for key in weights if key.startswith("image_encoder.blocks.")}
    own = 2 * cfg["win"] - 1
    is_global = [weights[f"image_encoder.blocks.{number}.attn.rel_pos_h"].shape[0] != own for number in sorted(blocks)]
    decoder = DECODERS.build(
        {
            "type": "sam",
            "image_size": cfg["img"],
            "dim": cfg["enc"],
            "depth": len(blocks),
            "num_heads": cfg["heads"],
            "mlp_ratio": weights["image_encoder.blocks.0.mlp.lin1.weight"].shape[0] / cfg["enc"],
            "global_blocks": [number for number in sorted(blocks) if is_global[number]],
            "window_size": cfg["win"],
            "prompt_dim": cfg["dim"],
            "decoder_depth": cfg["tw"],
            "decoder_mlp_dim": cfg["mlp"],
            "decoder_heads": cfg["th"],
            "quality_dim": weights["mask_decoder.iou_prediction_head.layers.0.weight"].shape[0],
            "mask_channels": weights["prompt_encoder.mask_downscaling.3.weight"].shape[0],
        }
    )
    decoder.load_state_dict(weights, strict=True)
    return decoder.eval()


@torch.no_grad()
@pytest.mark.parametrize("path", sidecars("b_sam_path"), ids=case_name("b_sam_path"))
def test_b_sam_path(path):
    content, tensors, weights = read_case(path, "b_sam_path")
    decoder = decoder_of(content["cfg"], weights)
    features = decoder.encode_images(tensors["in.pixels"])
    torch.testing.assert_close(features[0], tensors["out.image_embedding"], **TOLERANCE)
    prompts = tensors["in.text_embeds"]
    sparse, dense = decoder.prompt_encoder(prompts)
    torch.testing.assert_close(sparse, tensors["out.sparse"], **TOLERANCE)
    torch.testing.assert_close(dense, tensors["out.dense"], **TOLERANCE)
    torch.testing.assert_close(decoder.prompt_encoder.image_positions(), tensors["out.dense_pe"], **TOLERANCE)
    repeated = [feature.expand(len(prompts), -1, -1, -1) for feature in features]
    single = decoder.decode(repeated, prompts)
    several = decoder.decode(repeated, prompts, multimask=True)
    torch.testing.assert_close(single.logits, tensors["out.low_res_masks"], **TOLERANCE)
    torch.testing.assert_close(single.iou, tensors["out.iou"], **TOLERANCE)
    torch.testing.assert_close(several.logits, tensors["out.low_res_masks_multi"], **TOLERANCE)
    torch.testing.assert_close(several.iou, tensors["out.iou_multi"], **TOLERANCE)
    whole = logits_in_original(
        single.logits,
        recipe=decoder.recipe,
        resized=tuple(content["input_size_hw"]),
        original=tuple(content["original_size_hw"]),
    )
    torch.testing.assert_close(whole, tensors["out.post_masks"], **TOLERANCE)
    is_clear = tensors["out.post_masks"].abs()[:, 0] > 1e-3
    assert torch.equal((whole[:, 0] > 0)[is_clear], tensors["out.binary"].bool()[is_clear])
