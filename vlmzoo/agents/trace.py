"""What an agent did to answer a question, step by step: plain values that go to JSON and back, and a page."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
from PIL import Image

from vlmzoo.agents.metering import Cost
from vlmzoo.agents.visual_search import SearchResult, Visit
from vlmzoo.errors import DataError
from vlmzoo.geometry import Box, Frame, HeatMap, Mask, decode_rle, encode_rle

__all__ = ["Evidence", "Mode", "Step", "StepKind", "Trace", "search_of", "told_search"]

Mode: TypeAlias = Literal["fast", "slow"]
StepKind: TypeAlias = Literal["fast", "propose", "segment", "slow", "retry"]
_VERSION = 1
_HEAT_SIDE = 32  # heat maps are kept at most this large, a byte a cell


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """One object that was looked for.

    Args:
        name: of the object.
        box: where it is, in the frame of the image; None if it was not found.
        probability: of the box; None where nobody says.
        mask: its pixels, in the frame of the image; None where it was not segmented.
        region: what was proposed, in the frame of the image, before a mask tightened it; None if nothing was.
        said: what a proposer said in words.
        fault: why there is no box, or no mask where one was wanted; empty if all went well.
    """

    name: str
    box: Box | None = None
    probability: float | None = None
    mask: Mask | None = None
    region: Box | None = None
    said: str = ""
    fault: str = ""

    @property
    def is_found(self) -> bool:
        """Whether there is a box."""
        return self.box is not None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values: the box as x0, y0, x1, y1 in pixels, the mask as runs."""
        return {
            "name": self.name,
            "box_xyxy_px": None if self.box is None else list(self.box.xyxy),
            "probability": self.probability,
            "region_xyxy_px": None if self.region is None else list(self.region.xyxy),
            "mask_rle": None if self.mask is None else dict(encode_rle(self.mask)),
            "said": self.said,
            "fault": self.fault,
        }

    @classmethod
    def from_dict(cls, told: Mapping[str, Any], *, frame: Frame) -> "Evidence":
        """Read what ``to_dict`` told."""
        edges, runs, region = told["box_xyxy_px"], told["mask_rle"], told["region_xyxy_px"]
        return cls(
            name=told["name"],
            box=None if edges is None else Box.from_xyxy(edges, frame=frame),
            probability=told["probability"],
            mask=None if runs is None else decode_rle(runs, frame=frame),
            region=None if region is None else Box.from_xyxy(region, frame=frame),
            said=told["said"],
            fault=told["fault"],
        )


@dataclass(frozen=True, kw_only=True)
class Step:
    """One thing that was done.

    Args:
        kind: ``fast`` asks at once, ``propose`` looks for an object, ``segment`` asks for its pixels, ``slow`` asks
            with evidence, ``retry`` asks at once and takes no refusal.
        prompt: what was asked, in words.
        said: the raw answer.
        name: of the object, where the step is about one.
        fault: what went wrong; empty if nothing did.
        cost: of the step; a question's share where several were asked at once.
        detail: plain values: tokens, confidence, losses of options, the search.
    """

    kind: StepKind
    prompt: str = ""
    said: str = ""
    name: str = ""
    fault: str = ""
    cost: Cost = field(default_factory=Cost)
    detail: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {**{name: getattr(self, name) for name in self.__dataclass_fields__}, "cost": self.cost.to_dict()}

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> "Step":
        """Read what ``to_dict`` told."""
        return cls(**{**told, "cost": Cost(**told["cost"])})


@dataclass(kw_only=True)
class Trace:
    """How an answer came about.

    Args:
        question: of the user.
        frame: of the image.
        options: the answers to choose from; none where it was asked freely.
        steps: in order.
        evidence: all that was looked for.
        stopped_by: ``answered``, ``no_evidence``, ``refused_twice``, ``time_budget``, or ``fast_only``.
        picture: the image, for ``to_html``; it does not go to JSON.
    """

    question: str
    frame: Frame
    options: Sequence[str] = ()
    steps: list[Step] = field(default_factory=list)
    evidence: list[Evidence] = field(default_factory=list)
    stopped_by: str = "answered"
    picture: Image.Image | None = field(default=None, repr=False, compare=False)

    @property
    def cost(self) -> Cost:
        """Of all steps together."""
        total = Cost()
        for step in self.steps:
            total = total + step.cost
        return total

    @property
    def faults(self) -> list[str]:
        """What went wrong on the way."""
        return [step.fault for step in self.steps if step.fault]

    @property
    def searches(self) -> list[SearchResult]:
        """The searches, as far as steps hold them; heat maps are those of ``to_dict``."""
        told = [step.detail["search"] for step in self.steps if "search" in step.detail]
        return [search_of(one, frame=self.frame) for one in told]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that JSON can hold."""
        return {
            "version": _VERSION,
            "question": self.question,
            "options": list(self.options),
            "image": {"name": self.frame.image, "width": self.frame.width, "height": self.frame.height},
            "stopped_by": self.stopped_by,
            "steps": [step.to_dict() for step in self.steps],
            "evidence": [one.to_dict() for one in self.evidence],
            "cost": self.cost.to_dict(),
        }

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> "Trace":
        """Read what ``to_dict`` told.

        Raises:
            DataError: if it is of another version, or something is missing.
        """
        if told.get("version") != _VERSION:
            raise DataError(f"A trace must be of version {_VERSION}, but this one is of {told.get('version')!r}.")
        try:
            image = told["image"]
            frame = Frame.original(image["name"], width=image["width"], height=image["height"])
            return cls(
                question=told["question"],
                frame=frame,
                options=tuple(told["options"]),
                steps=[Step.from_dict(step) for step in told["steps"]],
                evidence=[Evidence.from_dict(one, frame=frame) for one in told["evidence"]],
                stopped_by=told["stopped_by"],
            )
        except (KeyError, TypeError) as error:
            raise DataError(f"A trace must hold what `to_dict` writes, but {error!r} is missing or wrong.") from error

    def to_html(self, image: Image.Image | None = None) -> str:
        """Return a page that needs no other file: the answer's way, with pictures.

        Args:
            image: that was asked about; None takes the one that was held since, and shows none where there is none.
        """
        from vlmzoo.agents.trace_page import trace_page

        return trace_page(self, image if image is not None else self.picture)


def told_search(result: SearchResult) -> dict[str, Any]:
    """Return a search as plain values; boxes are x0, y0, x1, y1 in pixels of the image."""
    frame = _original(result.visits[0].patch) if result.visits else None
    return {
        "name": result.name,
        "is_hit": result.is_hit,
        "is_found": result.is_found,
        "final": result.final,
        "boxes_xyxy_px": [list(box.xyxy) for box in result.boxes],
        "probability": result.probability,
        "stopped_by": result.stopped_by,
        "num_calls": dict(result.num_calls),
        "visits": [_told_visit(visit, frame) for visit in result.visits if frame is not None],
    }


def search_of(told: Mapping[str, Any], *, frame: Frame) -> SearchResult:
    """Read what ``told_search`` told, in the frame of the image."""
    return SearchResult(
        name=told["name"],
        visits=[_visit_of(one, frame) for one in told["visits"]],
        is_hit=told["is_hit"],
        is_found=told["is_found"],
        final=told["final"],
        boxes=[Box.from_xyxy(edges, frame=frame) for edges in told["boxes_xyxy_px"]],
        probability=told["probability"],
        stopped_by=told["stopped_by"],
        num_calls=told["num_calls"],
    )


def _told_visit(visit: Visit, frame: Frame) -> dict[str, Any]:
    return {
        "patch_xyxy_px": [int(edge) for edge in Box.whole(visit.patch).to(frame).rounded().xyxy],
        "level": visit.level,
        "score": visit.score,
        "parent": visit.parent,
        "probability": visit.probability,
        "box_xyxy_px": None if visit.box is None else list(visit.box.to(frame).xyxy),
        "heat_source": visit.heat_source,
        "cue": visit.cue,
        "phrase": visit.phrase,
        "heat": None if visit.heat is None else _told_heat(visit.heat),
    }


def _visit_of(told: Mapping[str, Any], frame: Frame) -> Visit:
    edges, box, heat = told["patch_xyxy_px"], told["box_xyxy_px"], told["heat"]
    whole = Box.from_xyxy(edges, frame=frame)
    patch = frame if whole == Box.whole(frame) else frame.cropped(whole)
    plain = {name: told[name] for name in ("level", "score", "parent", "probability", "heat_source", "cue", "phrase")}
    return Visit(
        patch=patch,
        box=None if box is None else Box.from_xyxy(box, frame=frame).to(patch),
        heat=None if heat is None else _heat_of(heat, patch),
        **plain,
    )


def _told_heat(heat: HeatMap) -> dict[str, Any]:
    """Return a heat map of values within [0, 1] in a byte a cell, scaled down."""
    height, width = heat.array.shape
    size = (min(width, _HEAT_SIDE), min(height, _HEAT_SIDE))
    cells = Image.fromarray((np.clip(heat.array, 0, 1) * 255).round().astype(np.uint8))
    small = np.asarray(cells.resize(size, Image.Resampling.BOX))
    return {"size": list(size), "bytes": base64.b64encode(small.tobytes()).decode("ascii")}


def _heat_of(told: Mapping[str, Any], patch: Frame) -> HeatMap:
    width, height = told["size"]
    cells = np.frombuffer(base64.b64decode(told["bytes"]), dtype=np.uint8).reshape(height, width)
    scaled = Image.fromarray(cells).resize((patch.width, patch.height), Image.Resampling.BILINEAR)
    return HeatMap(np.asarray(scaled, dtype=np.float32) / 255, frame=patch)


def _original(frame: Frame) -> Frame:
    return Frame.original(frame.image, width=frame.x.original, height=frame.y.original)
