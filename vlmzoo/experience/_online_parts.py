"""Parts of online preferences: how they are scheduled, what they leave behind, and what a step tells of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from vlmzoo.data.conversations import text_of
from vlmzoo.data.sources import Source
from vlmzoo.distributed import rank, sum_over_ranks, world_size
from vlmzoo.errors import ConfigError
from vlmzoo.registry import nearest_hint
from vlmzoo.scoring.selections import SELECTIONS
from vlmzoo.services.describers import DESCRIBERS
from vlmzoo.services.judged_reward import ledger_of
from vlmzoo.services.judges import JUDGES
from vlmzoo.services.negative_images import NEGATIVE_IMAGES
from vlmzoo.services.pair_making.images import ImageStore
from vlmzoo.services.pair_making.items import Answer, AskedPrompt
from vlmzoo.services.pair_making.maker import PairMaker
from vlmzoo.services.rollout import Rollout
from vlmzoo.services.verifiers import VERIFIERS
from vlmzoo.types import Sample

__all__ = [
    "AnswersAsReferences",
    "Schedule",
    "answers_of",
    "asked_of",
    "build_maker",
    "own_file",
    "question_of",
    "telemetry",
]

ScheduleType = Literal["lockstep", "free"]
_COUNTED = (
    "prompts",
    "answers",
    "drawn",
    "invalid",
    "score_sum",
    "selected",
    "fallbacks",
    "pairs",
    "staleness_sum",
)
_TOLD = (
    "trained",
    "replayed",
    "idle",
    "late",
    "judge_failures",
    "text_only",
    "missing_images",
    "refused_images",
    "too_old",
    "waiting",
)
_SECONDS = ("judge", "describe", "render", "verify")


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """When a prompt's pairs are trained.

    Args:
        type: ``lockstep``: the pairs of a batch of prompts are taken a fixed number of steps later, so that a run can
            be repeated and resumed to the last bit; ``free``: as soon as they are there.
        lag: steps between asking and training in lockstep; 0 waits for the services in each step.
        max_wait_s: how long a step waits for pairs.
        max_staleness: updates after which a pair is too old to be trained; None for never.
        max_waiting: pairs of a rank above which no more are sampled; None for twice those of a step.
        on_short: what a step that has too few pairs trains: ``replay`` earlier ones, or ``none``.
        replay_size: earlier pairs that are kept for it.
        max_barren: steps in a row without a new pair on any rank, after which the run stops.

    Raises:
        ConfigError: if an option makes no sense.
    """

    type: ScheduleType = "lockstep"
    lag: int = 1
    max_wait_s: float = 600.0
    max_staleness: int | None = None
    max_waiting: int | None = None
    on_short: Literal["replay", "none"] = "replay"
    replay_size: int = 64
    max_barren: int = 20

    def __post_init__(self) -> None:
        """Check the options."""
        if self.type not in ("lockstep", "free"):
            raise ConfigError(f"`schedule.type` must be lockstep or free, but is {self.type!r} instead.")
        if self.on_short not in ("replay", "none"):
            raise ConfigError(f"`schedule.on_short` must be replay or none, but is {self.on_short!r} instead.")
        if self.lag < 0 or self.replay_size < 0 or self.max_barren < 1 or self.max_wait_s <= 0:
            raise ConfigError(
                "`schedule` must have `lag` and `replay_size` of zero or more, `max_barren` and `max_wait_s` positive, "
                f"but they are {self.lag}, {self.replay_size}, {self.max_barren} and {self.max_wait_s} instead."
            )

        for name, least in (("max_staleness", 0), ("max_waiting", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigError(f"`schedule.{name}` must be at least {least}, or null, but is {value} instead.")

    @classmethod
    def parse(cls, spec: Mapping[str, Any] | None) -> "Schedule":
        """Read it as a configuration writes it.

        Raises:
            ConfigError: if an option is unknown, or makes no sense.
        """
        known = [one.name for one in fields(cls)]
        for name in spec or {}:
            if name not in known:
                raise ConfigError(f"`schedule` takes no `{name}`.{nearest_hint(name, known)}")
        return cls(**dict(spec or {}))


class AnswersAsReferences:
    """A source whose samples, where they have no reference, have their last answer for one.

    Args:
        source: of conversations, or of pairs whose better answer is the last turn.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.size = source.size

    def sample(self, position: int) -> Sample:
        """Return the conversation at a position, with a reference if it has an answer."""
        sample = self.source.sample(position)
        if sample.reference is not None or not sample.messages or sample.messages[-1]["role"] != "assistant":
            return sample
        return replace(sample, reference=text_of([sample.messages[-1]]).strip())


def build_maker(
    *,
    judge: Mapping[str, Any],
    selection: Mapping[str, Any],
    describer: Mapping[str, Any] | None,
    images: Mapping[str, Any] | None,
    verifiers: Sequence[Mapping[str, Any]],
    ledger: Mapping[str, Any] | None,
    on_image_failure: Any,
    folder: Path | None,
    seed: int,
) -> PairMaker:
    """Build what makes pairs from the specs of a configuration.

    Raises:
        ConfigError: if one of them cannot be built.
    """
    given = (ledger or {}).get("path")
    path = Path(given).expanduser() if given is not None else None if folder is None else folder / "ledger.jsonl"
    return PairMaker(
        judge=JUDGES.build(judge),
        selection=SELECTIONS.build(selection),
        describer=None if describer is None else DESCRIBERS.build(describer),
        images=None if images is None else NEGATIVE_IMAGES.build(images),
        verifiers=[VERIFIERS.build(spec) for spec in verifiers],
        ledger=ledger_of({**(ledger or {}), "path": None if path is None else own_file(path)}),
        store=ImageStore(None if folder is None else folder / "images"),
        on_image_failure=on_image_failure,
        seed=seed,
    )


def own_file(path: Path) -> Path:
    """Return this rank's file; those after the first carry their number."""
    return path if rank() == 0 else path.with_name(f"{path.stem}.rank{rank()}{path.suffix}")


def answers_of(rollouts: Sequence[Rollout]) -> tuple[Answer, ...]:
    """Return distinct answers in the order in which they first came, with how often they did."""
    found: dict[str, Answer] = {}
    for rollout in rollouts:
        text = rollout.text.strip()
        known = found.get(text)
        count = 1 if known is None else known.count + 1
        found[text] = Answer(text=text, ids=tuple(rollout.ids) if known is None else known.ids, count=count)
    return tuple(found.values())


def question_of(sample: Sample) -> str:
    """Return what is asked, without marks of images."""
    return text_of(sample.messages).replace("[image]", "").strip()


def asked_of(sample: Sample, place: int, rollouts: Sequence[Rollout], *, policy_step: int) -> AskedPrompt:
    """Return a prompt with what the policy said to it."""
    return AskedPrompt(
        place=place,
        name=sample.id or str(place),
        question=question_of(sample),
        reference=str(sample.reference),
        answers=answers_of(rollouts),
        policy_step=policy_step,
    )


def telemetry(counts: Mapping[str, float]) -> dict[str, float]:
    """Return what a step tells, from counts of this rank; all ranks must call.

    Returns:
        Figures over all ranks, each as this rank's share, since the loop adds ranks up.
    """
    names = (*_COUNTED, *_TOLD, *(f"seconds_{name}" for name in _SECONDS))
    totals = sum_over_ranks({name: float(counts.get(name, 0.0)) for name in names})
    prompts, answers = max(totals["prompts"], 1.0), max(totals["answers"], 1.0)
    told = {
        "online/pairs_per_prompt": totals["pairs"] / prompts,
        "online/invalid": totals["invalid"] / answers,
        "online/score": totals["score_sum"] / max(totals["answers"] - totals["invalid"], 1.0),
        "online/fallbacks": totals["fallbacks"] / max(totals["selected"], 1.0),
        "online/duplicates": 1.0 - totals["answers"] / max(totals["drawn"], 1.0),
        "online/staleness": totals["staleness_sum"] / max(totals["trained"], 1.0),
        **{f"online/{name}": totals[name] for name in _TOLD},
        **{f"online/seconds_{name}": totals[f"seconds_{name}"] / prompts for name in _SECONDS},
    }
    return {name: value / world_size() for name, value in told.items()}
