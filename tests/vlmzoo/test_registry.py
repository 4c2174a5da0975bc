import importlib.metadata
import sys
import types

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmzoo.errors import ConfigError, RegistryError
from vlmzoo.registry import PLUGIN_GROUP, Registry, nearest_hint

# A home of their own, so that no test sees another's entries.
HOME = types.ModuleType("vlmzoo_test_home")
HOME.__path__ = []
sys.modules["vlmzoo_test_home"] = HOME


def make_registry() -> Registry:
    return Registry("lamp", "vlmzoo_test_home")


def make_filled() -> Registry:
    registry = make_registry()

    @registry.register("desk", source="Lamps, section 1", tiny={"height": 1})
    class Desk:
        def __init__(self, *, height, colour="red", room=None):
            self.height, self.colour, self.room = height, colour, room

    return registry


def test_a_registered_name_is_built_with_its_arguments():
    lamp = make_filled().build({"type": "desk", "height": 3}, room="hall")
    assert (lamp.height, lamp.colour, lamp.room) == (3, "red", "hall")


def test_the_tiny_arguments_are_enough_to_build():
    entry = make_filled().entry("desk")
    assert entry.build(**entry.tiny).height == 1
    assert entry.source == "Lamps, section 1"


def test_building_leaves_the_spec_as_it_was():
    spec = {"type": "desk", "height": 3}
    make_filled().build(spec)
    assert spec == {"type": "desk", "height": 3}


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(RegistryError, match=r"There is no lamp named `desc`\. Did you mean `desk`\? Known: `desk`\."):
        make_filled().build({"type": "desc"})


def test_a_misspelt_argument_is_answered_with_the_nearest():
    with pytest.raises(ConfigError, match=r"lamp `desk` takes no `hight`\. Did you mean `height`\?"):
        make_filled().build({"type": "desk", "hight": 3})


def test_a_missing_argument_is_named():
    with pytest.raises(ConfigError, match="lamp `desk`: missing a required argument: 'height'"):
        make_filled().build({"type": "desk"})


def test_an_argument_that_the_library_gives_may_not_stand_in_the_spec():
    with pytest.raises(ConfigError, match="is given `room` by the library; leave it out"):
        make_filled().build({"type": "desk", "height": 1, "room": "mine"}, room="hall")


@pytest.mark.parametrize("spec", [{}, {"height": 1}, {"type": 3}, "desk", None, ["desk"]])
def test_a_spec_without_a_type_is_refused_with_its_value(spec):
    with pytest.raises(ConfigError, match="must be a mapping with a `type`"):
        make_filled().build(spec)


def test_a_name_registered_twice_names_both_places():
    registry = make_filled()
    with pytest.raises(RegistryError, match=r"registered twice: by .*Desk and by .*Other"):

        @registry.register("desk", source="elsewhere", tiny={})
        class Other:
            pass


def test_registering_the_same_constructor_again_changes_nothing():
    registry = make_filled()
    entry = registry.entry("desk")
    registry.register("desk", source=entry.source, tiny=entry.tiny)(entry.build)
    assert registry.names() == ["desk"]


@pytest.mark.parametrize("source", ["", "  "])
def test_an_empty_source_is_refused(source):
    with pytest.raises(RegistryError, match="must name its `source`"):
        make_registry().register("desk", source=source, tiny={})


def test_names_are_sorted_and_iterable_and_contained():
    registry = make_registry()
    for name in ("b", "a", "c"):
        registry.register(name, source="s", tiny={})(lambda: None)
    assert registry.names() == [entry.name for entry in registry] == ["a", "b", "c"]
    assert "a" in registry
    assert "d" not in registry


def test_the_modules_of_the_home_are_imported_on_the_first_look_up(tmp_path, monkeypatch):
    home = tmp_path / "lamps_home"
    home.mkdir()
    (home / "__init__.py").write_text("from vlmzoo.registry import Registry\nLAMPS = Registry('lamp', 'lamps_home')\n")
    (home / "floor.py").write_text(
        "from lamps_home import LAMPS\n@LAMPS.register('floor', source='s', tiny={})\ndef floor():\n    return 7\n"
    )
    (home / "_private.py").write_text("raise AssertionError('private modules hold no entries')\n")
    monkeypatch.syspath_prepend(tmp_path)
    from lamps_home import LAMPS

    assert "lamps_home.floor" not in sys.modules
    assert LAMPS.build({"type": "floor"}) == 7


def test_plug_ins_are_loaded_on_the_first_look_up(monkeypatch):
    registry = make_registry()
    asked = []

    class Plugin:
        def load(self):
            registry.register("plugged", source="s", tiny={})(lambda: 1)

    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: asked.append(group) or [Plugin()])
    assert registry.names() == registry.names() == ["plugged"]
    assert asked == [PLUGIN_GROUP]


def test_check_builds_nothing():
    registry = make_registry()
    built = []

    @registry.register("lamp", source="s", tiny={})
    def lamp(*, height):
        built.append(height)

    registry.check({"type": "lamp", "height": 1})
    assert not built


@given(st.text(st.characters(codec="ascii", categories=["L"]), min_size=3), st.data())
def test_a_name_with_one_letter_dropped_finds_itself(name, data):
    place = data.draw(st.integers(0, len(name) - 1))
    assert nearest_hint(name[:place] + name[place + 1 :], [name]) == f" Did you mean `{name}`?"


@given(st.text())
def test_nothing_is_near_where_there_is_nothing(name):
    assert nearest_hint(name, []) == ""
