"""Hugging Face datasets: rows as they are stored, with images still encoded."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vlmzoo.errors import ConfigError, DataError, HubError, MissingExtraError
from vlmzoo.registry import nearest_hint

__all__ = ["HfRows", "open_dataset"]

_SAVED = ("state.json", "dataset_dict.json")  # what `save_to_disk` writes


class HfRows:
    """The rows of a data set; it is mapped into memory, and pickled by the names of its files.

    Args:
        dataset: of the package ``datasets``, with random access.
        label: what messages call it.
    """

    def __init__(self, dataset: Any, label: str) -> None:
        self._dataset = dataset.with_format("arrow")  # Python rows would decode every image
        self.label = label

    @property
    def column_names(self) -> list[str]:
        """The names of the columns."""
        return list(self._dataset.column_names)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._dataset)

    def place(self, index: int) -> str:
        """Name the data set and the row's number from 0."""
        return f"Row {index} of `{self.label}`"

    def row(self, index: int) -> Mapping[str, Any]:
        """Read one row; an image is ``{bytes, path}``."""
        (record,) = self._dataset[index].to_pylist()
        return record


def open_dataset(
    *,
    repo: str | None = None,
    path: str | None = None,
    name: str | None = None,
    split: str = "train",
    revision: str | None = None,
    folder: str | None = None,
) -> HfRows:
    """Open one split of a data set.

    Args:
        repo: on the Hub; one of ``repo`` and ``path`` is given.
        path: a folder that ``save_to_disk`` wrote, or one of files that ``load_dataset`` reads.
        name: of the configuration (subset).
        split: of the data set.
        revision: branch, tag or commit on the Hub.
        folder: within the repository.

    Raises:
        ConfigError: if a saved data set has no such split.
        DataError: if the folder cannot be read, or holds no rows.
        HubError: if the Hub does not give the data set.
        MissingExtraError: if the package is not installed.
    """
    datasets = _datasets()
    place = str(repo if path is None else Path(path).expanduser())
    try:
        if path is not None and any((Path(place) / file).is_file() for file in _SAVED):
            loaded = datasets.load_from_disk(place)
        else:
            loaded = datasets.load_dataset(place, name=name, split=split, revision=revision, data_dir=folder)
    except Exception as error:  # whatever the package, its readers of files or the network may raise
        fault = f"cannot be loaded ({' '.join(str(error).split())})"
        if path is not None:
            raise DataError(f"Data set `{place}` {fault}; check `path`, `name` and `split`.") from error
        raise HubError(
            f"Data set `{place}` {fault}; check `repo`, `name`, `split`, `revision` and `HF_TOKEN`."
        ) from error
    rows = HfRows(_split(loaded, split, place), place)
    if not len(rows):
        raise DataError(f"Data set `{place}` must hold rows, but split `{split}` holds none.")
    return rows


def _split(loaded: Any, split: str, place: str) -> Any:
    """Return one split of what was loaded; a data set without splits is taken whole."""
    if not isinstance(loaded, dict):
        return loaded
    if split not in loaded:
        known = [str(name) for name in loaded]
        raise ConfigError(
            f"Data set `{place}` has no split `{split}`.{nearest_hint(split, known)} Known: {', '.join(known)}."
        )
    return loaded[split]


def _datasets() -> Any:
    try:
        import datasets  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise MissingExtraError.for_package("datasets", "data") from error
    return datasets
