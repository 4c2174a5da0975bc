import numpy as np
import pytest

from vlmzoo.data.synthetic import KINDS, TASKS
from vlmzoo.errors import ConfigError

ENTRIES = list(TASKS)
REASONING = [entry for entry in ENTRIES if hasattr(TASKS.build({"type": entry.name, **entry.tiny}), "cot_styles")]


@pytest.mark.parametrize("entry", ENTRIES, ids=[entry.name for entry in ENTRIES])
def test_every_task_draws_samples_of_every_kind(entry):
    task = TASKS.build({"type": entry.name, **entry.tiny})
    assert task.name == entry.name
    for kind in KINDS:
        sample, again = task.sample(kind, 0, 1), task.sample(kind, 0, 1)
        blocks = [block["type"] for message in sample.messages for block in message["content"]]
        assert blocks.count("image") == len(sample.images) == (0 if kind == "text" else getattr(task, "num_images", 1))
        assert sample.messages == again.messages
        assert [image.tobytes() for image in sample.images] == [image.tobytes() for image in again.images]


@pytest.mark.parametrize("entry", ENTRIES, ids=[entry.name for entry in ENTRIES])
def test_both_modes_of_an_image_show_the_same_picture(entry):
    task = TASKS.build({"type": entry.name, **entry.tiny})
    instance = task.instance(0, 0)
    palette = task.image(instance, mode="P")
    assert palette.mode == "P"
    assert np.array_equal(np.asarray(palette.convert("RGB")), np.asarray(task.image(instance)))


@pytest.mark.parametrize("entry", REASONING, ids=[entry.name for entry in REASONING])
def test_a_chain_of_thought_can_be_whole_cut_or_left_out(entry):
    """What is internalised is cut off the end of the chain; the conversion before it and the answer behind it stay."""
    task = TASKS.build({"type": entry.name, **entry.tiny})
    instance = task.instance(0, 3)
    for style in task.cot_styles:
        for kind in ("text", "image", "image_via_text"):
            whole, none = task.response(instance, kind, cot_style=style), task.response(instance, kind, cot=False)
            assert task.response(instance, kind, cot_style=style, keep=1) == whole
            assert task.response(instance, kind, cot_style=style, keep=0) == none
            lengths = [len(task.response(instance, kind, cot_style=style, keep=step / 8)) for step in range(9)]
            assert lengths == sorted(set(lengths))
        for keep in (0, 0.4, 1):
            target = task.response(instance, "conversion", cot_style=style, keep=keep)
            assert target == task.response(instance, "conversion", cot=False)
            assert task.text_form(instance).rstrip("\n") in target


@pytest.mark.parametrize("entry", REASONING, ids=[entry.name for entry in REASONING])
def test_styles_of_a_chain_differ(entry):
    task = TASKS.build({"type": entry.name, **entry.tiny})
    instances = [task.instance(0, index) for index in range(8)]
    chains = {
        style: tuple(task.response(item, "text", cot_style=style) for item in instances) for style in task.cot_styles
    }
    assert task.cot_styles[0] == "standard"
    assert len(set(chains.values())) == len(chains)
    for style, chain in chains.items():
        sample = task.sample("text", 0, 0, cot_style=style)
        assert sample.messages[1]["content"][0]["text"] == chain[0]


@pytest.mark.parametrize("entry", REASONING, ids=[entry.name for entry in REASONING])
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"keep": -0.1}, "`keep` must be a share from 0 to 1, but is -0.1"),
        ({"keep": 1.5}, "`keep` must be a share"),
        ({"keep": float("nan")}, "`keep` must be a share"),
        ({"keep": True}, "`keep` must be a share"),
        ({"keep": "half"}, "`keep` must be a share"),
        ({"keep": 0.5, "cot": False}, "must be left out with `cot=False`, but are 0.5"),
        ({"cot_style": "template", "cot": False}, "must be (left out with `cot=False`|one of)"),
        ({"cot_style": "standart"}, "`cot_style` must be one of .* Did you mean `standard`"),
    ],
)
def test_chains_that_cannot_be_written_are_refused(entry, options, words):
    with pytest.raises(ConfigError, match=words):
        TASKS.build({"type": entry.name, **entry.tiny}).sample("text", 0, 0, **options)


def test_the_tasks_of_s2h_reason():
    names = {"consecutive_table_readout", "table_readout", "grid_navigation", "visual_analogy"}
    assert names <= {entry.name for entry in REASONING}
