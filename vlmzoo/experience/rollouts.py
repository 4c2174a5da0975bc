"""Learning from rewarded completions of the policy itself: the data side of GRPO.

Letters: P prompts, G completions of one prompt.
"""

import logging
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal

from vlmzoo.data.collation import Collator, LengthPolicy
from vlmzoo.data.conversations import text_of
from vlmzoo.data.sources import SOURCES, Source
from vlmzoo.data.sources.pictures import read_size
from vlmzoo.distributed import gather_over_ranks, rank, sum_over_ranks, world_size
from vlmzoo.errors import ConfigError, DataError
from vlmzoo.experience import EXPERIENCES
from vlmzoo.experience._online_parts import AnswersAsReferences, question_of
from vlmzoo.experience._prompts import PromptStream, balanced_order
from vlmzoo.experience._reference import ReferenceKind, ReferenceModel
from vlmzoo.experience._rollout_notes import notes_of
from vlmzoo.experience._trajectories import Trajectory, batch_of, leave_unjudged_out
from vlmzoo.objectives import OBJECTIVES
from vlmzoo.objectives.policy_gradient import PolicyGradientObjective
from vlmzoo.objectives.weighted_sum import terms_of
from vlmzoo.outputs import Batch, Step
from vlmzoo.registry import NestedSpecs
from vlmzoo.services.rewards import RewardBench, check_rewards
from vlmzoo.services.rollout import ROLLOUT_ENGINES, Policy, Prompt, Rollout, Sampling, check_engine
from vlmzoo.types import Sample

__all__ = ["RolloutsExperience"]

logger = logging.getLogger(__name__)

_MAX_IDENTICAL_BATCHES = 20

Group = list[Trajectory]


@EXPERIENCES.register(
    "rollouts",
    source="DeepSeekMath, arXiv:2402.03300, algorithm 1; dynamic sampling: DAPO, arXiv:2503.14476, section 3.2",
    tiny={
        "source": {
            "type": "synthetic",
            "task": {
                "type": "consecutive_table_readout",
                "style": "compact",
                "num_rows": 2,
                "num_cols": 3,
                "path_cells": [2, 3],
            },
            "kinds": {"text": 1.0, "image": 1.0},
        },
        "rewards": [{"type": "table_exact_match"}],
        "num_prompts": 2,
        "num_rollouts": 2,
        "sampling": {"max_new_tokens": 4},
    },
)
class RolloutsExperience:
    """Steps of completions, each prompt answered G times by the present policy and rewarded.

    When the next batch is pulled, the policy has just been updated, so what it says is its own. A batch of P prompts
    serves ``P * G / sequences per step`` updates, ``num_epochs`` times over. Completions are dealt out evenly, so a
    group may lie on several ranks; each completion carries the rewards of its whole group.

    Args:
        source: ``{type: name, …}`` for the source registry; a final assistant turn is taken off, the reference stays.
        rewards: ``{type: name, weight: 1.0, …}`` for the score registry; ``weight: 0`` only watches. A judge of online
            preferences is one, too: ``{type: judge, judge: {…}}``; the last answer of a sample without a reference is
            what it compares with, and what it cannot judge teaches nothing.
        num_prompts: P, of a batch over all ranks.
        num_rollouts: G.
        sampling: ``max_new_tokens``, ``temperature``, ``top_k``, ``top_p``.
        reference: what the divergence is measured from: ``none``, ``frozen_copy``, ``lora_off``, ``frozen_lora``.
        num_epochs: how often each batch is gone through.
        on_zero_variance: what becomes of groups whose rewards agree: ``keep``, or ``resample`` other prompts.
        max_draws: how often prompts are drawn for one batch, at most.
        prompts: ``max_tokens``, ``on_too_long`` (``refuse`` or ``skip``), ``corrupt_limit``, ``keep_rows``
            (encoded prompts that stay in memory), and ``balance`` (``{classes: [yes, no]}``: batches with as many
            prompts of each class).
        engine: ``{type: name, …}`` for the registry of rollout engines.
        reward_timeout_s: how long one call of another's reward function may take.
        strict_rewards: whether a reward that fails ends the run.
        with_entropy: whether the model returns entropies, which a bonus needs.
        record: ``{every: 1, tokens: true}``, what the run writes to ``rollouts.jsonl``.
        processor: encodes prompts.
        micro_batch_size: completions in one forward pass on this rank.
        accumulation_steps: forward passes in one step on this rank.
        seed: of the shuffling and of the drawing.
        policy: what is trained.

    Raises:
        ConfigError: if the numbers do not fit together, a part cannot be built, or the model has adapters that wait
            for a token, whose inputs no completion brings along.
    """

    brings: ClassVar[str] = "rewards"
    nested_specs: ClassVar[NestedSpecs] = {
        "source": SOURCES.check,
        "rewards": check_rewards,
        "sampling": lambda values: _sampling(values),
        "prompts": lambda options: _check_prompts(options),
        "engine": check_engine,
    }

    def __init__(
        self,
        *,
        source: Mapping[str, Any],
        rewards: Sequence[Mapping[str, Any]],
        num_prompts: int,
        num_rollouts: int,
        sampling: Mapping[str, Any],
        reference: ReferenceKind = "none",
        num_epochs: int = 1,
        on_zero_variance: Literal["keep", "resample"] = "keep",
        max_draws: int = 4,
        prompts: Mapping[str, Any] | None = None,
        engine: Mapping[str, Any] | None = None,
        reward_timeout_s: float = 10.0,
        strict_rewards: bool = False,
        with_entropy: bool = False,
        record: Mapping[str, Any] | None = None,
        processor: Any,
        micro_batch_size: int,
        accumulation_steps: int = 1,
        seed: int = 0,
        policy: Policy,
    ) -> None:
        self.num_prompts, self.num_rollouts, self.num_epochs = num_prompts, num_rollouts, num_epochs
        self.micro_batch_size = micro_batch_size
        self.per_step = micro_batch_size * accumulation_steps
        self.max_draws = max_draws if on_zero_variance == "resample" else 1
        self.seed, self.policy = seed, policy
        self._check(on_zero_variance)
        self.check_tokens(getattr(processor, "adapter_tokens", ()))
        self.sampling = _sampling(sampling)
        self.options: dict[str, Any] = {"temperature": self.sampling.temperature, "return_entropy": with_entropy}
        self.rewards = RewardBench(rewards, timeout_s=reward_timeout_s, strict=strict_rewards)
        self.reference = ReferenceModel(reference, policy)
        self.record = dict(record or {})
        read = SOURCES.build(source)
        if self.rewards.has_judge:
            read = AnswersAsReferences(read)
        self.prompts = _prompt_stream(read, processor, prompts or {}, num_prompts=num_prompts, seed=seed)
        spec = dict(engine or {"type": "in_process"})
        self.engine = ROLLOUT_ENGINES.build(spec, policy=policy, processor=processor, sampling=self.sampling)
        self.collate = Collator(pad_token_id=processor.padding_id, adapter_inputs=processor.adapter_inputs)
        self._batch: Group = []  # this rank's share of the present batch
        self._used = 0  # steps of it that were taken
        self._notes: dict[str, float] = {}
        self._num_batches = 0
        self._num_identical = 0

    @staticmethod
    def wants_frozen_copy(spec: Mapping[str, Any]) -> bool:
        """Say whether this spec needs a frozen copy of the starting weights, which must be made before training."""
        return spec.get("reference") == "frozen_copy"

    @staticmethod
    def check_objective(spec: Mapping[str, Any], objective: Mapping[str, Any]) -> None:
        """Compare a spec with that of the objective, before anything is built or drawn.

        Raises:
            ConfigError: if the objective weighs a divergence or an entropy that the rollouts do not come with, or
                divides by another length than they may have.
        """
        for where, term in terms_of(OBJECTIVES.build(objective)).items():
            if isinstance(term, PolicyGradientObjective):
                _check_term(spec, where, term)

    @staticmethod
    def check_tokens(tokens: Sequence[str]) -> None:
        """Refuse a model whose adapters wait for tokens, before anything is built.

        Args:
            tokens: that its adapters add.

        Raises:
            ConfigError: if there are any: no completion brings targets for them along.
        """
        if tokens:
            raise ConfigError(
                f"Rollouts train no adapter that waits for a token, but the model has some ({', '.join(tokens)}): a "
                "completion that says one brings no targets for it. Leave them out, or merge the model first."
            )

    @staticmethod
    def updates_per_batch(spec: Mapping[str, Any], *, sequences_per_step: int) -> int:
        """Return how many updates are made of what was sampled at once.

        Args:
            spec: of the experience.
            sequences_per_step: over all micro-batches and ranks.
        """
        return spec["num_prompts"] * spec["num_rollouts"] // sequences_per_step * spec.get("num_epochs", 1)

    def __iter__(self) -> Iterator[Step]:
        """Iterate over steps without end; the loop says when it has had enough."""
        while True:
            if self._used >= self._steps_per_epoch * self.num_epochs or not self._batch:
                self._collect()
            epoch, number = divmod(self._used, self._steps_per_epoch)
            self._used += 1
            yield self._step(self._ordered(epoch)[number * self.per_step : (number + 1) * self.per_step])

    def state_dict(self) -> dict[str, Any]:
        """Return where this rank stands, with the completions that are still to be learned from."""
        is_over = self._used >= self._steps_per_epoch * self.num_epochs
        return {
            "prompts": self.prompts.state_dict(),
            "num_batches": self._num_batches,
            "num_identical": self._num_identical,
            "used": self._used,
            "batch": [] if is_over else [trajectory.to_dict() for trajectory in self._batch],
            "notes": dict(self._notes),
            "num_cut": self.engine.num_cut,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to where ``state_dict`` was taken."""
        self.prompts.load_state_dict(state["prompts"])
        self._num_batches, self._num_identical = int(state["num_batches"]), int(state["num_identical"])
        self._used = int(state["used"])
        self._batch = [Trajectory.from_dict(values) for values in state["batch"]]
        self._notes = dict(state["notes"])
        self.engine.num_cut = int(state.get("num_cut", 0))  # older checkpoints do not tell it

    def told_of(self, place: int, number: int) -> dict[str, Any]:
        """Return what is known of a completion of the present batch, as JSON values."""
        one = next(one for one in self._batch if (one.place, one.number) == (place, number))
        sample = self.prompts.prompt(place).sample
        return {
            "update": self._used - 1,
            "place": place,
            "number": number,
            "sample": sample.id,
            "prompt": text_of(sample.messages),
            "completion": one.text,
            "is_finished": one.is_finished,
            "num_tokens": len(one.ids),
            "answer": str(sample.reference),
            "reward": one.reward,
            "rewards": dict(one.values),
            "group_rewards": list(one.group_rewards),
            **_frame_of(sample),
        }

    @property
    def _steps_per_epoch(self) -> int:
        return self.num_prompts * self.num_rollouts // (self.per_step * world_size())

    def _check(self, on_zero_variance: str) -> None:
        if self.num_rollouts < 2:
            raise ConfigError(
                f"`num_rollouts` must be at least 2, since completions are compared with their siblings, but is "
                f"{self.num_rollouts} instead."
            )
        for name in ("num_prompts", "num_epochs", "max_draws"):
            if getattr(self, name) < 1:
                raise ConfigError(f"`{name}` must be positive, but is {getattr(self, name)} instead.")
        if on_zero_variance not in ("keep", "resample"):
            raise ConfigError(f"`on_zero_variance` must be keep or resample, but is {on_zero_variance!r} instead.")
        num, unit = self.num_prompts * self.num_rollouts, self.per_step * world_size()
        if num % unit:
            raise ConfigError(
                f"`num_prompts` × `num_rollouts` is {num}, which must be a multiple of the {unit} sequences of a step "
                f"(`micro_batch_size` × `accumulation_steps` × {world_size()} ranks)."
            )

    def _collect(self) -> None:
        """Draw, reward and keep this rank's share of a new batch."""
        self.prompts.forget()
        with self.policy.whole_weights():
            groups, drawn, faults = self._draw_groups()
            trajectories = [trajectory for group in groups for trajectory in group]
            share = len(trajectories) // world_size()
            self._batch = trajectories[rank() * share : (rank() + 1) * share]
            self._refer()
        self._num_batches += 1
        self._used = 0
        self._notes = notes_of(groups, drawn, faults, self.rewards.weights)
        self._watch_for_copies(groups)

    def _draw_groups(self) -> tuple[list[Group], list[Group], dict[str, int]]:
        """Return the groups of a batch, all that were drawn for it, and the faults of rewards; equal on all ranks."""
        kept: list[Group] = []
        drawn: list[Group] = []
        faults: dict[str, int] = {}
        for _ in range(self.max_draws):
            found, failed = self._rollouts(self.prompts.take(self.num_prompts - len(kept)))
            faults = {name: faults.get(name, 0) + failed.get(name, 0) for name in {*faults, *failed}}
            drawn += found
            kept += [group for group in found if self.max_draws == 1 or _has_variance(group)]
            if len(kept) == self.num_prompts:
                break
        flat = [group for group in drawn if not _has_variance(group)]
        return kept + flat[: self.num_prompts - len(kept)], drawn, faults

    def _rollouts(self, places: Sequence[int]) -> tuple[list[Group], dict[str, int]]:
        """Have the prompts at these places answered and rewarded, each rank its share, and share the results."""
        wanted = [(place, number) for place in places for number in range(self.num_rollouts)]
        share = -(-len(wanted) // world_size())
        own = wanted[rank() * share : (rank() + 1) * share]
        asked = list(dict.fromkeys(place for place, _ in own))
        prompts = [self._prompt(place, [number for other, number in own if other == place]) for place in asked]
        completions = self.engine.complete(prompts)
        rollouts = [(place, rollout) for place, group in zip(asked, completions, strict=True) for rollout in group]
        rewarded = self.rewards(
            [
                (
                    rollout.text,
                    (sample := self.prompts.prompt(place).sample).reference,
                    sample.id or str(place),
                    question_of(sample),
                )
                for place, rollout in rollouts
            ]
        )
        values = [dict(zip(rewarded.values, row, strict=True)) for row in zip(*rewarded.values.values(), strict=True)]
        shared = gather_over_ranks(
            [
                _trajectory(place, number, rollout, total, own_values)
                for (place, number), (_, rollout), total, own_values in zip(
                    own, rollouts, rewarded.totals, values, strict=True
                )
            ]
        )
        groups = [shared[start : start + self.num_rollouts] for start in range(0, len(shared), self.num_rollouts)]
        for group in groups:
            leave_unjudged_out(group)
            for trajectory in group:
                trajectory.group_rewards = [sibling.reward for sibling in group]
        faults = gather_over_ranks([dict(rewarded.faults)])
        return groups, {name: sum(own.get(name, 0) for own in faults) for name in {n for own in faults for n in own}}

    def _prompt(self, place: int, numbers: Sequence[int]) -> Prompt:
        asked = self.prompts.prompt(place)
        seeds = [(self.seed << 80) + (place << 16) + number for number in numbers]
        return Prompt(sample=asked.sample, encoded=asked.encoded, seeds=seeds)

    def _refer(self) -> None:
        """Ask the reference what it thinks of this rank's completions."""
        if self.reference.kind == "none":
            return
        size = self.micro_batch_size
        for start in range(0, len(self._batch), size):
            part = self._batch[start : start + size]
            batch = self._batch_of(part)
            logprobs = self.reference.logprobs(batch)
            if logprobs is None:
                return
            for trajectory, row in zip(part, logprobs, strict=True):
                begin = len(self.prompts.prompt(trajectory.place).encoded["input_ids"])
                trajectory.reference_logprobs = row[begin : begin + len(trajectory.ids)].tolist()

    def _ordered(self, epoch: int) -> Group:
        """Return this rank's share in the order of an epoch over it; the first goes through it as it was drawn."""
        order = list(self._batch)
        if epoch:
            random.Random(f"{self.seed}/{self._num_batches}/{epoch}/{rank()}").shuffle(order)
        return order

    def _step(self, trajectories: Group) -> Step:
        """Cut completions of similar length into micro-batches."""
        ordered = sorted(trajectories, key=self._length)
        size = self.micro_batch_size
        micro_batches = [self._batch_of(ordered[start : start + size]) for start in range(0, len(ordered), size)]
        counts = [batch.count() for batch in micro_batches]
        denominators = sum_over_ranks({name: sum(count[name] for count in counts) for name in counts[0]})
        return Step(micro_batches=micro_batches, denominators=denominators, notes=self._shares())

    def _batch_of(self, trajectories: Group) -> Batch:
        encoded = [self.prompts.prompt(trajectory.place).encoded for trajectory in trajectories]
        return batch_of(trajectories, encoded, collate=self.collate, options=self.options)

    def _length(self, trajectory: Trajectory) -> int:
        return len(self.prompts.prompt(trajectory.place).encoded["input_ids"]) + len(trajectory.ids)

    def _shares(self) -> dict[str, float]:
        """Return the notes as this rank's share: they are the same everywhere, and the loop adds ranks up."""
        shares = {name: value / world_size() for name, value in self._notes.items()}
        return {**shares, **self.prompts.passed_over(), "completions_cut": float(self.engine.num_cut)}

    def _watch_for_copies(self, groups: Sequence[Group]) -> None:
        """Notice a sampler that always says the same.

        Raises:
            DataError: if no prompt has had two different completions for twenty batches.
        """
        is_identical = all(len({tuple(one.ids) for one in group}) == 1 for group in groups)
        self._num_identical = self._num_identical + 1 if is_identical else 0
        if self._num_identical >= _MAX_IDENTICAL_BATCHES:
            raise DataError(
                f"All completions of each prompt have been the same for {self._num_identical} batches, so there is "
                f"nothing to learn; raise `sampling.temperature` ({self.sampling.temperature}), look at `top_k` and "
                "`top_p`, or start from a model that is less sure of itself."
            )


def _check_term(spec: Mapping[str, Any], where: str, term: PolicyGradientObjective) -> None:
    if term.kl_coef > 0 and spec.get("reference", "none") == "none":
        raise ConfigError(
            f"`{where}.kl_coef` is {term.kl_coef}, which needs a reference, but `experience.reference` is none; "
            "set it to lora_off, frozen_lora or frozen_copy, or `kl_coef: 0`."
        )
    if term.entropy_coef > 0 and not spec.get("with_entropy"):
        raise ConfigError(
            f"`{where}.entropy_coef` is {term.entropy_coef}, which needs `experience.with_entropy: true`."
        )
    longest = spec.get("sampling", {}).get("max_new_tokens", term.max_completion_tokens)
    if term.max_completion_tokens not in (None, longest):
        raise ConfigError(
            f"`{where}.max_completion_tokens` must be `experience.sampling.max_new_tokens`, the longest that a "
            f"completion can be, but they are {term.max_completion_tokens} and {longest} instead."
        )


def _trajectory(place: int, number: int, rollout: Rollout, reward: float, values: Mapping[str, float]) -> Trajectory:
    return Trajectory(
        place=place,
        number=number,
        ids=list(rollout.ids),
        logprobs=list(rollout.logprobs),
        text=rollout.text,
        is_finished=rollout.is_finished,
        reward=reward,
        values=dict(values),
        group_rewards=[],
    )


def _frame_of(sample: Sample) -> dict[str, Any]:
    """Return in which frame a sample's boxes are written, and how large its first image is, where it says so."""
    if "coordinates" not in sample.meta:
        return {}
    size = read_size(sample.images[0]) if sample.images else None
    return {"frame": {"coordinates": sample.meta["coordinates"], "image_px": size}}


def _has_variance(group: Group) -> bool:
    return any(trajectory.reward != group[0].reward for trajectory in group)


def _sampling(values: Mapping[str, Any]) -> Sampling:
    """Build the sampling settings.

    Raises:
        ConfigError: if one is unknown or makes no sense.
    """
    try:
        sampling = Sampling(**values)
    except TypeError as error:
        raise ConfigError(
            f"`sampling` takes max_new_tokens, temperature, top_k and top_p, but is {dict(values)} instead: {error}."
        ) from error
    if sampling.temperature == 0:
        raise ConfigError("`sampling.temperature` must be positive, or all completions of a prompt are the same.")
    return sampling


def _prompt_stream(
    source: Source, processor: Any, options: Mapping[str, Any], *, num_prompts: int, seed: int
) -> PromptStream:
    """Build the stream of prompts.

    Raises:
        ConfigError: if an option is unknown.
    """
    _check_prompts(options)
    lengths = LengthPolicy(max_tokens=options.get("max_tokens"), action=options.get("on_too_long", "refuse"))
    limit = float(options.get("corrupt_limit", 0.01))
    balance = options.get("balance")
    order = None if balance is None else balanced_order(source, balance, batch_size=num_prompts, seed=seed)
    return PromptStream(
        source,
        processor,
        lengths=lengths,
        corrupt_limit=limit,
        seed=seed,
        order=order,
        keep_rows=int(options.get("keep_rows", 0)),
    )


def _check_prompts(options: Mapping[str, Any]) -> None:
    known = ("max_tokens", "on_too_long", "corrupt_limit", "balance", "keep_rows")
    unknown = set(options) - set(known)
    if unknown:
        raise ConfigError(f"`prompts` takes {', '.join(known)}, but has {sorted(unknown)}, too.")
