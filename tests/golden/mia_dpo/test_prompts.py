"""Questions about one of several images, word for word."""

import pytest

from vlmzoo.data.mia.questions import multi_image_questions
from vlmzoo.errors import DataError

GOLDEN = ("mia_dpo", "prompts.jsonl")


def ask(content):
    return multi_image_questions(
        content["kind"],
        [content["question_turn1"], content["question_turn2"]],
        num_images=content["n_images"],
        target=content["target"],
        phrase=content["pip_phrase"] or "",
    )


def test_questions_are_the_authors(golden):
    if golden.content["label"] == "bug":  # an empty question breaks theirs; ours says which
        with pytest.raises(DataError, match="must say something"):
            ask(golden.content)
    else:
        assert ask(golden.content) == golden.content["output"]
