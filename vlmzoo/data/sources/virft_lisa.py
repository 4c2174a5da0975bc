"""ReasonSeg as Visual-RFT asks for it: one box for each instruction."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from vlmzoo.data.prompts import load_prompts
from vlmzoo.data.sources import SOURCES, RowError
from vlmzoo.data.sources._tiny import TINY
from vlmzoo.data.sources.pictures import PictureFinder, read_size
from vlmzoo.data.sources.reason_seg import read_annotation
from vlmzoo.errors import DataError
from vlmzoo.types import Sample, assistant, user

__all__ = ["VirftLisaSource", "corners_text"]


@SOURCES.register(
    "virft_lisa",
    source="Visual-RFT, arXiv:2503.01785, section 4.4 (reasoning grounding), and its released builder",
    tiny={"root": str(TINY / "lisa" / "reason_seg" / "ReasonSeg"), "split": "train"},
)
class VirftLisaSource:
    """One question for each instruction of ReasonSeg; the answer is one box, in thousandths of the image's sides.

    Images without a polygon of the target are left out.

    Args:
        root: folder that holds ``train``, ``val`` and ``test``, each with images and JSON files of the same stems.
        split: one of them.
        first_shape_only: whether the box is that of the first polygon, as the released builder has it; else it holds
            all polygons but the ignored ones.
        first_text_only: whether the first instruction alone is asked, as the released evaluation does.
        teach: whether the solution stands as the assistant's turn, for supervised baselines.

    Raises:
        DataError: if the folder does not exist, or holds no annotated image.
    """

    def __init__(
        self,
        *,
        root: str,
        split: str = "train",
        first_shape_only: bool = False,
        first_text_only: bool = False,
        teach: bool = False,
    ) -> None:
        folder = Path(root).expanduser() / split
        if not folder.is_dir():
            raise DataError(f"`{folder}` does not exist; check `root` and `split` of the source.")
        self.first_shape_only, self.teach = first_shape_only, teach
        self.items: list[tuple[Path, int]] = []
        for path in sorted(folder.glob("*.json")):
            annotation = read_annotation(path)
            texts = annotation["text"] if _targets(annotation["shapes"]) else ()  # without a target there is no box
            self.items += [(path, number) for number in range(1 if first_text_only else len(texts))]
        if not self.items:
            raise DataError(f"`{folder}` holds no annotated image; check `root` and `split` of the source.")
        self._pictures = PictureFinder(folder)

    @property
    def size(self) -> int | None:
        """The number of instructions."""
        return len(self.items)

    def sample(self, position: int) -> Sample:
        """Read one instruction.

        Raises:
            RowError: if its file, its image or its polygons cannot be used.
        """
        path, number = self.items[position]
        annotation = read_annotation(path)
        image = self._pictures.find(path.with_suffix(".jpg").name)
        width, height = read_size(image)
        shapes = annotation["shapes"][:1] if self.first_shape_only else _targets(annotation["shapes"])
        box = box_of(shapes, path)
        prompts = load_prompts("virft")
        question = prompts["grounding_instruction"].format(instruct=annotation["text"][number])
        question += prompts["grounding_request"].format(blank=" ", newline="\n")
        solution = f"<answer> {corners_text(box, width=width, height=height)} </answer>"
        messages = [user(question, num_images=1), *([assistant(solution)] if self.teach else [])]
        return Sample(
            messages=messages,
            images=[image],
            id=f"{path.stem}/{number}",
            reference=solution,
            meta={
                "coordinates": "norm1000",
                "box_xyxy_px": list(box),
                "polygons_px": [[list(point) for point in shape["points"]] for shape in shapes],
            },
        )


def _targets(shapes: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [shape for shape in shapes if "ignore" not in str(shape.get("label", "")).lower()]


def box_of(shapes: Sequence[Mapping[str, Any]], path: Path) -> tuple[float, float, float, float]:
    """Return the smallest box (x1, y1, x2, y2) that holds all points, in pixels.

    Raises:
        RowError: if there is no point, or one is no pair of numbers.
    """
    try:
        points = [(float(x), float(y)) for shape in shapes for x, y in cast("Any", shape["points"])]
    except (KeyError, TypeError, ValueError) as error:
        raise RowError(f"`{path}` must have polygons with `points`, but {error!r}.", "wrong value") from error
    if not points:
        raise RowError(f"`{path}` must have a polygon of the target, but has none.", "missing field")
    xs, ys = zip(*points, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def corners_text(box_xyxy_px: Sequence[float], *, width: int, height: int) -> str:
    """Write a box as Qwen2-VL reads it: thousandths of the image's sides, cut off.

    Args:
        box_xyxy_px: in pixels of the image.
        width: of the image, in pixels.
        height: likewise.
    """
    x1, y1, x2, y2 = box_xyxy_px
    left, right = (int(x / width * 1000) for x in (x1, x2))
    upper, lower = (int(y / height * 1000) for y in (y1, y2))
    return f"({left},{upper}),({right},{lower})"
