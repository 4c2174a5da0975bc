"""Packing: every row once, no bin too full, few bins; laid end to end, and told apart again."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vlmzoo.data.adapter_inputs import AdapterBatch, AdapterInputs
from vlmzoo.data.collation import Collator
from vlmzoo.data.packing import PackedCollator, Segments, pack_rows
from vlmzoo.errors import ConfigError, DataError

lengths_of_rows = st.lists(st.integers(1, 40), max_size=40)
capacities = st.integers(1, 50)
windows = st.integers(1, 12)


@given(lengths_of_rows, capacities, windows)
def test_every_row_is_packed_exactly_once(lengths, capacity, window):
    bins = pack_rows(lengths, capacity=capacity, window=window)
    assert sorted(row for bin in bins for row in bin) == list(range(len(lengths)))


@given(lengths_of_rows, capacities, windows)
def test_only_a_row_that_is_too_long_by_itself_overfills_a_bin(lengths, capacity, window):
    for bin in pack_rows(lengths, capacity=capacity, window=window):
        assert sum(lengths[row] for row in bin) <= capacity or len(bin) == 1


@given(lengths_of_rows, capacities, windows)
def test_a_window_is_packed_by_its_own_lengths_alone(lengths, capacity, window):
    apart = [
        [start + row for row in bin]
        for start in range(0, len(lengths), window)
        for bin in pack_rows(lengths[start : start + window], capacity=capacity, window=window)
    ]
    assert pack_rows(lengths, capacity=capacity, window=window) == apart


@given(lengths_of_rows, capacities, windows)
def test_rows_and_bins_keep_the_order_of_the_stream(lengths, capacity, window):
    bins = pack_rows(lengths, capacity=capacity, window=window)
    assert all(bin == sorted(bin) for bin in bins)
    assert [bin[0] // window for bin in bins] == sorted(bin[0] // window for bin in bins)
    assert all(one[0] < other[0] for one, other in pairwise(bins) if one[0] // window == other[0] // window)


@given(lengths_of_rows, capacities)
def test_no_two_bins_of_a_window_would_have_fitted_into_one(lengths, capacity):
    loads = sorted(sum(lengths[row] for row in bin) for bin in pack_rows(lengths, capacity=capacity, window=64))
    assert len(loads) < 2 or loads[0] + loads[1] > capacity


def fewest_bins(lengths, capacity):
    """Try every way to put rows into bins."""

    def place(rows, rooms):
        if not rows:
            return len(rooms)
        first, *rest = rows
        tried = [
            place(rest, tuple(sorted((*rooms[:n], room - first, *rooms[n + 1 :]))))
            for n, room in enumerate(rooms)
            if first <= room
        ]
        return min([*tried, place(rest, (*rooms, capacity - first))])

    return place(lengths, ())


@settings(max_examples=60)
@given(st.lists(st.integers(1, 12), max_size=6))
def test_bins_are_close_to_the_fewest_possible(lengths):
    found = len(pack_rows(lengths, capacity=12, window=8))
    assert found <= (11 * fewest_bins(lengths, 12) + 6) / 9


@given(lengths_of_rows, capacities)
def test_a_window_of_one_packs_nothing(lengths, capacity):
    assert pack_rows(lengths, capacity=capacity, window=1) == [[row] for row in range(len(lengths))]


def test_the_longest_rows_choose_first():
    assert pack_rows([4, 7, 3, 6, 10], capacity=10, window=5) == [[0, 3], [1, 2], [4]]


@pytest.mark.parametrize("name", ["capacity", "window"])
@pytest.mark.parametrize("value", [0, -3])
def test_a_capacity_or_window_below_one_is_refused(name, value):
    with pytest.raises(ConfigError, match=f"`{name}` must be at least 1, but is {value} instead"):
        pack_rows([1, 2], **{"capacity": 4, "window": 4, name: value})


def test_an_empty_row_is_refused():
    with pytest.raises(DataError, match="row 1 has 0 instead"):
        pack_rows([3, 0], capacity=4, window=4)


segment_lengths = st.lists(st.integers(1, 9), min_size=1, max_size=8).map(tuple)


@given(segment_lengths)
def test_rows_are_found_in_their_positions(lengths):
    segments = Segments(lengths)
    assert Segments.of(segments.position_ids) == segments
    assert Segments.of(torch.cat([segments.position_ids[None]] * 4)) == segments
    assert segments.bounds.diff().tolist() == list(lengths)


@given(segment_lengths, st.sampled_from([(), (3,), (2, 3)]))
def test_split_then_join_is_the_identity(lengths, shape):
    segments = Segments(lengths)
    values = torch.randn(1, sum(lengths), *shape)
    split = segments.split(values, fill=-1.0)
    assert torch.equal(segments.join(split), values)
    assert split.shape[:2] == (len(lengths), max(lengths))
    assert (split[segments.mask() == 0] == -1).all()


@given(segment_lengths)
def test_transformers_varlen_kernels_find_the_same_rows(lengths):
    from transformers.modeling_flash_attention_utils import prepare_fa_kwargs_from_position_ids

    segments = Segments(lengths)
    (bounds, _), (longest, _) = prepare_fa_kwargs_from_position_ids(segments.position_ids)
    assert torch.equal(bounds, segments.bounds) and longest == max(lengths)


@pytest.mark.parametrize(
    "batch",
    [
        {"position_ids": None},
        {"position_ids": torch.tensor([[0, 1, 2]]), "attention_mask": torch.ones(1, 3)},
        {"position_ids": torch.tensor([[0, 1, 2]]), "cache": object()},
        {"position_ids": torch.tensor([[0, 1], [0, 1]])},
        {"position_ids": torch.tensor([[5]])},
        {"position_ids": torch.tensor([[0, 1, 3]])},
        {"position_ids": torch.zeros(3, 1, 4, dtype=torch.long)},
        {"position_ids": torch.zeros(1, 0, dtype=torch.long)},
    ],
    ids=["no positions", "mask", "cache", "two rows", "later step", "jump", "rotary alone", "empty"],
)
def test_other_batches_are_not_taken_for_packed_ones(batch):
    assert Segments.of(**batch) is None


def make_row(start, length, *, num_images=0):
    ids = list(range(start, start + length))
    row = {"input_ids": ids, "labels": [ids[0], -100, *ids[2:]], "mm_token_type_ids": [index % 2 for index in ids]}
    return row | ({"pixel_values": torch.full((num_images, 2), float(start))} if num_images else {})


ROWS = [make_row(10, 4), make_row(20, 6, num_images=2), make_row(40, 3, num_images=1), make_row(50, 5)]


def test_rows_are_laid_end_to_end_with_positions_of_their_own():
    inputs = PackedCollator()([ROWS[:3], ROWS[3:]]).inputs
    assert inputs["input_ids"].tolist() == [[i for row in ROWS for i in row["input_ids"]]]
    assert inputs["mm_token_type_ids"].tolist() == [[i for row in ROWS for i in row["mm_token_type_ids"]]]
    assert inputs["position_ids"].tolist() == [[*range(4), *range(6), *range(3), *range(5)]]
    assert inputs["pixel_values"][:, 0].tolist() == [20, 20, 40]
    assert inputs.keys() == {"input_ids", "labels", "mm_token_type_ids", "position_ids", "pixel_values"}


def test_nothing_is_predicted_across_a_boundary():
    labels = PackedCollator()([ROWS]).inputs["labels"]
    split = Segments(tuple(len(row["input_ids"]) for row in ROWS)).split(labels, fill=-100)
    assert (split[:, 0] == -100).all()
    assert [line[line != -100].tolist() for line in split] == [row["labels"][2:] for row in ROWS]
    assert ROWS[0]["labels"][0] == 10  # the rows themselves stay as they were


def test_counts_are_those_of_the_padded_batch():
    assert PackedCollator()([ROWS[:1], ROWS[1:]]).count() == Collator(pad_token_id=0)(ROWS).count()


class Numbers(AdapterInputs):
    """One number a row, and a count of them."""

    def collate(self, rows):
        numbers = torch.tensor([row["number"] for row in rows])
        return AdapterBatch(inputs={"n": numbers}, targets={"twice": 2 * numbers}, counts={"numbers": float(len(rows))})


def test_adapters_are_given_all_rows_in_order():
    rows = [{**row, "adapters": {"numbers": {"number": index}}} for index, row in enumerate(ROWS)]
    batch = PackedCollator(adapter_inputs={"numbers": Numbers()})([rows[:1], rows[1:]])
    assert batch.inputs["n"].tolist() == [0, 1, 2, 3] and batch.targets["twice"].tolist() == [0, 2, 4, 6]
    assert batch.count()["numbers"] == batch.count()["sequences"] == 4.0


@pytest.mark.parametrize(
    ("bins", "message"),
    [
        ([], "must hold at least one row"),
        ([[]], "must hold at least one row"),
        ([[ROWS[0], {"input_ids": [], "labels": []}]], "at least 1 token, but row 1 has 0"),
        ([[ROWS[0]], [{"input_ids": [1, 2], "labels": [1, 2]}]], "`mm_token_type_ids` of row 1 .* 2, but has 0"),
        ([[{"input_ids": [1, 2], "labels": [1]}]], "`labels` of row 0 .* 2, but has 1"),
    ],
)
def test_rows_that_cannot_be_laid_end_to_end(bins, message):
    with pytest.raises(DataError, match=message):
        PackedCollator()(bins)
