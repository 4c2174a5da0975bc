"""Chain-of-Spot's data: conversations of LLaVA's mix, each begun with where to look for one of its questions.

Letters: (W, H) pixels of an image.
"""

import json
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from vlmzoo.data.images import load_image
from vlmzoo.data.prompts import load_prompts
from vlmzoo.data.regions import focus_turn, region_text, region_turn
from vlmzoo.data.sources import SOURCES, RowError
from vlmzoo.data.sources._records import FileSource
from vlmzoo.data.sources._tiny import TINY
from vlmzoo.data.sources.llava_json import LlavaRule
from vlmzoo.data.sources.pictures import OnMissing
from vlmzoo.errors import ConfigError, DataError
from vlmzoo.geometry import Box, Frame
from vlmzoo.types import Message, Sample, assistant, user

__all__ = ["ChainOfSpotSource"]

_MOST_TURNS = 10_000


@SOURCES.register(
    "chain_of_spot",
    source="Chain-of-Spot, arXiv:2403.12966, section 3.3; chain-of-spot.json over llava_v1_5_mix665k.json",
    tiny={"path": str(TINY / "spot" / "mix.json"), "regions": str(TINY / "spot" / "chain-of-spot.json")},
)
class ChainOfSpotSource(FileSource):
    """LLaVA's mix with regions: of each conversation about an image one question is asked in two turns, then the rest.

    The regions are keyed by the number of the row, its id and the number of the question, so the mix must be the very
    file that they were made for; ids are compared. A question without a region has the whole image. Conversations
    without an image are as they were.

    Args:
        path: the mix, in LLaVA's format.
        regions: ``chain-of-spot.json``, whatever its name.
        image_folder: where image paths start, and which none may leave then; default: the folder of the mix.
        on_missing: what becomes of a row whose image is not there, see ``llava_json``.
        wording: ``where`` asks as the authors' training does, ``what`` as their evaluation.
        seed: of the draws of questions, one for each row.

    Raises:
        ConfigError: if there is no such wording.
        DataError: if a file is missing or holds no records, or the regions belong to another mix.
    """

    def __init__(
        self,
        *,
        path: str,
        regions: str,
        image_folder: str | None = None,
        on_missing: OnMissing = "error",
        wording: Literal["where", "what"] = "where",
        seed: int = 0,
    ) -> None:
        super().__init__(path, LlavaRule(), image_folder=image_folder, on_missing=on_missing)
        if wording not in ("where", "what"):
            raise ConfigError(f"`wording` must be where or what, but is {wording!r} instead.")
        self.prompts: Mapping[str, Any] = load_prompts("chain_of_spot")
        self.wording: Literal["what", "where"] = wording
        self.seed = seed
        self.regions = _Regions(Path(regions).expanduser())

    def sample(self, position: int) -> Sample:
        """Read one row.

        Raises:
            RowError: if it is corrupt, or its region lies outside of its image.
        """
        plain = super().sample(position)
        index = int(position if self._kept is None else self._kept[position])
        turns = _rounds(plain.messages)
        if len(plain.images) != 1 or not turns:
            return plain
        chosen = int(np.random.default_rng((self.seed, index)).integers(len(turns)))
        picture = load_image(plain.images[0])
        frame = Frame.original(plain.id or str(index), width=picture.width, height=picture.height)
        box = self.regions.box(index, chosen, id=plain.id, frame=frame)
        question, answer = turns.pop(chosen)
        square = frame.padded_to_square(align="center")
        said = region_text(Box.whole(square) if box is None else box, square=square)
        crop = picture if box is None else picture.crop(tuple(int(edge) for edge in box.xyxy))  # type: ignore[arg-type]
        messages: list[Message] = [
            *(message for message in plain.messages if message["role"] == "system"),
            region_turn(question, wording=self.wording),
            assistant(said),
            focus_turn(question),
            answer,
        ]
        for number, (other, its_answer) in enumerate(turns):
            messages += [user((self.prompts["rest"] if number == 0 else "") + other), its_answer]
        return Sample(messages=messages, images=[plain.images[0], crop], id=plain.id, meta=plain.meta)


class _Regions:
    """The regions of a file, sorted by row and question.

    Args:
        path: of the file.

    Raises:
        DataError: if it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            entries = json.loads(path.read_text(encoding="utf-8"))
            rows = sorted((*_key(key), *_params(value)) for key, value in entries.items())
        except (OSError, ValueError, AttributeError, KeyError, TypeError) as error:
            raise DataError(
                f"Regions `{path}` must be a mapping of `ROW_ID_qTURN` to `{{params: [top, left, side]}}`, but cannot "
                f"be read ({error!r}); check `regions`."
            ) from error
        table = np.array(rows, dtype=np.int64).reshape(-1, 6)
        self.places = table[:, 0] * _MOST_TURNS + table[:, 1]
        self.values = table[:, 2:]

    def box(self, row: int, turn: int, *, id: str, frame: Frame) -> Box | None:
        """Return the region of a question, or None where there is none.

        Raises:
            RowError: if it belongs to another row, or lies outside of the image.
        """
        wanted = row * _MOST_TURNS + turn
        place = int(np.searchsorted(self.places, wanted))
        if place >= len(self.places) or self.places[place] != wanted:
            return None
        named, top, left, side = self.values[place].tolist()
        if named != _digest(id):
            raise RowError(
                f"region {turn} of row {row} must be one of `{id}`, but `{self.path.name}` has another id there; use "
                "the mix that it was made for, whole and in its order.",
                "wrong value",
            )
        edges = (left, top, min(left + side, frame.width), min(top + side, frame.height))
        if not (0 <= edges[0] < edges[2] and 0 <= edges[1] < edges[3]):
            raise RowError(
                f"region {turn} of row {row} must hold a pixel of its image of {frame.width}×{frame.height}, but is "
                f"(top {top}, left {left}, side {side}).",
                "wrong value",
            )
        return Box.from_xyxy(edges, frame=frame)


def _key(key: str) -> tuple[int, int, int]:
    row, rest = key.split("_", 1)
    name, turn = rest.rsplit("_q", 1)
    return int(row), int(turn), _digest(name)


def _digest(id: str) -> int:
    return zlib.crc32(id.replace("/", "_").encode())


def _params(value: Mapping[str, Any]) -> tuple[int, int, int]:
    top, left, side = (round(float(number)) for number in value["params"])
    return top, left, side


def _rounds(messages: Sequence[Message]) -> list[tuple[str, Message]]:
    """Return questions without their images, each with its answer."""
    turns = [message for message in messages if message["role"] != "system"]
    return [
        (_text(question).strip(), answer)
        for question, answer in zip(turns[::2], turns[1::2], strict=False)
        if question["role"] == "user"
    ]


def _text(message: Message) -> str:
    content = message["content"]
    if isinstance(content, str):
        return content
    return "".join(block.get("text", "") for block in content)
