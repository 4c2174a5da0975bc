"""Rooms with one small thing: reproducible, true to their boxes and masks, and each role as it should be."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlmzoo.data.hidden_glyphs import BELONGS, FURNITURE, GLYPH_COLORS, RoomRules, draw_room
from vlmzoo.data.refusals import missing_objects
from vlmzoo.data.sources import SOURCES
from vlmzoo.data.sources.hidden_glyphs import ROLES, room_options
from vlmzoo.data.synthetic._draws import Draws
from vlmzoo.data.synthetic._scene_rules import COLORS
from vlmzoo.errors import ConfigError
from vlmzoo.geometry import iou

RULES = RoomRules()


def make_source(role, **options):
    return SOURCES.build({"type": "hidden_glyphs", "roles": {role: 1.0}, **options})


def said_by(sample):
    return sample.messages[-1]["content"][0]["text"]


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(["tiny", "large"]), st.integers(0, 10**6))
def test_what_is_told_of_a_target_is_what_is_drawn(size, index):
    room = draw_room(RULES, size, seed=3, index=index)
    pixels = np.asarray(room.picture())
    mask = room.target_mask()
    assert (pixels[mask.array] == COLORS[room.target.color]).all() and mask.area > 0
    box = mask.box()
    assert box.x0 >= room.box.x0 - 1 and box.x1 <= room.box.x1 + 1 and room.box.x0 >= 0 and room.box.x1 <= 256
    assert any(kind == BELONGS[room.target.shape] for kind, _ in room.furniture)
    assert room == draw_room(RULES, size, seed=3, index=index)


def test_most_targets_stand_where_they_belong():
    rooms = [draw_room(RULES, "tiny", seed=0, index=index) for index in range(200)]
    home = [
        any(
            b.x0 <= room.target.x_px <= b.x1 and b.y0 <= room.target.y_px <= b.y1
            for b in room.furniture_boxes(BELONGS[room.target.shape])
        )
        for room in rooms
    ]
    assert 0.75 <= np.mean(home) <= 0.92  # 0.8, and some of the others by chance


@pytest.mark.parametrize("role", sorted(ROLES))
def test_every_role_is_a_conversation_with_an_answer(role):
    source = make_source(role, seed=5)
    for position in range(12):
        sample = source.sample(position)
        assert [message["role"] for message in sample.messages] == ["user", "assistant"]
        assert said_by(sample) == sample.reference and len(sample.images) >= 1
        assert sample.id.startswith(role)


def test_tiny_targets_are_refused_and_large_ones_told():
    for share, is_refused in ((1.0, True), (0.0, False)):
        source = make_source("fast", tiny=share)
        for position in range(8):
            text = said_by(source.sample(position))
            names = missing_objects(text, strict=True)
            assert (names is not None) == is_refused
            assert names[0] in BELONGS if is_refused else text in GLYPH_COLORS


def test_boxes_and_heat_stand_in_the_patch_that_is_shown():
    source = make_source("locate", tiny=0.3, seed=1)
    kinds = set()
    for position in range(150):
        sample = source.sample(position)
        (boxes,), (heat,) = sample.boxes, sample.heat_masks
        assert sample.images[0].size == (96, 96)
        kinds.add("unknown" if boxes is None else "none" if not boxes else "one")
        if boxes is None:
            assert heat is None
        elif boxes:
            found = heat.box()
            assert boxes[0].width < 8 or iou(found, boxes[0]) > 0.5  # a triangle fills its square less than a ring does
            assert boxes[0].width >= 1.0
        else:
            assert heat.area == 0
    assert kinds == {"unknown", "none", "one"}


def test_furniture_and_cues_tell_where_things_belong():
    for position in range(20):
        sample = make_source("furniture", seed=2).sample(position)
        assert any(name in sample.messages[0]["content"][-1]["text"] for name in FURNITURE)
        cue = make_source("cue", seed=2).sample(position)
        shape = cue.messages[0]["content"][-1]["text"].rpartition("location of the ")[2].split()[0]
        assert said_by(cue) == f"The {shape} is most likely to appear on the {BELONGS[shape]}."


def test_options_hold_the_answer_once():
    room = draw_room(RULES, "tiny", seed=0, index=0)
    options = room_options(room, Draws("test", 1))
    assert len(set(options)) == 4 and room.target.color in options


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"roles": {"fasst": 1.0}}, "`roles` takes no `fasst`. Did you mean `fast`?"),
        ({"roles": {"fast": -1.0}}, "The weight of `fast` must be zero or more, but is -1.0"),
        ({"roles": {"fast": 0.0}}, "`roles` must give at least one a positive weight"),
        ({"tiny": 2.0}, "`tiny` must be within"),
        ({"view_px": 200}, "In a view of 200 pixels tiny targets must be below 2 pixels"),
        ({"rules": {"side_px": 8}}, "`side_px` must be at least 64, but is 8"),
        ({"rules": {"tiny": [0.3, 0.1]}}, "`tiny` must be two growing numbers"),
        ({"rules": {"large": [0.1, 0.5]}}, "A room must have at least one piece of furniture"),
        ({"rules": {"at_home": 1.5}}, "`at_home` must be within"),
    ],
)
def test_wrong_options_are_named(options, sentence):
    import re

    with pytest.raises(ConfigError, match=re.escape(sentence)):
        SOURCES.build({"type": "hidden_glyphs", "roles": {"fast": 1.0}, **options})
