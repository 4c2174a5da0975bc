"""What a part of an object is called, in LISA's words."""

from vlmzoo.data.prompts import load_prompts

__all__ = ["part_names"]


def part_names(thing: str, part: str) -> tuple[str, ...]:
    """Return e.g. ``dog head`` and ``the head of the dog``."""
    return tuple(template.format(object=thing, part=part) for template in load_prompts("lisa")["part_names"])
