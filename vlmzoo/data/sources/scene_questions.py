"""Questions about drawn scenes, asked as the switch and the ROI adapter ask: without a download, for small runs."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from vlmzoo.data.focus import FocusObject, focus_sample
from vlmzoo.data.refusals import refusal_of
from vlmzoo.data.regions import focus_turn, region_text, region_turn
from vlmzoo.data.sources import SOURCES
from vlmzoo.data.synthetic._scene import ATTRIBUTES, Scene
from vlmzoo.data.synthetic._scene_image import draw_scene, object_mask
from vlmzoo.data.synthetic.shape_scenes import ShapeScenes
from vlmzoo.errors import ConfigError
from vlmzoo.geometry import Box
from vlmzoo.types import Sample, assistant

__all__ = ["SceneQuestionsSource"]

_PROTOCOLS = ("switch", "roi")


@SOURCES.register(
    "scene_questions",
    source="vlmzoo's own, in the turns of V*, arXiv:2312.14135, and of Chain-of-Spot, arXiv:2403.12966",
    tiny={"protocol": "switch", "num_rows": 4},
)
class SceneQuestionsSource:
    """Conversations about one object of a scene: how it looks where its phrase leaves that open, else where it is.

    Args:
        protocol: ``switch``: a question without its object is refused, and one with it is answered. ``roi``: the region
            is told first, then the answer, with the region before it.
        refused: share of questions that are refused, for ``switch`` alone.
        scenes: options of ``shape_scenes``.
        num_rows: None for no end.
        seed: another seed gives other scenes.

    Raises:
        ConfigError: if an option is unknown or out of range.
    """

    def __init__(
        self,
        *,
        protocol: Literal["switch", "roi"],
        refused: float | None = None,
        scenes: Mapping[str, Any] | None = None,
        num_rows: int | None = None,
        seed: int = 0,
    ) -> None:
        if protocol not in _PROTOCOLS:
            raise ConfigError(f"`protocol` must be switch or roi, but is {protocol!r} instead.")
        if refused is not None and (protocol == "roi" or not 0 <= refused <= 1):
            raise ConfigError(
                f"`refused` must be within [0, 1], for the protocol `switch` alone, but is {refused} with `{protocol}`."
            )
        self.protocol = protocol
        self.refused = 0.5 if refused is None else refused
        self.task = ShapeScenes(**{"relational": 0.0, **(scenes or {})})
        self.size: int | None = num_rows
        self.seed = seed

    def sample(self, position: int) -> Sample:
        """Draw a scene and ask about it."""
        scene = self.task.instance(self.seed, position)
        question, answer = _asked(scene)
        box = object_mask(scene, scene.queries[0].target).box() or scene.box(scene.queries[0].target)
        id = f"{self.protocol}/{self.seed}/{position}"
        if self.protocol == "roi":
            return replace(_looked_at(scene, box, question, answer), id=id, reference=answer)
        phrase = scene.queries[0].phrase
        # of any run of positions the same share is refused
        is_refused = int((position + 1) * self.refused) > int(position * self.refused)
        shown = [] if is_refused else [FocusObject(phrase, box)]
        asked = focus_sample(draw_scene(scene), question, shown, layout="trained", id=id)
        said = refusal_of([phrase]) if is_refused else answer
        return replace(asked, messages=[*asked.messages, assistant(said)], reference=said)


def _looked_at(scene: Scene, box: Box, question: str, answer: str) -> Sample:
    """Return both turns of Chain-of-Spot."""
    picture = draw_scene(scene)
    x0, y0, x1, y1 = (int(edge) for edge in box.rounded().clipped().xyxy)
    messages = [
        region_turn(question, wording="where"),
        assistant(region_text(box, square=scene.frame.padded_to_square(align="center"))),
        focus_turn(question),
        assistant(answer),
    ]
    return Sample(messages=messages, images=[picture, picture.crop((x0, y0, max(x1, x0 + 1), max(y1, y0 + 1)))])


def _asked(scene: Scene) -> tuple[str, str]:
    """Return a question about the first phrase's object, and the answer."""
    query = scene.queries[0]
    target = scene.objects[query.target]
    told = query.phrase.split()
    for name in reversed(ATTRIBUTES):
        value = str(target.attributes()[name])
        if value not in told and not query.is_relational:
            return f"What {name} is the {query.phrase}?", f"{value}."
    row, column = scene.cell(query.target)
    return f"Where is the {query.phrase}?", f"Row {row}, column {column}."
