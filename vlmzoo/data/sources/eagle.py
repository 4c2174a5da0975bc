"""The data that Eagle was trained with, as they lie on disk: LLaVA-CC3M-595K and Eagle-1.8M."""

import logging
from pathlib import Path
from typing import Any

from vlmzoo.data.json_lines import write_whole
from vlmzoo.data.sources import SOURCES, RowError
from vlmzoo.data.sources._records import RecordSource
from vlmzoo.data.sources._rows import Rows, open_rows
from vlmzoo.data.sources._tiny import TINY
from vlmzoo.data.sources.llava_json import LlavaRule
from vlmzoo.data.sources.pictures import OnMissing, PictureFinder
from vlmzoo.errors import DataError

__all__ = ["Eagle18mSource", "LlavaCc3mSource"]

logger = logging.getLogger(__name__)

_IMAGES_TO_PROBE = 50
_NUM_SHOWN = 3


class _PublishedSource(RecordSource):
    """A data set in the folder that its page on the Hub gives: one file of rows, and images unpacked beside it.

    Args:
        folder: of the data set.
        file: of the rows, in ``folder``.
        archive: pattern of the archive that holds the images, for the message.
        image_folder: where the images' paths start; None looks in ``folder/images``, ``folder/images/images`` and
            ``folder`` for those of the first rows.
        on_missing: what becomes of a row whose image is not there.
        missing_list: a file that gets a line for each row left out.

    Raises:
        DataError: if the rows are missing, or none has its images.
    """

    def __init__(
        self,
        folder: str,
        *,
        file: str,
        archive: str,
        image_folder: str | None,
        on_missing: OnMissing,
        missing_list: str | None,
    ) -> None:
        root = Path(folder).expanduser()
        if not (root / file).is_file():
            raise DataError(f"`folder` must hold `{file}`, but `{root}` does not; check `source.folder`.")
        rows = open_rows(str(root / file))
        place = _find_images(root, rows, archive) if image_folder is None else Path(image_folder).expanduser()
        super().__init__(rows, LlavaRule(), PictureFinder(place, on_missing, is_confined=True))
        if self.left_out:
            self._tell(missing_list)

    def _tell(self, missing_list: str | None) -> None:
        """Say which rows were left out, and write them down where that is asked for."""
        from vlmzoo.distributed import is_main  # torch comes with it, which who only checks data does not wait for

        shown = ", ".join(self._images_of(index) for index in self.left_out[:_NUM_SHOWN])
        logger.warning("Missing images, those of the first rows: %s.", shown)
        if missing_list is not None and is_main():
            lines = (f"{index}\t{self._images_of(index)}\n" for index in self.left_out)
            write_whole(Path(missing_list).expanduser(), "".join(lines))

    def _images_of(self, index: int) -> str:
        return " ".join(str(image) for image in self.rule(self.rows.row(index)).images)


@SOURCES.register(
    "llava_cc3m",
    source="liuhaotian/LLaVA-CC3M-Pretrain-595K, chat.json and images.zip (on-disk format)",
    tiny={"folder": str(TINY / "cc3m")},
)
class LlavaCc3mSource(_PublishedSource):
    """Captions of 595,375 images of CC3M, each as one question and its answer.

    Rows whose image is not there are left out and listed.

    Args:
        folder: with ``chat.json`` and, unpacked, ``images.zip``.
        image_folder: where the images' paths start; None looks in ``images`` and in ``folder`` itself.
        on_missing: ``skip``, ``error`` or ``placeholder``.
        missing_list: a file that gets a line for each row left out: its number (from 0) and its images.

    Raises:
        DataError: if the rows are missing, the images are not unpacked, or none is there.
    """

    def __init__(
        self,
        *,
        folder: str,
        image_folder: str | None = None,
        on_missing: OnMissing = "skip",
        missing_list: str | None = None,
    ) -> None:
        super().__init__(
            folder,
            file="chat.json",
            archive="images.zip",
            image_folder=image_folder,
            on_missing=on_missing,
            missing_list=missing_list,
        )


@SOURCES.register(
    "eagle_1_8m",
    source="shi-labs/Eagle-1.8M, eagle-sft-v1-1_8m.json and images.tar.part_* (on-disk format); arXiv:2408.15998",
    tiny={"folder": str(TINY / "eagle")},
)
class Eagle18mSource(_PublishedSource):
    """About 1.8 million conversations of fourteen sources, some of them without an image.

    Rows whose image is not there are left out and listed; the authors showed a black picture instead.

    Args:
        folder: with ``eagle-sft-v1-1_8m.json`` and, unpacked, ``images.tar.part_*``.
        image_folder: where the images' paths start; None looks in ``images``, ``images/images`` and ``folder`` itself.
        on_missing: ``skip``, ``error`` or ``placeholder``.
        missing_list: a file that gets a line for each row left out: its number (from 0) and its images.

    Raises:
        DataError: if the rows are missing, the images are not unpacked, or none is there.
    """

    def __init__(
        self,
        *,
        folder: str,
        image_folder: str | None = None,
        on_missing: OnMissing = "skip",
        missing_list: str | None = None,
    ) -> None:
        super().__init__(
            folder,
            file="eagle-sft-v1-1_8m.json",
            archive="images.tar*",
            image_folder=image_folder,
            on_missing=on_missing,
            missing_list=missing_list,
        )


def _find_images(root: Path, rows: Rows, archive: str) -> Path:
    """Return the folder in which an image of the first rows is found.

    Raises:
        DataError: if there is none, and an archive shows why.
    """
    wanted = _first_images(rows)
    for place in (root / "images", root / "images" / "images", root):
        if any(not PictureFinder(place).is_missing(image) for image in wanted):
            return place
    packed = sorted(path.name for path in root.glob(archive))
    if packed:
        raise DataError(
            f"The images of `{root}` must be unpacked, but lie in `{packed[0]}`; run "
            f"`vlmzoo data unpack '{root / archive}' --into '{root / 'images'}'` first."
        )
    return root / "images"


def _first_images(rows: Rows) -> list[Any]:
    """Return the images of the first rows that have any; those that cannot be read are told when they are used."""
    found: list[Any] = []
    for index in range(len(rows)):
        try:
            found += LlavaRule()(rows.row(index)).images
        except RowError:
            continue
        if len(found) >= _IMAGES_TO_PROBE:
            break
    return found
