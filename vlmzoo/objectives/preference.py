"""Preference learning on images: direct preference optimisation (DPO) and its image-side kin.

Letters: B rows, T text positions, P pairs. ``d`` is a row's log-ratio: log-probability under the policy less that under
the reference, summed over the targets, in nats.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, relu

from vlmzoo.data.preference_rows import layout_of
from vlmzoo.errors import ConfigError, ShapeError
from vlmzoo.objectives import OBJECTIVES
from vlmzoo.objectives._scored_rows import ScoredRows
from vlmzoo.objectives.contrasts import ANCHORS, CONTRASTS, REJECTED_ANCHORS, preferred_roles, roles_of
from vlmzoo.outputs import Batch, LossOutput, VlmOutput

__all__ = ["PreferenceObjective", "preference_loss"]


def preference_loss(
    margin: Tensor,
    *,
    dpo_beta: float,
    loss: Literal["sigmoid", "hinge", "ipo"] = "sigmoid",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Return what a preference costs: ``phi(margin)``, elementwise.

    Source: DPO, arXiv:2305.18290, equation 7; label smoothing: cDPO (Mitchell, 2023); hinge: SLiC, arXiv:2305.10425;
    ipo: arXiv:2310.12036, equation 17.

    Args:
        margin: by how much the better row's log-ratio exceeds the other's, in nats; for ``ipo`` of the length-averaged
            log-ratios.
        dpo_beta: how strictly the policy is held to the reference.
        loss: its shape.
        label_smoothing: the share of preferences that are taken to be the wrong way round.
    """
    if loss == "ipo":
        return (margin - 1.0 / (2.0 * dpo_beta)) ** 2
    scaled = dpo_beta * margin
    if loss == "hinge":
        return relu(1.0 - scaled)
    return -(1.0 - label_smoothing) * logsigmoid(scaled) - label_smoothing * logsigmoid(-scaled)


@OBJECTIVES.register(
    "preference",
    source="DPO, arXiv:2305.18290; MIA-DPO, arXiv:2410.17637; OViP, arXiv:2505.15963, and the strategies in its code",
    tiny={"strategy": "dpo"},
)
@dataclass(frozen=True, kw_only=True)
class PreferenceObjective:
    """The better answer, or the right picture, is to gain on the other, measured from the reference.

    Args:
        strategy: what is compared with what: ``dpo``, ``mdpo``, ``vtcl``, ``ori_mdpo``, ``svco_noref``, ``svco_ref``,
            ``svco_textref`` or ``orm`` (OViP); see ``vlmzoo/objectives/contrasts.py``.
        mode: ``single``, or ``same_batch`` with the mirrored pair beside each pair.
        dpo_beta: how strictly the policy is held to the reference.
        loss: ``sigmoid``, ``hinge``, ``ipo`` (which averages over a row's targets), or ``kto_pair``.
        label_smoothing: the share of preferences taken to be the wrong way round; of ``sigmoid`` only.
        length_normalised: average log-probabilities over a row's targets instead of summing them.
        reference_free: leave the reference out of the margin.
        preference_weight: of all preference terms; 0 leaves the other terms alone.
        image_weight: of the image terms of ``orm`` (OViP's paper and README: 1; its code's default: 0.5).
        anchor: weight of the term that keeps the preferred rows above their own reference.
        rejected_anchor: weight of the term that keeps the rejected rows below theirs.
        reference_neg_anchor: weight of the authors' form of the latter, which is subtracted and has no lower bound;
            for comparison only, beside an ``anchor``.
        sft_weight: of the negative log-likelihood of the preferred rows (MIA-DPO's gamma).
        sft_normaliser: ``global_token`` divides that by the preferred rows' targets in the whole step (MIA-DPO),
            ``sequence`` averages within each row first (OViP).

    Raises:
        ConfigError: if an option is out of range, or would have no effect.
    """

    learns_from: ClassVar[str] = "pairs"

    strategy: str = "dpo"
    mode: Literal["single", "same_batch"] = "single"
    dpo_beta: float = 0.1
    loss: Literal["sigmoid", "hinge", "ipo", "kto_pair"] = "sigmoid"
    label_smoothing: float = 0.0
    length_normalised: bool = False
    reference_free: bool = False
    preference_weight: float = 1.0
    image_weight: float | None = None
    anchor: float = 0.0
    rejected_anchor: float = 0.0
    reference_neg_anchor: float = 0.0
    sft_weight: float = 0.0
    sft_normaliser: Literal["global_token", "sequence"] = "global_token"

    def __post_init__(self) -> None:
        """Check the options."""
        layout_of(self.strategy, self.mode)
        known = ("sigmoid", "hinge", "ipo", "kto_pair")
        if self.loss not in known:
            raise ConfigError(f"`loss` must be one of {known}, but is {self.loss!r} instead.")
        if self.sft_normaliser not in ("global_token", "sequence"):
            raise ConfigError(
                f"`sft_normaliser` must be global_token or sequence, but is {self.sft_normaliser!r} instead."
            )
        self._check_ranges()
        self._check_effects()

    def _check_ranges(self) -> None:
        if self.dpo_beta <= 0:
            raise ConfigError(f"`dpo_beta` must be positive, but is {self.dpo_beta} instead.")
        if not 0 <= self.label_smoothing < 0.5:
            raise ConfigError(
                f"`label_smoothing` must lie in [0, 0.5), but is {self.label_smoothing} instead; from a half on, the "
                "worse answer would be preferred."
            )
        for name in ("preference_weight", "anchor", "rejected_anchor", "reference_neg_anchor", "sft_weight"):
            if getattr(self, name) < 0:
                raise ConfigError(f"`{name}` must be zero or more, but is {getattr(self, name)} instead.")
        if self.image_weight is not None and self.image_weight < 0:
            raise ConfigError(f"`image_weight` must be zero or more, but is {self.image_weight} instead.")

    def _check_effects(self) -> None:
        """Refuse what would have no effect.

        Raises:
            ConfigError: naming the option, and where it has one.
        """
        idle = {
            "label_smoothing": (self.label_smoothing and self.loss != "sigmoid", "`loss: sigmoid`"),
            "length_normalised": (
                self.length_normalised and self.loss == "ipo",
                "a loss other than ipo, which averages",
            ),
            "image_weight": (self.image_weight is not None and self.strategy != "orm", "`strategy: orm`"),
            "rejected_anchor": (self.rejected_anchor and not self._has_rejected, "a strategy with rejected rows"),
            "reference_neg_anchor": (
                self.reference_neg_anchor and not (self._has_rejected and self.anchor),
                "a strategy with rejected rows and an `anchor` above 0",
            ),
            "loss": (
                self.loss == "kto_pair" and (self.strategy != "dpo" or self.anchor or self.rejected_anchor),
                "`strategy: dpo` without anchors, as kto_pair compares answers to one picture only",
            ),
        }
        for name, (is_idle, place) in idle.items():
            if is_idle:
                raise ConfigError(
                    f"`{name}` must be left at its default here, but is {getattr(self, name)!r} instead; it has an "
                    f"effect only with {place}."
                )

    @property
    def _has_rejected(self) -> bool:
        return (self.strategy, self.mode) in REJECTED_ANCHORS

    @property
    def needs_reference(self) -> bool:
        """Whether a batch must come with the reference's log-probabilities."""
        return not self.reference_free or bool(self._anchors)

    @property
    def roles(self) -> list[str]:
        """Roles that a batch must have rows for."""
        return roles_of(self.strategy, self.mode)

    @property
    def preferred_roles(self) -> list[str]:
        """Roles of the rows whose targets ``preferred_tokens`` counts."""
        return preferred_roles(self.mode)

    def __call__(self, outputs: VlmOutput, batch: Batch, denominators: Mapping[str, float]) -> LossOutput:
        """Compute this micro-batch's share of the loss, in nats.

        Args:
            outputs: with ``logprobs`` ``(B, T)``.
            batch: with ``labels`` ``(B, T)`` among its inputs and, among its targets, ``rows``: the places ``(P,)`` of
                the rows of each role, and ``reference_logprobs`` ``(B,)``, each row's sum over its targets (only
                ``reference_free`` without anchors does without); where pairs stand in for others, ``pair_weights``
                ``(P,)``, and where a pair has no picture, ``image_weights`` ``(P,)``.
            denominators: of the whole step: ``pairs``, and ``preferred_tokens`` for the SFT term.

        Raises:
            ShapeError: if rows are missing, or a row that takes part has no target.
        """
        scored = ScoredRows.of(outputs, batch, averages=self.loss == "ipo" or self.length_normalised)
        missing = [role for role in self.roles if role not in scored.places]
        if missing:
            raise ShapeError(
                f"`rows` must hold the roles {self.roles} of the strategy `{self.strategy}`, but lacks {missing}; make "
                "the batch with the strategy and mode of the objective."
            )
        terms = {"preference": self.preference_weight * self._preference(scored)}
        terms |= {name: weight * self._anchor(name, scored) for name, weight in self._anchors.items()}
        num_pairs = max(denominators["pairs"], 1.0)
        weights = scored.pair_weights
        shares = {name: (weights * values).sum() / num_pairs for name, values in terms.items()}
        if self.sft_weight:
            shares["sft"] = self.sft_weight * self._sft(scored, denominators)
        loss = torch.stack(list(shares.values())).sum()
        metrics = {"loss": loss, **{f"{name}_loss": share for name, share in shares.items()}}
        metrics |= {name: (weights * values).sum() / num_pairs for name, values in self._rewards(scored).items()}
        return LossOutput(loss=loss, metrics={name: value.detach() for name, value in metrics.items()})

    @property
    def _anchors(self) -> dict[str, float]:
        named = {name: getattr(self, name) for name in ("anchor", "rejected_anchor", "reference_neg_anchor")}
        return {name: weight for name, weight in named.items() if weight}

    def _phi(self, margin: Tensor) -> Tensor:
        assert self.loss != "kto_pair"
        return preference_loss(margin, dpo_beta=self.dpo_beta, loss=self.loss, label_smoothing=self.label_smoothing)

    def _preference(self, scored: ScoredRows) -> Tensor:
        """Return each pair's own loss, ``(P,)``."""
        ratio: Callable[[str], Tensor] = scored.policy if self.reference_free else scored.ratio
        if self.loss == "kto_pair":
            return _kto_pair(ratio("chosen"), ratio("rejected"), dpo_beta=self.dpo_beta)
        terms: list[Tensor] = []
        for term in CONTRASTS[self.strategy, self.mode]:
            weight = term.weight
            if term.side == "image" and self.image_weight is not None:
                weight = weight * 2.0 * self.image_weight  # the table's image terms of orm are halved
            cost = weight * self._phi(ratio(term.better) - ratio(term.worse))
            terms.append(scored.image_weights * cost if term.side == "image" else cost)
        return torch.stack(terms).sum(dim=0)

    def _anchor(self, name: str, scored: ScoredRows) -> Tensor:
        """Return the anchor of each pair, ``(P,)``: a preference over, or under, the row's own reference."""
        key = self.strategy, self.mode
        weights = (ANCHORS if name == "anchor" else REJECTED_ANCHORS)[key]
        terms: list[Tensor] = []
        for role, weight in weights.items():
            ratio = scored.ratio(role)
            cost = self._phi(-ratio) if name == "rejected_anchor" else self._phi(ratio)
            terms.append(weight * cost)
        total = torch.stack(terms).sum(dim=0)
        return -total if name == "reference_neg_anchor" else total

    def _sft(self, scored: ScoredRows, denominators: Mapping[str, float]) -> Tensor:
        """Return this micro-batch's share of the preferred rows' negative log-likelihood, ``()``."""
        places = torch.cat([scored.places[role] for role in preferred_roles(self.mode)])
        nats = -scored.sums[places] * scored.pair_weights.repeat(len(preferred_roles(self.mode)))
        if self.sft_normaliser == "sequence":
            per_pair = len(preferred_roles(self.mode))
            return (nats / scored.lengths[places]).sum() / (per_pair * max(denominators["pairs"], 1.0))
        return nats.sum() / max(denominators["preferred_tokens"], 1.0)

    def _rewards(self, scored: ScoredRows) -> dict[str, Tensor]:
        """Return implicit rewards of each pair, ``(P,)`` each; the other side is the first term's worse row."""
        worse = "rejected" if "rejected" in scored.places else CONTRASTS[self.strategy, self.mode][0].worse
        gained = scored.policy if scored.reference is None else scored.ratio
        chosen, other = self.dpo_beta * gained("chosen"), self.dpo_beta * gained(worse)
        return {
            "reward_chosen": chosen,
            "reward_rejected": other,
            "reward_margin": chosen - other,
            "reward_accuracy": (chosen > other).float(),
        }


def _kto_pair(chosen: Tensor, rejected: Tensor, *, dpo_beta: float) -> Tensor:
    """Return the mean of a pair's two losses, each against the other side's mean log-ratio, ``(P,)``.

    Source: KTO, arXiv:2402.01306, in the paired form of TRL 0.7. The divergences are means over this micro-batch, so
    the result depends on how a step is cut; it is here to compare with published runs.
    """
    chosen_kl, rejected_kl = chosen.mean().clamp(min=0), rejected.mean().clamp(min=0)
    desirable = 1 - torch.sigmoid(dpo_beta * (chosen - rejected_kl))
    undesirable = 1 - torch.sigmoid(dpo_beta * (chosen_kl - rejected))
    return (desirable + undesirable) / 2
