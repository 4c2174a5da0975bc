import inspect
import re

import pytest

import vlmzoo
from vlmzoo.errors import RegistryError
from vlmzoo.plugins import KINDS, registry_of
from vlmzoo.registry import Registry


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_has_a_registry_whose_entries_can_be_listed(kind):
    registry = registry_of(kind)
    assert isinstance(registry, Registry)
    assert registry.names()


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_entry_names_its_source(kind):
    assert all(entry.source.strip() for entry in registry_of(kind))


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_tiny_example_fits_the_signature_of_its_entry(kind):
    for entry in registry_of(kind):
        inspect.signature(entry.build).bind_partial(**entry.tiny)


def test_every_registry_of_the_package_is_a_kind(repository):
    package = repository / "vlmzoo"
    found = {
        (".".join(["vlmzoo", *path.relative_to(package).parent.parts]), name)
        for path in package.rglob("__init__.py")
        for name in re.findall(r"^(\w+): Registry\[", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    }
    assert found == set(KINDS.values())


def test_a_decorated_function_of_another_package_can_be_built_by_name(monkeypatch):
    scores = registry_of("score")
    assert scores.names()  # filled, so that what is put back is the whole
    monkeypatch.setattr(scores, "_entries", dict(scores._entries))

    @vlmzoo.register("score", "always_one", source="this test", tiny={})
    def always_one():
        return lambda completion, reference: 1.0

    assert scores.build({"type": "always_one"})("a", "b") == 1.0


def test_an_unknown_kind_is_answered_with_the_nearest():
    with pytest.raises(RegistryError, match=r"There is no kind named `scores`\. Did you mean `score`\?"):
        vlmzoo.register("scores", "x", source="s", tiny={})
