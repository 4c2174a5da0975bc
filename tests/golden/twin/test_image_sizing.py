"""TWIN's image sizes: what its training rows store, and the tokens that training and evaluation see."""

import pytest

from vlmzoo.data.sizing import ImageSizing, capped_size
from vlmzoo.errors import ConfigError

GOLDEN = ("twin", "image_sizing*.jsonl")

TRAINING = ImageSizing(max_side=512)
EVALUATION = ImageSizing(max_side=None, min_pixels=256 * 28**2, max_pixels=1_605_632)


def test_sizes_and_tokens_are_the_authors(golden):
    case = golden.content
    size = (case["height"], case["width"])
    assert capped_size(size, max_side=512) == (case["meta_resized_height"], case["meta_resized_width"])
    for name, sizing in (("train", TRAINING), ("eval", EVALUATION)):
        if case[f"{name}_hw"] is None:
            with pytest.raises(ConfigError, match="200"):
                sizing.size(size)
        else:
            assert list(sizing.size(size)) == case[f"{name}_hw"]
            assert sizing.tokens(size) == case[f"{name}_tokens"]
