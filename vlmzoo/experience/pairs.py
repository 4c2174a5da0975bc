"""Learning from preferences: two answers to one question, or one answer beside two pictures, in shuffled order.

Letters: B rows, P pairs.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from vlmzoo.data.collation import Collator
from vlmzoo.data.encoding import SampleEncoding
from vlmzoo.data.preference_batches import PairCollator
from vlmzoo.data.preference_pairs import PairEncoder, SharedTokens
from vlmzoo.data.sources import Source
from vlmzoo.errors import ConfigError
from vlmzoo.experience import EXPERIENCES
from vlmzoo.experience._reference import ReferenceModel
from vlmzoo.experience.reference_table import ReferenceTable
from vlmzoo.experience.supervised import SupervisedExperience, Unit
from vlmzoo.objectives import OBJECTIVES
from vlmzoo.objectives.preference import PreferenceObjective
from vlmzoo.objectives.weighted_sum import terms_of
from vlmzoo.outputs import Batch
from vlmzoo.services.rollout import Policy

__all__ = ["PairsExperience", "PairsReference", "check_preference", "make_pair_collator"]

PairsReference = Literal["none", "frozen_copy", "lora_off", "frozen_lora", "precomputed"]
"""What log-ratios are measured from; ``precomputed`` reads a file that ``vlmzoo data reference`` wrote."""


@EXPERIENCES.register(
    "pairs",
    source="DPO, arXiv:2305.18290, section 4; MIA-DPO, arXiv:2410.17637, section 3.3; OViP, arXiv:2505.15963",
    tiny={
        "source": {"type": "shape_cards", "layouts": {"sequence": 1.0}, "rejected": True, "card_px": 28},
        "reference": "frozen_copy",
    },
)
class PairsExperience(SupervisedExperience):
    """Steps of preference pairs from a source.

    All rows of a pair go through the model in one micro-batch, and each picture of it is encoded once. The reference is
    asked when a micro-batch is made, on the very same batch.

    Args:
        source: ``{type: name, …}`` for the source registry; its samples have ``rejected`` answers, and
            ``negative_images`` where the strategy shows them.
        strategy: whose rows, as in the objective: ``dpo``, ``mdpo``, ``orm`` …
        mode: ``single`` or ``same_batch``, as in the objective.
        reference: where log-ratios are measured from; ``none`` is for an objective that is ``reference_free``.
        reference_file: of ``reference: precomputed``.
        shared_tokens: whether tokens that both answers hold are targets: ``keep``, ``mask``, or ``mask_as_ovip``.
        max_tokens: longest row, visual tokens counted; None for no limit.
        on_too_long: what becomes of a pair with a longer one: ``refuse`` or ``skip``.
        corrupt_limit: share of corrupt pairs that are named, counted and passed over; above it the run fails.
        num_workers: processes that encode ahead of training.
        processor: encodes conversations.
        micro_batch_size: pairs in one forward pass on this rank.
        accumulation_steps: forward passes in one step on this rank.
        seed: of the shuffling.
        policy: what is trained, and what a reference is made of.

    Raises:
        ConfigError: if a name is unknown, an option would have no effect, or the policy has not what the reference
            needs.
        DataError: if the file of the reference cannot be read, or is another strategy's.
    """

    brings: ClassVar[str] = "pairs"

    def __init__(
        self,
        *,
        source: Mapping[str, Any] | Source,
        strategy: str = "dpo",
        mode: Literal["single", "same_batch"] = "single",
        reference: PairsReference,
        reference_file: str | None = None,
        shared_tokens: SharedTokens = "keep",
        max_tokens: int | None = None,
        on_too_long: Literal["refuse", "skip"] = "refuse",
        corrupt_limit: float = 0.01,
        num_workers: int = 0,
        processor: SampleEncoding,
        micro_batch_size: int,
        accumulation_steps: int = 1,
        seed: int = 0,
        policy: Policy,
    ) -> None:
        if (reference == "precomputed") != (reference_file is not None):
            raise ConfigError(
                "`reference_file` and `reference: precomputed` must be given together, but `reference` is "
                f"{reference!r} and `reference_file` is {reference_file!r} instead."
            )
        super().__init__(
            source=source,
            max_tokens=max_tokens,
            on_too_long=on_too_long,
            corrupt_limit=corrupt_limit,
            num_workers=num_workers,
            processor=PairEncoder(processor, strategy=strategy, mode=mode, shared_tokens=shared_tokens),
            micro_batch_size=micro_batch_size,
            accumulation_steps=accumulation_steps,
            seed=seed,
        )
        self.policy = policy
        self.collate_pairs = make_pair_collator(processor, strategy=strategy, mode=mode)
        self.table: ReferenceTable | None = None
        self.reference: ReferenceModel | None = None
        if reference_file is not None:
            self.table = ReferenceTable.read(reference_file, strategy=strategy, mode=mode)
        else:
            self.reference = ReferenceModel(reference, policy)  # type: ignore[arg-type]

    @staticmethod
    def wants_frozen_copy(spec: Mapping[str, Any]) -> bool:
        """Say whether this spec needs a frozen copy of the starting weights, which must be made before training."""
        return spec.get("reference") == "frozen_copy"

    @staticmethod
    def check_objective(spec: Mapping[str, Any], objective: Mapping[str, Any]) -> None:
        """Compare a spec with that of the objective, before anything is built.

        Raises:
            ConfigError: if the rows would be those of another strategy, or there is no reference where one is needed.
        """
        check_preference(spec, objective, strategy="dpo")

    def _collated(self, units: Sequence[Unit]) -> Batch:
        pairs = [unit[0] for unit in units]
        batch = self.collate_pairs(pairs)
        known = self._referred(pairs, batch)
        return (
            batch
            if known is None
            else Batch(batch.inputs, {**batch.targets, "reference_logprobs": known}, batch.counts)
        )

    def _referred(self, pairs: Sequence[Mapping[str, Any]], batch: Batch) -> Tensor | None:
        """Return the reference's log-probabilities of a batch's rows, summed over their targets, ``(B,)``."""
        if self.table is not None:
            sums = torch.zeros(batch.inputs["labels"].shape[0])
            for number, pair in enumerate(pairs):
                sums[self.collate_pairs.places_of(number, len(pairs))] = self.table.find(pair)
            return sums
        assert self.reference is not None
        if self.reference.kind == "none":
            return None
        with self.policy.whole_weights():
            logprobs = self.reference.logprobs(batch)
        return None if logprobs is None else logprobs.sum(dim=1)


def check_preference(spec: Mapping[str, Any], objective: Mapping[str, Any], *, strategy: str) -> None:
    """Compare the spec of an experience of pairs with that of the objective, terms of a sum included.

    Args:
        spec: of the experience.
        objective: likewise.
        strategy: that the experience has where it names none.

    Raises:
        ConfigError: if the rows would be those of another strategy, or there is no reference where one is needed.
    """
    rows = {"strategy": spec.get("strategy", strategy), "mode": spec.get("mode", "single")}
    for where, term in terms_of(OBJECTIVES.build(objective)).items():
        if not isinstance(term, PreferenceObjective):
            continue
        for name, made in rows.items():
            if made != getattr(term, name):
                raise ConfigError(
                    f"`experience.{name}` and `{where}.{name}` must be the same, but are {made!r} and "
                    f"{getattr(term, name)!r}."
                )
        if spec.get("reference") == "none" and term.needs_reference:
            raise ConfigError(
                f"`experience.reference: none` needs `{where}.reference_free: true` without anchors, or a reference."
            )


def make_pair_collator(
    processor: SampleEncoding, *, strategy: str, mode: Literal["single", "same_batch"]
) -> PairCollator:
    """Build what joins pairs to batches, with the roles that the objective of this strategy asks for.

    Raises:
        ConfigError: if there is no such strategy, or it has no such mode.
    """
    objective = PreferenceObjective(strategy=strategy, mode=mode)
    collate = Collator(pad_token_id=processor.padding_id, adapter_inputs=processor.adapter_inputs)
    roles, preferred = objective.roles, objective.preferred_roles
    return PairCollator(strategy=strategy, mode=mode, roles=roles, preferred=preferred, collate=collate)
