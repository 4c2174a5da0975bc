"""V* visual search: find a named object in a large image, looking first where a model expects it.

Source: V*, arXiv:2312.14135, section 3.2 and algorithm 1; order, thresholds and cue fallback as in its released code.
"""

import heapq
import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np

from vlmzoo.agents.noun_chunks import cue_phrase, plain_noun_chunks
from vlmzoo.data.prompts import load_prompts
from vlmzoo.errors import ConfigError
from vlmzoo.geometry import Box, Frame, HeatMap

__all__ = ["Detection", "Locator", "SearchResult", "Visit", "VisualSearch", "split_patch"]

_LEAST_SIDE_PX = 224
_NUM_QUARTERS = 4
_ALL_HITS_ABOVE = 0.5  # the authors' constant for further hits on the whole image, whatever the confidence asked for

HeatSource = Literal["target", "context"]


@dataclass(frozen=True, kw_only=True)
class Detection:
    """What a model finds in one patch.

    Args:
        boxes: candidates, in the frame of the patch.
        probabilities: of each candidate, within [0, 1].
        heat: where the object may be, never negative, in the frame of the patch; None where the model said no [LOC].
    """

    boxes: Sequence[Box]
    probabilities: Sequence[float]
    heat: HeatMap | None = None

    @property
    def best(self) -> int | None:
        """Return the place of the likeliest candidate, the first of several; None if there is none."""
        places = range(len(self.probabilities))
        return max(places, key=lambda place: self.probabilities[place], default=None)


class Locator(Protocol):
    """A model that can be asked about patches of one image; a patch is a frame of it."""

    def detect(self, patches: Sequence[Frame], question: str) -> Sequence[Detection]:
        """Look for an object in several patches at once."""
        ...

    def describe(self, patch: Frame, question: str) -> str:
        """Answer a question about a patch in words."""
        ...

    def locate(self, patch: Frame, question: str) -> HeatMap | None:
        """Return where a phrase points in a patch, never negative; None where the model said no [LOC]."""
        ...


@dataclass(kw_only=True)
class Visit:
    """One patch that was looked at.

    Args:
        patch: its frame.
        level: 1 for the whole image, one more for each split.
        score: why it was looked at when it was; None for the whole image.
        parent: place of the visit whose split it came from; -1 for the whole image.
        probability: of the likeliest candidate; None if there was none.
        box: the likeliest candidate, in the frame of the patch.
        heat_source: what the next patches were ranked by; None where nothing was split.
        cue: what the model said of the surroundings.
        phrase: what was looked for instead of the object.
        heat: what the next patches were ranked by, stretched to [0, 1], in the frame of the patch.
    """

    patch: Frame
    level: int
    score: float | None
    parent: int
    probability: float | None = None
    box: Box | None = None
    heat_source: HeatSource | None = None
    cue: str | None = None
    phrase: str | None = None
    heat: HeatMap | None = None


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """What a search came to.

    Args:
        name: of the object.
        visits: in order.
        is_hit: whether a candidate was certain enough to stop.
        is_found: likewise, or the best candidate of all passes the lower threshold.
        final: place of the visit that the answer comes from; None if no patch had a candidate.
        boxes: of the answer, in the frame of the image: one, or all hits if the whole image had some.
        probability: of the first of them.
        stopped_by: ``hit``, ``exhausted``, ``max_visits`` or ``time_budget``.
        num_calls: of the model, by kind; patches looked at ahead count.
    """

    name: str
    visits: Sequence[Visit]
    is_hit: bool
    is_found: bool
    final: int | None
    boxes: Sequence[Box]
    probability: float | None
    stopped_by: Literal["hit", "exhausted", "max_visits", "time_budget"]
    num_calls: Mapping[str, int]

    @property
    def path_length(self) -> int:
        """Return how many patches were looked at up to the one that the answer comes from."""
        return len(self.visits) if self.final is None else self.final + 1


@dataclass(frozen=True, kw_only=True)
class VisualSearch:
    """Best-first search over patches.

    Args:
        confidence_high: a candidate above this ends the search.
        confidence_low: the best candidate of a search that ran out counts as found from this on.
        target_cue_threshold: a heat map whose peak is above this ranks the patches of the whole image by itself.
        target_cue_threshold_decay: the threshold falls by this factor with each level.
        target_cue_threshold_minimum: and not below this.
        smallest_size: patches whose shorter side is not above this many pixels are not split; None takes a quarter of
            the image's shorter side, at least 224.
        max_visits: stop after so many patches; None for no limit, as the authors.
        time_budget_s: stop after so many seconds; None for no limit.
        looks_ahead: look at all parts of a patch in one call, when the first of them comes up; the visits are the same.
        order: ``guided`` takes the most promising patch next; ``random`` any that waits, which is what a search is
            compared with.
        seed: of the random order.
        noun_chunks: gives the noun chunks of a cue; bring a parser of your own, for example spaCy's, of whose spans
            ``longest_chunks`` keeps what the authors keep. The default makes do without a parser.

    Raises:
        ConfigError: if a threshold or a budget is out of range.
    """

    confidence_high: float = 0.5
    confidence_low: float = 0.3
    target_cue_threshold: float = 6.0
    target_cue_threshold_decay: float = 0.7
    target_cue_threshold_minimum: float = 3.0
    smallest_size: int | None = None
    max_visits: int | None = None
    time_budget_s: float | None = None
    looks_ahead: bool = True
    order: Literal["guided", "random"] = "guided"
    seed: int = 0
    noun_chunks: Callable[[str], Sequence[str]] = field(default=plain_noun_chunks)

    def __post_init__(self) -> None:
        """Check the options."""
        for name in ("confidence_high", "confidence_low"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"`{name}` must lie within [0, 1], but is {getattr(self, name)} instead.")
        if self.order not in ("guided", "random"):
            raise ConfigError(f"`order` must be guided or random, but is {self.order!r} instead.")
        for name in ("smallest_size", "max_visits", "time_budget_s"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ConfigError(f"`{name}` must be positive, or null for the default, but is {value} instead.")

    def search(self, locator: Locator, image: Frame, name: str) -> SearchResult:
        """Look for one object.

        Args:
            locator: the model, looking at the image.
            image: the whole image's own frame.
            name: of the object.
        """
        return _Search(self, locator, image, name).run()

    def cue_threshold(self, level: int) -> float:
        """Return the peak that a heat map must exceed at a level, from 1."""
        decayed = self.target_cue_threshold * self.target_cue_threshold_decay ** (level - 1)
        return max(self.target_cue_threshold_minimum, decayed)

    def least_side(self, image: Frame) -> int:
        """Return the side, in pixels, up to which patches are not split."""
        quarter = math.ceil(min(image.width, image.height) / _NUM_QUARTERS)
        return self.smallest_size or max(quarter, _LEAST_SIDE_PX)


def split_patch(patch: Frame) -> list[Frame]:
    """Return the parts of a patch, row by row: four rows of a tall one, four columns of a wide one, else quarters."""
    aspect = patch.height / patch.width
    columns, rows = (1, 4) if aspect >= 2 else (4, 1) if aspect <= 0.5 else (2, 2)
    return patch.tiles(columns=columns, rows=rows)


def heat_share(heat: HeatMap, part: Frame) -> float:
    """Return a part's share of a heat map; 0 where the map is empty."""
    total = float(heat.array.sum())
    if total == 0:
        return 0.0
    inside = Box.whole(part).to(heat.frame)
    rows, columns = slice(round(inside.y0), round(inside.y1)), slice(round(inside.x0), round(inside.x1))
    return float(heat.array[rows, columns].sum()) / total


def _stretched(heat: HeatMap | None, patch: Frame) -> HeatMap:
    """Return a heat map stretched to [0, 1]; a flat one, and none at all, to zeros."""
    if heat is None:
        return HeatMap(np.zeros((patch.height, patch.width), np.float32), frame=patch)
    low, high = heat.array.min(), heat.array.max()
    stretched = (heat.array - low) / (high - low) if high > low else np.zeros_like(heat.array)
    return HeatMap(stretched, frame=patch)


@dataclass(kw_only=True)
class _Node:
    patch: Frame
    level: int
    score: float | None
    parent: int
    above: Sequence[tuple[int, HeatMap]]  # levels and heat maps of the patches it lies in
    siblings: Sequence["_Node"] = ()
    detection: Detection | None = None  # where it was looked at, if only ahead


class _Search:
    """The state of one search."""

    def __init__(self, options: VisualSearch, locator: Locator, image: Frame, name: str) -> None:
        self.options, self.locator, self.image, self.name = options, locator, image, name
        self.prompts: Mapping[str, Any] = load_prompts("seal")["search"]
        self.queue: list[tuple[float, int, _Node]] = []
        self.num_queued = 0
        self.visits: list[Visit] = []
        self.calls = {"detect": 0, "describe": 0, "locate": 0}
        self.random = random.Random(options.seed) if options.order == "random" else None

    def run(self) -> SearchResult:
        started = time.monotonic()
        self._push(_Node(patch=self.image, level=1, score=None, parent=-1, above=()))
        while self.queue:
            if self.options.max_visits is not None and len(self.visits) >= self.options.max_visits:
                return self._conclude("max_visits")
            budget = self.options.time_budget_s
            if budget is not None and time.monotonic() - started >= budget:
                return self._conclude("time_budget")
            node = heapq.heappop(self.queue)[2]
            detection = self._detect(node)
            visit = self._note(node, detection)
            if visit.probability is not None and visit.probability > self.options.confidence_high:
                return self._hit(node, detection)
            if min(node.patch.width, node.patch.height) > self.options.least_side(self.image):
                self._split(node, detection, visit)
        return self._conclude("exhausted")

    def _push(self, node: _Node) -> None:
        priority = -(node.score or 0.0) if self.random is None else self.random.random()
        heapq.heappush(self.queue, (priority, self.num_queued, node))
        self.num_queued += 1

    def _detect(self, node: _Node) -> Detection:
        if node.detection is None:
            ahead = node.siblings if self.options.looks_ahead and node.siblings else (node,)
            question = self._ask("locate", name=self.name)
            found = self.locator.detect([other.patch for other in ahead], question)
            self.calls["detect"] += len(ahead)
            for other, detection in zip(ahead, found, strict=True):
                other.detection = detection
        assert node.detection is not None
        return node.detection

    def _note(self, node: _Node, detection: Detection) -> Visit:
        visit = Visit(patch=node.patch, level=node.level, score=node.score, parent=node.parent)
        if detection.best is not None:
            visit.probability = float(detection.probabilities[detection.best])
            visit.box = detection.boxes[detection.best]
        self.visits.append(visit)
        return visit

    def _split(self, node: _Node, detection: Detection, visit: Visit) -> None:
        heat = detection.heat
        if heat is not None and float(heat.array.max()) > self.options.cue_threshold(node.level):
            visit.heat_source = "target"
        else:
            visit.heat_source = "context"
            heat = self._look_around(node.patch, visit)
        visit.heat = _stretched(heat, node.patch)
        above = [*node.above, (node.level, visit.heat)]
        place = len(self.visits) - 1
        parts = [
            _Node(patch=part, level=node.level + 1, score=self._score(part, above), parent=place, above=above)
            for part in split_patch(node.patch)
        ]
        for part in parts:
            part.siblings = parts
            self._push(part)

    def _look_around(self, patch: Frame, visit: Visit) -> HeatMap | None:
        """Ask what usually surrounds the object, and where that is."""
        visit.cue = self.locator.describe(patch, self._ask("cue", name=self.name))
        visit.phrase = cue_phrase(
            visit.cue,
            self.name,
            marker=self.prompts["cue_marker"],
            noun_chunks=self.options.noun_chunks,
            region=self.prompts["region"],
        )
        self.calls["describe"] += 1
        self.calls["locate"] += 1
        return self.locator.locate(patch, self._ask("locate", name=visit.phrase))

    def _ask(self, question: str, *, name: str) -> str:
        return self.prompts[question].replace("{name}", name)

    @staticmethod
    def _score(part: Frame, above: Sequence[tuple[int, HeatMap]]) -> float:
        """Return how promising a part is: its share of each map above it, the nearer the whole image the heavier."""
        return sum(heat_share(heat, part) / _NUM_QUARTERS**level for level, heat in above)

    def _hit(self, node: _Node, detection: Detection) -> SearchResult:
        best = detection.best
        assert best is not None
        boxes = [detection.boxes[best]]
        if node.level == 1:
            hits = [place for place, value in enumerate(detection.probabilities) if value > _ALL_HITS_ABOVE]
            boxes = [detection.boxes[place] for place in hits] or boxes
        return self._result(len(self.visits) - 1, boxes, is_hit=True, stopped_by="hit")

    def _conclude(self, stopped_by: Literal["exhausted", "max_visits", "time_budget"]) -> SearchResult:
        tried = [place for place, visit in enumerate(self.visits) if visit.probability is not None]
        final = max(tried, key=lambda place: self.visits[place].probability or 0.0, default=None)
        box = None if final is None else self.visits[final].box
        return self._result(final, [] if box is None else [box], is_hit=False, stopped_by=stopped_by)

    def _result(self, final: int | None, boxes: Sequence[Box], *, is_hit: bool, stopped_by: Any) -> SearchResult:
        probability = None if final is None else self.visits[final].probability
        return SearchResult(
            name=self.name,
            visits=self.visits,
            is_hit=is_hit,
            is_found=is_hit or (probability is not None and probability >= self.options.confidence_low),
            final=final,
            boxes=[box.to(self.image) for box in boxes],
            probability=probability,
            stopped_by=stopped_by,
            num_calls=dict(self.calls),
        )
