"""Visual-RFT's questions as training puts them, or as the released evaluation does."""

from dataclasses import replace
from typing import Literal, TypeAlias, get_args

from vlmzoo.errors import ConfigError
from vlmzoo.types import Sample

__all__ = ["Template", "check_template", "in_template"]

Template: TypeAlias = Literal["training", "released"]
"""``training``: the very prompt that training used. ``released``: with the literal text ``<image>`` and a line break
before the question, as the authors' evaluation has it (commit 9486633); a changed word may cost accuracy."""

_MARK = "<image>\n"


def check_template(template: str) -> None:
    """Check an option of a benchmark.

    Raises:
        ConfigError: if it is unknown.
    """
    if template not in get_args(Template):
        raise ConfigError(f"`template` must be one of {', '.join(get_args(Template))}, but is {template!r} instead.")


def in_template(question: Sample, template: Template) -> Sample:
    """Return a question as the template puts it."""
    if template == "training":
        return question
    *before, asked = question.messages
    content = [
        {**block, "text": _MARK + block["text"]} if block["type"] == "text" else block for block in asked["content"]
    ]
    return replace(question, messages=[*before, {**asked, "content": content}])
