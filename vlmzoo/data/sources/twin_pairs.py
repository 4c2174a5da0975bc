"""TWIN's pairs as they are downloaded: parquet files, and one archive of images."""

import random
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from vlmzoo.data.sizing import STANDARD_SIZING, ImageSizing
from vlmzoo.data.sources import SOURCES, RowError
from vlmzoo.data.sources._rows import open_rows
from vlmzoo.data.sources._tiny import TINY
from vlmzoo.data.sources._twin_images import TwinImages
from vlmzoo.data.sources._twin_table import LinkedBy, PairTable, TwinReport
from vlmzoo.data.sources.pictures import PictureFinder
from vlmzoo.errors import ConfigError, DataError
from vlmzoo.types import Sample, assistant

__all__ = ["TwinPairsSource", "twin_prompt"]

_SHARES = {"train": 0.98, "validation": 0.01, "test": 0.01}


@SOURCES.register(
    "twin_pairs",
    source="TWIN, arXiv:2512.23592, section 3 (data set), and its released preparation",
    tiny={"root": str(TINY / "twin"), "split": "all"},
)
class TwinPairsSource:
    """Two images and the question of the data set, yes or no; in training and evaluation the same prompt and sizes.

    Splits are made of whole instances: what a pair of one instance links stays together, so no image and no instance
    is in two of them. The authors' own validation rows share both with training; ``compat: twin`` gives them.

    Args:
        root: of the download: parquet (or JSON) files, and ``images/``.
        split: one of ``splits``, or ``all``.
        splits: shares of instances by split.
        linked_by: ``same`` keeps instances together and leaves out the pairs of two splits, counted; ``all`` keeps all
            pairs, if the data can be cut at all.
        sizing: ``{max_side: 512, unit: 28, max_tokens, on_too_many: refuse | shrink, …}``; null leaves images alone.
        swap: whether the two images stand in an order thrown by a coin.
        on_unknown: what becomes of labels other than yes and no: ``refuse`` or ``skip``.
        teach: whether the answer stands as the assistant's turn, for supervised baselines.
        seed: of splits and order.
        compat: ``twin`` for the authors' splits ``train`` and ``test`` and the order of their rows.

    Attributes:
        report: what was found in the rows and what became of them.

    Raises:
        ConfigError: if an option is unknown or would have no effect.
        DataError: if files are missing, labels are unknown, images cannot be told apart, or a split gets nothing.
        MissingExtraError: if pyarrow is not installed.
    """

    def __init__(
        self,
        *,
        root: str,
        split: str = "train",
        splits: Mapping[str, float] | None = None,
        linked_by: LinkedBy = "same",
        sizing: Mapping[str, Any] | None = STANDARD_SIZING,
        swap: bool = True,
        on_unknown: Literal["refuse", "skip"] = "refuse",
        teach: bool = False,
        seed: int = 0,
        compat: Literal["twin"] | None = None,
    ) -> None:
        for name, value, known in (
            ("linked_by", linked_by, ("same", "all")),
            ("on_unknown", on_unknown, ("refuse", "skip")),
            ("compat", compat, (None, "twin")),
        ):
            if value not in known:
                raise ConfigError(f"`{name}` must be one of {known}, but is {value!r} instead.")
        if compat and linked_by != "same":
            raise ConfigError("`linked_by` must be left out with `compat: twin`, which has splits of its own.")
        if compat and splits:
            raise ConfigError("`splits` must be left out with `compat: twin`, which has splits of its own.")
        folder = Path(root).expanduser()
        if not folder.is_dir():
            raise DataError(f"`{folder}` does not exist; check `root` of the source.")
        self.images = TwinImages(folder)
        self.table = PairTable(open_rows(str(folder)), on_unknown=on_unknown)
        self.images.check(self.table.paths)
        self.sizing = ImageSizing.parse(sizing)
        self.swap, self.teach, self.seed = swap and compat is None, teach, seed
        self.pairs = self._pairs(split, dict(splits or _SHARES), linked_by, compat)
        self._finder = PictureFinder(folder)

    @property
    def report(self) -> TwinReport:
        """What was found in the rows and what became of them."""
        return self.table.report

    @property
    def size(self) -> int | None:
        """The number of pairs."""
        return len(self.pairs)

    @property
    def labels(self) -> list[str]:
        """The answer at each position, for balanced orders."""
        return ["yes" if self.table.is_same[pair] else "no" for pair in self.pairs]

    def sample(self, position: int) -> Sample:
        """Read one pair.

        Raises:
            RowError: if an image is missing or broken, or the question is.
        """
        pair = self.pairs[position]
        number = self.table.row_numbers[pair]
        record = self.table.rows.row(number)
        question = record.get("question")
        if not isinstance(question, str) or not question.strip():
            raise RowError(f"{self.table.rows.place(number)} must have a `question`, but has none.", "missing field")
        ids = [self.table.firsts[pair], self.table.seconds[pair]]
        if self.swap and random.Random(f"{self.seed}/{number}/swap").random() < 0.5:
            ids.reverse()
        paths = [self.table.paths[id] for id in ids]
        answer = "yes" if self.table.is_same[pair] else "no"
        stems = [PurePosixPath(path).stem for path in paths]
        return Sample(
            messages=[twin_prompt(question), *([assistant(f"<answer>{answer}</answer>")] if self.teach else [])],
            images=self._shown(paths),
            id=str(number),
            reference=answer,
            meta={
                "question_type": "pairwise",
                "pair_id": "_".join(stems),
                "image_files": [PurePosixPath(path).name for path in paths],
                "instances": [self.table.instances[id] for id in ids],
                **{name: record[name] for name in ("category", "negative_kind") if name in record},
            },
        )

    def _shown(self, paths: list[str]) -> list[Any]:
        found = [self._finder.find(str(self.images.find(path).relative_to(self._finder.folder))) for path in paths]
        try:
            return list(found) if self.sizing is None else list(self.sizing.apply(found))
        except ConfigError as error:  # an aspect that no size fits
            raise RowError(f"{paths}: {error}", "broken image") from error

    def _pairs(self, split: str, shares: dict[str, float], linked_by: LinkedBy, compat: str | None) -> Any:
        if split == "all":
            return range(len(self.table))
        found = self.table.authors_split() if compat else self.table.split(shares, linked_by=linked_by, seed=self.seed)
        if split not in found:
            raise ConfigError(f"`split` must be all or one of {', '.join(found)}, but is {split!r} instead.")
        if not found[split]:
            raise DataError(f"The split `{split}` must hold a pair, but holds none; give it a larger share.")
        return found[split]


def twin_prompt(question: str) -> dict[str, Any]:
    """Return the user's turn as TWIN trained with: the images with a line end between them, then the question."""
    blocks: list[dict[str, Any]] = [
        {"type": "image"},
        {"type": "text", "text": "\n"},
        {"type": "image"},
        {"type": "text", "text": f"\n\n{question}"},
    ]
    return {"role": "user", "content": blocks}
