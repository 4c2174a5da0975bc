"""Attention ratios against the authors' selection scripts."""

import math

import pytest
import torch
from safetensors.torch import load_file

from vlmzoo.data.mia.attention import (
    ImageSpan,
    attention_maps,
    region_share,
    region_weights,
    sequence_share,
    tile_weights,
)
from vlmzoo.data.mia.selection import Candidate, greedy_perplexity, reference_keeps

GOLDEN = ("mia_dpo", "attention.jsonl")
SIDE = 24


def load(golden):
    return load_file(golden.path.parent / "attention" / f"{golden.content['id']}.safetensors")


def maps_of(golden):
    spans = [
        ImageSpan(start=start, grid_height=SIDE, grid_width=SIDE) for start in golden.content["image_token_starts"]
    ]
    return attention_maps(load(golden)["step_attention"], spans)


def ratio_of(golden):
    content, maps = golden.content, maps_of(golden)
    if content["kind"] == "sequence":
        return sequence_share(maps, content["target"])
    if content["kind"] == "grid":
        weights = tile_weights(
            index=content["target"] - 1,
            num_rows=content["rows"],
            num_columns=content["cols"],
            grid_height=SIDE,
            grid_width=SIDE,
        )
    else:
        weights = region_weights(None, grid_height=SIDE, grid_width=SIDE)
    return region_share(maps[0], weights)


def perplexity_of(scores):
    return greedy_perplexity(scores.log_softmax(-1).max(-1).values.tolist())


def test_maps_are_the_authors(golden):
    torch.testing.assert_close(torch.cat(maps_of(golden), dim=1), load(golden)["map"], rtol=0, atol=1e-7)


def test_ratio_is_the_authors(golden):
    assert ratio_of(golden) == pytest.approx(golden.content["ratio"], abs=1e-5)


def test_means_are_the_authors(golden):
    expected = golden.content.get("image_means")
    if expected is not None:
        assert [float(single.mean()) for single in maps_of(golden)] == pytest.approx(expected, rel=1e-5)


def test_perplexity_is_the_authors(golden):
    assert perplexity_of(load(golden)["scores"]) == pytest.approx(golden.content["ppl"], rel=1e-5)


def test_decision_is_the_authors(golden):
    content = golden.content
    candidate = Candidate(
        kind=content["kind"],
        num_images=content["n_images"],
        ratio=ratio_of(golden),
        perplexity=perplexity_of(load(golden)["scores"]),
        chosen=content["gt"],
        rejected=content["response"],
    )
    assert reference_keeps(candidate) is content["selected"]
    assert not math.isnan(candidate.ratio)
