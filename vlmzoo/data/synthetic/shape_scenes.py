"""Shape scenes: simple objects on grey, and phrases of which no single word tells the object that is meant."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from PIL.Image import Dither, Image

from vlmzoo.data.prompts import load_prompts
from vlmzoo.data.synthetic import KINDS, TASKS, ImageMode, Kind, Level
from vlmzoo.data.synthetic._checks import check_chain, check_choice
from vlmzoo.data.synthetic._draws import Draws
from vlmzoo.data.synthetic._scene import Query, Scene, describe
from vlmzoo.data.synthetic._scene_image import draw_scene, object_mask
from vlmzoo.data.synthetic._scene_rules import SceneRules
from vlmzoo.data.synthetic._wording import CotStyle
from vlmzoo.errors import ConfigError
from vlmzoo.registry import nearest_hint
from vlmzoo.types import Message, Sample, assistant, user

__all__ = ["ShapeScenes"]

_NAME = "shape_scenes"
_IMAGE_PREFIX = "<image>\n"
_LEVELS: Mapping[str, SceneRules] = {
    "simple": SceneRules(),
    "medium": SceneRules(num_objects=(7, 9), num_colors=8, num_shapes=8, canvas_px=(128, 128), grid=(4, 4)),
    "hard": SceneRules(
        num_objects=(10, 16),
        num_colors=8,
        num_shapes=8,
        canvas_px=(768, 768),
        grid=(5, 5),
        small_px=(10, 18),
        large_px=(60, 110),
    ),
}
_DESCRIBE = "List the objects."


@TASKS.register(
    _NAME,
    source="vlmzoo's own; relations after CLEVR-Ref+, arXiv:1901.00850, section 3",
    tiny={"num_objects": 5, "num_colors": 3, "num_shapes": 3},
)
class ShapeScenes:
    """Draw scenes with exact masks and boxes, and ask for the object that a phrase fits.

    Every colour, shape and size that occurs is had by two objects at least, so a phrase needs at least two words; a
    relational one (``circle left of the red square``) fits by its attributes two objects or more, of which the relation
    leaves one. The text form lists the objects with the cells in which they stand.

    Args:
        level: ``simple``: 5 to 7 objects on 96 x 96 pixels; ``medium``: 7 to 9 on 128 x 128; ``hard``: 10 to 16 on
            768 x 768, of which the small ones have 10 to 18 pixels.
        num_objects: in place of the level's: a number, or the least and the largest.
        num_colors: how many colours occur.
        num_shapes: how many shapes occur.
        image: ``canvas_px``, ``grid``, ``small_px`` and ``large_px`` in place of the level's.
        num_queries: phrases asked about one scene, each in a turn of its own: a number, or the least and the largest.
        relational: share of relational phrases.
        wording: ``lisa``, the authors' templates, or ``compact``: the phrase and ``[SEG]`` alone.
        answer: what points at the object: ``seg`` its mask, ``box`` the edges of its box in pixels, ``loc`` SEAL's
            ``[LOC]``, with SEAL's question, its box and its mask.

    Raises:
        ConfigError: if an option is unknown or out of range.
    """

    cot_styles: tuple[CotStyle, ...] = ("standard",)

    def __init__(
        self,
        *,
        level: Level = "simple",
        num_objects: int | Sequence[int] | None = None,
        num_colors: int | None = None,
        num_shapes: int | None = None,
        image: Mapping[str, Any] | None = None,
        num_queries: int | Sequence[int] = 1,
        relational: float = 0.4,
        wording: Literal["lisa", "compact"] = "lisa",
        answer: Literal["seg", "box", "loc"] = "seg",
    ) -> None:
        check_choice("level", level, tuple(_LEVELS))
        check_choice("wording", wording, ("lisa", "compact"))
        check_choice("answer", answer, ("seg", "box", "loc"))
        self.name, self.level, self.wording, self.points_with = _NAME, level, wording, answer
        numbers = {"num_colors": num_colors, "num_shapes": num_shapes, "relational": relational}
        ranges = {"num_objects": num_objects, "num_queries": num_queries, **_checked_image(image)}
        changes = {name: value for name, value in numbers.items() if value is not None}
        changes |= {name: _pair(name, value) for name, value in ranges.items() if value is not None}
        self.rules = replace(_LEVELS[level], **changes)

    def instance(self, seed: int, index: int) -> Scene:
        """Draw one scene: a function of task, level, ``seed`` and ``index`` alone."""
        return self.rules.draw(Draws(self.name, self.level, seed, index), name=f"{self.name}/{seed}/{index}")

    def text_form(self, instance: Scene) -> str:
        """Return a line for each object, in reading order: size, colour, shape, row and column of its cell."""
        lines = (
            f"{describe(item.attributes())} {row} {column}"
            for item, (row, column) in ((item, instance.cell(n)) for n, item in enumerate(instance.objects))
        )
        return "\n".join(lines)

    def prompt(self, instance: Scene, kind: Kind) -> str:
        r"""Return the first question; it begins with the text form, or with ``<image>\n``.

        Raises:
            ConfigError: if there is no such kind.
        """
        check_choice("kind", kind, KINDS)
        question = _DESCRIBE if kind == "conversion" else self._question(instance, 0)
        if kind == "image_via_text":
            question = f"{_DESCRIBE} {question}"
        return f"{self.text_form(instance)}\n{question}" if kind == "text" else _IMAGE_PREFIX + question

    def response(
        self, instance: Scene, kind: Kind, *, cot: bool = True, keep: float = 1.0, cot_style: CotStyle = "standard"
    ) -> str:
        """Return the answer to the first question: the text form (``image_via_text``), the thought, and what points.

        The thought is the object's attributes. Without an image there is nothing to segment, so the kind ``text``
        points with the row and the column of the object's cell.

        Args:
            instance: what is asked about.
            kind: what is given and what is asked.
            cot: whether the thought is there.
            keep: share of it that is left, from its beginning, in characters.
            cot_style: ``standard``.

        Raises:
            ConfigError: if there is no such kind, or the thought cannot be so.
        """
        check_choice("kind", kind, KINDS)
        check_chain(cot=cot, keep=keep, cot_style=cot_style, cot_styles=self.cot_styles)
        if kind == "conversion":
            return self.text_form(instance)
        if kind == "text":
            return self._thought(instance, 0, keep=keep if cot else 0.0) + self._place(instance, 0)
        listed = f"{self.text_form(instance)}\n" if kind == "image_via_text" else ""
        return listed + self._said(instance, 0, keep=keep if cot else 0.0)

    def answer(self, instance: Scene) -> str:
        """Return the line of the text form that is about the object that is asked about first."""
        target = instance.queries[0].target
        return f"{describe(instance.objects[target].attributes())} {self._place(instance, 0)}"

    def image(self, instance: Scene, *, mode: ImageMode = "RGB") -> Image:
        """Draw the scene; ``P`` is the same picture with a palette."""
        picture = draw_scene(instance)
        return picture if mode == "RGB" else picture.quantize(256, dither=Dither.NONE)

    def sample(
        self,
        kind: Kind,
        seed: int,
        index: int,
        *,
        cot: bool = True,
        keep: float = 1.0,
        cot_style: CotStyle = "standard",
    ) -> Sample:
        """Return one conversation, with a turn for each phrase, and a mask for each ``[SEG]``.

        Raises:
            ConfigError: as ``response`` does.
        """
        scene = self.instance(seed, index)
        prompt, has_image = self.prompt(scene, kind), kind != "text"
        first = user(prompt.removeprefix(_IMAGE_PREFIX) if has_image else prompt, num_images=int(has_image))
        response = self.response(scene, kind, cot=cot, keep=keep, cot_style=cot_style)
        messages: list[Message] = [first, assistant(response)]
        queries = scene.queries if has_image and kind != "conversion" else scene.queries[:1]
        for number in range(1, len(queries)):
            said = self._said(scene, number, keep=keep if cot else 0.0)
            messages += [user(self._question(scene, number)), assistant(said)]
        points = has_image and kind != "conversion"
        masks = [object_mask(scene, query.target) for query in queries] if points else []
        return Sample(
            messages=messages,
            images=(self.image(scene),) if has_image else (),
            id=f"{self.name}/{self.level}/{kind}/{seed}/{index}",
            reference=self.answer(scene),
            masks=masks if self.points_with == "seg" else (),
            boxes=[[box for box in [mask.box()] if box is not None] for mask in masks]
            if self.points_with == "loc"
            else (),
            heat_masks=masks if self.points_with == "loc" else (),
            meta=self._meta(scene, queries, kind=kind, seed=seed, index=index),
        )

    def _meta(self, scene: Scene, queries: Sequence[Query], **place: Any) -> dict[str, Any]:
        boxes = [object_mask(scene, query.target).box() for query in queries]
        return {
            "task": self.name,
            "level": self.level,
            **place,
            "phrases": [query.phrase for query in queries],
            "relational": [query.is_relational for query in queries],
            "boxes_xyxy_px": [list(box.xyxy) for box in boxes if box is not None],
        }

    def _question(self, scene: Scene, number: int) -> str:
        phrase = scene.queries[number].phrase
        if self.points_with == "loc":
            return str(load_prompts("seal")["search"]["locate"]).replace("{name}", phrase)
        if self.wording == "compact":
            return phrase
        templates = load_prompts("lisa")["questions"]["class"]
        return templates[_choice(scene, number, len(templates))].format(class_name=phrase)

    def _thought(self, scene: Scene, number: int, *, keep: float) -> str:
        """Return the beginning of what an answer tells before it points, with a space behind it."""
        whole = describe(scene.objects[scene.queries[number].target].attributes())
        whole = whole if self.wording == "compact" else f"The {whole}."
        kept = whole[: round(keep * len(whole))]
        return f"{kept} " if kept else ""

    def _place(self, scene: Scene, number: int) -> str:
        row, column = scene.cell(scene.queries[number].target)
        return f"{row} {column}"

    def _said(self, scene: Scene, number: int, *, keep: float) -> str:
        if self.points_with == "loc":
            return str(load_prompts("seal")["search"]["located"])
        thought = self._thought(scene, number, keep=keep)
        if self.points_with == "box":
            box = object_mask(scene, scene.queries[number].target).box()
            edges = box.xyxy if box is not None else ()
            return thought + "[" + ", ".join(f"{edge:.0f}" for edge in edges) + "]"
        if self.wording == "compact":
            return f"{thought}[SEG]"
        templates = load_prompts("lisa")["answers"]
        return thought + templates[_choice(scene, number + len(scene.queries), len(templates))]


def _choice(scene: Scene, number: int, count: int) -> int:
    return Draws(scene.name, number).integer(0, count - 1)


def _checked_image(image: Mapping[str, Any] | None) -> dict[str, Any]:
    known = ("canvas_px", "grid", "small_px", "large_px")
    for name in image or {}:
        if name not in known:
            raise ConfigError(f"`image` takes no `{name}`.{nearest_hint(name, known)} Known: {', '.join(known)}.")
    return dict(image or {})


def _pair(name: str, value: Any) -> tuple[int, int]:
    """Return two numbers; one stands for both."""
    pair = (value, value) if isinstance(value, int) else value
    if not isinstance(pair, Sequence) or len(pair) != 2 or not all(isinstance(number, int) for number in pair):
        raise ConfigError(f"`{name}` must be a whole number or two, but is {value!r} instead.")
    return int(pair[0]), int(pair[1])
