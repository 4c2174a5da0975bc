"""pyarrow: the rows of parquet files by number, and conversations written as such files."""

import json
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, islice
from pathlib import Path
from typing import Any

from vlmzoo.data.sources import RowError
from vlmzoo.errors import DataError, MissingExtraError

__all__ = ["ParquetRows", "check_installed", "write_conversations", "write_verl"]

_IMAGE_FEATURE = {
    "info": {"features": {"image": {"_type": "Image"}}}
}  # by it, the package `datasets` decodes the column
_ROWS_IN_GROUP = 100  # that are read together
_KEPT_BYTES = 2**28  # of row groups that were read last


class ParquetRows:
    """The rows of one file, read by row groups, of which the last 256 MB are kept.

    Rows in random order read a group each, unless the file's groups fit; larger files are read faster by
    ``hf_dataset``, which maps them into memory.

    Args:
        path: of the file.

    Raises:
        DataError: if it is no parquet file, or holds no rows.
        MissingExtraError: if pyarrow is not installed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        parquet = _pyarrow_parquet()
        try:
            metadata = parquet.read_metadata(path)
        except (OSError, ValueError) as error:
            raise DataError(f"Data file `{path}` cannot be read as parquet ({error}); replace it.") from error
        num_groups = range(metadata.num_row_groups)
        self._ends = list(accumulate(metadata.row_group(number).num_rows for number in num_groups))
        self._groups: OrderedDict[int, Any] = OrderedDict()
        if not len(self):
            raise DataError(f"Data file `{path}` must hold records, but holds none; check `source.path`.")

    def __len__(self) -> int:
        """Return how many there are."""
        return self._ends[-1] if self._ends else 0

    def place(self, index: int) -> str:
        """Name the file and the row's number from 0."""
        return f"Row {index} of `{self.path}`"

    def row(self, index: int) -> Mapping[str, Any]:
        """Read one row, without the indices that pandas adds.

        Raises:
            RowError: if its row group is damaged.
        """
        number = bisect_right(self._ends, index)
        group = self._group(number)
        (record,) = group.slice(index - (self._ends[number - 1] if number else 0), 1).to_pylist()
        return {key: value for key, value in record.items() if not key.startswith("__index_level_")}

    def columns(self, names: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """Iterate over some columns of all rows, without reading the others.

        Raises:
            DataError: if one is missing.
        """
        with _pyarrow_parquet().ParquetFile(self.path) as file:
            missing = sorted(set(names) - set(file.schema_arrow.names))
            if missing:
                found = ", ".join(file.schema_arrow.names)
                raise DataError(f"Data file `{self.path}` must have columns {missing}, but has {found} instead.")
            for batch in file.iter_batches(columns=list(names)):
                yield from zip(*(batch.column(name).to_pylist() for name in names), strict=True)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the kept row groups behind: a worker reads its own."""
        return {**self.__dict__, "_groups": OrderedDict()}

    def _group(self, number: int) -> Any:
        if number in self._groups:
            self._groups.move_to_end(number)
            return self._groups[number]
        try:
            with _pyarrow_parquet().ParquetFile(self.path) as file:
                group = file.read_row_group(number)
        except (OSError, ValueError) as error:
            raise RowError(
                f"its row group ({number}) cannot be read ({error}); replace the file.", "broken row"
            ) from error
        self._groups[number] = group
        while len(self._groups) > 1 and sum(kept.nbytes for kept in self._groups.values()) > _KEPT_BYTES:
            self._groups.popitem(last=False)
        return group


def check_installed() -> None:
    """Say before the work begins whether it can be done.

    Raises:
        MissingExtraError: if pyarrow is not installed.
    """
    _pyarrow_parquet()


def write_conversations(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows ``{id, image: {bytes, path}, conversations: [{from, value}], reference}``; equal rows, equal bytes.

    Args:
        path: of the file.
        rows: all with an ``image``, or all without.

    Raises:
        MissingExtraError: if pyarrow is not installed.
    """
    parquet = _pyarrow_parquet()
    import pyarrow  # pyright: ignore[reportMissingImports]

    text = pyarrow.string()
    image = pyarrow.struct({"bytes": pyarrow.binary(), "path": text})
    columns = {
        "id": text,
        "image": image,
        "conversations": pyarrow.list_(pyarrow.struct({"from": text, "value": text})),
    }
    columns["reference"] = text
    if not any("image" in row for row in rows):
        del columns["image"]
    schema = pyarrow.schema(
        columns, metadata={"huggingface": json.dumps(_IMAGE_FEATURE)} if "image" in columns else None
    )
    table = pyarrow.Table.from_pylist(list(rows), schema=schema)
    parquet.write_table(table, path, row_group_size=_ROWS_IN_GROUP, compression="zstd")


def write_verl(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows as verl's datasets read them, some at a time.

    Args:
        path: of the file.
        rows: ``{data_source, prompt, images, ability, reward_model, extra_info}``.

    Raises:
        MissingExtraError: if pyarrow is not installed.
    """
    parquet = _pyarrow_parquet()
    import pyarrow  # pyright: ignore[reportMissingImports]

    text = pyarrow.string()
    schema = pyarrow.schema(
        {
            "data_source": text,
            "prompt": pyarrow.list_(pyarrow.struct({"role": text, "content": text})),
            "images": pyarrow.list_(pyarrow.struct({"bytes": pyarrow.binary()})),
            "ability": text,
            "reward_model": pyarrow.struct({"style": text, "ground_truth": text}),
            "extra_info": pyarrow.struct({"index": pyarrow.int64(), "id": text}),
        }
    )
    waiting = iter(rows)
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        while group := list(islice(waiting, _ROWS_IN_GROUP)):
            writer.write_table(pyarrow.Table.from_pylist(group, schema=schema))


def _pyarrow_parquet() -> Any:
    try:
        from pyarrow import parquet  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise MissingExtraError.for_package("pyarrow", "data") from error
    return parquet
