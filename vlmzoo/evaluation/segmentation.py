"""Masks as answers: questions whose answers are judged by the pixels that they point at.

Letters: B samples, K masks of an answer, (H, W) pixels.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np
import torch

from vlmzoo.data.collation import Collator
from vlmzoo.data.conversations import text_of
from vlmzoo.errors import ConfigError, DataError
from vlmzoo.evaluation.benchmarks import Expected
from vlmzoo.evaluation.records import Generation
from vlmzoo.geometry import Mask, encode_rle
from vlmzoo.models.segmenting import Segmentation, seg_adapter, segment_samples
from vlmzoo.objectives.geometry import split_flat
from vlmzoo.scoring.masks import MaskOverlap, cumulative_interval, mask_overlap
from vlmzoo.scoring.statistics import Interval, bootstrap_interval
from vlmzoo.types import Sample, assistant

__all__ = ["MaskBenchmark", "Protocol"]

Protocol: TypeAlias = Literal["teacher_forced", "generate"]
"""``teacher_forced``: the answer is given, and one forward pass reads the mask off its ``[SEG]``, as the authors of
LISA measure. ``generate``: the model says what it likes, and its first mask counts; without one, an empty mask."""

_PROTOCOLS = ("teacher_forced", "generate")


@dataclass(frozen=True, kw_only=True)
class MaskBenchmark:
    """A benchmark whose answers are masks; a subclass gives the questions.

    Scores are ``giou``, the mean IoU of the masks, and ``ciou``, all intersections over all unions.

    Source: LISA, arXiv:2308.00692, section 4.1.

    Args:
        protocol: who says ``[SEG]``.
        max_new_tokens: the limit of an answer that is generated.
        compat: the authors' small terms in the IoU of a mask.
        expected: ``{value: …, source: …}``, what a paper reports for the main score.
    """

    protocol: Protocol = "teacher_forced"
    max_new_tokens: int = 64
    compat: bool = False
    expected: Expected | None = None

    main_score = "giou"
    """``giou`` or ``ciou``."""
    forced_answer = "[SEG]."
    """What the answer is where it is given."""

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            ConfigError: if there is no such protocol.
        """
        if self.protocol not in _PROTOCOLS:
            raise ConfigError(f"`protocol` must be one of {', '.join(_PROTOCOLS)}, but is {self.protocol!r} instead.")
        object.__setattr__(self, "expected", Expected.parse(self.expected))

    @property
    def scores(self) -> Mapping[str, Any]:
        """No score reads an answer's text."""
        return {}

    def questions(self) -> Iterator[Sample]:
        """Return the questions, each with one mask that is the truth."""
        raise NotImplementedError

    def answer(self, model: Any, processor: Any, samples: Sequence[Sample]) -> Iterator[Generation]:
        """Answer B questions at once; tokens are not counted, so their numbers are 0.

        Args:
            model: with the seg adapter.
            processor: of the model.
            samples: questions with one mask each.

        Raises:
            ConfigError: if the model cannot segment.
            DataError: if a question has not exactly one mask.
        """
        for sample in samples:
            if len(sample.masks) != 1:
                raise DataError(f"Question `{sample.id}` must have one mask, but has {len(sample.masks)} instead.")
        if self.protocol == "generate":
            answers = segment_samples(model, samples, max_new_tokens=self.max_new_tokens)
        else:
            masks = _forced_masks(model, processor, [self.forced(sample) for sample in samples])
            answers = [Segmentation([mask], text=self.forced_answer) for mask in masks]
        for sample, answer in zip(samples, answers, strict=True):
            yield self._judged(sample, answer)

    def forced(self, sample: Sample) -> Sample:
        """Return the question with the answer that ``teacher_forced`` gives."""
        return replace(sample, messages=[*sample.messages, assistant(self.forced_answer)])

    def summarise(self, generations: Sequence[Generation], *, seed: int) -> dict[str, Interval]:
        """Return ``giou`` and ``ciou`` with their intervals, the main one first, and parts of the first by kind.

        Args:
            generations: of all questions.
            seed: of the bootstrap.
        """
        overlaps = [MaskOverlap(int(g.scores["intersection"]), int(g.scores["union"])) for g in generations]
        scores = {
            "giou": bootstrap_interval([g.scores["giou"] for g in generations], seed=seed),
            "ciou": cumulative_interval(overlaps, seed=seed),
        }
        groups: dict[str, list[float]] = {}
        for generation in generations:
            for group in generation.meta.get("groups", ()):
                groups.setdefault(f"giou_{group}", []).append(generation.scores["giou"])
        ordered = {self.main_score: scores[self.main_score], **scores}
        return {**ordered, **{name: bootstrap_interval(values, seed=seed) for name, values in groups.items()}}

    def _judged(self, sample: Sample, answer: Segmentation) -> Generation:
        truth = sample.masks[0]
        ignored = sample.ignored_masks[0] if sample.ignored_masks else None
        predicted = answer[0].array if answer else np.zeros_like(truth.array)
        overlap = mask_overlap(predicted, truth.array, ignored=None if ignored is None else ignored.array)
        drawn = Mask(predicted, frame=truth.frame)
        return Generation(
            id=sample.id,
            prompt=text_of(sample.messages),
            completion=answer.text,
            reference=sample.reference,
            scores={
                "giou": overlap.iou(compat=self.compat),
                "intersection": float(overlap.intersection),
                "union": float(overlap.union),
            },
            num_prompt_tokens=0,
            num_completion_tokens=0,
            finished=answer.is_finished,
            meta={
                **sample.meta,
                "predicted_rle": encode_rle(drawn),
                **({"reason": answer.reason} if answer.reason else {}),
            },
        )


def _forced_masks(model: Any, processor: Any, samples: Sequence[Sample]) -> list[Mask]:
    """Return the mask of each sample's ``[SEG]`` from one forward pass over B rows."""
    wanted = seg_adapter(model)
    label = next(label for label, adapter in model.attached.items() if adapter is wanted)
    rows = [processor.encode(sample) for sample in samples]
    collate = Collator(pad_token_id=processor.padding_id, adapter_inputs=processor.adapter_inputs)
    batch = collate(rows).to(model.device)
    inputs = dict(batch.inputs)
    if "pixel_values" in inputs:
        inputs["pixel_values"] = inputs["pixel_values"].to(model.dtype)
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            outputs = model(**inputs, return_logits=False)
    finally:
        model.train(was_training)
    logits = split_flat(outputs.adapters[label]["mask_logits"], batch.targets["mask_sizes"])
    return [Mask((one > 0).cpu().numpy(), frame=s.masks[0].frame) for one, s in zip(logits, samples, strict=True)]
