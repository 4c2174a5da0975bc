"""How many patches a guided search looks at, beside any order, where a model tells what a good one would.

``python benchmarks/guidance.py``: procedural scenes of 768 × 768 pixels with 2 to 4 pieces of furniture and one small
target, which stands on a piece of the class that it belongs to with probability 0.8, and anywhere else otherwise. The
model is an oracle: it sees a target that would be 3 pixels wide or more if the patch were scaled to 64, and where it
sees none it points at the furniture that the target belongs to. So this measures the search, not a model.
"""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from recording import record

from vlmzoo.agents.visual_search import Detection, SearchResult, VisualSearch
from vlmzoo.geometry import Box, Frame, HeatMap
from vlmzoo.scoring.statistics import bootstrap_interval

SIDE, NUM_SCENES, SEEDS = 768, 100, (0, 1, 2)
CLASSES = ("table", "shelf", "sofa", "bed")
SEEN_SIDE, LEAST_SEEN = 64, 3.0


@dataclass(frozen=True)
class Scene:
    """Where things are: furniture by class and box (x, y, width, height), the target's class and box."""

    furniture: Sequence[tuple[str, tuple[float, float, float, float]]]
    belongs: str
    target: tuple[float, float, float, float]


def make_scene(random: np.random.Generator) -> Scene:
    """Draw a scene."""
    furniture = []
    for name in random.choice(CLASSES, size=random.integers(2, 5)):
        width, height = random.uniform(120, 260, size=2)
        furniture.append((str(name), (*random.uniform(0, [SIDE - width, SIDE - height]), width, height)))
    side = random.uniform(10, 18)
    belongs, (x, y, width, height) = furniture[int(random.integers(len(furniture)))]
    if random.random() < 0.8:
        place = random.uniform([x, y], [x + width - side, y + height - side])
    else:
        place = random.uniform(0, SIDE - side, size=2)
    return Scene(furniture, belongs, (float(place[0]), float(place[1]), side, side))


class Oracle:
    """Answers about a scene as a good model would."""

    def __init__(self, scene: Scene, frame: Frame) -> None:
        self.scene, self.frame = scene, frame

    def detect(self, patches: Sequence[Frame], question: str) -> list[Detection]:
        """See the target where it is large enough, and whole."""
        return [self._detect(patch) for patch in patches]

    def describe(self, patch: Frame, question: str) -> str:
        """Name the furniture that the target belongs to."""
        return f"It is most likely to appear on the {self.scene.belongs}."

    def locate(self, patch: Frame, question: str) -> HeatMap | None:
        """Point at the furniture of the class that is asked for."""
        array = np.zeros((patch.height, patch.width), np.float32)
        for name, box in self.scene.furniture:
            if name in question:
                x0, y0, x1, y1 = Box.from_xywh(box, frame=self.frame).to(patch).clipped().rounded().xyxy
                array[int(y0) : int(y1), int(x0) : int(x1)] = 1.0
        return HeatMap(array, frame=patch)

    def _detect(self, patch: Frame) -> Detection:
        box = Box.from_xywh(self.scene.target, frame=self.frame).to(patch)
        share = box.clipped().area / box.area
        width = box.width / max(patch.width, patch.height) * SEEN_SIDE
        is_seen = share > 0.5 and width >= LEAST_SEEN
        heat = HeatMap(np.zeros((patch.height, patch.width), np.float32), frame=patch)
        return Detection(boxes=[box], probabilities=[0.9 if is_seen else 0.1 * share], heat=heat)


def search(scene: Scene, *, order: str, seed: int) -> SearchResult:
    """Search a scene in an order."""
    frame = Frame.original("scene", width=SIDE, height=SIDE)
    options = {"order": order, "seed": seed, "looks_ahead": False}
    return VisualSearch(**options).search(Oracle(scene, frame), frame, "star")  # type: ignore[arg-type]


def main() -> None:
    """Measure and record."""
    seeds = {}
    for seed in SEEDS:
        random = np.random.default_rng(seed)
        scenes = [make_scene(random) for _ in range(NUM_SCENES)]
        guided = [len(search(scene, order="guided", seed=0).visits) for scene in scenes]
        chance = [len(search(scene, order="random", seed=number).visits) for number, scene in enumerate(scenes)]
        seeds[str(seed)] = {
            "guided": statistics.mean(guided),
            "random": statistics.mean(chance),
            "fewer": 1 - statistics.mean(guided) / statistics.mean(chance),
            "guided_interval": bootstrap_interval(guided, seed=seed).to_dict(),
            "random_interval": bootstrap_interval(chance, seed=seed).to_dict(),
        }
    record("guidance", scenes=NUM_SCENES, seeds=seeds)


def rows(entry: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Return the line of the table: what was measured, the target, the figure."""
    told = [
        f"{seed['guided']:.1f} beside {seed['random']:.1f} ({100 * seed['fewer']:.0f} % fewer)"
        for seed in entry["seeds"].values()
    ]
    yield (
        f"patches that a guided search looks at beside a random order, an oracle in the model's place, "
        f"{entry['scenes']} scenes, seeds {', '.join(entry['seeds'])}",
        "≥ 25 % fewer",
        "; ".join(told),
    )


if __name__ == "__main__":
    main()
