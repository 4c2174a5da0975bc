"""Shape detection: find the red square among shapes, and answer as Visual-RFT's data do."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from PIL.Image import Dither, Image

from vlmzoo.data.synthetic import KINDS, TASKS, ImageMode, Kind
from vlmzoo.data.synthetic._checks import check_choice
from vlmzoo.data.synthetic._draws import Draws
from vlmzoo.data.synthetic._scene import Query, Scene, SceneObject
from vlmzoo.data.synthetic._scene_image import draw_scene, object_mask
from vlmzoo.data.synthetic._scene_rules import COLORS
from vlmzoo.errors import ConfigError
from vlmzoo.types import Sample, assistant, user

__all__ = ["ShapeDetection"]

_NAME = "shape_detection"
_SHAPES = ("circle", "square", "triangle", "cross", "diamond", "ring")
_NUM_COLORS = 6
_UNITS = 1000  # thousandths of the image's sides

Edges = tuple[int, int, int, int]


@dataclass(frozen=True)
class _Detection:
    """One scene and what is looked for in it.

    Args:
        scene: its first query names the category.
        category: e.g. ``red square``.
        boxes: of the objects of the category, in thousandths.
        told: boxes and confidences that a target says, which noise may have spoiled.
    """

    scene: Scene
    category: str
    boxes: tuple[Edges, ...]
    told: tuple[tuple[Edges, float], ...]


@TASKS.register(
    _NAME,
    source="vlmzoo's own; the form of the answers is that of Visual-RFT, arXiv:2503.01785, section 3.2",
    tiny={"canvas_px": 48, "grid": 2},
)
class ShapeDetection:
    """One to four shapes on grey noise; those of one colour and shape are to be found.

    Of the 36 pairs of colour and shape, 12 are ``novel``: they stand in every picture like the others, but are asked
    for only where ``labels`` says so.

    Args:
        labels: which categories are asked for: ``base``, ``novel`` or ``all``.
        canvas_px: side of the picture.
        grid: cells on a side; an object has a cell for itself.
        num_objects: the least and the largest number.
        step: boxes are rounded to multiples of this, in thousandths of the side.
        jitter: targets of training lie off by up to so many steps at each edge.
        wrong_object: share of training targets that are the box of another object.
        confidences: what training targets say of a box, each as often as the others, whatever the box is worth.
        shots: so many pictures of each category, which come again and again; None for ever new ones.
        wording: ``compact``, or ``full`` with the released prompt.
        answer: ``boxes`` with confidences, or ``corners``: one box, as grounding answers.

    Raises:
        ConfigError: if an option is unknown or out of range.
    """

    def __init__(
        self,
        *,
        labels: Literal["base", "novel", "all"] = "base",
        canvas_px: int = 64,
        grid: int = 2,
        num_objects: Sequence[int] = (1, 3),
        step: int = 50,
        jitter: int = 0,
        wrong_object: float = 0.0,
        confidences: Sequence[float] = (1,),
        shots: int | None = None,
        wording: Literal["compact", "full"] = "compact",
        answer: Literal["boxes", "corners"] = "boxes",
    ) -> None:
        check_choice("labels", labels, ("base", "novel", "all"))
        check_choice("wording", wording, ("compact", "full"))
        check_choice("answer", answer, ("boxes", "corners"))
        if len(num_objects) != 2 or not 1 <= num_objects[0] <= num_objects[1] <= grid * grid:
            raise ConfigError(f"`num_objects` must be two numbers from 1 to {grid * grid}, but is {num_objects!r}.")
        if _UNITS % step or not 0 <= wrong_object <= 1 or jitter < 0:
            raise ConfigError(
                "`step` must divide 1000, `wrong_object` lie within 0 and 1 and `jitter` be zero or more, but they are "
                f"{step}, {wrong_object} and {jitter} instead."
            )
        if not confidences or (shots is not None and shots < 1):
            raise ConfigError(
                "`confidences` must hold a number, and `shots` be positive or null, but they are "
                f"{list(confidences)} and {shots} instead."
            )
        self.name, self.level = _NAME, "simple"
        self.answer_form = answer
        self.confidences, self.shots = tuple(confidences), shots
        self.labels, self.canvas_px, self.grid = labels, canvas_px, grid
        self.num_objects, self.step = (num_objects[0], num_objects[1]), step
        self.jitter, self.wrong_object, self.wording = jitter, wrong_object, wording

    def instance(self, seed: int, index: int) -> _Detection:
        """Draw one scene: a function of the options, ``seed`` and ``index`` alone."""
        if self.shots is not None:
            index %= self.shots * len(self._categories)
        draws = Draws(self.name, self.labels, seed, index)
        cell = self.canvas_px / self.grid
        count = draws.integer(*self.num_objects)
        cells = draws.distinct(range(self.grid * self.grid), count)
        asked = self._category(draws) if self.shots is None else self._categories[index % len(self._categories)]
        kinds = [asked, *(self._any_pair(draws) for _ in range(count - 1))]
        objects = tuple(self._object(draws, pair, place, cell) for pair, place in zip(kinds, cells, strict=True))
        scene = Scene(
            objects=objects,
            queries=(Query(phrase=" ".join(asked), target=0),),
            size_px=(self.canvas_px, self.canvas_px),
            cell_px=(cell, cell),
            texture=draws.integer(0, 2**31),
            name=f"{self.name}/{self.labels}/{seed}/{index}",
        )
        boxes = [self._box(scene, number) for number in range(count)]
        wanted = tuple(boxes[number] for number in range(count) if kinds[number] == asked)
        return _Detection(scene, " ".join(asked), wanted, self._told(draws, wanted, boxes))

    def text_form(self, instance: _Detection) -> str:
        """Return a line for each object: its colour, its shape and its box."""
        lines = (
            f"{item.color} {item.shape} {list(self._box(instance.scene, number))}"
            for number, item in enumerate(instance.scene.objects)
        )
        return "\n".join(lines)

    def prompt(self, instance: _Detection, kind: Kind) -> str:
        r"""Return the question; it begins with the text form, or with ``<image>\n``."""
        check_choice("kind", kind, KINDS)
        question = f"Detect: {instance.category}"
        if self.wording == "full":
            from vlmzoo.data.prompts import load_prompts

            question = load_prompts("virft")["detection"].format(category=instance.category, newline="\n")
        return f"{self.text_form(instance)}\n{question}" if kind == "text" else f"<image>\n{question}"

    def response(self, instance: _Detection, kind: Kind, *, cot: bool = True) -> str:
        """Return the target: the thought names the category, the answer has the boxes, which noise may have spoiled."""
        thought = instance.category if cot else ""
        return f"<think>{thought}</think><answer>{self._written(instance.told)}</answer>"

    def answer(self, instance: _Detection) -> str:
        """Return the solution that rewards compare with."""
        return f"<answer>{self._written([(box, 1) for box in instance.boxes])}</answer>"

    def image(self, instance: _Detection, *, mode: ImageMode = "RGB") -> Image:
        """Draw the scene; ``P`` is the same picture with a palette."""
        picture = draw_scene(instance.scene)
        return picture if mode == "RGB" else picture.quantize(256, dither=Dither.NONE)

    def sample(self, kind: Kind, seed: int, index: int, *, cot: bool = True) -> Sample:
        """Return question and target as a conversation, with image and solution."""
        instance = self.instance(seed, index)
        prompt, has_image = self.prompt(instance, kind), kind != "text"
        return Sample(
            messages=[
                user(prompt.removeprefix("<image>\n") if has_image else prompt, num_images=int(has_image)),
                assistant(self.response(instance, kind, cot=cot)),
            ],
            images=(self.image(instance),) if has_image else (),
            id=f"{self.name}/{self.labels}/{kind}/{seed}/{index}",
            reference=self.answer(instance),
            meta={"task": self.name, "category": instance.category, "coordinates": "norm1000"},
        )

    def _written(self, boxes: Sequence[tuple[Edges, float]]) -> str:
        if self.answer_form == "corners":
            left, upper, right, lower = boxes[0][0]
            return f"({left},{upper}),({right},{lower})"
        items: list[dict[str, Any]] = [{"Position": list(box), "Confidence": told} for box, told in boxes]
        return str(items)

    @property
    def category_names(self) -> list[str]:
        """What is asked for, e.g. ``red square``, in a fixed order."""
        return [" ".join(pair) for pair in self._categories]

    @property
    def _categories(self) -> list[tuple[str, str]]:
        """The categories that are asked for, in a fixed order."""
        pairs = [(color, shape) for color in range(_NUM_COLORS) for shape in range(len(_SHAPES))]
        return [(list(COLORS)[color], _SHAPES[shape]) for color, shape in pairs if self._is_asked(color, shape)]

    def _is_asked(self, color: int, shape: int) -> bool:
        is_novel = (color + shape) % 3 == 0  # every colour and every shape occurs on both sides
        return self.labels == "all" or is_novel == (self.labels == "novel")

    def _category(self, draws: Draws) -> tuple[str, str]:
        while True:
            color, shape = draws.integer(0, _NUM_COLORS - 1), draws.integer(0, len(_SHAPES) - 1)
            if self._is_asked(color, shape):
                return list(COLORS)[color], _SHAPES[shape]

    def _any_pair(self, draws: Draws) -> tuple[str, str]:
        return list(COLORS)[draws.integer(0, _NUM_COLORS - 1)], _SHAPES[draws.integer(0, len(_SHAPES) - 1)]

    def _object(self, draws: Draws, pair: tuple[str, str], place: int, cell: float) -> SceneObject:
        side = cell * (0.45 + 0.5 * draws.fraction())
        row, column = divmod(place, self.grid)
        room = cell - side
        x, y = (number * cell + side / 2 + room * draws.fraction() for number in (column, row))
        return SceneObject(size="any", color=pair[0], shape=pair[1], x_px=x, y_px=y, side_px=side)

    def _box(self, scene: Scene, number: int) -> Edges:
        """Return the box of an object's pixels, in thousandths, rounded to steps."""
        box = object_mask(scene, number).box()
        edges = (0.0, 0.0, 1.0, 1.0) if box is None else box.xyxy
        left, upper, right, lower = (round(e / self.canvas_px * _UNITS / self.step) * self.step for e in edges)
        return left, upper, right, lower

    def _told(self, draws: Draws, wanted: Sequence[Edges], boxes: Sequence[Edges]) -> tuple[tuple[Edges, float], ...]:
        if draws.fraction() < self.wrong_object and len(boxes) > len(wanted):
            others = [box for box in boxes if box not in wanted] or list(boxes)
            wanted = [others[draws.integer(0, len(others) - 1)]]
        if self.jitter:
            wanted = [self._moved(draws, edges) for edges in wanted]
        return tuple((edges, self._confidence(draws)) for edges in wanted)

    def _confidence(self, draws: Draws) -> float:
        if len(self.confidences) == 1:
            return self.confidences[0]
        return self.confidences[draws.integer(0, len(self.confidences) - 1)]

    def _moved(self, draws: Draws, edges: Edges) -> Edges:
        """Move each edge by up to ``jitter`` steps, so that the box stays one."""
        moved = [e + self.step * draws.integer(-self.jitter, self.jitter) for e in edges]
        left, upper = (min(max(e, 0), _UNITS - self.step) for e in moved[:2])
        right, lower = (min(max(e, low + self.step), _UNITS) for e, low in zip(moved[2:], (left, upper), strict=True))
        return left, upper, right, lower
