"""The stages between what the policy said and a pair: each a function of its input and of what a service answers."""

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar

from PIL import Image

from vlmzoo.errors import ConfigError
from vlmzoo.scoring.selections import PairChoice, Selection
from vlmzoo.services.describers import DescribeItem, Describer, Description
from vlmzoo.services.judges import Judge, JudgeItem
from vlmzoo.services.ledger import Ledger
from vlmzoo.services.negative_images import NegativeImageSource, RenderItem
from vlmzoo.services.pair_making.images import ImageStore
from vlmzoo.services.pair_making.items import AskedPrompt, MadePair, Outcome
from vlmzoo.services.remembering import remembered, remembered_verdicts
from vlmzoo.services.verifiers import Verifier

__all__ = ["Draft", "OnImageFailure", "PairMaker"]

OnImageFailure = Literal["drop", "text_only"]
"""What becomes of a pair without a negative image: it is dropped, or its texts alone are compared."""

T = TypeVar("T")


@dataclass(kw_only=True)
class Draft:
    """One prompt on its way.

    Args:
        asked: what was said to it.
        positive: the picture that was asked about.
        pairs: as far as they are made.
        scores: of the answers.
        images: drawn for the pairs, not yet verified.
        reasons: why something fell out.
        counts: telemetry.
    """

    asked: AskedPrompt
    positive: Image.Image | None
    pairs: list[MadePair] = field(default_factory=list)
    scores: list[float | None] = field(default_factory=list)
    images: list[Image.Image | None] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def outcome(self) -> Outcome:
        """Return what became of it."""
        return Outcome(
            asked=self.asked,
            pairs=tuple(self.pairs),
            scores=tuple(self.scores),
            reasons=tuple(self.reasons),
            counts=dict(self.counts),
        )


class PairMaker:
    """Makes pairs.

    Args:
        judge: scores answers.
        selection: chooses pairs.
        describer: describes negative images; None where the strategy shows none.
        images: renders them; None likewise.
        verifiers: that all must accept a picture.
        ledger: remembers calls.
        store: keeps pictures.
        on_image_failure: what becomes of a pair without a picture.
        seed: of the pictures.

    Raises:
        ConfigError: if a describer stands without a source of images, or the other way round.
    """

    def __init__(
        self,
        *,
        judge: Judge,
        selection: Selection,
        describer: Describer | None = None,
        images: NegativeImageSource | None = None,
        verifiers: Sequence[Verifier] = (),
        ledger: Ledger,
        store: ImageStore,
        on_image_failure: OnImageFailure = "drop",
        seed: int = 0,
    ) -> None:
        if (describer is None) != (images is None):
            raise ConfigError("`describer` and `images` must be given together: one describes what the other renders.")
        if on_image_failure not in ("drop", "text_only"):
            raise ConfigError(f"`on_image_failure` must be drop or text_only, but is {on_image_failure!r} instead.")
        self.judge, self.selection, self.describer, self.images = judge, selection, describer, images
        self.verifiers, self.ledger, self.store = list(verifiers), ledger, store
        self.on_image_failure, self.seed = on_image_failure, seed

    @property
    def stages(self) -> dict[str, Callable[[Draft], None]]:
        """The stages by name, in their order."""
        own: dict[str, Callable[[Draft], None]] = {"judge": self.score}
        if self.images is not None:
            own |= {"describe": self.describe, "render": self.render, "verify": self.verify}
        return {name: _timed(name, stage) for name, stage in own.items()}

    def make(self, asked: AskedPrompt, positive: Image.Image | None) -> Outcome:
        """Take one prompt through all stages, here and now."""
        draft = Draft(asked=asked, positive=positive)
        for stage in self.stages.values():
            stage(draft)
        return draft.outcome()

    def check(self) -> None:
        """See whether all services can be used; none is asked in replay.

        Raises:
            ServiceError: if one cannot; with its address and what to do.
        """
        if self.ledger.mode == "replay":
            return
        for service in (self.judge, self.describer, self.images):
            if service is not None:
                service.check()

    def score(self, draft: Draft) -> None:
        """Judge all answers of a prompt in one call, and select pairs."""
        asked = draft.asked
        items = [
            JudgeItem(question=asked.question, response=answer.text, reference=asked.reference)
            for answer in asked.answers
        ]
        verdicts = remembered_verdicts(self.judge, self.ledger, items)
        draft.scores = [verdict.score for verdict in verdicts]
        draft.reasons += [f"judge: {verdict.reason}" for verdict in verdicts if verdict.score is None]
        valid = [score for score in draft.scores if score is not None]
        choices = self.selection(draft.scores)
        draft.counts.update(
            {
                "prompts": 1,
                "answers": len(items),
                "drawn": sum(answer.count for answer in asked.answers),
                "invalid": len(items) - len(valid),
                "judge_failures": sum(verdict.is_failure for verdict in verdicts),
                "score_sum": sum(valid),
                "selected": len(choices),
                "fallbacks": sum(choice.chosen is None for choice in choices),
            }
        )
        positive = None if draft.positive is None or not choices else self.store.put(draft.positive)
        draft.pairs = [self._pair(asked, number, choice, positive) for number, choice in enumerate(choices)]

    def describe(self, draft: Draft) -> None:
        """Describe what the negative image of each pair shall show."""
        assert self.describer is not None
        items = [
            DescribeItem(question=pair.question, chosen=pair.chosen, rejected=pair.rejected) for pair in draft.pairs
        ]
        found = self._remembered(
            "describe",
            self.describer.identity,
            items,
            self._described,
            lambda row: Description(
                text=row.get("answer"), reason=row.get("failure", ""), is_failure=row.get("answer") is None
            ),
        )
        draft.pairs = [replace(pair, description=one.text) for pair, one in zip(draft.pairs, found, strict=True)]
        draft.reasons += [f"describe: {one.reason}" for one in found if one.text is None]

    def render(self, draft: Draft) -> None:
        """Render the negative images of the pairs that have a description."""
        assert self.images is not None
        wanted = [number for number, pair in enumerate(draft.pairs) if pair.description is not None]
        items = [self._render_item(draft.pairs[number], draft.positive) for number in wanted]
        found = self._remembered(
            "render",
            self.images.identity,
            items,
            self._rendered,
            lambda row: (row.get("answer"), row.get("failure", "")),
        )
        draft.images = [None] * len(draft.pairs)
        for number, (digest, reason) in zip(wanted, found, strict=True):
            if digest is None:
                draft.reasons.append(f"render: {reason}")
            else:
                draft.images[number] = self.store.get(digest)

    def verify(self, draft: Draft) -> None:
        """Look at the pictures, keep those that can be used, and let go of pairs that have none."""
        kept: list[MadePair] = []
        for pair, image in zip(draft.pairs, draft.images, strict=True):
            reason = "" if image is None else self._refused(pair, image, draft.positive)
            if reason:
                draft.reasons.append(f"verify: {reason}")
                draft.counts["refused_images"] += 1
            if image is not None and not reason:
                kept.append(replace(pair, image=self.store.put(image)))
                continue
            draft.counts["missing_images"] += 1
            if self.on_image_failure == "text_only":
                draft.counts["text_only"] += 1
                kept.append(pair)
        draft.pairs, draft.images = kept, []

    def _refused(self, pair: MadePair, image: Image.Image, positive: Image.Image | None) -> str:
        for verifier in self.verifiers:
            found = verifier.accept(image, positive=positive, chosen=pair.chosen, rejected=pair.rejected)
            if not found.is_accepted:
                return found.reason or type(verifier).__name__
        return ""

    def _pair(self, asked: AskedPrompt, number: int, choice: PairChoice, positive: str | None) -> MadePair:
        chosen = None if choice.chosen is None else asked.answers[choice.chosen]
        rejected = asked.answers[choice.rejected]
        return MadePair(
            place=asked.place,
            number=number,
            name=asked.name,
            question=asked.question,
            chosen=asked.reference if chosen is None else chosen.text,
            rejected=rejected.text,
            chosen_ids=None if chosen is None else chosen.ids,
            rejected_ids=rejected.ids,
            chosen_score=choice.chosen_score,
            rejected_score=choice.rejected_score,
            policy_step=asked.policy_step,
            positive=positive,
        )

    def _render_item(self, pair: MadePair, positive: Image.Image | None) -> RenderItem:
        own = f"{self.seed}/{pair.name}/{pair.place}/{pair.number}"  # OViP's code has one seed for all pictures
        seed = int.from_bytes(hashlib.sha256(own.encode()).digest()[:6], "big")
        digest = pair.positive or ""
        return RenderItem(description=pair.description or "", positive=positive, positive_digest=digest, seed=seed)

    def _remembered(
        self,
        kind: str,
        identity: Mapping[str, Any],
        items: Sequence[DescribeItem] | Sequence[RenderItem],
        ask: Callable[[Any], list[tuple[T, dict[str, Any]]]],
        read: Callable[[Mapping[str, Any]], T],
    ) -> list[T]:
        return remembered(
            self.ledger,
            kind,
            identity,
            [item.content() for item in items],
            read=read,
            ask=lambda numbers: ask([items[number] for number in numbers]),
        )

    def _described(self, items: Sequence[DescribeItem]) -> list[tuple[Description, dict[str, Any]]]:
        assert self.describer is not None
        return [
            (
                one,
                {"failure": one.reason, "cost": one.cost}
                if one.text is None
                else {"answer": one.text, "cost": one.cost},
            )
            for one in self.describer.describe(items)
        ]

    def _rendered(self, items: Sequence[RenderItem]) -> list[tuple[tuple[str | None, str], dict[str, Any]]]:
        assert self.images is not None
        made: list[tuple[tuple[str | None, str], dict[str, Any]]] = []
        for one in self.images.render(items):
            if one.image is None:
                made.append(((None, one.reason), {"failure": one.reason, "cost": one.cost}))
            else:
                digest = self.store.put(one.image)
                made.append(((digest, ""), {"answer": digest, "cost": one.cost}))
        return made


def _timed(name: str, stage: Callable[[Draft], None]) -> Callable[[Draft], None]:
    def timed(draft: Draft) -> None:
        started = time.perf_counter()
        stage(draft)
        draft.counts[f"seconds_{name}"] += time.perf_counter() - started  # type: ignore[assignment]

    return timed
