"""Visual-RFT's rows: a picture, a problem and its solution, from the Hub, from disk or from JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vlmzoo.data.sources import SOURCES, RowError
from vlmzoo.data.sources._fields import read_id, read_text, rest_of
from vlmzoo.data.sources._integrations import integration
from vlmzoo.data.sources._records import RecordSource
from vlmzoo.data.sources._rows import folder_of, open_rows
from vlmzoo.data.sources._solutions import Coordinates, SolutionKind, check_options, check_solution
from vlmzoo.data.sources._tiny import TINY
from vlmzoo.data.sources._turns import Draft
from vlmzoo.data.sources.pictures import OnMissing, PictureFinder, read_size
from vlmzoo.errors import ConfigError
from vlmzoo.types import Sample, assistant

__all__ = ["VirftSource"]

_FIELDS = ("id", "image", "image_path", "problem", "solution")


@dataclass(frozen=True)
class _VirftRule:
    """What a row says: one image, then the problem; its solution is what rewards compare with."""

    def __call__(self, record: Mapping[str, Any]) -> Draft:
        """Read one record.

        Raises:
            RowError: if it has no image, no problem or no solution.
        """
        image = record.get("image") if record.get("image") is not None else record.get("image_path")
        if image is None:
            raise RowError("a row must have an `image` (or `image_path`), but has none.", "missing field")
        problem = read_text(record, "problem")
        blocks = [{"type": "image"}, {"type": "text", "text": problem}]
        return Draft(
            turns=[("user", blocks)],
            images=[image],
            id=read_id(record),
            reference=read_text(record, "solution"),
            meta=rest_of(record, *_FIELDS),
        )


@SOURCES.register(
    "virft",
    source="Visual-RFT, arXiv:2503.01785, and its released data sets (laolao77/ViRFT_*)",
    tiny={"path": str(TINY / "virft.jsonl"), "solution": "boxes"},
)
class VirftSource(RecordSource):
    """Rows ``{image, problem, solution}``: the nine published sets, and your own in the same columns.

    The problem is the prompt, in training and in evaluation, without a word changed. A solution that no reward could
    compare with is a fault of its row, which ``vlmzoo data check`` counts beforehand.

    Args:
        path: JSON, JSON lines or parquet, one file or several; or a folder that ``save_to_disk`` wrote.
        repo: on the Hub; one of ``path`` and ``repo`` is given.
        split: of a data set.
        revision: branch, tag or commit on the Hub.
        solution: what solutions hold: ``boxes``, ``corners`` or ``label``.
        coordinates: what the numbers of boxes count: ``norm1000`` (Qwen2-VL, and the published sets), ``unit``, or
            ``pixel`` of the image as it is stored.
        teach: whether the solution stands as the assistant's turn, for supervised baselines.
        image_folder: where image paths start, and which none may leave then.
        on_missing: what becomes of a row whose image is not there: ``error``, ``skip`` or ``placeholder``.

    Raises:
        ConfigError: if an option is unknown, or not one place is given.
        DataError: if a file is missing or holds no records.
        HubError: if the Hub does not give the data set.
        MissingExtraError: if a package for the format is not installed.
    """

    def __init__(
        self,
        *,
        path: str | Sequence[str] | None = None,
        repo: str | None = None,
        split: str = "train",
        revision: str | None = None,
        solution: SolutionKind,
        coordinates: Coordinates = "norm1000",
        teach: bool = False,
        image_folder: str | None = None,
        on_missing: OnMissing = "error",
    ) -> None:
        check_options(solution, coordinates)
        if (repo is None) == (path is None):
            raise ConfigError(f"Exactly one of `repo` and `path` must be given, but they are {repo!r} and {path!r}.")
        self.solution: SolutionKind = solution
        self.coordinates: Coordinates = coordinates
        self.teach = teach
        is_saved = isinstance(path, str) and any(
            (Path(path).expanduser() / name).exists() for name in ("state.json", "dataset_dict.json")
        )
        folder = Path(image_folder or ".").expanduser()
        if path is not None and not is_saved:
            rows: Any = open_rows(path)
            folder = folder_of(path) if image_folder is None else folder
        else:
            rows = integration("hf_datasets").open_dataset(repo=repo, path=path, split=split, revision=revision)
        is_confined = image_folder is not None or repo is not None  # others wrote what the Hub has
        super().__init__(rows, _VirftRule(), PictureFinder(folder, on_missing, is_confined))

    def sample(self, position: int) -> Sample:
        """Read one row and check its solution.

        Raises:
            RowError: if it is corrupt, or the solution is not what it should be.
        """
        sample = super().sample(position)
        size = read_size(sample.images[0]) if self.coordinates == "pixel" else None
        try:
            check_solution(sample.reference, kind=self.solution, coordinates=self.coordinates, image_size=size)
        except RowError as error:
            raise error.at(f"Row {position} (id `{sample.id}`)") from error
        meta = {**sample.meta, "coordinates": self.coordinates}
        messages = [*sample.messages, assistant(sample.reference)] if self.teach else sample.messages
        return replace(sample, messages=messages, meta=meta)
