from itertools import groupby

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.vlmzoo.geometry.conftest import make_frame, make_mask, masks
from vlmzoo.errors import DataError, ShapeError
from vlmzoo.geometry import Mask, decode_rle, encode_rle

FRAME = make_frame(10, 8)


@given(masks(max_side=14), st.booleans())
def test_runs_give_the_mask_back(mask, compressed):
    assert decode_rle(encode_rle(mask, compressed=compressed), frame=mask.frame) == mask


@given(masks())
def test_counts_are_the_runs_of_the_columns_and_start_with_zeros(mask):
    runs = [(value, len(list(run))) for value, run in groupby(mask.array.T.reshape(-1).tolist())]
    expected = [length for _, length in runs] if not runs[0][0] else [0, *(length for _, length in runs)]
    assert encode_rle(mask, compressed=False) == {"size": list(mask.array.shape), "counts": expected}


@given(masks())
def test_a_string_may_come_as_bytes(mask):
    rle = encode_rle(mask)
    assert isinstance(rle["counts"], str)
    assert decode_rle(rle | {"counts": rle["counts"].encode()}, frame=mask.frame) == mask


ROW, COLUMN = np.mgrid[:8, :10]


# strings of pycocotools 2.0
@pytest.mark.parametrize(
    ("array", "counts", "text"),
    [
        (np.pad(np.ones((3, 4), dtype=bool), [(2, 3), (3, 3)]), [26, 3, 5, 3, 5, 3, 5, 3, 27], "j03500000f0"),
        (
            (COLUMN - 4) ** 2 + (ROW - 4) ** 2 < 14,
            [10, 5, 2, 7, 1, 7, 1, 7, 1, 7, 1, 7, 2, 5, 17],
            ":522O00000001N?",
        ),
        (
            COLUMN * ROW % 7 < 2,
            [0, 10, 5, 2, 3, 1, 2, 2, 4, 1, 1, 2, 1, 1, 4, 2, 2, 1, 3, 2, 5, 12, 5, 2, 3, 1, 2, 1],
            "0:5HNOO12OM10O31NO112:0FNOO0",
        ),
    ],
)
def test_both_notations_are_those_of_coco(array, counts, text):
    mask = Mask(array, frame=FRAME)
    assert encode_rle(mask, compressed=False)["counts"] == counts
    assert encode_rle(mask)["counts"] == text
    assert decode_rle({"size": [8, 10], "counts": text}, frame=FRAME) == mask


@pytest.mark.parametrize(("value", "counts"), [(False, [80]), (True, [0, 80])])
def test_empty_and_full_masks_have_one_run(value, counts):
    assert encode_rle(Mask(np.full((8, 10), value), frame=FRAME), compressed=False)["counts"] == counts


def test_long_runs_need_several_characters():
    frame = make_frame(3000, 2000)
    array = np.zeros((2000, 3000), dtype=bool)
    array[1000:1500, 1000:] = True
    array[0, 0] = True
    mask = Mask(array, frame=frame)
    assert decode_rle(encode_rle(mask), frame=frame) == mask


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ([80, 1], "sum up to 80 pixels, but sum up to 81"),
        ([79], "but sum up to 79"),
        ([], "but sum up to 0"),
        ([90, -10], "zero or more .* a least run of -10"),
        ([40.0, 40.0], "must be a string or a list of integers"),
        (None, "must be a string or a list of integers, but is None"),
        ("", "but sum up to 0"),
        ("j03500000f", "breaks off after 8 runs"),
        ("j0350 000f0", r"has b' ' at place 5 instead"),
        ("é", "must be compressed runs"),
        ("o" * 40 + "0", r"at place 13"),
    ],
)
def test_damaged_runs_are_refused(counts, message):
    with pytest.raises(DataError, match=message):
        decode_rle({"size": [8, 10], "counts": counts}, frame=FRAME)


@given(st.text(max_size=12) | st.binary(max_size=12) | st.lists(st.integers(-5, 90), max_size=4))
def test_whatever_the_runs_the_answer_is_a_mask_or_a_data_error(counts):
    try:
        mask = decode_rle({"size": [8, 10], "counts": counts}, frame=FRAME)
    except DataError:
        return
    assert decode_rle(encode_rle(mask), frame=FRAME) == mask


def test_runs_of_another_image_are_refused():
    rle = encode_rle(make_mask(["#."]))
    with pytest.raises(ShapeError, match=r"must be \[8, 10\], but is \[1, 2\] instead; the mask belongs to another"):
        decode_rle(rle, frame=FRAME)


def test_a_dictionary_without_runs_is_refused():
    with pytest.raises(DataError, match=r"must have `size` and `counts`, but have \['points'\]"):
        decode_rle({"points": []}, frame=FRAME)
