"""Curricula: levels of a task, shown as several kinds of example, each as often as a supervision says.

Source: S2H, arXiv:2501.02669, section 3.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, ClassVar

from vlmzoo.data.fetching import Encoder
from vlmzoo.data.synthetic import TASKS, Kind, SyntheticTask
from vlmzoo.data.synthetic._checks import chain_options
from vlmzoo.data.synthetic._wording import CotStyle
from vlmzoo.distributed import world_size
from vlmzoo.errors import ConfigError
from vlmzoo.experience import EXPERIENCES
from vlmzoo.experience._curriculum_source import Cot, CurriculumSource
from vlmzoo.experience._supervisions import Compat, PhasePlan, levels_of, plan_phases
from vlmzoo.experience.supervised import SupervisedExperience
from vlmzoo.outputs import Step
from vlmzoo.registry import NestedSpecs, nearest_hint

__all__ = ["ALIGN_BUDGET", "CurriculumExperience", "steps_of", "steps_of_phases"]

ALIGN_BUDGET = 10_000
"""Presentations of the align phase, unless a config gives them; the paper calls it small."""

_LEVELS = ("simple", "medium", "hard")
_TABLE = {"type": "consecutive_table_readout", "style": "compact", "num_rows": 2, "num_cols": 3}


@EXPERIENCES.register(
    "curriculum",
    source="S2H, arXiv:2501.02669, section 3 (supervisions at equal budgets)",
    tiny={
        "supervision": "mix_plus",
        "budget": 48,
        "tasks": {
            "simple": {**_TABLE, "path_cells": [2, 3]},
            "hard": {**_TABLE, "path_cells": [4, 5], "level": "hard"},
        },
    },
)
class CurriculumExperience:
    """Steps of one supervision, as many as its budget gives, and then no more.

    The budget counts presentations: supervisions are compared at equal numbers of examples seen, whatever their kind.
    An instance is drawn once for each level and shown as every kind that the supervision names, so `mix` sees a table
    as text, as an image, and as an image to be written down.

    Args:
        supervision: ``text``, ``image``, ``image_3ep``, ``image_via_text``, ``image_text``, ``mix``, ``mix_plus``,
            ``mix_plus_medium``, ``align_mix_plus`` or ``image_via_text_plus``.
        budget: presentations; of the second phase where there are two.
        tasks: ``{simple: {type: name, …}, hard: …}`` for the task registry, or a list of such, one for each domain.
            Levels that the supervision does not need may stand there, too.
        align_budget: presentations of the first phase of ``align_mix_plus``; the paper gives no number, 10,000 is ours.
        phase: the number of the only phase of a run, from 1; without it all phases follow one another in one run. The
            authors let optimiser and schedule start anew, so each of their phases is a run.
        compat: ``s2h`` rounds budgets down as the released code does, and leaves out the presentations that fill no
            step; without it both are refused.
        data_seed: of instances and orders; a run's own seed moves them, too.
        cot: whether targets hold the chain of thought; ``internalised`` takes it away step by step (`kept_share`).
        cot_style: how it is written: ``standard``, or another that the tasks know.
        max_tokens: longest conversation, visual tokens counted; a longer one is refused.
        num_workers: processes that encode ahead of training.
        processor: encodes conversations.
        micro_batch_size: rows in one forward pass on this rank.
        accumulation_steps: forward passes in one step on this rank.
        seed: of the run.

    Raises:
        ConfigError: if a level is missing, there is no such phase, or a budget does not divide.
    """

    brings: ClassVar[str] = "answers"
    nested_specs: ClassVar[NestedSpecs] = {"tasks": lambda tasks: _check_tasks(tasks)}

    def __init__(
        self,
        *,
        supervision: str,
        budget: int,
        tasks: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        align_budget: int = ALIGN_BUDGET,
        phase: int | None = None,
        compat: Compat = None,
        data_seed: int = 0,
        cot: Cot = True,
        cot_style: CotStyle = "standard",
        max_tokens: int | None = None,
        num_workers: int = 0,
        processor: Encoder,
        micro_batch_size: int,
        accumulation_steps: int = 1,
        seed: int = 0,
    ) -> None:
        if cot not in (True, False, "internalised"):
            raise ConfigError(f"`cot` must be true, false or `internalised`, but is {cot!r} instead.")
        domains = _domains(tasks, supervision, cot=cot, cot_style=cot_style)
        plans = plan_phases(
            supervision, budget=budget, align_budget=align_budget, num_domains=len(domains), compat=compat
        )
        self.source = CurriculumSource(
            domains, _chosen(plans, phase, supervision), seed=data_seed, cot=cot, cot_style=cot_style
        )
        self.num_steps = steps_of(
            self.source.num_presentations,
            batch_size=micro_batch_size * accumulation_steps * world_size(),
            compat=compat,
        )
        self._inner = SupervisedExperience(
            source=self.source,
            max_tokens=max_tokens,
            num_workers=num_workers,
            processor=processor,
            micro_batch_size=micro_batch_size,
            accumulation_steps=accumulation_steps,
            seed=seed,
        )
        self._taken = 0

    def __iter__(self) -> Iterator[Step]:
        """Iterate over the steps that are left."""
        for step in islice(self._inner, self.num_steps - self._taken):
            self._taken += 1
            yield step

    def counts(self) -> dict[tuple[str, Kind], int]:
        """Return how many presentations the phases hold, by level and kind."""
        counts: Counter[tuple[str, Kind]] = Counter()
        for plan in self.source.plans:
            for size in plan.epochs():
                bounds = plan.bounds(size)
                for part, low, high in zip(plan.parts, bounds, bounds[1:], strict=False):
                    counts[part.level, part.kind] += high - low
        return dict(counts)

    def state_dict(self) -> dict[str, Any]:
        """Return where this rank stands."""
        return {**self._inner.state_dict(), "steps": self._taken}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to where ``state_dict`` was taken."""
        self._inner.load_state_dict(state)
        self._taken = int(state["steps"])


def steps_of(num_presentations: int, *, batch_size: int, compat: Compat = None) -> int:
    """Return the steps that a number of presentations fills.

    Raises:
        ConfigError: if some are left over and ``compat`` is not ``s2h``, or none is filled.
    """
    steps, rest = divmod(num_presentations, batch_size)
    if steps and (not rest or compat == "s2h"):
        return steps
    raise ConfigError(
        f"The presentations of a run must fill its steps, but {num_presentations} leave {rest} over in steps of "
        f"{batch_size} instead; change `budget`, `micro_batch_size` or `accumulation_steps`, or set `compat: s2h`, "
        "which leaves them out."
    )


def steps_of_phases(spec: Mapping[str, Any], *, batch_size: int) -> list[int]:
    """Return the steps of each phase of a ``{type: curriculum, …}``, as runs of their own; nothing is built.

    Raises:
        ConfigError: if there is no such supervision, or a budget does not divide.
    """
    tasks = spec["tasks"]
    plans = plan_phases(
        spec["supervision"],
        budget=spec["budget"],
        align_budget=spec.get("align_budget", ALIGN_BUDGET),
        num_domains=1 if isinstance(tasks, Mapping) else len(tasks),
        compat=spec.get("compat"),
    )
    return [steps_of(plan.total, batch_size=batch_size, compat=spec.get("compat")) for plan in plans]


def _check_tasks(tasks: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> None:
    """Check the names of levels, and the tasks that stand there."""
    for levels in [tasks] if isinstance(tasks, Mapping) else tasks:
        if not isinstance(levels, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigError(
                f"`tasks` must be `{{simple: {{type: name, …}}, …}}` or several, but is {tasks!r} instead."
            )
        for level, task in levels.items():
            if level not in _LEVELS:
                raise ConfigError(f"`tasks` takes no `{level}`.{nearest_hint(level, _LEVELS)}")
            TASKS.check(task)


def _domains(
    tasks: Mapping[str, Any] | Sequence[Mapping[str, Any]], supervision: str, *, cot: Cot, cot_style: CotStyle
) -> list[dict[str, SyntheticTask]]:
    """Build the tasks that a supervision needs, level by level, for each domain."""
    given = [tasks] if isinstance(tasks, Mapping) else list(tasks)
    if not given:
        raise ConfigError("`tasks` must name at least one domain, but is empty instead.")
    for levels in given:
        missing = [level for level in levels_of(supervision) if level not in levels]
        if missing:
            raise ConfigError(
                f"`tasks` must have `{missing[0]}` for supervision `{supervision}`, but has "
                f"{', '.join(levels)} instead."
            )
    built = [{level: TASKS.build(levels[level]) for level in levels_of(supervision)} for levels in given]
    least_kept = 0.0 if cot == "internalised" else 1.0
    for task in (task for levels in built for task in levels.values()):
        chain_options(task, cot=bool(cot), keep=least_kept, cot_style=cot_style)  # refuses what the task cannot write
    return built


def _chosen(plans: Sequence[PhasePlan], phase: int | None, supervision: str) -> Sequence[PhasePlan]:
    if phase is None:
        return plans
    if type(phase) is not int or not 1 <= phase <= len(plans):
        raise ConfigError(
            f"`phase` must be from 1 to {len(plans)}, the phases of `{supervision}`, but is {phase!r} instead."
        )
    return [plans[phase - 1]]
