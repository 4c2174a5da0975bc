"""The data of the switch and of Chain-of-Spot, as they lie on disk."""

import json
import shutil

import pytest

from vlmzoo.data.sources import SOURCES, RowError
from vlmzoo.data.sources._tiny import TINY
from vlmzoo.errors import ConfigError, DataError


@pytest.fixture
def spot(tmp_path):
    shutil.copytree(TINY / "spot", tmp_path / "spot")
    return tmp_path / "spot"


@pytest.fixture
def seal(tmp_path):
    shutil.copytree(TINY / "seal", tmp_path / "seal")
    return tmp_path / "seal"


def open_spot(folder, **options):
    paths = {"path": str(folder / "mix.json"), "regions": str(folder / "chain-of-spot.json")}
    return SOURCES.build({"type": "chain_of_spot", **paths, **options})


def open_seal(folder):
    return SOURCES.build({"type": "seal_vqa", "root": str(folder), "files": ["focus.json", "negative.json"]})


def texts(sample):
    return ["".join(block.get("text", "<image>") for block in message["content"]) for message in sample.messages]


def test_a_question_is_asked_in_two_turns(spot):
    sample = open_spot(spot).sample(0)
    assert texts(sample) == [
        '<image>To answer the question: "What is on the left?", where is the region of interest in the image?',
        "[0.25, 0.375, 0.55, 0.675]",
        'The region of interest in the image is <image>\n. Answer the question: "What is on the left?"',
        "A cup.",
    ]
    assert sample.images[1].size == (12, 12)


def test_the_other_turns_follow_and_a_question_without_region_has_the_whole(spot):
    seen = set()
    for seed in range(12):
        sample = open_spot(spot, seed=seed, wording="what").sample(1)
        assert texts(sample) == texts(open_spot(spot, seed=seed, wording="what").sample(1))
        first, said, _, _, rest, last = texts(sample)
        assert rest.startswith("Now answer the following questions based on the raw image: ") and last in (
            "No.",
            "A lamp.",
        )
        if "Is it red?" in first:
            assert said == "[0.0, 0.0, 1.0, 1.0]"
            assert sample.images[1].size == (20, 40)
        else:
            assert said == "[0.375, 0.75, 0.675, 1.0]"
        seen.add(said)
    assert len(seen) == 2


def test_a_conversation_without_an_image_stays_as_it_was(spot):
    assert texts(open_spot(spot).sample(2)) == ["Hello.", "Hello."]


def test_regions_of_another_mix_are_refused(spot):
    mix = json.loads((spot / "mix.json").read_text())
    (spot / "mix.json").write_text(json.dumps(mix[1:]))
    with pytest.raises(RowError, match="region 0 of row 0 must be one of `tall`, but `chain-of-spot.json` has"):
        for seed in range(9):
            open_spot(spot, seed=seed).sample(0)
    (spot / "chain-of-spot.json").write_text(json.dumps({"000000_tall_q0": {"params": [99, 0, 5]}}))
    with pytest.raises(RowError, match="must hold a pixel of its image of 20×40"):
        for seed in range(9):
            open_spot(spot, seed=seed).sample(0)
    (spot / "chain-of-spot.json").write_text("[1]")
    with pytest.raises(DataError, match="must be a mapping of `ROW_ID_qTURN`"):
        open_spot(spot)
    with pytest.raises(ConfigError, match="`wording` must be where or what"):
        open_spot(TINY / "spot", wording="whither")


def test_an_object_is_told_with_its_place_and_read_twice_alike(seal):
    source = open_seal(seal)
    for _ in range(2):
        sample = source.sample(0)
        assert texts(sample)[0] == (
            "<image>Additional visual information to focus on: cup <image> at location [0.167,0.250,0.500,0.500].\n"
            "What color?"
        )
        forms = [block.get("form") for block in sample.messages[0]["content"] if block["type"] == "image"]
        assert forms == ["short", "long"]
        assert "target_instances" not in sample.meta


def test_refusals_and_talk_show_no_object(seal):
    source = open_seal(seal)
    refusal, talk = source.sample(1), source.sample(2)
    assert refusal.messages[0]["content"][0] == {"type": "image", "form": "long"} and len(refusal.images) == 1
    assert texts(talk) == ["Hello.", "Hello."] and not talk.images


def test_instances_that_do_not_fit_are_told(seal):
    rows = json.loads((seal / "focus.json").read_text())

    def refused(match, **changes):
        (seal / "focus.json").write_text(json.dumps([{**rows[0], **changes}]))
        with pytest.raises(RowError, match=match):
            open_seal(seal).sample(0)

    refused("must have an instance, but there are 1 marks and 0 instances", target_instances=[])
    refused("must hold a pixel of its image", target_instances=[{"name": "cup", "bbox": [50, 50, 2, 2]}])
    refused(r"an instance must be `\{name, bbox", target_instances=[{"name": "cup", "bbox": [1, 2]}])
