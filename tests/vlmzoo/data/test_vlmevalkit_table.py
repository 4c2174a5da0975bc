"""Tables of any source: what is written is what the source `vlmevalkit` reads."""

from dataclasses import replace

import pytest

from tests.vlmzoo.adapters.bases import make_picture
from vlmzoo.data.images import load_image
from vlmzoo.data.sources import SOURCES
from vlmzoo.data.vlmevalkit_table import write_table
from vlmzoo.errors import DataError
from vlmzoo.types import Sample, assistant, user


def make_samples():
    asked = ['Which "one"?\nA tab:\there', "And these?"]
    return [
        Sample(
            messages=[user(text, num_images=number + 1), assistant("B")],
            images=[make_picture(number), make_picture(9)][: number + 1],
            id=str(number),
            reference="B",
            meta={"A": "a dog", "B": f"{number} cats", "boxes": [1, 2]},
        )
        for number, text in enumerate(asked)
    ]


def test_a_table_is_read_back_with_its_pictures_and_options(tmp_path):
    samples = make_samples()
    assert write_table(tmp_path / "mine.tsv", samples) == 2
    source = SOURCES.build({"type": "vlmevalkit", "path": str(tmp_path / "mine.tsv")})
    assert source.size == 2
    for number, sample in enumerate(samples):
        read = source.sample(number)
        assert read.reference == "B" and dict(read.meta) == {"A": "a dog", "B": f"{number} cats"}
        text = read.messages[0]["content"][-1]["text"].strip("\n")
        assert text == sample.messages[0]["content"][-1]["text"]
        pictures = [load_image(picture) for picture in read.images]
        assert [p.tobytes() for p in pictures] == [p.tobytes() for p in sample.images]


def test_what_a_table_cannot_hold_is_refused(tmp_path):
    sample = make_samples()[0]
    with pytest.raises(DataError, match="must hold at least one question"):
        write_table(tmp_path / "a.tsv", [])
    with pytest.raises(DataError, match="must be one question with a picture, but has 1 turns and 0 pictures"):
        write_table(tmp_path / "a.tsv", [Sample(messages=[user("?")], id="x")])
    with pytest.raises(DataError, match="must have the columns"):
        write_table(tmp_path / "a.tsv", [sample, replace(sample, meta={})])
    assert not (tmp_path / "a.tsv").exists()
