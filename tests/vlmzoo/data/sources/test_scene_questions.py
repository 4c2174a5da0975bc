"""Questions about drawn scenes: refused or answered with their object, and asked in two turns."""

import pytest

from vlmzoo.config import load_config
from vlmzoo.data.refusals import missing_objects
from vlmzoo.data.regions import read_region
from vlmzoo.data.sources import SOURCES
from vlmzoo.errors import ConfigError
from vlmzoo.geometry import Frame
from vlmzoo.runs import train_run
from vlmzoo.runs.journal import read_journal


def build(**options):
    return SOURCES.build({"type": "scene_questions", **options})


def texts(message):
    content = message["content"]
    return content if isinstance(content, str) else "".join(block.get("text", "") for block in content)


def test_what_is_refused_names_the_object_that_the_answered_shows():
    source = build(protocol="switch", refused=0.5)
    kinds = []
    for position in range(12):
        sample = source.sample(position)
        asked, said = (texts(message) for message in sample.messages)
        missing = missing_objects(said)
        kinds.append(missing is not None)
        if missing is not None:
            assert len(sample.images) == 1 and f"the {missing[0]}?" in asked
        else:
            assert len(sample.images) == 2 and "location" in asked.lower()
            assert [block["form"] for block in sample.messages[0]["content"] if block["type"] == "image"] == [
                "short",
                "long",
            ]
    assert sum(kinds) == 6


@pytest.mark.parametrize("refused", [0.0, 1.0])
def test_all_or_none_may_be_refused(refused):
    source = build(protocol="switch", refused=refused)
    assert all((len(source.sample(n).images) == 1) == bool(refused) for n in range(4))


def test_the_region_that_is_told_is_the_one_that_is_shown():
    source = build(protocol="roi")
    for position in range(6):
        sample = source.sample(position)
        picture, crop = sample.images
        frame = Frame.original("scene", width=picture.width, height=picture.height)
        region = read_region(texts(sample.messages[1]), square=frame.padded_to_square(align="center"), least_side_px=1)
        assert region.fault is None
        wide, high = region.box.to(frame).xyxy[2] - region.box.to(frame).xyxy[0], crop.height
        assert abs(wide - crop.width) <= 1 and high >= 1
        assert len(sample.messages) == 4


def test_samples_are_a_function_of_their_place_and_another_seed_gives_others():
    one, again, other = (build(protocol="switch", seed=seed).sample(3) for seed in (0, 0, 1))
    assert one.messages == again.messages and one.images[0].tobytes() == again.images[0].tobytes()
    assert one.images[0].tobytes() != other.images[0].tobytes()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"protocol": "look"}, "`protocol` must be switch or roi, but is 'look'"),
        ({"protocol": "roi", "refused": 0.5}, "is 0.5 with `roi`"),
        ({"protocol": "switch", "refused": 2}, r"within \[0, 1\]"),
        ({"protocol": "roi", "scenes": {"num_colours": 3}}, "num_colours"),
    ],
)
def test_what_it_does_not_know_is_refused(options, sentence):
    with pytest.raises((ConfigError, TypeError), match=sentence):
        build(**options)


@pytest.mark.parametrize("name", ["switch", "roi"])
def test_the_tiny_runs_learn(name, tmp_path):
    run = train_run(load_config(f"tiny/{name}", [f"output_dir={tmp_path}/run", "num_steps=4", "report_to=[]"]))
    losses = [line["loss"] for line in read_journal(run.folder.journal)]
    assert len(losses) == 4 and losses[-1] < losses[0] - 0.1
