"""What lmms-eval's tasks ask, in this library's terms: questions with their pictures, and how to decode.

Letters: F frames of a video, (H, W) pixels.
"""

import importlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Any

from PIL import Image

from vlmzoo.errors import ConfigError, DataError, MissingExtraError
from vlmzoo.integrations._asking import Decoding
from vlmzoo.types import Content, Sample

__all__ = ["Reading", "blocks_of", "decoding_of"]

logger = logging.getLogger(__name__)

_BLANK_LINE = "\n\n"
_MARK = "<image>"
_DECODED = ("max_new_tokens", "temperature", "top_p", "top_k", "num_beams", "repetition_penalty")
_READ_TOGETHER = ("do_sample", "until")
_OF_OTHERS = ("image_aspect_ratio",)  # tells LLaVA's own code how to pad; here a processor knows that
_PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How requests are read.

    Args:
        max_new_tokens: the limit of an answer, where the task names none.
        num_frames: F, the pictures that a video becomes, evenly spread.
        stop_at_blank_line: whether a blank line ends an answer where the task says so.
        system: what the system turn says; None for none.
    """

    max_new_tokens: int = 1024
    num_frames: int = 8
    stop_at_blank_line: bool = False
    system: str | None = None

    def sample(self, blocks: Iterable[Content], *, id: str) -> Sample:
        """Make a question of blocks of text, images and videos, in their order.

        Args:
            blocks: ``{type: text, text: …}``, or ``{type: image | video, url: …}`` with a picture or a path.
            id: of the question.

        Raises:
            DataError: if a block is of another kind, or a video cannot be read.
        """
        return self.conversation([{"role": "user", "content": list(blocks)}], id=id)

    def conversation(self, messages: Iterable[Mapping[str, Any]], *, id: str) -> Sample:
        """Make a question of whole turns; see `sample`."""
        turns: list[dict[str, Any]] = []
        images: list[Any] = []
        for message in messages:
            content: list[Content] = []
            for block in message["content"]:
                shown = None if block["type"] == "text" else self._pictures(block, id=id)
                content += [block] if shown is None else [{"type": "image"}] * len(shown)
                images += shown or []
            turns.append({"role": message["role"], "content": content})
        if self.system is not None:
            turns.insert(0, {"role": "system", "content": [{"type": "text", "text": self.system}]})
        return Sample(messages=turns, images=images, id=id)

    def decoding(self, options: Mapping[str, Any]) -> Decoding:
        """Read the ``generation_kwargs`` of a task; see `decoding_of`."""
        return decoding_of(options, max_new_tokens=self.max_new_tokens, stop_at_blank_line=self.stop_at_blank_line)

    def _pictures(self, block: Content, *, id: str) -> list[Any]:
        """Return the pictures of a block: one of an image, F of a video.

        Raises:
            DataError: if it is neither.
        """
        if block["type"] == "image":
            return [block["url"]]
        if block["type"] == "video":
            return _frames(block["url"], self.num_frames, id=id)
        raise DataError(f"Question `{id}` must be of text, images and videos, but has `{block['type']}`, too.")


def decoding_of(options: Mapping[str, Any], *, max_new_tokens: int, stop_at_blank_line: bool = False) -> Decoding:
    """Read the ``generation_kwargs`` of a task.

    Tokens are drawn where the temperature is above 0 and ``do_sample`` is not false. An answer ends before a text of
    ``until``. The blank line counts only where it is asked for: lmms-eval adds it by itself to every task that names no
    end, and its own models pass over it, as it would cut explanations in two.

    Args:
        options: of the task.
        max_new_tokens: where the task names none.
        stop_at_blank_line: whether a blank line ends an answer where the task says so.

    Raises:
        ConfigError: if the task says something that would have no effect here, or a value is out of range.
    """
    unknown = sorted(set(options) - {*_DECODED, *_READ_TOGETHER, *_OF_OTHERS})
    if unknown:
        raise ConfigError(
            f"`generation_kwargs` has `{unknown[0]}`, which would have no effect on this model; it takes "
            f"{', '.join((*_DECODED, *_READ_TOGETHER))}."
        )
    given = {name: options[name] for name in _DECODED if options.get(name) is not None}
    is_drawn = options.get("do_sample")
    temperature = 0.0 if is_drawn is False else float(given.pop("temperature", 1.0 if is_drawn else 0.0))
    until = options.get("until") or ()
    stops = (until,) if isinstance(until, str) else tuple(until)
    kept = tuple(stop for stop in stops if stop_at_blank_line or stop != _BLANK_LINE)
    return Decoding(**{"max_new_tokens": max_new_tokens, **given, "temperature": temperature, "stop": kept})


def blocks_of(text: str, visuals: Sequence[Any] | None, *, id: str) -> list[Content]:
    """Return the text of a simple request with its pictures: at its ``<image>`` marks, or all before it.

    Args:
        text: of the question.
        visuals: pictures, paths of pictures or videos, or mappings ``{type, url}``.
        id: of the question.

    Raises:
        DataError: if a visual is of another kind.
    """
    shown = [_block(visual, id=id) for visual in visuals or ()]
    pieces = text.split(_MARK)
    if shown and len(pieces) == len(shown) + 1:
        texts: list[Content | None] = [{"type": "text", "text": piece} if piece else None for piece in pieces]
        return [block for block in chain.from_iterable(zip_longest(texts, shown)) if block is not None]
    if len(pieces) > 1:
        logger.warning(
            "Question `%s` has %d marks `%s` and %d pictures; the pictures go before it, and the marks stay words.",
            id,
            len(pieces) - 1,
            _MARK,
            len(shown),
        )
    return [*shown, {"type": "text", "text": text}]


def _block(visual: Any, *, id: str) -> Content:
    if isinstance(visual, Image.Image):
        return {"type": "image", "url": visual}
    if isinstance(visual, Mapping) and ("url" in visual or "path" in visual):
        return {"type": visual.get("type", "video"), "url": visual.get("url") or visual["path"]}
    if isinstance(visual, str):
        return {"type": "image" if visual.lower().endswith(_PICTURES) else "video", "url": visual}
    raise DataError(f"A visual of question `{id}` must be a picture, a path or a mapping, but is {visual!r} instead.")


def _frames(path: Any, num_frames: int, *, id: str) -> list[Image.Image]:
    """Return F pictures of a video, evenly spread, read by lmms-eval's own reader.

    Raises:
        DataError: if it cannot be read.
        MissingExtraError: if what reads videos is not installed.
    """
    path = path.get("url") or path.get("path") if isinstance(path, Mapping) else path
    try:
        reader: Any = importlib.import_module("lmms_eval.models.model_utils.load_video")
    except ImportError as error:
        raise MissingExtraError.for_package("lmms-eval, or its `av`", "eval") from error
    try:
        frames = reader.read_video(path, num_frm=num_frames)  # (F, H, W, 3)
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"The video `{path}` of question `{id}` cannot be read ({error}).") from error
    return [Image.fromarray(frame) for frame in frames]
