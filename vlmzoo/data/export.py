"""Synthetic tasks as files: written by several processes, and continued where they were stopped."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from vlmzoo.data.export_examples import Example, ExportFormat, Shard, Write, whole_file
from vlmzoo.data.export_formats import FORMATS
from vlmzoo.data.synthetic import KINDS, Kind, SyntheticTask
from vlmzoo.data.synthetic._checks import chain_options, check_chain, check_choice
from vlmzoo.errors import ConfigError, DataError

__all__ = ["Split", "export_task"]

_MANIFEST = "export.json"
_NUM_COMPARED = 16  # instances by which a folder's task is known again

Report = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Split:
    """Which instances of a task are written, and what is asked about them.

    Args:
        kinds: what is given and what is asked, one file or series of files each.
        num: instances, numbered from 0.
        seed: of the instances.
        cot: whether the responses reason before they answer.
        keep: share of the chain of thought that is left.
        cot_style: how it is written.

    Raises:
        ConfigError: if a kind is unknown or given twice, ``num`` is not positive, or ``keep`` is no share.
    """

    kinds: Sequence[Kind]
    num: int
    seed: int = 0
    cot: bool = True
    keep: float = 1.0
    cot_style: str = "standard"

    def __post_init__(self) -> None:
        kinds = tuple(self.kinds)
        if not kinds or len(set(kinds)) != len(kinds) or not set(kinds) <= set(KINDS):
            raise ConfigError(f"`kinds` must be different ones of {', '.join(KINDS)}, but is {list(kinds)} instead.")
        if type(self.num) is not int or self.num < 1:
            raise ConfigError(f"`num` must be a positive integer, but is {self.num!r} instead.")
        check_chain(cot=self.cot, keep=self.keep, cot_style=self.cot_style, cot_styles=(self.cot_style,))

    @property
    def suffix(self) -> str:
        """What follows the kind in the name of a file: ``+cot``, or nothing where there is no chain of thought."""
        style = "" if self.cot_style == "standard" else f"-{self.cot_style}"
        part = "" if self.keep == 1 else f"-keep{self.keep:g}"
        return f"+cot{style}{part}" if self.cot else ""


@dataclass(frozen=True, kw_only=True)
class _Job:
    """What a worker needs to write any shard."""

    task: SyntheticTask
    split: Split
    chain: Mapping[str, Any]
    folder: Path
    format: ExportFormat

    def stem(self, kind: Kind) -> str:
        """Return how the files of a kind are called."""
        return self.format.stem(self.task, kind, self.split.suffix)


def export_task(
    task: SyntheticTask,
    split: Split,
    out_dir: str | Path,
    *,
    format: str = "json",
    num_workers: int = 0,
    shard_size: int | None = None,
    report: Report | None = None,
) -> list[Path]:
    """Write instances of a task as files.

    Every file is written under another name and renamed when it is whole. A stopped export goes on where it was, and
    the files do not depend on how often it was stopped, nor on the number of workers. Workers are started anew
    (``spawn``), so a script that exports must do so under ``if __name__ == "__main__":``.

    Args:
        task: what is drawn.
        split: which instances, and what is asked.
        out_dir: a folder, new or of an earlier export of the same task, seed and format.
        format: ``json`` (LLaVA's, with PNG files that all kinds share), ``parquet``, ``webdataset`` or ``vlmevalkit``;
            ``export_formats`` says what each holds.
        num_workers: processes beside this one; 0 writes in this one.
        shard_size: instances that are written at a time; default: the format's. It is the size of the files of
            ``parquet`` and ``webdataset``.
        report: called with (instances done, ``split.num``) whenever more are done.

    Returns:
        The files with the conversations, by kind and number.

    Raises:
        ConfigError: if the format is unknown or does not have a kind, the task has no such chain of thought, or a count
            is negative.
        DataError: if ``out_dir`` cannot be written, or holds another export.
        MissingExtraError: if the format needs a package that is not installed.
    """
    check_choice("format", format, tuple(FORMATS))
    chain = chain_options(task, cot=split.cot, keep=split.keep, cot_style=split.cot_style)
    _check_counts(num_workers=num_workers, shard_size=shard_size)
    job = _Job(task=task, split=split, chain=chain, folder=Path(out_dir), format=FORMATS[format])
    job.format.check(split.kinds)
    shards = Shard.cut(split.num, job.format.shard_size if shard_size is None else shard_size)
    try:
        job.folder.mkdir(parents=True, exist_ok=True)
        _check_manifest(job, shards)
        num_done = 0
        for shard in _write_all(job, shards, num_workers):
            num_done += len(shard)
            if report is not None:
                report(num_done, split.num)
        return job.format.finish(job.folder, [job.stem(kind) for kind in split.kinds], shards)
    except OSError as error:
        raise DataError(
            f"`out_dir` must be a folder that can be written, but `{out_dir}` cannot ({error}); make room or choose "
            "another. What is written stays, and the same command goes on from there."
        ) from error


def _write_all(job: _Job, shards: Sequence[Shard], num_workers: int) -> Iterator[Shard]:
    """Write the shards, and yield each when it is done.

    Raises:
        DataError: if a worker ends before its work does.
    """
    if not num_workers:
        for shard in shards:
            _write_shard(job, shard)
            yield shard
        return
    pool = ProcessPoolExecutor(num_workers, mp_context=get_context("spawn"))
    try:
        futures = {pool.submit(_write_shard, job, shard): shard for shard in shards}
        for future in as_completed(futures):
            future.result()
            yield futures[future]
    except BrokenProcessPool as error:
        raise DataError(
            f"All {num_workers} workers must stay alive, but one of them was ended, perhaps for want of memory; the "
            "same command goes on from here, with fewer `num_workers` if need be."
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _write_shard(job: _Job, shard: Shard) -> None:
    """Write the files of one shard that are not there yet, all kinds at once: a picture is drawn once."""
    split, folder = job.split, job.folder
    paths: list[tuple[Kind, Path]] = [
        (kind, job.format.shard_path(folder, job.stem(kind), shard)) for kind in split.kinds
    ]
    missing: list[tuple[Kind, Path]] = [(kind, path) for kind, path in paths if not path.exists()]
    if not missing:
        return
    has_images = any(kind != "text" for kind, _ in missing)
    with ExitStack() as stack:
        writers: list[tuple[Kind, Write]] = [
            (kind, stack.enter_context(job.format.open_shard(path))) for kind, path in missing
        ]
        for index in range(shard.start, shard.stop):
            instance = job.task.instance(split.seed, index)
            picture = job.format.picture(job.task, instance, index, folder) if has_images else None
            for kind, write in writers:
                write(Example(job.task, instance, kind, split.seed, index, job.chain, picture))


def _check_counts(**counts: int | None) -> None:
    for name, least in (("num_workers", 0), ("shard_size", 1)):
        value = counts[name]
        if value is not None and (type(value) is not int or value < least):
            raise ConfigError(f"`{name}` must be an integer of at least {least}, but is {value!r} instead.")


def _check_manifest(job: _Job, shards: Sequence[Shard]) -> None:
    """Refuse a folder of another export; mark a new one.

    Raises:
        DataError: if the manifest of the folder names another task, level, seed, format or appearance, or, where the
            format has numbered files, another number of instances.
    """
    path = job.folder / _MANIFEST
    cut = {} if job.format.is_extendable else {"num": job.split.num, "shard_size": len(shards[0])}
    found = {
        "task": job.task.name,
        "level": job.task.level,
        "seed": job.split.seed,
        "format": job.format.name,
        **cut,
        "first": _fingerprint(job.task, job.split.seed),
    }
    if not path.exists():
        with whole_file(path) as partial:
            partial.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
        return
    try:
        there = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        there = None
    if there != found:
        raise DataError(
            f"`out_dir` must be new or hold an export of the same task, seed and format, but {path} says another: "
            "choose another folder, or delete this one."
        )


def _fingerprint(task: SyntheticTask, seed: int) -> str:
    """Return a digest of the first instances, in words, and of the first picture."""
    digest = hashlib.sha256(task.image(task.instance(seed, 0)).tobytes())
    for index in range(_NUM_COMPARED):
        instance = task.instance(seed, index)
        for text in (task.prompt(instance, "text"), task.response(instance, "image_via_text")):
            digest.update(text.encode())
    return digest.hexdigest()
