"""Synthetic tasks as files: LLaVA-style JSON and palette PNGs, and how fast they are made."""

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TextIO

from vlmzoo.data.synthetic import KINDS, Kind, SyntheticTask
from vlmzoo.errors import ConfigError, DataError

__all__ = ["bench_task", "export_task"]

_MANIFEST = "export.json"
_COMPRESS_LEVEL = 1  # of 9: half as large again as level 6, and twice as fast
_NUM_WARM_UP = 10


def export_task(
    task: SyntheticTask,
    *,
    kinds: Sequence[Kind],
    num: int,
    seed: int,
    out_dir: str | Path,
    cot: bool = True,
    report: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Write instances 0 to ``num`` - 1 of a seed as files.

    ``out_dir`` receives ``{kind}+cot.json`` for each kind (``{kind}.json`` without chain of thought), a list of
    ``{id, image, conversations}``, and one ``images/{index}.png`` for each instance, which all kinds share. Every file
    is written under another name and renamed. A stopped export keeps its images and continues, as does a longer one
    in the folder of a shorter one; the files do not depend on how often it was stopped.

    Args:
        task: what is drawn.
        kinds: what is given and what is asked, one file each.
        num: instances.
        seed: of the instances.
        out_dir: a folder, new or of an earlier export of the same task and seed.
        cot: whether the responses reason before they answer.
        report: called with (instances done, ``num``) after each.

    Returns:
        The JSON files, in the order of ``kinds``.

    Raises:
        ConfigError: if a kind is unknown or given twice, or ``num`` is not positive.
        DataError: if ``out_dir`` holds the export of another task or seed.
    """
    if not kinds or len(set(kinds)) != len(kinds) or not set(kinds) <= set(KINDS):
        raise ConfigError(f"`kinds` must be different ones of {', '.join(KINDS)}, but is {list(kinds)} instead.")
    _check_num(num)
    folder = Path(out_dir)
    has_images = any(kind != "text" for kind in kinds)
    (folder / "images" if has_images else folder).mkdir(parents=True, exist_ok=True)
    _check_manifest(folder / _MANIFEST, task, seed)

    paths = [folder / f"{kind}{'+cot' if cot else ''}.json" for kind in kinds]
    with ExitStack() as stack:
        writers = [stack.enter_context(_json_list(path)) for path in paths]
        for index in range(num):
            instance = task.instance(seed, index)
            image = f"images/{index:06d}.png"
            if has_images and not (folder / image).exists():
                _write_png(task, instance, folder / image)
            for kind, write in zip(kinds, writers, strict=True):
                write(_record(task, instance, kind, seed=seed, index=index, image=image, cot=cot))
            if report is not None:
                report(index + 1, num)
    return paths


def bench_task(task: SyntheticTask, *, num: int, seed: int) -> dict[str, Any]:
    """Measure how fast one core makes the instances of a task.

    Args:
        task: what is drawn.
        num: instances in each of the three measurements.
        seed: of the instances.

    Returns:
        ``images_per_s`` (drawn, in RGB, not encoded), ``written_per_s`` (drawn and written as PNG to a temporary
        folder) and ``texts_per_s`` (prompt and response, each with text form), all three with the drawing of the
        parameters; ``width`` and ``height`` in pixels, ``num``, ``level``, ``task``, ``cores``.

    Raises:
        ConfigError: if ``num`` is not positive.
    """
    _check_num(num)
    width, height = [task.image(task.instance(seed, index)).size for index in range(_NUM_WARM_UP)][-1]

    def write_text(index: int) -> None:
        instance = task.instance(seed, index)
        task.prompt(instance, "text")
        task.response(instance, "image_via_text")

    with tempfile.TemporaryDirectory() as folder:
        rates = {
            "images_per_s": _rate(lambda index: task.image(task.instance(seed, index)), num),
            "written_per_s": _rate(
                lambda index: _write_png(task, task.instance(seed, index), Path(folder, f"{index}.png")), num
            ),
            "texts_per_s": _rate(write_text, num),
        }
    return {"task": task.name, "level": task.level, "num": num, "cores": 1, "width": width, "height": height, **rates}


def _rate(make: Callable[[int], object], num: int) -> float:
    """Return calls per second of wall time, over ``num`` calls."""
    start_s = time.perf_counter()
    for index in range(num):
        make(index)
    return round(num / (time.perf_counter() - start_s), 1)


def _record(
    task: SyntheticTask, instance: Any, kind: Kind, *, seed: int, index: int, image: str, cot: bool
) -> dict[str, Any]:
    """Return one conversation in LLaVA's form; a text has no ``image``."""
    turns = [
        {"from": "human", "value": task.prompt(instance, kind)},
        {"from": "gpt", "value": task.response(instance, kind, cot=cot)},
    ]
    identity = {"id": f"{task.name}/{task.level}/{kind}/{seed}/{index}"}
    return {**identity, **({} if kind == "text" else {"image": image}), "conversations": turns}


def _write_png(task: SyntheticTask, instance: Any, path: Path) -> None:
    with _partial(path) as partial:
        task.image(instance, mode="P").save(partial, format="PNG", compress_level=_COMPRESS_LEVEL)


@contextmanager
def _json_list(path: Path) -> Iterator[Callable[[object], None]]:
    """Open a JSON list that grows record by record, so that memory does not."""
    with _partial(path) as partial, partial.open("w", encoding="utf-8", newline="\n") as file:
        yield _ListWriter(file).write
        file.write("\n]\n")


class _ListWriter:
    """Writes the records of a JSON list, one a line."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._before = "[\n"

    def write(self, record: object) -> None:
        """Append one record."""
        self._file.write(self._before + json.dumps(record, ensure_ascii=False))
        self._before = ",\n"


@contextmanager
def _partial(path: Path) -> Iterator[Path]:
    """Give a temporary name beside ``path``, which takes its place at the end, and is removed on failure."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _check_num(num: int) -> None:
    if num < 1:
        raise ConfigError(f"`num` must be positive, but is {num} instead.")


def _check_manifest(path: Path, task: SyntheticTask, seed: int) -> None:
    """Refuse a folder of another export; mark a new one.

    Raises:
        DataError: if the manifest of the folder names another task, level, seed or appearance.
    """
    instance = task.instance(seed, 0)
    content = task.prompt(instance, "text").encode() + task.image(instance).tobytes()
    found = {"task": task.name, "level": task.level, "seed": seed, "first": hashlib.sha256(content).hexdigest()}
    if not path.exists():
        with _partial(path) as partial:
            partial.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    elif json.loads(path.read_text(encoding="utf-8")) != found:
        raise DataError(
            f"`out_dir` must be new or hold an export of the same task and seed, but {path} says another: "
            "choose another folder, or delete this one."
        )
