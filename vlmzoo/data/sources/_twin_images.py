"""The images of TWIN's download: one folder, whose files rows name by paths of which the last part alone counts."""

import os
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from vlmzoo.errors import DataError

__all__ = ["TwinImages"]

_FOLDER, _ARCHIVE = "images", "images.zip"


class TwinImages:
    """Finds files by what rows call them; two images that would be taken for one are refused.

    Args:
        root: of the download; holds ``images/``, or ``images.zip`` that is still to be unpacked.

    Raises:
        DataError: if there is no such folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        if not (root / _FOLDER).is_dir():
            way_out = (
                f"unpack it with `vlmzoo data unpack {root / _ARCHIVE} --into {root}`"
                if (root / _ARCHIVE).is_file()
                else f"download {_ARCHIVE} beside the parquet files"
            )
            raise DataError(f"`{root}` must hold the folder `{_FOLDER}`, but does not; {way_out}.")
        self._by_name: dict[str, list[Path]] = {}
        for folder, _, names in os.walk(root / _FOLDER):
            for name in names:
                self._by_name.setdefault(name, []).append(Path(folder) / name)

    def check(self, paths: Iterable[str]) -> None:
        """Refuse rows that call two images by one name.

        Args:
            paths: as rows write them, all of the table.

        Raises:
            DataError: if two paths end in one name, and not each of them is a file of its own.
        """
        known: dict[str, str] = {}
        for path in dict.fromkeys(paths):
            name = PurePosixPath(path).name
            other = known.setdefault(name, path)
            if other != path and not all((self.root / one).is_file() for one in (path, other)):
                raise DataError(
                    f"Images `{other}` and `{path}` must be two files, but end in one name, and `{self.root}` does "
                    "not hold both; one would be taken for the other: unpack the archive with its folders."
                )

    def find(self, path: str) -> Path:
        """Return where an image lies; where it should, if it does not exist.

        Raises:
            DataError: if the path leaves the folder, or several files have the name.
        """
        pure = PurePosixPath(path)
        if pure.is_absolute() or ".." in pure.parts or not pure.name:
            raise DataError(f"An image must lie inside `{self.root}`, but a row names `{path}` instead.")
        if (self.root / pure).is_file():
            return self.root / pure
        found = self._by_name.get(pure.name, [])
        if len(found) > 1:
            raise DataError(
                f"Image `{path}` must be one file, but {', '.join(f'`{one}`' for one in found)} have its name."
            )
        return found[0] if found else self.root / _FOLDER / pure.name
