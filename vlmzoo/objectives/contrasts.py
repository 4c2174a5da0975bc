"""What each preference strategy compares with what, as data: one line a term of its formula.

Source: OViP, arXiv:2505.15963, and its released code for all strategies; mDPO, arXiv:2406.11839; S-VCO,
arXiv:2502.13928.
Letters of the formulas: c, r the chosen and the rejected answer, n the negative image, 0 no image.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from vlmzoo.data.preference_rows import mirrored

__all__ = ["ANCHORS", "CONTRASTS", "REJECTED_ANCHORS", "Contrast", "preferred_roles", "roles_of"]

Side: TypeAlias = Literal["text", "image"]


@dataclass(frozen=True)
class Contrast:
    """One term: the better row is to gain on the worse one.

    Args:
        better: role of the row that is preferred.
        worse: role of the other.
        weight: of the term within its strategy.
        side: whether the answers differ or the pictures.
    """

    better: str
    worse: str
    weight: float = 1.0
    side: Side = "text"


def _both(contrasts: Sequence[Contrast]) -> tuple[Contrast, ...]:
    """Return the mean over a pair and its mirror image."""
    halved = [replace(term, weight=0.5 * term.weight) for term in contrasts]
    exchanged = [replace(term, better=mirrored(term.better), worse=mirrored(term.worse)) for term in halved]
    return (*halved, *exchanged)


_C, _R, _CN, _C0 = "chosen", "rejected", "chosen|negative_image", "chosen|no_image"
_TEXT = Contrast(_C, _R)
_MDPO = (_TEXT, Contrast(_C, _CN, side="image"))
_REFERENCED = (Contrast(_C, _C0, 0.5, "image"), Contrast(_C0, _CN, 0.5, "image"))
_ORM = (*_REFERENCED, _TEXT)

CONTRASTS: Mapping[tuple[str, str], Sequence[Contrast]] = {
    ("dpo", "single"): (_TEXT,),  # c > r
    ("mdpo", "single"): _MDPO,  # c > r, c > cn
    ("vtcl", "single"): _MDPO,
    ("ori_mdpo", "single"): _MDPO,  # the other picture is a crop
    ("svco_noref", "single"): (Contrast(_C, "rejected|negative_image"),),  # c > rn
    ("svco_ref", "single"): _REFERENCED,  # half of c > c0, c0 > cn
    ("svco_textref", "single"): _REFERENCED,
    ("orm", "single"): _ORM,  # the image terms halved, unless `image_weight` says otherwise
    ("vtcl", "same_batch"): _both(_MDPO),
    ("svco_noref", "same_batch"): _both((Contrast(_C, _CN, side="image"),)),  # not the mirror of its single form
    ("svco_ref", "same_batch"): _both(_REFERENCED),
    ("svco_textref", "same_batch"): _both(_REFERENCED),
    ("orm", "same_batch"): _both(_ORM),
}
"""Terms by strategy and mode."""

_BOTH_CHOSEN = {_C: 0.5, mirrored(_C): 0.5}
_CHOSEN_AND_UNSEEN = {role: 0.25 for one in (_C, _C0) for role in (one, mirrored(one))}
ANCHORS: Mapping[tuple[str, str], Mapping[str, float]] = {
    **{key: {_C: 1.0} for key in CONTRASTS if key[1] == "single"},
    ("vtcl", "same_batch"): _BOTH_CHOSEN,
    ("svco_noref", "same_batch"): _BOTH_CHOSEN,
    ("svco_ref", "same_batch"): _CHOSEN_AND_UNSEEN,
    ("svco_textref", "same_batch"): _CHOSEN_AND_UNSEEN,
    ("orm", "same_batch"): _BOTH_CHOSEN,
}
"""Rows that are to gain on their own reference, with their weights, by strategy and mode."""

REJECTED_ANCHORS: Mapping[tuple[str, str], Mapping[str, float]] = {
    **{(name, "single"): {_R: 1.0} for name in ("dpo", "mdpo", "vtcl", "ori_mdpo", "orm")},
    ("svco_noref", "single"): {"rejected|negative_image": 1.0},
    ("orm", "same_batch"): {_R: 0.5, mirrored(_R): 0.5},
}
"""Rows that are to fall behind their own reference, likewise; strategies that are not here have none."""


def roles_of(strategy: str, mode: str) -> list[str]:
    """Return the roles that the loss of a strategy names, in the order in which they first come up."""
    named = [role for term in CONTRASTS[strategy, mode] for role in (term.better, term.worse)]
    return list(dict.fromkeys([*named, *ANCHORS[strategy, mode], *preferred_roles(mode)]))


def preferred_roles(mode: str) -> list[str]:
    """Return the roles of the rows that are preferred as they stand: the chosen ones, and their mirror images."""
    return list(_BOTH_CHOSEN) if mode == "same_batch" else [_C]
