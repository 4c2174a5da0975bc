"""Hugging Face data sets, from the Hub or saved on disk, whose columns say what one of the known formats says."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vlmzoo.data.sources import SOURCES
from vlmzoo.data.sources._integrations import integration
from vlmzoo.data.sources._records import RecordSource, RenamingRule, Rule
from vlmzoo.data.sources._tiny import TINY
from vlmzoo.data.sources.llamafactory import AlpacaRule
from vlmzoo.data.sources.llava_json import LlavaRule
from vlmzoo.data.sources.pictures import OnMissing, PictureFinder
from vlmzoo.data.sources.swift import SwiftRule
from vlmzoo.data.sources.trl import TrlRule
from vlmzoo.data.sources.verl import VerlRule
from vlmzoo.errors import ConfigError
from vlmzoo.registry import nearest_hint

__all__ = ["FORMATS", "HfDatasetSource"]

FORMATS: Mapping[str, Any] = {
    "trl": TrlRule,
    "llava_json": LlavaRule,
    "swift": SwiftRule,
    "verl": VerlRule,
    "alpaca": AlpacaRule,
}
"""The formats that a row may have, and what reads it."""


@SOURCES.register(
    "hf_dataset",
    source="Hugging Face datasets documentation, load_dataset and load_from_disk (5.2)",
    tiny={"path": str(TINY / "saved"), "columns": {"prompt": "problem"}, "reference": "solution"},
)
class HfDatasetSource(RecordSource):
    """The rows of a data set, read where they lie; images are decoded when they are used, not before.

    Args:
        repo: on the Hub; one of ``repo`` and ``path`` is given.
        path: a folder that ``save_to_disk`` wrote, or one of files that ``load_dataset`` reads.
        name: of the configuration (subset).
        split: of the data set.
        revision: branch, tag or commit on the Hub.
        format: ``trl``, ``llava_json``, ``swift``, ``verl`` or ``alpaca`` (``instruction``, ``input``, ``output``).
        columns: the name in the data set, by the format's name, where it has another.
        image_folder: where image paths start, if the rows hold paths, and which none may leave then; default: ``path``,
            or here for a data set of the Hub, whose rows may not leave it either.
        on_missing: a row whose image file is not there is an ``error`` of the row, is left out (``skip``), or is shown
            a grey ``placeholder``.
        reference: the column that a score compares with; default: the format's.

    Raises:
        ConfigError: if the format, the split or a column does not exist, or not one place is given.
        DataError: if the folder cannot be read.
        HubError: if the Hub does not give the data set.
        MissingExtraError: if the package ``datasets`` is not installed.
    """

    def __init__(
        self,
        *,
        repo: str | None = None,
        path: str | None = None,
        name: str | None = None,
        split: str = "train",
        revision: str | None = None,
        format: str = "trl",
        columns: Mapping[str, str] | None = None,
        image_folder: str | None = None,
        on_missing: OnMissing = "error",
        reference: str | None = None,
    ) -> None:
        if (repo is None) == (path is None):
            raise ConfigError(f"Exactly one of `repo` and `path` must be given, but they are {repo!r} and {path!r}.")
        rule = _rule(format, dict(columns or {}), reference)
        rows = integration("hf_datasets").open_dataset(repo=repo, path=path, name=name, split=split, revision=revision)
        for column in (columns or {}).values():
            if column not in rows.column_names:
                raise ConfigError(
                    f"`columns` names `{column}`, which the data set does not have."
                    f"{nearest_hint(column, rows.column_names)} It has {', '.join(rows.column_names)}."
                )
        is_confined = image_folder is not None or repo is not None  # others wrote what the Hub has
        folder = Path(image_folder if image_folder is not None else path or ".").expanduser()
        super().__init__(rows, rule, PictureFinder(folder, on_missing, is_confined))


def _rule(format: str, columns: Mapping[str, str], reference: str | None) -> Rule:
    if format not in FORMATS:
        raise ConfigError(
            f"`format` must be one of {', '.join(FORMATS)}, but is {format!r} instead.{nearest_hint(format, FORMATS)}"
        )
    options = {} if reference is None else {"reference": reference}
    return RenamingRule(FORMATS[format](**options), columns)
