"""The supervisions of S2H as a table, and the whole numbers that a budget makes of them.

Source: S2H, arXiv:2501.02669, section 3, and the options of ``combine_data`` in the released code.

Letters: N budget in presentations, D domains (tasks that share a run).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate
from math import lcm
from typing import Literal, TypeAlias

from vlmzoo.data.synthetic import Kind, Level
from vlmzoo.errors import ConfigError
from vlmzoo.registry import nearest_hint

__all__ = [
    "SUPERVISIONS",
    "Compat",
    "Part",
    "Phase",
    "PhasePlan",
    "Share",
    "levels_of",
    "plan_phases",
    "supervision_of",
]

Compat: TypeAlias = Literal["s2h"] | None


@dataclass(frozen=True, kw_only=True)
class Share:
    """What one level gives to an epoch, as one kind of example.

    Args:
        level: of the instances.
        kind: what they are shown as.
        unique: different instances, as a share of an epoch's presentations.
        repeats: how often an epoch shows each of them.
    """

    level: Level
    kind: Kind
    unique: Fraction
    repeats: int = 1


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One phase of a supervision.

    Args:
        shares: what an epoch is made of; their presentations add up to 1.
        epochs: how often it is seen; N presentations are N / ``epochs`` in an epoch.
    """

    shares: tuple[Share, ...]
    epochs: Fraction = Fraction(1)


def _even(level: Level, *kinds: Kind, of: Fraction = Fraction(1)) -> tuple[Share, ...]:
    """Share a part of an epoch equally among kinds, all of which show the same instances."""
    return tuple([Share(level=level, kind=kind, unique=of / len(kinds)) for kind in kinds])


_HALF = Fraction(1, 2)
_MIX: tuple[Kind, ...] = ("text", "image", "image_via_text")
_MIX_PLUS = Phase(shares=(*_even("simple", *_MIX, of=_HALF), *_even("hard", "text", of=_HALF)))
_ALIGN = Phase(shares=_even("simple", "text", "image_via_text"))
_VIA_REPEATED = Share(level="simple", kind="image_via_text", unique=Fraction(1, 6), repeats=3)

SUPERVISIONS: Mapping[str, tuple[Phase, ...]] = {
    "text": (Phase(shares=_even("simple", "text"), epochs=Fraction(2)),),
    "image": (Phase(shares=_even("simple", "image"), epochs=Fraction(2)),),
    "image_3ep": (Phase(shares=_even("simple", "image"), epochs=Fraction(3)),),
    "image_via_text": (Phase(shares=_even("simple", "image_via_text"), epochs=Fraction(3)),),
    "image_text": (Phase(shares=_even("simple", "text", "image"), epochs=Fraction(3, 2)),),
    "mix": (Phase(shares=_even("simple", *_MIX)),),
    "mix_plus": (_MIX_PLUS,),
    "mix_plus_medium": (Phase(shares=(*_even("simple", *_MIX, of=_HALF), *_even("medium", "text", of=_HALF))),),
    "align_mix_plus": (_ALIGN, _MIX_PLUS),
    "image_via_text_plus": (Phase(shares=(_VIA_REPEATED, *_even("hard", "text", of=_HALF))),),
}
"""Phases by name. What S2H's tables call Image (3 ep), Image-via-Text, Mix+, Align-Mix+ and so on."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """A share in whole numbers.

    Args:
        domain: number of the task.
        level: of the instances.
        kind: what they are shown as.
        unique: different instances.
        repeats: how often an epoch shows each of them.
    """

    domain: int
    level: Level
    kind: Kind
    unique: int
    repeats: int


@dataclass(frozen=True, kw_only=True)
class PhasePlan:
    """A phase in whole numbers.

    Args:
        parts: of an epoch.
        total: presentations of the phase.
    """

    parts: tuple[Part, ...]
    total: int

    @property
    def epoch_size(self) -> int:
        """Presentations of a whole epoch."""
        return sum([part.unique * part.repeats for part in self.parts])

    def bounds(self, size: int) -> list[int]:
        """Return where each part begins, and where the last one ends, in an epoch of which ``size`` rows are seen.

        A part of an epoch holds every part's share, rounded so that the sum is exact.
        """
        whole = [0, *accumulate([part.unique * part.repeats for part in self.parts])]
        return [size * bound // whole[-1] for bound in whole]

    def epochs(self) -> Iterator[int]:
        """Iterate over the sizes of the epochs; the last may be a part of one."""
        whole, rest = divmod(self.total, self.epoch_size)
        yield from [self.epoch_size] * whole
        if rest:
            yield rest


def supervision_of(name: str) -> tuple[Phase, ...]:
    """Look a supervision up.

    Raises:
        ConfigError: if there is none of that name.
    """
    if name not in SUPERVISIONS:
        raise ConfigError(
            f"`supervision` must be one of {', '.join(SUPERVISIONS)}, but is {name!r} instead."
            f"{nearest_hint(str(name), SUPERVISIONS)}"
        )
    return SUPERVISIONS[name]


def levels_of(name: str) -> list[Level]:
    """Return the levels that a supervision needs."""
    return list(dict.fromkeys([share.level for phase in supervision_of(name) for share in phase.shares]))


def plan_phases(
    name: str, *, budget: int, align_budget: int, num_domains: int = 1, compat: Compat = None
) -> tuple[PhasePlan, ...]:
    """Turn a supervision and its budget into whole numbers.

    Args:
        name: of the supervision.
        budget: N, presentations of the last phase.
        align_budget: presentations of the phase before it, where there is one.
        num_domains: D, each of which gets the same share.
        compat: ``s2h`` rounds down at each division as the released code does: the epoch, its share of each domain,
            and that of each kind. So the presentations may be a few fewer than N.

    Raises:
        ConfigError: if there is no such supervision, or a budget does not divide and ``compat`` is not ``s2h``.
    """
    phases = supervision_of(name)
    budgets = [("align_budget", align_budget), ("budget", budget)][-len(phases) :]
    return tuple(
        [
            _planned(phase, value, label=label, name=name, num_domains=num_domains, compat=compat)
            for phase, (label, value) in zip(phases, budgets, strict=True)
        ]
    )


def _planned(phase: Phase, budget: int, *, label: str, name: str, num_domains: int, compat: Compat) -> PhasePlan:
    divisor = _divisor(phase, num_domains)
    if type(budget) is not int or budget < divisor or (budget % divisor and compat is None):
        nearest = max(divisor, budget // divisor * divisor) if type(budget) is int else divisor
        above = f" or {nearest + divisor}" if nearest <= budget else ""
        raise ConfigError(
            f"`{label}` must be a multiple of {divisor}, so that every kind of `{name}` shows the same instances "
            f"equally often, but is {budget!r} instead; take {nearest}{above}, or `compat: s2h`, which rounds down."
        )
    of_domain = int(budget / phase.epochs) // num_domains
    parts = [
        Part(
            domain=domain,
            level=share.level,
            kind=share.kind,
            unique=int(of_domain * share.unique),
            repeats=share.repeats,
        )
        for domain in range(num_domains)
        for share in phase.shares
    ]
    size = sum([part.unique * part.repeats for part in parts])
    return PhasePlan(parts=tuple(parts), total=int(size * phase.epochs))


def _divisor(phase: Phase, num_domains: int) -> int:
    """Return the least budget of which every part, in every epoch, is a whole number."""
    partial = phase.epochs % 1
    wanted = [share.unique / phase.epochs / num_domains for share in phase.shares]
    wanted += [one * partial for one in wanted if partial]
    return lcm(*[one.denominator for one in wanted])
