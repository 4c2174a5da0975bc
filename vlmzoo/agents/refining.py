"""Masks for what was found, and boxes that are drawn tightly around them where masks can be believed."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from vlmzoo.agents.cases import Case, words_of
from vlmzoo.agents.fast_slow_options import FastSlowOptions
from vlmzoo.agents.metering import Meter
from vlmzoo.agents.object_pictures import CROP_SCALE
from vlmzoo.agents.trace import Evidence, Step
from vlmzoo.data.object_crops import object_crop
from vlmzoo.geometry import Box, Frame, Mask, iou
from vlmzoo.models.segmenting import question_of, seg_adapter, segment_samples
from vlmzoo.types import Sample, user

__all__ = ["BoxRefiner"]


class BoxRefiner:
    """Segments what was found in a round, and draws boxes anew around the masks.

    Args:
        model: with the seg adapter.
        options: the agent's: which masks are believed.

    Raises:
        ConfigError: if the model has no seg adapter.
    """

    def __init__(self, model: Any, options: FastSlowOptions) -> None:
        seg_adapter(model)
        self.model = model
        self.options = options

    def refine(self, cases: Sequence[Case]) -> None:
        """Segment what was found in this round, all of it in one batch, and tighten boxes."""
        wanted = [
            (case, place)
            for case in cases
            for place, one in enumerate(case.trace.evidence)
            if one.is_found and one.mask is None and not one.fault and one.name in case.names
        ]
        if not wanted:
            return
        frames = [_crop_frame(case.trace.evidence[place].box, case.trace.frame) for case, place in wanted]
        samples = [
            Sample(
                messages=[user(question_of(case.trace.evidence[place].name), num_images=1)],
                images=[case.picture.crop(_edges(frame, case.trace.frame))],
                id=str(number),
            )
            for number, ((case, place), frame) in enumerate(zip(wanted, frames, strict=True))
        ]
        with Meter([self.model]) as meter:
            answers = segment_samples(self.model, samples)
        share = meter.reading.share(len(wanted))
        for (case, place), frame, sample, said in zip(wanted, frames, samples, answers, strict=True):
            one = case.trace.evidence[place]
            mask = Mask(said[0].array, frame=frame).to(case.trace.frame) if said else None
            refined, fault = self._refined(one, mask)
            case.trace.evidence[place] = refined
            case.trace.steps.append(
                Step(
                    kind="segment",
                    name=one.name,
                    prompt=words_of(sample),
                    said=said.text,
                    fault=said.reason or fault,
                    cost=share,
                )
            )

    def _refined(self, one: Evidence, mask: Mask | None) -> tuple[Evidence, str]:
        """Return evidence with its mask, and its box tightened where the mask can be believed; else why not."""
        box = None if mask is None else mask.box()
        if mask is None or box is None or one.box is None:
            return one, "" if mask is None else "the mask is empty"
        if mask.area < self.options.min_mask_area_px:
            return one, f"the mask has only {mask.area} pixels"
        overlap = iou(box, one.box)
        if overlap < self.options.min_mask_overlap:
            return one, f"the mask lies elsewhere: IoU {overlap:.2f} with what was proposed"
        return replace(one, box=box, mask=mask), ""


def _crop_frame(box: Box | None, frame: Frame) -> Frame:
    """Return the frame of the pixels around a box, enlarged as the crops of evidence are."""
    assert box is not None
    x0, y0, x1, y1 = object_crop(box, scale=CROP_SCALE).xyxy
    return frame.cropped(Box.from_xyxy((x0, y0, max(x1, x0 + 1), max(y1, y0 + 1)), frame=frame))


def _edges(crop: Frame, frame: Frame) -> tuple[int, int, int, int]:
    x0, y0, x1, y1 = (int(edge) for edge in Box.whole(crop).to(frame).rounded().xyxy)
    return x0, y0, x1, y1
