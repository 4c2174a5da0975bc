"""What a curriculum shows at each position: a pure function of the seed and the position.

Source: S2H, arXiv:2501.02669, section 3.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Literal, TypeAlias

from vlmzoo.data.sources import STRETCH
from vlmzoo.data.sources._shuffle import shuffled
from vlmzoo.data.synthetic import SyntheticTask
from vlmzoo.data.synthetic._checks import chain_options
from vlmzoo.data.synthetic._wording import CotStyle
from vlmzoo.experience._supervisions import Part, PhasePlan
from vlmzoo.types import Sample

__all__ = ["Cot", "CurriculumSource", "kept_share"]

Cot: TypeAlias = bool | Literal["internalised"]


class CurriculumSource:
    """The presentations of some phases, one at each position; a pure function of the seed and the position.

    All kinds of a level show the same instances. An epoch shows each as often as the plan says, in an order of its own;
    of an epoch that is seen in part, every kind shows the same part. Each stretch of positions (each seed of a run) has
    instances of its own. Behind the last presentation the last phase goes on: whoever reads ahead may look there.

    Args:
        domains: for each domain, its tasks by level.
        plans: phases, one after the other.
        seed: of instances and orders.
        cot: whether targets hold the chain of thought; ``internalised`` takes it away step by step (`kept_share`).
        cot_style: how it is written.
    """

    def __init__(
        self,
        domains: Sequence[Mapping[str, SyntheticTask]],
        plans: Sequence[PhasePlan],
        *,
        seed: int = 0,
        cot: Cot = True,
        cot_style: CotStyle = "standard",
    ) -> None:
        self.domains = domains
        self.plans = plans
        self.seed = seed
        self.cot = cot
        self.cot_style: CotStyle = cot_style
        self._starts = [0, *accumulate([plan.total for plan in plans])]

    @property
    def size(self) -> None:
        """None: positions are in order already, and none is refused."""
        return None

    @property
    def num_presentations(self) -> int:
        """How many the phases hold."""
        return self._starts[-1]

    def locate(self, position: int) -> tuple[Part, int]:
        """Return what is shown at a position: the part of the plan, and the instance's number among its own."""
        stretch, place = divmod(position, STRETCH)
        number = min(bisect_right(self._starts, place), len(self.plans)) - 1
        plan, offset = self.plans[number], place - self._starts[number]
        epoch, within = divmod(offset, plan.epoch_size)
        left = plan.total - epoch * plan.epoch_size
        seen = min(left, plan.epoch_size) if left > 0 else plan.epoch_size
        key = f"{self.seed}/{stretch}/{number}/{epoch}"
        row = shuffled(within, size=seen, key=key)
        bounds = plan.bounds(seen)
        chosen = bisect_right(bounds, row) - 1
        part = plan.parts[chosen]
        instance = (row - bounds[chosen]) % part.unique
        return part, shuffled(instance, size=part.unique, key=f"{key}/{part.domain}/{part.level}")

    def sample(self, position: int) -> Sample:
        """Draw what is shown at a position."""
        part, instance = self.locate(position)
        task = self.domains[part.domain][part.level]
        index = position // STRETCH * STRETCH + instance
        keep = kept_share(position % STRETCH, self.num_presentations) if self.cot == "internalised" else 1.0
        chain = chain_options(task, cot=bool(self.cot), keep=keep, cot_style=self.cot_style)
        return task.sample(part.kind, self.seed, index, **chain)


def kept_share(place: int, total: int) -> float:
    """Return how much of a chain of thought is kept at a place of a run that internalises it.

    The first 30 % of the presentations have all of it, the next 40 % lose it in 101 levels from the end on, the last
    30 % have none. The released code divides the level by 10 instead of 100, so that it keeps everything in 91 of them.

    Source: S2H, arXiv:2501.02669, internalised chains of thought.

    Args:
        place: from 0 to ``total`` - 1.
        total: presentations of the run.
    """
    if 10 * place < 3 * total:
        return 1.0
    if 10 * place >= 7 * total:
        return 0.0
    level = (10 * place - 3 * total) * 101 // (4 * total)  # 0 to 100
    return 1.0 - level / 100
