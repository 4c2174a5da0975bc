"""Tokens that both answers of a preference hold: they can be left out of what is compared.

Source: OViP's released code, ``mask_same_sequence``.
"""

import difflib
from collections.abc import Iterator, Sequence
from typing import Literal, TypeAlias

from vlmzoo.errors import ConfigError
from vlmzoo.outputs import IGNORED_LABEL

__all__ = ["SharedCompat", "mask_shared_tokens", "shared_tokens"]

SharedCompat: TypeAlias = Literal["ovip"] | None
"""``ovip`` aligns the decimal digits of ids, as the released code does through ``difflib.ndiff``."""


def shared_tokens(
    chosen: Sequence[int], rejected: Sequence[int], *, compat: SharedCompat = None
) -> tuple[list[int], list[int]]:
    """Return the places, in each of two answers, of the tokens that they have in common, in order.

    Args:
        chosen: ids of the better answer.
        rejected: ids of the other.
        compat: whose alignment; None aligns ids.

    Returns:
        As many places in one as in the other, pairwise of equal ids.

    Raises:
        ConfigError: if there is no such alignment.
    """
    if compat not in ("ovip", None):
        raise ConfigError(f"`compat` of shared tokens must be ovip or null, but is {compat!r} instead.")
    pairs = list((_ndiff_pairs if compat == "ovip" else _matched_pairs)(chosen, rejected))
    return [one for one, _ in pairs], [other for _, other in pairs]


def mask_shared_tokens(
    chosen: Sequence[int], rejected: Sequence[int], *, compat: SharedCompat = None
) -> tuple[list[int], list[int]]:
    """Return the labels of two answers without the targets that they have in common.

    Args:
        chosen: labels of the better answer's row, -100 where there is no target.
        rejected: of the other's.
        compat: as for :func:`shared_tokens`.

    Returns:
        Labels of the same lengths. Equal answers have no target left.
    """
    masked = ([*chosen], [*rejected])
    targets = [[place for place, id in enumerate(labels) if id != IGNORED_LABEL] for labels in masked]
    ids = [[labels[place] for place in places] for labels, places in zip(masked, targets, strict=True)]
    for labels, places, shared in zip(masked, targets, shared_tokens(ids[0], ids[1], compat=compat), strict=True):
        for number in shared:
            labels[places[number]] = IGNORED_LABEL
    return masked


def _matched_pairs(chosen: Sequence[int], rejected: Sequence[int]) -> Iterator[tuple[int, int]]:
    for block in difflib.SequenceMatcher(None, chosen, rejected, autojunk=False).get_matching_blocks():
        yield from ((block.a + offset, block.b + offset) for offset in range(block.size))


def _ndiff_pairs(chosen: Sequence[int], rejected: Sequence[int]) -> Iterator[tuple[int, int]]:
    one = other = 0
    for line in difflib.ndiff([str(id) for id in chosen], [str(id) for id in rejected]):
        if line[0] == " ":
            yield one, other
        one += line[0] in " -"
        other += line[0] in " +"
