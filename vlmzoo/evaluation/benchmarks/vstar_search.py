"""The search of V*Bench alone: how often its first box is right, and after how many patches."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vlmzoo.agents.locating import ModelLocator
from vlmzoo.agents.trace import told_search
from vlmzoo.agents.visual_search import VisualSearch
from vlmzoo.data.conversations import text_of
from vlmzoo.data.images import load_image
from vlmzoo.data.prompts import load_prompts
from vlmzoo.data.sources._tiny import TINY
from vlmzoo.evaluation.benchmarks import BENCHMARKS, Expected
from vlmzoo.evaluation.benchmarks._vstar import SUBSETS, read_vstar
from vlmzoo.evaluation.records import Generation
from vlmzoo.geometry import Box, iou
from vlmzoo.scoring import Score
from vlmzoo.scoring.statistics import Interval, bootstrap_interval
from vlmzoo.types import Sample, user

__all__ = ["VStarSearchBenchmark"]

_LEAST_IOU = 0.5


@BENCHMARKS.register(
    "vstar_search",
    source="V*, arXiv:2312.14135, section 5.2",
    tiny={"root": str(TINY / "vstar"), "max_visits": 2, "max_new_tokens": 4},
)
@dataclass(frozen=True, kw_only=True)
class VStarSearchBenchmark:
    """A search for each annotated object; ``top1_iou`` counts first boxes with an IoU above 0.5 and is the main score.

    ``path_length`` counts the patches up to the one that the answer comes from, ``patches`` all that were looked at.

    Args:
        root: folder with the subsets.
        subsets: folders in it.
        max_visits: patches that a search may look at; None for no limit, as the authors.
        smallest_size: patches of this many pixels and less are not split; None is the authors'.
        max_new_tokens: limit of what the model says to each question.
        order: ``guided`` or ``random``.
        expected: ``{value: …, source: …}``, what a paper reports.

    Raises:
        ConfigError: if an option is out of range.
        DataError: if a question or its picture is not there.
    """

    root: str
    subsets: Sequence[str] = SUBSETS
    max_visits: int | None = None
    smallest_size: int | None = None
    max_new_tokens: int = 100
    order: str = "guided"
    expected: Expected | None = None
    _rows: Any = field(init=False, repr=False, compare=False)
    _search: VisualSearch = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Read the questions and check the options."""
        options: dict[str, Any] = {"max_visits": self.max_visits, "smallest_size": self.smallest_size}
        object.__setattr__(self, "_search", VisualSearch(order=self.order, **options))  # type: ignore[arg-type]
        object.__setattr__(self, "expected", Expected.parse(self.expected))
        object.__setattr__(self, "_rows", read_vstar(self.root, self.subsets))

    @property
    def identity(self) -> Mapping[str, Any]:
        """All but where the set lies."""
        names = ("max_visits", "smallest_size", "max_new_tokens", "order")
        return {
            "type": "vstar_search",
            "subsets": list(self.subsets),
            **{name: getattr(self, name) for name in names},
        }

    @property
    def num_questions(self) -> int:
        """How many objects are looked for."""
        return sum(len(row.targets) for row in self._rows)

    @property
    def scores(self) -> Mapping[str, Score]:
        """No score reads a text."""
        return {}

    def questions(self) -> Iterator[Sample]:
        """Return one question for each object; ``reference`` is its box in pixels."""
        locate = load_prompts("seal")["search"]["locate"]
        for row in self._rows:
            for number, (name, box) in enumerate(zip(row.targets, row.boxes(), strict=True)):
                yield Sample(
                    messages=[user(locate.replace("{name}", name), num_images=1)],
                    images=[row.image],
                    id=f"{row.id}/{number}",
                    reference=list(box.xyxy),
                    meta={"subset": row.subset, "target": name},
                )

    def answer(self, model: Any, processor: Any, samples: Sequence[Sample]) -> Iterator[Generation]:
        """Search for one object after the other; several of one picture share what was read of it."""
        held: dict[str, ModelLocator] = {}
        was_training = model.training
        model.eval()
        try:
            for sample in samples:
                key = str(sample.images[0])
                if key not in held:
                    picture = load_image(sample.images[0])
                    held = {key: ModelLocator(model, picture, max_new_tokens=self.max_new_tokens)}
                yield self._found(held[key], sample)
        finally:
            model.train(was_training)

    def summarise(self, generations: Sequence[Generation], *, seed: int) -> Mapping[str, Interval]:
        """Return shares and means, with intervals over objects."""
        names = list(dict.fromkeys(name for one in generations for name in one.scores))
        return {
            name: bootstrap_interval([one.scores[name] for one in generations if name in one.scores], seed=seed)
            for name in names
        }

    def _found(self, locator: ModelLocator, sample: Sample) -> Generation:
        result = self._search.search(locator, locator.frame, sample.meta["target"])
        truth = Box.from_xyxy(sample.reference, frame=locator.frame)
        overlap = iou(result.boxes[0], truth) if result.boxes else 0.0
        is_right = float(overlap > _LEAST_IOU)
        return Generation(
            id=sample.id,
            prompt=text_of(sample.messages),
            completion=result.stopped_by,
            reference=sample.reference,
            scores={
                "top1_iou": is_right,
                f"top1_iou/{sample.meta['subset']}": is_right,
                "iou": overlap,
                "path_length": float(result.path_length),
                "patches": float(len(result.visits)),
                "is_hit": float(result.is_hit),
            },
            num_prompt_tokens=0,
            num_completion_tokens=0,
            finished=True,
            meta={**sample.meta, "search": told_search(result)},
        )
