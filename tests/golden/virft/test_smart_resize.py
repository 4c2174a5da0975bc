"""Qwen2-VL's image size rule, by which cards forecast visual tokens: pixels and tokens."""

import pytest

from vlmzoo.zoo.visual import resize_to_budget

GOLDEN = ("virft", "smart_resize.jsonl")


def test_size_and_tokens(golden):
    case = golden.content
    given = {name: case[name] for name in ("factor", "min_pixels", "max_pixels")}
    size = (case["height"], case["width"])
    if case["error"]:
        with pytest.raises(ValueError, match="200"):
            resize_to_budget(size, **given)
        return
    found = resize_to_budget(size, **given)
    assert list(found) == case["output"]
    assert found[0] * found[1] // 784 == case["image_tokens"]
