"""The checks that the tasks' options share."""

from collections.abc import Sequence
from typing import Any

from vlmzoo.errors import ConfigError
from vlmzoo.registry import nearest_hint

__all__ = ["chain_options", "check_chain", "check_choice", "checked_range"]


def check_choice(name: str, value: object, choices: Sequence[object]) -> None:
    """Refuse what is not one of ``choices``, with the nearest one in the message.

    Raises:
        ConfigError: if it is not.
    """
    if value not in choices:
        hint = nearest_hint(str(value), [str(choice) for choice in choices])
        known = ", ".join([f"`{choice}`" for choice in choices])
        raise ConfigError(f"`{name}` must be one of {known}, but is {value!r} instead.{hint}")


def checked_range(name: str, value: int | Sequence[int], *, low: int, high: int, why: str) -> tuple[int, int]:
    """Read a count, or the least and the largest.

    Args:
        name: of the option.
        value: one integer, or two.
        low: the least that is possible.
        high: the largest that is possible.
        why: what sets the limits, for the message.

    Raises:
        ConfigError: if they are no integers, out of the limits, or out of order.
    """
    pair = [value, value] if isinstance(value, int) else value
    is_pair = isinstance(pair, list | tuple) and [type(item) for item in pair] == [int, int]
    if not is_pair or not low <= pair[0] <= pair[1] <= high:
        raise ConfigError(
            f"`{name}` must be an integer, or the least and the largest, from {low} to {high}, but is {value!r} "
            f"instead; {why}."
        )
    return pair[0], pair[1]


def check_chain(*, cot: bool, keep: float, cot_style: str, cot_styles: Sequence[str]) -> None:
    """Check what is asked of a chain of thought.

    Args:
        cot: whether there is one.
        keep: share of it that is left.
        cot_style: how it is written.
        cot_styles: how the task can write it.

    Raises:
        ConfigError: if there is no such style, ``keep`` is no share, or the chain that they are about is not there.
    """
    check_choice("cot_style", cot_style, cot_styles)
    if isinstance(keep, bool) or not isinstance(keep, int | float) or not 0 <= keep <= 1:
        raise ConfigError(f"`keep` must be a share from 0 to 1, but is {keep!r} instead; 1 keeps the whole chain.")
    if not cot and (keep != 1 or cot_style != "standard"):
        raise ConfigError(
            f"`keep` and `cot_style` must be left out with `cot=False`, but are {keep!r} and `{cot_style}` instead: "
            "there is no chain."
        )


def chain_options(task: Any, *, cot: bool, keep: float, cot_style: str) -> dict[str, Any]:
    """Return what the ``response`` and ``sample`` of a task are told about its chain of thought.

    Args:
        task: of the registry; one without ``cot_styles`` has a chain that is whole or left out.
        cot: whether there is one.
        keep: share of it that is left.
        cot_style: how it is written.

    Raises:
        ConfigError: as ``check_chain`` does, or if the task's chain cannot be cut.
    """
    styles = getattr(task, "cot_styles", None)
    check_chain(cot=cot, keep=keep, cot_style=cot_style, cot_styles=styles or ("standard",))
    if styles is not None:
        return {"cot": cot, "keep": keep, "cot_style": cot_style}
    if keep != 1:
        raise ConfigError(
            f"`keep` must be left out with `{task.name}`, but is {keep!r} instead: its targets are short."
        )
    return {"cot": cot}
