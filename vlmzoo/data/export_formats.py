"""The files that a synthetic task can be written to, and what stands in each.

``json``: ``{kind}+cot.json``, a list of LLaVA's records, and ``images/{index}.png``, shared by all kinds. ``parquet``:
``{kind}+cot-00000-of-00010.parquet`` with the same fields and the image's bytes in ``image``. ``webdataset``:
``{kind}+cot-000000.tar`` with ``{index}.json`` and ``{index}.png``. ``vlmevalkit``: questions without responses, see
``export_vlmevalkit``. The sources ``llava_json`` and ``vlmevalkit`` read the first two and the last.
"""

import io
import json
import shutil
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vlmzoo.data.export_examples import Example, ExportFormat, Shard, Write, save_png, whole_file
from vlmzoo.data.export_vlmevalkit import check_asked, header_of, jpeg_of, line_of, table_name
from vlmzoo.data.sources._integrations import integration
from vlmzoo.data.synthetic import Kind, SyntheticTask

__all__ = ["FORMATS"]

_PARTS = ".parts"


class _Joined(ExportFormat):
    """Formats of one file for each kind: shards are lines, which are joined in the end.

    Args:
        name: of the format.
        suffix: of the file.
        between: stands between the lines.
        end: stands behind the last line.
    """

    shard_size = 200
    is_extendable = True

    def __init__(self, name: str, *, suffix: str, between: str, end: str) -> None:
        self.name, self.suffix, self.between, self.end = name, suffix, between, end

    def shard_path(self, folder: Path, stem: str, shard: Shard) -> Path:
        return folder / _PARTS / f"{stem}-{shard.start:08d}-{shard.stop:08d}.part"

    def line(self, example: Example) -> str:
        """Write an example as a line, without its end."""
        raise NotImplementedError

    def begin(self, stem: str) -> str:
        """Return what stands before the first line."""
        raise NotImplementedError

    @contextmanager
    def open_shard(self, path: Path) -> Iterator[Write]:
        path.parent.mkdir(exist_ok=True)
        with whole_file(path) as partial, partial.open("w", encoding="utf-8", newline="\n") as file:
            separator = ""

            def write(example: Example) -> None:
                nonlocal separator
                file.write(separator + self.line(example))
                separator = self.between

            yield write

    def finish(self, folder: Path, stems: Sequence[str], shards: Sequence[Shard]) -> list[Path]:
        paths = [folder / f"{stem}{self.suffix}" for stem in stems]
        for stem, path in zip(stems, paths, strict=True):
            with whole_file(path) as partial, partial.open("wb") as file:
                before = self.begin(stem)
                for shard in shards:
                    file.write(before.encode())
                    with self.shard_path(folder, stem, shard).open("rb") as part:
                        shutil.copyfileobj(part, file)
                    before = self.between
                file.write(self.end.encode())
        shutil.rmtree(folder / _PARTS)
        return paths


class _Json(_Joined):
    """LLaVA's JSON, and the pictures beside it."""

    def line(self, example: Example) -> str:
        image = {} if example.kind == "text" else {"image": example.picture}
        return json.dumps({"id": example.id, **image, **example.fields}, ensure_ascii=False)

    def begin(self, stem: str) -> str:
        return "[\n"

    def picture(self, task: SyntheticTask, instance: Any, index: int, folder: Path) -> str:
        name = f"images/{index:06d}.png"
        path = folder / name
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            with whole_file(path) as partial, partial.open("wb") as file:
                save_png(task, instance, file)
        return name


class _VlmEvalKit(_Joined):
    """VLMEvalKit's tables of questions."""

    def check(self, kinds: Sequence[Kind]) -> None:
        check_asked(kinds)

    def stem(self, task: SyntheticTask, kind: Kind, suffix: str) -> str:
        return table_name(task, kind)

    def begin(self, stem: str) -> str:
        return header_of(stem)

    def picture(self, task: SyntheticTask, instance: Any, index: int, folder: Path) -> bytes:
        return jpeg_of(task.image(instance))

    def line(self, example: Example) -> str:
        picture = None if example.kind == "text" else example.picture
        return line_of(example.task, example.instance, example.kind, index=example.index, jpeg=picture)


class _Parquet(ExportFormat):
    """Parquet files of so many rows."""

    name = "parquet"

    def check(self, kinds: Sequence[Kind]) -> None:
        integration("parquet").check_installed()

    def shard_path(self, folder: Path, stem: str, shard: Shard) -> Path:
        return folder / f"{stem}-{shard.number:05d}-of-{shard.count:05d}.parquet"

    @contextmanager
    def open_shard(self, path: Path) -> Iterator[Write]:
        rows: list[Mapping[str, Any]] = []

        def write(example: Example) -> None:
            image = {"bytes": example.picture, "path": f"{example.index:06d}.png"}
            row = {"id": example.id, **({} if example.kind == "text" else {"image": image}), **example.fields}
            rows.append(row)

        yield write
        with whole_file(path) as partial:
            integration("parquet").write_conversations(partial, rows)


class _WebDataset(ExportFormat):
    """Tar files, in which the files of an example have one name and follow each other."""

    name = "webdataset"

    def shard_path(self, folder: Path, stem: str, shard: Shard) -> Path:
        return folder / f"{stem}-{shard.number:06d}.tar"

    @contextmanager
    def open_shard(self, path: Path) -> Iterator[Write]:
        with whole_file(path) as partial, tarfile.open(partial, "w", format=tarfile.USTAR_FORMAT) as archive:

            def write(example: Example) -> None:
                record = json.dumps({"id": example.id, **example.fields}, ensure_ascii=False)
                _add(archive, f"{example.index:08d}.json", record.encode())
                if example.kind != "text":
                    _add(archive, f"{example.index:08d}.png", example.picture)

            yield write


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    """Append a file that says nothing about who wrote it, and when."""
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))


FORMATS: Mapping[str, ExportFormat] = {
    "json": _Json("json", suffix=".json", between=",\n", end="\n]\n"),
    "parquet": _Parquet(),
    "webdataset": _WebDataset(),
    "vlmevalkit": _VlmEvalKit("vlmevalkit", suffix=".tsv", between="\n", end="\n"),
}
