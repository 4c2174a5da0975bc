"""Visual Analogy: find the relation that the examples share, and the option that continues the query by it."""

from collections.abc import Mapping
from typing import Any

from vlmzoo.data.synthetic import TASKS, Level
from vlmzoo.data.synthetic._analogy import AnalogyInstance
from vlmzoo.data.synthetic._analogy_image import AnalogyLook, AnalogyRenderer
from vlmzoo.data.synthetic._analogy_puzzle import draw_puzzle
from vlmzoo.data.synthetic._analogy_text import COT_STYLES, AnalogyWording
from vlmzoo.data.synthetic._checks import check_choice
from vlmzoo.data.synthetic._draws import Draws
from vlmzoo.data.synthetic._task import COMPATS, Compat, DrawnTask

__all__ = ["AnalogyInstance", "VisualAnalogy"]

_NAME = "visual_analogy"
_LEVELS: tuple[Level, ...] = ("simple", "hard")


@TASKS.register(
    _NAME,
    source="S2H, arXiv:2501.02669, section 2 (Visual Analogy)",
    tiny={"image": {"panel_px": 56}},
)
class VisualAnalogy(DrawnTask[AnalogyInstance]):
    """Draw puzzles of two examples, a query and four options, and ask which option continues the query.

    In an example, the values of one domain (such as the colours of shapes) in the third panel are the union, the
    intersection or the symmetric difference of those in the first two, or they progress from panel to panel. Each third
    panel and each option follows exactly one combination of domain and relation. Wrong options follow other relations.

    Level ``simple`` draws 17 of the 25 combinations, the same one for the examples and the query. ``hard`` draws the 8
    others; its two examples show the relation of the query in two different domains.

    Args:
        level: ``simple`` or ``hard``.
        compat: ``s2h``: the progressions of one puzzle need not run the same way (from dark to light, say), and in the
            chain of thought of style ``template`` the right option's sentence lacks a space, as in the released data.
        image: options of ``AnalogyLook``; default: the authors' figure, whose panels are theirs to the byte.
        distinct_prompts: ask for the text form in so many words where the kind is ``image_via_text``. The authors'
            prompt of ``image`` and ``image_via_text`` is the same.

    Raises:
        ConfigError: if an option is unknown or out of range.
    """

    cot_styles = COT_STYLES
    wording: AnalogyWording
    renderer: AnalogyRenderer

    def __init__(
        self,
        *,
        level: Level = "simple",
        compat: Compat = None,
        image: Mapping[str, Any] | AnalogyLook | None = None,
        distinct_prompts: bool = False,
    ) -> None:
        check_choice("level", level, _LEVELS)
        check_choice("compat", compat, COMPATS)
        super().__init__(_NAME, level=level, distinct_prompts=distinct_prompts)
        self.compat = compat
        self.wording = AnalogyWording(lacks_space=compat == "s2h")
        self.renderer = AnalogyRenderer(AnalogyLook.parse(image))

    def instance(self, seed: int, index: int) -> AnalogyInstance:
        """Draw one puzzle: a function of task, level, ``seed`` and ``index`` alone."""
        draws = Draws(self.name, self.level, seed, index)
        return draw_puzzle(draws, self.level, same_direction=self.compat is None)

    def answer(self, instance: AnalogyInstance) -> str:
        """Return what changes in each example and option, and the number of the right option, as lines."""
        return self.wording.answer(instance)
