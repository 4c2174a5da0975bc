"""Preference pairs as files that others read: TRL's columns, MIA-DPO's records, LlamaFactory's ranking sets."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from vlmzoo.data.images import load_image
from vlmzoo.data.json_lines import write_whole
from vlmzoo.data.mia import IMAGE_TAG
from vlmzoo.data.mia.building import tagged_text
from vlmzoo.errors import ConfigError, DataError
from vlmzoo.registry import nearest_hint
from vlmzoo.types import ImageLike, Message, Sample

__all__ = ["PairFormat", "pair_record", "write_pairs"]

PairFormat: TypeAlias = Literal["trl", "tagged", "mia_dpo", "llamafactory"]
"""``trl``: conversational columns, images as blocks. ``tagged``: the same as text, with ``<image>`` for an image.
``mia_dpo``: as ``dpo_27k.json``. ``llamafactory``: ShareGPT with ``chosen`` and ``rejected``."""

_SPEAKERS = {"user": "human", "assistant": "gpt", "system": "system"}


def pair_record(
    sample: Sample, images: Sequence[str], format: PairFormat, *, negative: Sequence[str] = ()
) -> dict[str, Any]:
    """Return a pair as a record.

    Args:
        sample: ends with the better answer; ``rejected`` is the other.
        images: where its images lie, one for each.
        format: of the record.
        negative: where its negative images lie; only TRL's columns have a place for them.

    Raises:
        DataError: if an answer is missing, image blocks and images differ in number, or the format cannot hold it.
    """
    if sample.rejected is None or not sample.messages or sample.messages[-1]["role"] != "assistant":
        raise DataError(f"Sample `{sample.id}` must have two answers to be written as a pair, but has not.")
    *asked, answer = sample.messages
    chosen, num_blocks = tagged_text(answer), sum(tagged_text(message).count(IMAGE_TAG) for message in asked)
    if num_blocks != len(images):
        raise DataError(
            f"Sample `{sample.id}` must have an image for each place, but has {len(images)} for {num_blocks} places."
        )
    if negative and format not in ("trl", "tagged"):
        raise DataError(f"The format {format} has no place for the negative images of sample `{sample.id}`; use trl.")
    if format in ("tagged", "mia_dpo") and len(asked) != 1:
        raise DataError(
            f"The format {format} holds one question, but sample `{sample.id}` has {len(asked)} turns before the "
            "answer; use trl or llamafactory."
        )
    if format == "mia_dpo":
        record = {"id": sample.id, "image": list(images), "prompt": tagged_text(asked[0])}
        return {**record, "chosen": chosen, "rejected": sample.rejected, "gt": chosen}
    if format == "llamafactory":
        turns = [{"from": _SPEAKERS[message["role"]], "value": tagged_text(message)} for message in asked]
        answers = {"chosen": {"from": "gpt", "value": chosen}, "rejected": {"from": "gpt", "value": sample.rejected}}
        return {"id": sample.id, "conversations": turns, **answers, "images": list(images)}
    common = {"id": sample.id, "images": list(images), **({"negative_images": list(negative)} if negative else {})}
    if sample.meta:
        common["meta"] = dict(sample.meta)
    if format == "tagged":
        return {**common, "prompt": tagged_text(asked[0]), "chosen": chosen, "rejected": sample.rejected}
    prompt = [{"role": message["role"], "content": _blocks(message)} for message in asked]
    sides = {"chosen": chosen, "rejected": sample.rejected}
    said = {side: [{"role": "assistant", "content": _text_block(text)}] for side, text in sides.items()}
    return {**common, "prompt": prompt, **said}


def write_pairs(samples: Iterable[Sample], path: str | Path, *, format: PairFormat = "trl") -> int:
    """Write pairs to one file; images that are no files are written beside it.

    ``trl`` and ``tagged`` are JSON lines, the others a JSON list; ``llamafactory`` also gets a ``dataset_info.json``,
    if the folder has none.

    Args:
        samples: pairs.
        path: of the file.
        format: see :data:`PairFormat`.

    Returns:
        The number of pairs.

    Raises:
        ConfigError: if there is no such format.
        DataError: if a pair cannot be written.
    """
    if format not in get_args(PairFormat):
        known = get_args(PairFormat)
        raise ConfigError(f"`format` must be one of {known}, but is {format!r} instead.{nearest_hint(format, known)}")
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    lines: list[str] = []
    for number, sample in enumerate(samples):
        placed = [_place(image, path, f"{number:08d}_{place}") for place, image in enumerate(sample.images)]
        other = [_place(image, path, f"{number:08d}_n{place}") for place, image in enumerate(sample.negative_images)]
        lines.append(json.dumps(pair_record(sample, placed, format, negative=other), ensure_ascii=False))
    is_lines = format in ("trl", "tagged")
    write_whole(path, "".join(f"{line}\n" for line in lines) if is_lines else "[\n" + ",\n".join(lines) + "\n]\n")
    info = path.parent / "dataset_info.json"
    if format == "llamafactory" and not info.exists():
        columns = {"messages": "conversations", "chosen": "chosen", "rejected": "rejected", "images": "images"}
        entry = {"file_name": path.name, "ranking": True, "formatting": "sharegpt", "columns": columns}
        write_whole(info, json.dumps({path.stem: entry}, indent=2) + "\n")
    return len(lines)


def _place(image: ImageLike, path: Path, name: str) -> str:
    """Return where an image lies, from the folder of the file if it is written there."""
    if isinstance(image, (str, Path)):
        return str(Path(image).resolve())
    place = path.parent / f"{path.stem}_images" / f"{name}.png"
    place.parent.mkdir(exist_ok=True)
    load_image(image).save(place)
    return str(place.relative_to(path.parent))


def _blocks(message: Message) -> list[Mapping[str, Any]]:
    return _text_block(message["content"]) if isinstance(message["content"], str) else list(message["content"])


def _text_block(text: str) -> list[Mapping[str, Any]]:
    return [{"type": "text", "text": text}]
