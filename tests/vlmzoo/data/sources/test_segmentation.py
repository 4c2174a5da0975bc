"""Segmentation sets as LISA reads them, from trees that the tests draw."""

import json
import pickle

import numpy as np
import pytest
from PIL import Image

from tests.vlmzoo.data.sources.lisa_tree import draw_labels, draw_lisa_tree, draw_picture
from tests.vlmzoo.data.sources.reading import turns_of
from vlmzoo.config import load_config
from vlmzoo.data.checking import check_source
from vlmzoo.data.prompts import load_prompts
from vlmzoo.data.sources import SOURCES, RowError
from vlmzoo.errors import ConfigError, DataError

NAMES = ("ade20k", "cocostuff", "mapillary", "pascal_part", "paco_lvis", "refer_seg", "reason_seg", "llava_instruct")
SEGMENTED = NAMES[:-1]


@pytest.fixture
def root(tmp_path):
    return draw_lisa_tree(tmp_path / "my images.jpg cocostuff v2.0")  # words that the layouts use, too


def make_source(name, root, **options):
    return SOURCES.build({"type": name, "root": str(root), **options})


def phrases_of(source, index=0):
    """Return the area of each phrase, and of what is ignored."""
    found = {}
    for phrase in source.read(index).phrases:
        ignored = 0 if phrase.ignored is None else phrase.ignored().area
        found[(phrase.text, *phrase.other_texts)] = (phrase.mask().area, ignored)
    return found


def test_ade20k_label_0_is_ignored_and_an_image_without_classes_gives_way(root):
    source = make_source("ade20k", root)
    assert phrases_of(source) == {("wall",): (8, 8), ("building",): (8, 8)}
    assert not source.read(1).phrases
    assert source.sample(1).images[0].name == "ADE_train_00000001.jpg"


def test_ade20k_names_may_come_from_the_set(root, tmp_path):
    path = tmp_path / "objectInfo150.txt"
    path.write_text(
        "Idx\tRatio\tTrain\tVal\tStuff\tName\n1\t0\t0\t0\t1\twalls, x\n2\t0\t0\t0\t1\thouse\n", encoding="utf-8"
    )
    assert set(phrases_of(make_source("ade20k", root, classes_file=str(path)))) == {("walls",), ("house",)}


def test_ade20k_in_its_full_edition_is_refused(root):
    path = root / "ade20k" / "annotations" / "training" / "ADE_train_00000001.png"
    Image.new("RGB", (6, 4)).save(path)
    with pytest.raises(RowError, match="3 channels instead; this is another edition"):
        make_source("ade20k", root).sample(0)


def test_cocostuff_drops_hyphenated_classes_unless_told_otherwise(root):
    assert phrases_of(make_source("cocostuff", root)) == {("person",): (8, 12), ("motorcycle",): (4, 12)}
    kept = phrases_of(make_source("cocostuff", root, drop_hyphenated=False))
    assert kept == {("person",): (8, 4), ("motorcycle",): (4, 4), ("building-other",): (8, 4)}


def test_cocostuff_reads_its_file_of_classes(root, tmp_path):
    path = tmp_path / "classes.txt"
    lines = ["0: unlabeled", "1: man", *(f"{k}: x{k}" for k in range(2, 183))]
    path.write_text("\n".join(lines), encoding="utf-8")
    assert ("man",) in phrases_of(make_source("cocostuff", root, classes_file=str(path)))
    path.write_text("1: man", encoding="utf-8")
    with pytest.raises(DataError, match="must begin with `0: unlabeled`"):
        make_source("cocostuff", root, classes_file=str(path))


def test_mapillary_reads_palette_places_and_leaves_out_what_is_not_evaluated(root):
    assert phrases_of(make_source("mapillary", root)) == {("bird",): (8, 8), ("road side",): (8, 8)}
    everything = phrases_of(make_source("mapillary", root, drop_unjudged=False))
    assert everything[("unlabeled",)] == (8, 0)


def test_pascal_parts_overlap_once_and_are_called_in_two_ways(root):
    source = make_source("pascal_part", root)
    assert phrases_of(source) == {
        ("dog head", "the head of the dog"): (24, 0),  # 12 + 16 pixels, 4 of them twice
        ("potted plant pot", "the pot of the potted plant"): (12, 0),
    }
    assert not source.read(1).phrases
    first = source.read(0).phrases[0].mask()
    assert first.box().xyxy == (2.0, 1.0, 8.0, 6.0)
    said = {turns_of(make_source("pascal_part", root, seed=seed).sample(0))[0][1] for seed in range(40)}
    assert any("dog head" in text for text in said)
    assert any("the head of the dog" in text for text in said)


def test_a_pascal_category_without_a_part_is_refused(root):
    path = root / "vlpart" / "pascal_part" / "train.json"
    path.write_text(path.read_text(encoding="utf-8").replace("dog:head", "dog"), encoding="utf-8")
    with pytest.raises(DataError, match="must be `object:part`, but is `dog`"):
        make_source("pascal_part", root)


def test_paco_names_lose_their_brackets_and_instances_merge_on_demand(root):
    source = make_source("paco_lvis", root)
    texts = [(phrase.text, phrase.mask().area) for phrase in source.read(0).phrases]
    assert texts == [("dog head", 12), ("trash can", 12), ("trash can", 16)]
    assert [phrase.text for phrase in source.read(1).phrases] == ["mouse scroll wheel"]
    merged = make_source("paco_lvis", root, merge_instances=True, underscore_to_space=False)
    # rows 2-4, columns 3-6 and rows 2-5, columns 4-7 share nine pixels
    assert [(p.text, p.mask().area) for p in merged.read(0).phrases] == [("dog head", 12), ("trash_can", 19)]


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_refcoco_reads_pickles_of_all_protocols(tmp_path, protocol):
    root = draw_lisa_tree(tmp_path, protocol=protocol)
    source = make_source("refer_seg", root, dataset="refcoco")
    assert source.num_images == 1
    assert [(p.text, p.mask().area) for p in source.read(0).phrases] == [("left box", 24), ("box", 24), ("nothing", 0)]
    other = make_source("refer_seg", root, dataset="refcoco", split="testA")
    assert [(p.text, p.mask().area) for p in other.read(0).phrases] == [("the man", 12)]


@pytest.mark.parametrize("dataset", ["refcoco+", "refcocog"])
def test_its_sisters_are_read_alike(root, dataset):
    assert make_source("refer_seg", root, dataset=dataset).num_images == 1


def test_refclef_has_ids_of_text_and_combined_splits(root):
    for split, text in (("train", "the sky"), ("testA", "sky"), ("testB", "sky"), ("test", "sky"), ("testAB", "sky")):
        source = make_source("refer_seg", root, dataset="refclef", split=split)
        assert [(p.text, p.mask().area) for p in source.read(0).phrases] == [(text, 12)]
    with pytest.raises(DataError, match="must have references of split `testC`, but has those of testAB, train"):
        make_source("refer_seg", root, dataset="refclef", split="testC")


def test_refcoco_prefers_json_and_is_found_without_its_upper_folder(root):
    folder = root / "refer_seg" / "refcoco"
    refs = pickle.loads((folder / "refs(unc).p").read_bytes())
    (folder / "refs(unc).json").write_text(json.dumps(refs[:1]), encoding="utf-8")
    source = make_source("refer_seg", root / "refer_seg")
    assert [p.text for p in source.read(0).phrases] == ["left box", "box"]


def test_reason_seg_paints_small_shapes_over_large_ones(root):
    source = make_source("reason_seg", root)
    (first, _), (other,) = source.read(0).phrases, source.read(1).phrases
    assert (first.text, first.is_sentence, other.is_sentence) == ("Where\u2019s the food?", True, False)
    assert (first.mask().area, first.ignored().area) == (76, 12)
    assert first.mask().box().xyxy == (2.0, 2.0, 13.0, 10.0)
    assert other.mask().area == 0
    assert other.ignored().area > 0


def test_reason_seg_explains_in_the_authors_shares(root):
    counts = {"words": 0, "both": 0, "mask": 0}
    for seed in range(600):
        sample = make_source("reason_seg", root, explanatory=0.1, seed=seed).sample(0)
        question, answer = (text for _, text in turns_of(sample))
        explained = "Because one can eat it." in answer
        kind = "mask" if not explained else "both" if sample.masks else "words"
        counts[kind] += 1
        assert ("[SEG]" in answer) == bool(sample.masks)
        assert ("explain" in question or "explanation" in question) == (kind == "both")
    assert 35 < counts["words"] < 90  # 60 expected
    assert abs(counts["both"] - counts["mask"]) < 80


def test_llava_instruct_has_no_masks(root):
    source = make_source("llava_instruct", root)
    assert source.size == 2
    assert not source.sample(0).masks
    assert turns_of(source.sample(1)) == [("user", "[image]\nAnd this?"), ("assistant", "Another.")]


@pytest.mark.parametrize("name", SEGMENTED)
def test_questions_are_the_authors_and_every_seg_has_its_mask(root, name):
    prompts = load_prompts("lisa")
    source = make_source(name, root, rounds=3, draws=4)
    assert source.size == 4 * source.num_images
    seen = set()
    for position in range(source.size):
        sample, again = source.sample(position), source.sample(position)
        turns = turns_of(sample)
        assert turns == turns_of(again)
        assert list(sample.masks) == list(again.masks)
        assert sum(text.count("[SEG]") for role, text in turns if role == "assistant") == len(sample.masks)
        assert len(turns) <= 6
        assert all(text in prompts["answers"] for role, text in turns if role == "assistant")
        assert not sample.ignored_masks or len(sample.ignored_masks) == len(sample.masks)
        seen.add(tuple(turns))
    assert len(seen) > source.num_images / 2  # draws differ


@pytest.mark.parametrize("name", NAMES)
def test_data_check_finds_no_fault(root, name):
    found = check_source(make_source(name, root), decode=True)
    assert not found.faults, found.first_faults
    assert found.num_rows in (1, 2)
    assert bool(found.num_masks) == (name in SEGMENTED)
    assert found.num_empty_masks == (name == "reason_seg")


@pytest.mark.parametrize("name", SEGMENTED)
def test_missing_images_are_told_at_once_or_left_out(root, name):
    source = make_source(name, root)
    source.read(0).image.unlink()
    with pytest.raises(DataError, match="must exist, but 1 of"):
        make_source(name, root)
    if source.num_images > 1:
        assert make_source(name, root, on_missing="skip").num_images == source.num_images - 1
    else:
        with pytest.raises(DataError, match="must exist, but 1 of 1 do not"):
            make_source(name, root, on_missing="skip")
    with pytest.raises(ConfigError, match="`on_missing` must be error or skip"):
        make_source(name, root, on_missing="hope")


@pytest.mark.parametrize("name", [name for name in SEGMENTED if name != "reason_seg"])
def test_an_image_of_another_size_than_its_masks_is_refused(root, name):
    source = make_source(name, root)
    draw_picture(source.read(0).image, (12, 9))
    with pytest.raises(RowError, match="that were annotated, but has 12×9 instead") as caught:
        source.sample(0)
    assert caught.value.kind == "mask size"


@pytest.mark.parametrize("name", NAMES)
def test_a_root_without_the_set_is_told(tmp_path, name):
    with pytest.raises(DataError, match="check `root`|does not exist"):
        make_source(name, tmp_path)


def test_files_that_are_cut_off_are_named(root):
    labels = root / "ade20k" / "annotations" / "training" / "ADE_train_00000001.png"
    labels.write_bytes(labels.read_bytes()[:30])
    with pytest.raises(RowError, match="labels `.*ADE_train_00000001.png` cannot be read"):
        make_source("ade20k", root).sample(0)
    instances = root / "refer_seg" / "refcoco" / "instances.json"
    instances.write_text(instances.read_text(encoding="utf-8")[:50], encoding="utf-8")
    with pytest.raises(DataError, match="instances.json` must be JSON"):
        make_source("refer_seg", root)
    (root / "reason_seg" / "ReasonSeg" / "train" / "c.json").write_text("{}", encoding="utf-8")
    with pytest.raises(RowError, match="must have a list of texts `text`"):
        make_source("reason_seg", root).sample(1)


def test_a_reference_to_nothing_is_told(root):
    folder = root / "refer_seg" / "refcoco"
    refs = pickle.loads((folder / "refs(unc).p").read_bytes())
    refs[0]["ann_id"] = 99
    (folder / "refs(unc).p").write_bytes(pickle.dumps(refs))
    with pytest.raises(RowError, match="reference `0` is to annotation `99`, which is not there"):
        make_source("refer_seg", root).sample(0)


def test_repeated_ids_are_refused(root):
    path = root / "vlpart" / "pascal_part" / "train.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["annotations"].append(content["annotations"][0])
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(DataError, match="must have an `id` each, all different"):
        make_source("pascal_part", root)


def test_a_set_in_which_nothing_can_be_asked_is_told(root):
    for number in (1, 2):
        draw_labels(root / "ade20k" / "annotations" / "training" / f"ADE_train_0000000{number}.png", np.zeros((4, 6)))
    with pytest.raises(RowError, match="have nothing to ask for"):
        make_source("ade20k", root).sample(0)
    with pytest.raises(ConfigError, match="at least 1"):
        make_source("ade20k", root, rounds=0)


def rooted(spec, root):
    """Return a spec of sources with every ``root`` replaced."""
    if isinstance(spec, dict):
        return {key: str(root) if key == "root" else rooted(value, root) for key, value in spec.items()}
    return [rooted(value, root) for value in spec] if isinstance(spec, list) else spec


@pytest.mark.parametrize(
    ("name", "rates"),
    [
        ("lisa/7b", {"sem_seg": 9, "refer_seg": 3, "vqa": 3, "reason_seg": 1}),
        ("fast/seg_7b", {"sem_seg": 3, "refer_seg": 1}),
    ],
)
def test_the_authors_mixtures_draw_at_their_rates(root, name, rates):
    source = SOURCES.build(rooted(load_config(name).experience["source"], root))
    samples = [source.sample(position) for position in range(800)]
    shares = {key: np.mean([sample.id.startswith(f"{key}/") for sample in samples]) for key in rates}
    for key, rate in rates.items():
        assert shares[key] == pytest.approx(rate / sum(rates.values()), abs=0.01)
    for part in ("sem_seg", "refer_seg"):  # within them all sets are equally likely
        inner = [sample.id.split("/")[1] for sample in samples if sample.id.startswith(f"{part}/")]
        counts = [inner.count(one) for one in set(inner)]
        assert len(counts) == {"sem_seg": 5, "refer_seg": 4}[part]
        assert max(counts) - min(counts) <= 4
