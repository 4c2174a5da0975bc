"""TWIN's download as rows: sizes, order, splits that share nothing, and what is refused."""

import json
import zipfile

import pytest
from PIL import Image

from vlmzoo.data.archives import unpack
from vlmzoo.data.sizing import ImageSizing
from vlmzoo.data.sources import SOURCES, RowError
from vlmzoo.errors import ConfigError, DataError

QUESTION = "Same?"


def write(root, rows, images=(), folder="images"):
    (root / folder).mkdir(parents=True, exist_ok=True)
    lines = [{"image_1": a, "image_2": b, "question": QUESTION, "answer": answer} for a, b, answer in rows]
    (root / "train.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for name, size in images:
        (root / folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, "red").save(root / folder / name)


def make(root, **options):
    return SOURCES.build({"type": "twin_pairs", "root": str(root), **options})


def rings(num, pictures=3):
    """Instances of some pictures each, every instance linked to the next by a pair that is not the same."""
    same = [(f"images/{i}_{v}.png", f"images/{i}_{v + 1}.png", "yes") for i in range(num) for v in range(pictures - 1)]
    other = [(f"images/{i}_0.png", f"images/{(i + 1) % num}_1.png", "no") for i in range(num)]
    images = [(f"{i}_{v}.png", (40, 30)) for i in range(num) for v in range(pictures)]
    return same + other, images


def test_the_download_is_read_whole(tmp_path):
    pytest.importorskip("pyarrow")
    import pyarrow as pa
    from pyarrow import parquet

    for part, rows in enumerate(
        [[("images/a.jpg", "images_00001/b.jpg", "yes")], [("images/c.jpg", "images/a.jpg", "no")]]
    ):
        columns = dict(zip(("image_1", "image_2", "answer"), zip(*rows, strict=True), strict=True))
        table = pa.table({name: list(values) for name, values in columns.items()} | {"question": [QUESTION]})
        parquet.write_table(table, tmp_path / f"train-{part:05d}-of-00002.parquet")
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        for name, size in (("a.jpg", (1024, 700)), ("b.jpg", (100, 60)), ("c.jpg", (512, 512))):
            Image.new("RGB", size).save(tmp_path / name)
            archive.write(tmp_path / name, f"images/{name}")
            (tmp_path / name).unlink()
    with pytest.raises(DataError, match="vlmzoo data unpack"):
        make(tmp_path)
    unpack(tmp_path / "images.zip", tmp_path)
    source = make(tmp_path, split="all", swap=False)
    assert source.size == 2 and source.labels == ["yes", "no"]
    sample = source.sample(0)
    assert [image.size for image in sample.images] == [(504, 336), (112, 56)]  # capped to 512 × 350, then units of 28
    assert sample.reference == "yes" and sample.meta["pair_id"] == "a_b"
    texts = [block.get("text", "[image]") for block in sample.messages[0]["content"]]
    assert texts == ["[image]", "\n", "[image]", f"\n\n{QUESTION}"]


def test_an_archive_that_leaves_its_folder_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        archive.writestr("images/../../escaped.jpg", b"x")
    with pytest.raises(DataError, match="must stay inside the folder"):
        unpack(tmp_path / "images.zip", tmp_path / "data")
    assert not (tmp_path / "escaped.jpg").exists()


def test_no_split_shares_an_image_or_an_instance(tmp_path):
    rows, images = rings(60)
    write(tmp_path, rows, images)
    shares = {"train": 0.7, "validation": 0.15, "test": 0.15}
    sources = {name: make(tmp_path, split=name, splits=shares, sizing={"max_side": None}) for name in shares}
    seen = {
        name: {file for place in range(source.size) for file in source.sample(place).meta["image_files"]}
        for name, source in sources.items()
    }
    instances = {name: {file.split("_")[0] for file in files} for name, files in seen.items()}
    assert sum(map(len, instances.values())) == len(set().union(*instances.values())) <= 60
    report = sources["train"].report
    assert report.num_instances == 60
    assert sum(report.pairs.values()) + report.num_across == len(rows)
    assert 0.6 < report.pairs["train"] / sum(report.pairs.values()) < 0.8


def test_data_that_hang_together_are_not_cut_where_nothing_may_be_left_out(tmp_path):
    rows, images = rings(10)
    write(tmp_path, rows, images)
    with pytest.raises(DataError, match="hang together in 1 components"):
        make(tmp_path, linked_by="all")


def test_the_two_images_change_places_half_of_the_time(tmp_path):
    rows, images = rings(60)
    write(tmp_path, rows, images)
    swapped = make(tmp_path, split="all")
    kept = make(tmp_path, split="all", swap=False)
    flips = [swapped.sample(i).meta["image_files"] != kept.sample(i).meta["image_files"] for i in range(180)]
    assert 60 < sum(flips) < 120
    assert flips == [
        make(tmp_path, split="all").sample(i).meta["image_files"] != kept.sample(i).meta["image_files"]
        for i in range(180)
    ]


def test_the_authors_splits_and_order_can_be_had(tmp_path):
    datasets = pytest.importorskip("datasets")
    rows, images = rings(2000, pictures=2)
    rows += [(f"images/{i}_1.png", f"images/{(i + 2) % 2000}_0.png", "no") for i in range(2000)]
    write(tmp_path, rows, images[:1])
    theirs = datasets.Dataset.from_dict({"row": list(range(6000))}).shuffle(seed=42)["row"]
    ours = make(tmp_path, split="test", compat="twin")
    assert [ours.table.row_numbers[pair] for pair in ours.pairs] == list(theirs)[:5000]
    assert make(tmp_path, split="train", compat="twin").size == 1000


def test_pairs_that_come_again_are_left_out_and_counted(tmp_path):
    write(
        tmp_path,
        [
            ("images/a.png", "images/b.png", "yes"),
            ("images/b.png", "images/a.png", "Yes "),
            ("images/a.png", "images/b.png", "no"),
        ],
    )
    report = make(tmp_path, split="all").report
    assert (report.num_repeated, report.num_contradicting, report.labels) == (1, 1, {"yes": 2, "no": 1})


def test_unknown_labels_are_reported(tmp_path, caplog):
    write(tmp_path, [("images/a.png", "images/b.png", "yes"), ("images/a.png", "images/c.png", "maybe")])
    with pytest.raises(DataError, match=r"'maybe' in 1 rows \(Line 2.*`on_unknown: skip`"):
        make(tmp_path, split="all")
    source = make(tmp_path, split="all", on_unknown="skip")
    assert source.report.num_unknown == 1 and source.size == 1
    assert "'maybe' in 1 rows" in caplog.text


def test_two_images_of_one_name_are_not_taken_for_each_other(tmp_path):
    rows = [("images/x/a.png", "images/b.png", "yes"), ("images/y/a.png", "images/b.png", "no")]
    write(tmp_path, rows, [("a.png", (40, 40)), ("b.png", (40, 40))])
    with pytest.raises(DataError, match="one would be taken for the other"):
        make(tmp_path, split="all")
    write(tmp_path, rows, [("x/a.png", (40, 40)), ("y/a.png", (80, 80)), ("b.png", (40, 40))])
    sizes = {make(tmp_path, split="all", swap=False, sizing={"unit": 20}).sample(i).images[0].size for i in (0, 1)}
    assert sizes == {(40, 40), (80, 80)}


def test_a_missing_image_is_the_fault_of_its_row(tmp_path):
    write(tmp_path, [("images/a.png", "images/b.png", "yes")], [("a.png", (40, 40))])
    with pytest.raises(RowError, match="b.png` must exist") as caught:
        make(tmp_path, split="all").sample(0)
    assert caught.value.kind == "missing image"


def test_a_row_cannot_name_a_file_elsewhere(tmp_path):
    write(tmp_path, [("../secret.png", "images/b.png", "yes")], [("b.png", (40, 40))])
    with pytest.raises(DataError, match="must lie inside"):
        make(tmp_path, split="all").sample(0)


def test_a_question_over_the_token_budget_is_refused_or_shrunk():
    sizes = [(512, 512)] * 4
    assert sum(map(ImageSizing().tokens, sizes)) == 4 * 324
    with pytest.raises(
        DataError, match="4 images of a question become 1296 visual tokens, but `max_tokens` allows 1000"
    ):
        ImageSizing(max_tokens=1000).fitted(sizes)
    shrunk = ImageSizing(max_tokens=1000, on_too_many="shrink").fitted(sizes)
    assert sum(h // 28 * (w // 28) for h, w in shrunk) <= 1000 and len(set(shrunk)) == 1
    with pytest.raises(DataError, match="cannot become fewer than 4"):
        ImageSizing(max_tokens=3, on_too_many="shrink").fitted(sizes)


def test_what_is_transparent_shows_white(tmp_path):
    Image.new("RGBA", (56, 56), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    (image,) = ImageSizing().apply([str(tmp_path / "clear.png")])
    assert image.getpixel((3, 3)) == (255, 255, 255)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"split": "trian"}, "`split` must be all or one of"),
        ({"linked_by": "none"}, "`linked_by`"),
        ({"compat": "twin", "splits": {"train": 1.0}}, "`splits` must be left out"),
        ({"compat": "twin", "linked_by": "all"}, "`linked_by` must be left out"),
        ({"sizing": {"max_sides": 3}}, "`sizing` takes no `max_sides`. Did you mean `max_side`"),
        ({"sizing": {"on_too_many": "cut"}}, "`on_too_many`"),
    ],
)
def test_bad_options_are_refused(tmp_path, options, sentence):
    rows, images = rings(400)
    write(tmp_path, rows, images[:1])
    with pytest.raises(ConfigError, match=sentence):
        make(tmp_path, **options)
