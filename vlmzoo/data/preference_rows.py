"""Which rows a preference is learned from: the text and the picture of each, and the part that it plays in the loss.

A row's *role* says what it stands for: ``chosen`` and ``rejected`` are the two answers to the picture that was asked
about; ``chosen|negative_image`` is the better answer beside a picture that contradicts it; ``chosen|no_image`` is the
better answer where nothing is seen. ``mirrored|…`` is the same part with the sides exchanged: beside the negative image
the worse answer is the right one. Losses name roles and never count rows.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from vlmzoo.errors import ConfigError, ShapeError
from vlmzoo.registry import nearest_hint

__all__ = ["LAYOUTS", "MIRRORED", "PreferenceRow", "layout_of", "mirrored", "row_of", "rows_by_role", "rows_of"]

Text: TypeAlias = Literal["chosen", "rejected"]
Picture: TypeAlias = Literal["positive", "negative", "none", "blank", "cropped"]

MIRRORED = "mirrored|"
"""What the roles of the mirrored pair begin with."""

_PLAIN: Mapping[str, tuple[Text, Picture]] = {
    "chosen": ("chosen", "positive"),
    "rejected": ("rejected", "positive"),
    "chosen|negative_image": ("chosen", "negative"),
    "rejected|negative_image": ("rejected", "negative"),
    "chosen|no_image": ("chosen", "none"),
}
_EXCHANGED: Mapping[str, tuple[Text, Picture]] = {
    "chosen": ("rejected", "negative"),
    "rejected": ("chosen", "negative"),
    "chosen|negative_image": ("rejected", "positive"),
    "rejected|negative_image": ("chosen", "positive"),
    "chosen|no_image": ("rejected", "none"),
}

Blocks: TypeAlias = Sequence[Sequence[str]]
"""Roles in the order of the rows: block after block, within a block pair after pair, within a pair role after role."""

_TWO, _THREE = (("chosen",), ("rejected",)), (("chosen",), ("rejected", "chosen|negative_image"))
_REFERENCED = (("chosen",), ("chosen|negative_image",), ("chosen|no_image",))
_ALL = (("chosen",), ("chosen|negative_image",), ("rejected",), ("chosen|no_image",))


def mirrored(role: str) -> str:
    """Return the role of the same part on the other side."""
    return role.removeprefix(MIRRORED) if role.startswith(MIRRORED) else MIRRORED + role


def _doubled(blocks: Blocks) -> Blocks:
    return [[name for role in block for name in (role, mirrored(role))] for block in blocks]


LAYOUTS: Mapping[tuple[str, str], Blocks] = {
    ("dpo", "single"): _TWO,
    ("mdpo", "single"): _THREE,
    ("vtcl", "single"): _THREE,
    ("ori_mdpo", "single"): _THREE,
    ("svco_noref", "single"): (("chosen",), ("rejected|negative_image",)),
    ("svco_ref", "single"): _REFERENCED,
    ("svco_textref", "single"): _REFERENCED,
    ("orm", "single"): _ALL,
    ("vtcl", "same_batch"): (("chosen", "mirrored|chosen"), ("rejected", "chosen|negative_image")),
    ("svco_noref", "same_batch"): (("chosen", "chosen|negative_image"), ("rejected", "mirrored|chosen")),
    ("svco_ref", "same_batch"): _doubled(_REFERENCED),
    ("svco_textref", "same_batch"): _doubled(_REFERENCED),
    ("orm", "same_batch"): _doubled(_ALL),
}
"""Rows by strategy and mode, in the order of the authors' collators (OViP, arXiv:2505.15963; S-VCO)."""

_PICTURES: Mapping[str, Mapping[Picture, Picture]] = {
    "svco_ref": {"none": "blank"},  # a white picture stands for nothing seen
    "ori_mdpo": {"negative": "cropped"},  # the same picture, cropped
}


@dataclass(frozen=True, kw_only=True)
class PreferenceRow:
    """One row of a batch of preferences.

    Args:
        pair: which pair it belongs to, from 0.
        role: the part it plays.
        text: which of the two answers it holds.
        picture: what it is shown; ``none`` leaves the image tokens out, ``blank`` is white, ``cropped`` a piece of the
            picture that was asked about.
    """

    pair: int
    role: str
    text: Text
    picture: Picture


def layout_of(strategy: str, mode: str) -> Blocks:
    """Return the rows of a strategy.

    Raises:
        ConfigError: if the strategy is unknown, or has no such mode.
    """
    modes = [known for name, known in LAYOUTS if name == strategy]
    if not modes:
        known = sorted({name for name, _ in LAYOUTS})
        raise ConfigError(
            f"`strategy` must be one of {known}, but is {strategy!r} instead.{nearest_hint(strategy, known)}"
        )
    if mode not in modes:
        raise ConfigError(f"`mode` of the strategy `{strategy}` must be one of {modes}, but is {mode!r} instead.")
    return LAYOUTS[strategy, mode]


def row_of(role: str, *, strategy: str) -> tuple[Text, Picture]:
    """Return the answer and the picture behind a role."""
    text, picture = (_EXCHANGED if role.startswith(MIRRORED) else _PLAIN)[role.removeprefix(MIRRORED)]
    return text, _PICTURES.get(strategy, {}).get(picture, picture)


def rows_of(strategy: str, *, mode: str = "single", num_pairs: int, distinct: bool = True) -> Iterator[PreferenceRow]:
    """Yield the rows of a batch, in order.

    Args:
        strategy: e.g. ``orm``.
        mode: ``single``, or ``same_batch`` with the mirrored pair beside each pair.
        num_pairs: P.
        distinct: leave out rows that would repeat another one's text and picture; False gives the authors' rows, some
            of which run twice.

    Raises:
        ConfigError: if there is no such strategy, or it has no such mode.
    """
    seen: set[tuple[int, Text, Picture]] = set()
    for block in layout_of(strategy, mode):
        for pair in range(num_pairs):
            for role in block:
                text, picture = row_of(role, strategy=strategy)
                if distinct and (pair, text, picture) in seen:
                    continue
                seen.add((pair, text, picture))
                yield PreferenceRow(pair=pair, role=role, text=text, picture=picture)


def rows_by_role(rows: Sequence[PreferenceRow], roles: Iterable[str], *, strategy: str) -> dict[str, list[int]]:
    """Return for each role the places of its rows in the batch, pair after pair.

    A role without a row of its own is played by the row that has its text and picture.

    Args:
        rows: as :func:`rows_of` gives them.
        roles: those that a loss asks for.
        strategy: whose rows they are.

    Raises:
        ShapeError: if no row can play one of the roles.
    """
    num_pairs = 1 + max((row.pair for row in rows), default=-1)
    places = list(enumerate(rows))[::-1]  # the first of several wins
    own = {(row.pair, row.role): place for place, row in places}
    alike = {(row.pair, row.text, row.picture): place for place, row in places}
    found: dict[str, list[int]] = {}
    for role in roles:
        behind = row_of(role, strategy=strategy)
        playing = [own.get((pair, role), alike.get((pair, *behind))) for pair in range(num_pairs)]
        if None in playing:
            raise ShapeError(
                f"Every pair must have a row for the role `{role}` of the strategy `{strategy}`, but pair "
                f"{playing.index(None)} has none; make the rows with `rows_of`, in the mode of the loss."
            )
        found[role] = [place for place in playing if place is not None]
    return found
