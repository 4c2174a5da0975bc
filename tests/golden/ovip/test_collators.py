"""OViP's collators: which rows stand where, and which targets are left when shared tokens are masked."""

import pytest

from vlmzoo.data.preference_rows import layout_of, rows_of
from vlmzoo.data.shared_tokens import mask_shared_tokens
from vlmzoo.errors import ConfigError
from vlmzoo.outputs import IGNORED_LABEL

GOLDEN = ("ovip", "collators.jsonl")
LIKELIHOOD = ("sft", "grpo")  # no preference: chosen rows alone, which a supervised source gives
UNUSABLE = (("mdpo", "same_batch"), ("ori_mdpo", "same_batch"))  # layouts without a loss
MODES = {"single": "single", "sameBatch": "same_batch"}
PICTURES = {"blank_white_64": "blank"}


@pytest.mark.golden_cases("collator_layout")
def test_rows_stand_where_the_authors_put_them(golden):
    content = golden.content
    strategy, mode = content["strategy"].replace("-", "_"), MODES[content["vtcl_mode"]]
    if strategy in LIKELIHOOD or (strategy, mode) in UNUSABLE:
        with pytest.raises(ConfigError):
            layout_of(strategy, mode)
        return
    rows = list(rows_of(strategy, mode=mode, num_pairs=content["n"], distinct=False))
    theirs = [
        (row["sample"], row["text"], PICTURES.get(row["image"], row["image"]), row["image_tokens"] > 0)
        for row in content["rows"]
    ]
    ours = [(row.pair, row.text, row.picture, row.picture != "none") for row in rows]
    if content.get("reference_flaws"):  # the crop that never happened: theirs shows the picture itself
        assert {row.picture for row in rows} == {"positive", "cropped"}
        ours = [(pair, text, "positive" if picture == "cropped" else picture, has) for pair, text, picture, has in ours]
    assert ours == theirs


@pytest.mark.golden_cases("mask_same")
def test_shared_tokens_are_masked_as_the_authors_did_in_their_mode(golden):
    content = golden.content
    before = rows_by_text(content, "labels_in")
    made = dict(zip(("chosen", "rejected"), mask_shared_tokens(*before, compat="ovip"), strict=True))
    for text, after in labelled(content, "labels_out"):
        if content["strategy"] in LIKELIHOOD and text == "rejected":
            continue  # their likelihood fits the rejected answer as it stands
        assert [id for id in made[text] if id != IGNORED_LABEL] == [id for id in after if id != IGNORED_LABEL]
        assert made[text][: len(after)] == after[: len(made[text])]


@pytest.mark.golden_cases("mask_same")
def test_ours_masks_equal_ids_in_order_and_leaves_nothing_shared_beside_them(golden):
    before = rows_by_text(golden.content, "labels_in")
    after = mask_shared_tokens(*before)
    gone = [
        [old for old, new in zip(rows, kept, strict=True) if old != new]
        for rows, kept in zip(before, after, strict=True)
    ]
    assert gone[0] == gone[1]
    if before[0] == before[1]:
        assert set(after[0]) == {IGNORED_LABEL}


def labelled(content, key):
    """Each row's labels with the answer that it holds; rows stand in the same order before and after."""
    for before, labels in zip(content["labels_in"], content[key], strict=True):
        ids = [id for id in before if id != IGNORED_LABEL]
        yield ("chosen" if ids == content["chosen"] else "rejected"), labels


def rows_by_text(content, key):
    found = dict(labelled(content, key))
    return [trimmed(found.get(text, found["chosen"])) for text in ("chosen", "rejected")]


def trimmed(labels):
    while labels and labels[-1] == IGNORED_LABEL:
        labels = labels[:-1]
    return labels
