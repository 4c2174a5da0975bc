import json

import pytest

from vlmzoo.data.sizing import ImageSizing
from vlmzoo.data.sources import SOURCES, RowError
from vlmzoo.data.sources._tiny import TINY
from vlmzoo.errors import DataError

ROOT = TINY / "twin" / "fgvqa" / "test.jsonl"


def make(**options):
    return SOURCES.build({"type": "fgvqa", "path": str(ROOT), **options})


def test_pairs_have_two_images_and_counts_four_and_the_question_is_the_data_s():
    source = make(post_prompt=" Thanks.")
    samples = [source.sample(place) for place in range(source.size)]
    assert [len(sample.images) for sample in samples] == [2, 2, 4, 4]
    assert [sample.reference for sample in samples] == ["yes", "no", "1", "0"]
    rows = [json.loads(line) for line in ROOT.read_text().splitlines()]
    for sample, row in zip(samples, rows, strict=True):
        blocks = sample.messages[0]["content"]
        assert [block["type"] for block in blocks] == ["image"] * len(sample.images) + ["text"]
        assert blocks[-1]["text"] == row["question"] + " Thanks."
    assert [sample.meta["extra"] for sample in samples] == [{"same_instance": True}, {}, {"target_count": 1}, {}]


def test_a_subset_can_be_asked_for():
    assert make(subset="fgvqa_cub").size == 2
    with pytest.raises(DataError, match="`subset` must be one of fgvqa_cub, twin.*Did you mean `fgvqa_cub`"):
        make(subset="fgvqa_cup")


def test_sizes_are_those_of_training():
    assert {image.size for image in make(sizing={"max_side": 512}).sample(2).images} == {(56, 56)}
    assert (
        make(sizing={"max_side": 512}).sizing
        == SOURCES.build({"type": "twin_pairs", "root": str(TINY / "twin"), "split": "all"}).sizing
    )


@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        ({"images": ["images/thing0_0.jpg"]}, RowError, "must have 2 images, but has 1"),
        ({"images": ["images/thing0_0.jpg", "gone.jpg"]}, RowError, "gone.jpg` must exist"),
        ({"question": None}, RowError, "`question` and `answer`"),
        ({"dataset_source": None}, DataError, "must have `dataset_source`"),
    ],
)
def test_bad_rows_are_named(tmp_path, change, error, sentence):
    row = json.loads(ROOT.read_text().splitlines()[0]) | change
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(error, match=sentence):
        make(path=str(tmp_path / "rows.jsonl"), image_folder=str(TINY / "twin")).sample(0)


def test_without_a_word_both_sources_cap_sizes_alike_and_null_leaves_images_alone():
    twin = {"type": "twin_pairs", "root": str(TINY / "twin"), "split": "all"}
    fgvqa = {"type": "fgvqa", **SOURCES.entry("fgvqa").tiny}
    for spec in (twin, fgvqa):
        assert SOURCES.build(spec).sizing == ImageSizing(max_side=512)
        assert SOURCES.build({**spec, "sizing": None}).sizing is None
