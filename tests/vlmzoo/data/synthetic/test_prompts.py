import pytest

from vlmzoo.data.prompts import load_prompts
from vlmzoo.errors import ConfigError


def test_prompts_say_where_they_come_from():
    source = load_prompts("s2h")["source"]
    assert set(source) == {"repository", "commit", "paper", "licence"}
    assert len(source["commit"]) == 40


def test_the_vocabulary_is_whole():
    vocabulary = load_prompts("s2h")["vocabulary"]
    assert len(set(vocabulary["products"])) == 100
    assert len(set(vocabulary["months"])) == 12


def test_unknown_systems_are_refused():
    with pytest.raises(ConfigError, match="Did you mean `s2h`"):
        load_prompts("s2")
