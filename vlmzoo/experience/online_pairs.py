"""Learning from preferences among what the policy itself says: OViP's online loop, which cannot hang.

Letters: G completions of one prompt, P pairs.
"""

import logging
import random
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch

from vlmzoo.data.collation import LengthPolicy
from vlmzoo.data.images import load_image
from vlmzoo.data.sampled_pairs import SampledPairEncoder
from vlmzoo.data.sources import SOURCES
from vlmzoo.distributed import rank, sum_over_ranks, world_size
from vlmzoo.errors import ConfigError, ServiceError
from vlmzoo.experience import EXPERIENCES
from vlmzoo.experience._online_parts import AnswersAsReferences, Schedule, asked_of, build_maker, own_file, telemetry
from vlmzoo.experience._prompts import PromptStream
from vlmzoo.experience._reference import ReferenceKind, ReferenceModel
from vlmzoo.experience.pairs import check_preference, make_pair_collator
from vlmzoo.objectives.contrasts import CONTRASTS
from vlmzoo.outputs import Batch, Step
from vlmzoo.registry import NestedSpecs
from vlmzoo.scoring.selections import SELECTIONS
from vlmzoo.scoring.selections.queues import FifoQueue
from vlmzoo.services.describers import DESCRIBERS
from vlmzoo.services.judges import JUDGES
from vlmzoo.services.negative_images import NEGATIVE_IMAGES
from vlmzoo.services.pair_making.items import AskedPrompt, MadePair, Outcome
from vlmzoo.services.pair_making.maker import OnImageFailure
from vlmzoo.services.pair_making.pipeline import Pipeline
from vlmzoo.services.pair_making.spool import Spool
from vlmzoo.services.rollout import ROLLOUT_ENGINES, Policy, Prompt, Sampling, check_engine
from vlmzoo.services.verifiers import VERIFIERS
from vlmzoo.types import Sample

__all__ = ["OnlinePairsExperience"]

logger = logging.getLogger(__name__)

_SUBMIT_S = 30.0
Weighted = tuple[MadePair, float]
"""A pair and its weight; 0 for one that only keeps ranks in step."""


@EXPERIENCES.register(
    "online_pairs",
    source="OViP, arXiv:2505.15963, the online loop",
    tiny={
        "source": {"type": "icon_scenes", "canvas_px": 28, "num_rows": 8},
        "judge": {"type": "object_f1"},
        "describer": {"type": "rejected_answer"},
        "images": {"type": "icons"},
        "reference": "frozen_copy",
        "num_prompts": 2,
        "num_rollouts": 2,
        "sampling": {"max_new_tokens": 4},
    },
)
class OnlinePairsExperience:
    """Steps of pairs that are made of the policy's own answers while it trains.

    Sampling happens here, when the next step is pulled; judging, describing, rendering and verifying run beside
    training. Each rank asks its own share of the prompts, and trains its own pairs, as many rows as every other rank:
    where pairs are missing, earlier ones come again, or one of weight 0 stands in. Nothing waits without an end.

    Args:
        source: ``{type: name, …}`` for the source registry; a final assistant turn is taken off, the reference stays.
        judge: ``{type: name, …}`` for the registry of judges.
        selection: which answers become pairs: ``{type: ovip_paper}``, ``{type: ovip_code}``.
        describer: ``{type: name, …}``; None where the strategy shows no negative image.
        images: source of negative images, ``{type: name, …}``; None likewise.
        verifiers: that all must accept a picture.
        strategy: whose rows, as in the objective: ``orm`` is OViP's, ``dpo`` compares texts alone.
        mode: ``single`` or ``same_batch``, as in the objective.
        reference: where log-ratios are measured from: ``frozen_copy``, ``lora_off``, ``frozen_lora`` or ``none``.
        num_prompts: that are asked in one step, over all ranks.
        num_rollouts: G (OViP: 16).
        sampling: ``max_new_tokens``, ``temperature``, ``top_k``, ``top_p`` (OViP: 256, 1.2, all, 0.8).
        schedule: ``{type: lockstep, lag: 1, …}`` or ``{type: free, …}``, see ``_online_parts.Schedule``.
        ledger: ``{path, mode: record | replay | off, max_calls, max_cost}``.
        on_image_failure: a pair without a picture is dropped (``drop``), or its texts alone are compared
            (``text_only``).
        prompts: ``max_tokens``, ``on_too_long`` (``refuse`` or ``skip``), ``corrupt_limit``.
        engine: ``{type: name, …}`` for the registry of rollout engines.
        processor: encodes prompts.
        micro_batch_size: pairs in one forward pass on this rank.
        accumulation_steps: forward passes in one step on this rank.
        seed: of the shuffling, of the drawing and of the pictures.
        policy: what is trained.
        run_dir: gets ``online/``: spool, ledger and pictures; None keeps all in memory.

    Raises:
        ConfigError: if the numbers do not fit together, or a part cannot be built.
        ServiceError: if a service cannot be reached; within seconds, with its address.
    """

    brings: ClassVar[str] = "pairs"
    nested_specs: ClassVar[NestedSpecs] = {
        "source": SOURCES.check,
        "judge": JUDGES.check,
        "selection": SELECTIONS.check,
        "describer": DESCRIBERS.check,
        "images": NEGATIVE_IMAGES.check,
        "verifiers": VERIFIERS.check_each,
        "schedule": Schedule.parse,
        "prompts": lambda options: _check_prompts(options),
        "engine": check_engine,
    }

    def __init__(
        self,
        *,
        source: Mapping[str, Any],
        judge: Mapping[str, Any],
        selection: Mapping[str, Any] | None = None,
        describer: Mapping[str, Any] | None = None,
        images: Mapping[str, Any] | None = None,
        verifiers: Sequence[Mapping[str, Any]] = ({"type": "differs"},),
        strategy: str = "orm",
        mode: Literal["single", "same_batch"] = "single",
        reference: ReferenceKind,
        num_prompts: int,
        num_rollouts: int = 16,
        sampling: Mapping[str, Any],
        schedule: Mapping[str, Any] | None = None,
        ledger: Mapping[str, Any] | None = None,
        on_image_failure: OnImageFailure = "drop",
        prompts: Mapping[str, Any] | None = None,
        engine: Mapping[str, Any] | None = None,
        processor: Any,
        micro_batch_size: int,
        accumulation_steps: int = 1,
        seed: int = 0,
        policy: Policy,
        run_dir: str | None = None,
    ) -> None:
        self.num_prompts, self.num_rollouts, self.seed, self.policy = num_prompts, num_rollouts, seed, policy
        self.micro_batch_size, self.per_step = micro_batch_size, micro_batch_size * accumulation_steps
        self.strategy = strategy
        self.schedule = Schedule.parse(schedule)
        self.encoder = SampledPairEncoder(processor, strategy=strategy, mode=mode)
        self.collate = make_pair_collator(processor, strategy=strategy, mode=mode)
        self._check(on_image_failure, shows_negative=images is not None, mode=mode)
        folder = None if run_dir is None else Path(run_dir) / "online"
        self.maker = build_maker(
            judge=judge,
            selection=selection or {"type": "ovip_paper"},
            describer=describer,
            images=images,
            verifiers=verifiers if images is not None else (),
            ledger=ledger,
            on_image_failure=on_image_failure,
            folder=folder,
            seed=seed,
        )
        self.maker.check()
        self.reference = ReferenceModel(reference, policy)
        self.sampling = Sampling(**sampling)
        self.prompts = _prompt_stream(source, processor, prompts or {}, seed=seed)
        spec = dict(engine or {"type": "in_process"})
        self.engine = ROLLOUT_ENGINES.build(spec, policy=policy, processor=processor, sampling=self.sampling)
        self.spool = Spool(None if folder is None else own_file(folder / "spool.jsonl"))
        share = -(-num_prompts // world_size())
        self.pipeline = Pipeline(self.maker, queue_size=max(4, share * (self.schedule.lag + 2)))
        self._steps = 0  # that were given
        self._waiting: FifoQueue[MadePair] = FifoQueue()
        self._replay: deque[MadePair] = deque(maxlen=max(1, self.schedule.replay_size))
        self._pending: deque[list[AskedPrompt]] = deque()  # batches that were asked and not yet collected
        self._late: list[AskedPrompt] = []  # of batches that were collected without them
        self._filler: MadePair | None = None
        self._num_barren = 0
        self._counts: Counter[str] = Counter()

    @staticmethod
    def wants_frozen_copy(spec: Mapping[str, Any]) -> bool:
        """Say whether this spec needs a frozen copy of the starting weights, which must be made before training."""
        return spec.get("reference") == "frozen_copy"

    @staticmethod
    def check_objective(spec: Mapping[str, Any], objective: Mapping[str, Any]) -> None:
        """Compare a spec with that of the objective, before anything is built.

        Raises:
            ConfigError: if the pairs would be those of another strategy, or there is no reference where one is needed.
        """
        check_preference(spec, objective, strategy="orm")

    def __iter__(self) -> Iterator[Step]:
        """Iterate over steps without end; the loop says when it has had enough."""
        while True:
            self._counts = Counter()
            self._ask()
            self._gather()
            pairs = self._take()
            self._stop_if_barren()
            step = self._step(pairs)
            self._steps += 1
            yield step

    def state_dict(self) -> dict[str, Any]:
        """Return where this rank stands, with what was asked and not yet trained."""
        return {
            "prompts": self.prompts.state_dict(),
            "steps": self._steps,
            "waiting": [pair.to_dict() for pair in self._waiting],
            "replay": [pair.to_dict() for pair in self._replay],
            "pending": [[asked.to_dict() for asked in batch] for batch in self._pending],
            "late": [asked.to_dict() for asked in self._late],
            "filler": None if self._filler is None else self._filler.to_dict(),
            "barren": self._num_barren,
            "spool_lines": self.spool.num_lines,
            "num_cut": self.engine.num_cut,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to where ``state_dict`` was taken; what was under way is asked for again, from the ledger mostly."""
        self.prompts.load_state_dict(state["prompts"])
        self._steps, self._num_barren = int(state["steps"]), int(state["barren"])
        self._waiting = FifoQueue(MadePair.from_dict(values) for values in state["waiting"])
        self._replay.clear()
        self._replay.extend(MadePair.from_dict(values) for values in state["replay"])
        self._filler = None if state["filler"] is None else MadePair.from_dict(state["filler"])
        self._pending = deque([AskedPrompt.from_dict(values) for values in batch] for batch in state["pending"])
        self._late = [AskedPrompt.from_dict(values) for values in state["late"]]
        self.engine.num_cut = int(state.get("num_cut", 0))  # older checkpoints do not tell it
        self.spool.cut_to(int(state["spool_lines"]))
        self.pipeline.close()
        under_way = [*self._late, *(one for batch in self._pending for one in batch)]
        share = -(-self.num_prompts // world_size())
        self.pipeline = Pipeline(self.maker, queue_size=max(4, share * (self.schedule.lag + 2), len(under_way) + share))
        for asked in under_way:
            self._submit(asked)

    def _check(self, on_image_failure: str, *, shows_negative: bool, mode: str) -> None:
        for name in ("num_prompts", "num_rollouts"):
            if getattr(self, name) < 1:
                raise ConfigError(f"`{name}` must be positive, but is {getattr(self, name)} instead.")
        if self.num_prompts % world_size():
            raise ConfigError(
                f"`num_prompts` must be a multiple of the {world_size()} ranks, but is {self.num_prompts} instead."
            )
        needs = "negative" in self.encoder.pictures
        if needs != shows_negative:
            found = "are given" if shows_negative else "are missing"
            raise ConfigError(
                f"`describer` and `images` must be given where the strategy shows negative images, and only there; "
                f"with `{self.strategy}` they {found}."
            )
        is_textual = any(term.side == "text" for term in CONTRASTS[self.strategy, mode])
        if on_image_failure == "text_only" and not (needs and is_textual and mode == "single"):
            raise ConfigError(
                f"`on_image_failure: text_only` must stand beside a strategy that compares texts, too, in the mode "
                f"single, such as `orm`; `{self.strategy}` in `{mode}` leaves nothing to compare."
            )

    def _ask(self) -> None:
        """Have prompts answered where any rank is short of pairs; all ranks do the same."""
        if self.schedule.type == "free":
            if self._is_short():
                self._pending.append(self._sample())
            return
        while len(self._pending) <= self.schedule.lag:  # equally many on all ranks
            self._pending.append(self._sample() if self._is_short() else [])

    def _is_short(self) -> bool:
        """Say whether a rank has fewer pairs than may wait; the same on all."""
        limit = self.schedule.max_waiting if self.schedule.max_waiting is not None else 2 * self.per_step
        return sum_over_ranks({"short": float(len(self._waiting) < limit)})["short"] > 0

    def _sample(self) -> list[AskedPrompt]:
        """Answer this rank's share of the next prompts with the present policy, and hand it to the services."""
        self.prompts.forget()
        places = self.prompts.take(self.num_prompts)[rank() :: world_size()]
        asked = [self.prompts.prompt(place) for place in places]
        prompts = [
            Prompt(
                sample=one.sample,
                encoded=one.encoded,
                seeds=[(self.seed << 80) + (place << 16) + number for number in range(self.num_rollouts)],
            )
            for place, one in zip(places, asked, strict=True)
        ]
        with self.policy.whole_weights():
            completions = self.engine.complete(prompts)
        batch = [
            asked_of(one.sample, place, rollouts, policy_step=self._steps)
            for place, one, rollouts in zip(places, asked, completions, strict=True)
        ]
        kept: list[AskedPrompt] = []
        for one in batch:
            self._filler = _filler_of(one)
            if self._submit(one):
                kept.append(one)
            else:
                self._counts["idle"] += 1
                logger.warning(
                    "Prompt `%s` is let go of: the services have no room for it in %s s.", one.name, _SUBMIT_S
                )
        return kept

    def _submit(self, asked: AskedPrompt) -> bool:
        sample = self.prompts.prompt(asked.place).sample
        positive = load_image(sample.images[0]) if sample.images else None
        return self.pipeline.submit(asked, positive, timeout_s=_SUBMIT_S)

    def _gather(self) -> None:
        """Take in what the services have made."""
        if self.schedule.type == "lockstep":
            batch = [*self._late, *self._pending.popleft()]
            outcomes = self.pipeline.wait_for([one.place for one in batch], timeout_s=self.schedule.max_wait_s)
            done = {one.asked.place for one in outcomes}
            self._late = [one for one in batch if one.place not in done]
            self._counts["late"] += len(self._late)
        else:
            missing = len(self._waiting) < self.per_step
            outcomes = self.pipeline.ready(timeout_s=self.schedule.max_wait_s if missing else 0.0)
            done = {one.asked.place for one in outcomes}
            left = [one for batch in self._pending for one in batch if one.place not in done]
            self._pending = deque([left] if left else [])
        for outcome in outcomes:
            self._keep(outcome)

    def _keep(self, outcome: Outcome) -> None:
        self.spool.note_outcome(outcome, step=self._steps)
        self._waiting.put(outcome.pairs)
        self._counts.update(outcome.counts)  # type: ignore[arg-type]
        self._counts["pairs"] += len(outcome.pairs)
        if outcome.reasons:
            logger.info("Prompt `%s`: %s", outcome.asked.name, "; ".join(outcome.reasons[:3]))

    def _take(self) -> list[Weighted]:
        """Return the pairs of a step, the oldest first; earlier ones, or one of weight 0, where there are too few."""
        fresh: list[MadePair] = []
        while len(fresh) < self.per_step and len(self._waiting):
            (pair,) = self._waiting.take(1)
            limit = self.schedule.max_staleness
            if limit is not None and self._steps - pair.policy_step > limit:
                self._counts["too_old"] += 1
                continue
            fresh.append(pair)
        self.spool.note_trained(fresh, step=self._steps)
        missing = self.per_step - len(fresh)
        again: list[MadePair] = []
        if missing and self.schedule.on_short == "replay" and self.schedule.replay_size and self._replay:
            draw = random.Random(f"{self.seed}/{self._steps}/{rank()}")
            again = [draw.choice(self._replay) for _ in range(missing)]
            self.spool.note_trained(again, step=self._steps, is_replay=True)
        self._replay.extend(fresh)
        idle = missing - len(again)
        self._counts.update(
            {
                "trained": len(fresh),
                "replayed": len(again),
                "idle": idle,
                "staleness_sum": sum(self._steps - pair.policy_step for pair in fresh),
                "waiting": len(self._waiting),
            }
        )
        stand_in = self._stand_in() if idle else None
        return [*((pair, 1.0) for pair in (*fresh, *again)), *((stand_in, 0.0) for _ in range(idle) if stand_in)]

    def _stand_in(self) -> MadePair:
        if self._filler is None:
            raise ServiceError("No prompt of this rank could be asked; the services have no room for any.")
        return self._filler

    def _stop_if_barren(self) -> None:
        """End a run that makes nothing any more.

        Raises:
            ServiceError: on all ranks, after so many steps without a new pair on any.
        """
        made = sum_over_ranks({"pairs": float(self._counts["pairs"] + self._counts["trained"])})["pairs"]
        self._num_barren = 0 if made else self._num_barren + 1
        if self._num_barren >= self.schedule.max_barren:
            told = {
                name: int(self._counts[name]) for name in ("answers", "invalid", "judge_failures", "missing_images")
            }
            raise ServiceError(
                f"No pair was made in {self._num_barren} steps (in the last: {told}); look at the judge and the "
                "renderer, then start the same run again: it goes on from its last checkpoint."
            )

    def _step(self, pairs: Sequence[Weighted]) -> Step:
        size = self.micro_batch_size
        encoded = [(self._encoded(pair), pair, weight) for pair, weight in pairs]
        encoded.sort(key=lambda one: len(one[0]["input_ids"]))
        micro_batches = [self._batch(encoded[start : start + size]) for start in range(0, len(encoded), size)]
        counts = [batch.count() for batch in micro_batches]
        denominators = sum_over_ranks({name: sum(count[name] for count in counts) for name in counts[0]})
        passed = {**self.prompts.passed_over(), "completions_cut": float(self.engine.num_cut)}  # by every rank, always
        notes = {**telemetry(self._counts), **passed}
        return Step(micro_batches=micro_batches, denominators=denominators, notes=notes)

    def _encoded(self, pair: MadePair) -> dict[str, Any]:
        sample: Sample = self.prompts.prompt(pair.place).sample
        negative = list(sample.images) if pair.image is None else [self.maker.store.get(pair.image)]
        meta = {
            "ids": {"chosen": pair.chosen_ids, "rejected": pair.rejected_ids},
            "texts": {"chosen": pair.chosen, "rejected": pair.rejected},
        }
        told = Sample(messages=sample.messages, images=sample.images, id=pair.name, negative_images=negative, meta=meta)
        return self.encoder.encode(told)

    def _batch(self, encoded: Sequence[tuple[dict[str, Any], MadePair, float]]) -> Batch:
        batch = self.collate([one for one, _, _ in encoded])
        weights = torch.tensor([weight for _, _, weight in encoded])
        with_image = torch.tensor([float(pair.image is not None) for _, pair, _ in encoded])
        targets = {**batch.targets, "pair_weights": weights, "image_weights": with_image}
        with self.policy.whole_weights():
            logprobs = self.reference.logprobs(batch)
        if logprobs is not None:
            targets["reference_logprobs"] = logprobs.sum(dim=1)
        counts = {**batch.counts, "pairs": float(weights.sum()), "preferred_tokens": self._preferred(batch, weights)}
        return Batch(inputs=batch.inputs, targets=targets, counts=counts)

    def _preferred(self, batch: Batch, weights: torch.Tensor) -> float:
        """Return the targets of the preferred rows of pairs that count."""
        lengths = (batch.inputs["labels"][:, 1:] >= 0).sum(dim=1)
        places = [batch.targets["rows"][role] for role in self.collate.preferred]
        return float(sum((lengths[rows] * weights).sum() for rows in places))


def _filler_of(asked: AskedPrompt) -> MadePair:
    """Return a pair of one answer with itself, which has weight 0 and keeps ranks in step."""
    answer = asked.answers[0]
    return MadePair(
        place=asked.place,
        number=-1,
        name=asked.name,
        question=asked.question,
        chosen=answer.text,
        rejected=answer.text,
        chosen_ids=answer.ids,
        rejected_ids=answer.ids,
        chosen_score=0.0,
        rejected_score=0.0,
        policy_step=asked.policy_step,
    )


def _prompt_stream(source: Mapping[str, Any], processor: Any, options: Mapping[str, Any], *, seed: int) -> PromptStream:
    """Build the stream of prompts.

    Raises:
        ConfigError: if an option is unknown.
    """
    _check_prompts(options)
    lengths = LengthPolicy(max_tokens=options.get("max_tokens"), action=options.get("on_too_long", "refuse"))
    limit = float(options.get("corrupt_limit", 0.01))
    built = AnswersAsReferences(SOURCES.build(source))
    return PromptStream(built, processor, lengths=lengths, corrupt_limit=limit, seed=seed)


def _check_prompts(options: Mapping[str, Any]) -> None:
    unknown = set(options) - {"max_tokens", "on_too_long", "corrupt_limit"}
    if unknown:
        raise ConfigError(f"`prompts` takes max_tokens, on_too_long and corrupt_limit, but has {sorted(unknown)}, too.")
