import numpy as np
import pytest

from vlmzoo.data.synthetic import KINDS, TASKS

ENTRIES = list(TASKS)


@pytest.mark.parametrize("entry", ENTRIES, ids=[entry.name for entry in ENTRIES])
def test_every_task_draws_samples_of_every_kind(entry):
    task = TASKS.build({"type": entry.name, **entry.tiny})
    assert task.name == entry.name
    for kind in KINDS:
        sample, again = task.sample(kind, 0, 1), task.sample(kind, 0, 1)
        blocks = [block["type"] for message in sample.messages for block in message["content"]]
        assert blocks.count("image") == len(sample.images) == (kind != "text")
        assert sample.messages == again.messages
        assert [image.tobytes() for image in sample.images] == [image.tobytes() for image in again.images]


@pytest.mark.parametrize("entry", ENTRIES, ids=[entry.name for entry in ENTRIES])
def test_both_modes_of_an_image_show_the_same_picture(entry):
    task = TASKS.build({"type": entry.name, **entry.tiny})
    instance = task.instance(0, 0)
    palette = task.image(instance, mode="P")
    assert palette.mode == "P"
    assert np.array_equal(np.asarray(palette.convert("RGB")), np.asarray(task.image(instance)))
