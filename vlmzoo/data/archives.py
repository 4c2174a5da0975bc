"""Unpacking the archives of published data sets, whole or split, and never outside the folder that is named."""

import io
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO, cast

from vlmzoo.errors import DataError

__all__ = ["find_parts", "unpack"]

_ZIP = b"PK\x03\x04"
_BUFFER_BYTES = 1 << 20
_MOST_RATIO = 200
"""How many bytes may come of each byte of an archive: pictures give 1, texts up to 20, bombs a thousand and more."""
_FREE_BYTES = 100_000_000
"""What may come of any archive, however small."""
_UNREADABLE = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, OSError)


def find_parts(archive: str | Path | Sequence[str | Path]) -> list[Path]:
    """Return the files of an archive, in the order in which they are joined.

    Args:
        archive: a file, a pattern such as ``images.tar.part_*``, or the parts.

    Raises:
        DataError: if there are none.
    """
    if not isinstance(archive, (str, Path)):
        return [part for given in archive for part in find_parts(given)]
    path = Path(archive).expanduser()
    if path.is_file():
        return [path]
    found = sorted(part for part in path.parent.glob(path.name) if part.is_file())
    if not found:
        raise DataError(f"Archive `{archive}` does not exist; give a file, or a pattern such as `images.tar.part_*`.")
    return found


def unpack(
    archive: str | Path | Sequence[str | Path], folder: str | Path, *, report: Callable[[int], None] | None = None
) -> int:
    """Unpack a tar (plain, or compressed with gzip, bzip2 or xz) or a zip, which its first bytes tell, not its name.

    The parts of a split archive are read as one stream, without a joined copy on the disk. A file that is there in its
    full size is passed over, so a broken run goes on where it stopped.

    Args:
        archive: see `find_parts`.
        folder: where to; made if need be.
        report: called with the number of files so far, after each.

    Returns:
        The number of files in the archive.

    Raises:
        DataError: if the archive is missing or cut off, a member would leave the folder or is no plain file, or far
            more would come out than pictures and texts can be packed into.
    """
    parts, root = find_parts(archive), Path(folder).expanduser()
    most = max(_FREE_BYTES, _MOST_RATIO * sum(part.stat().st_size for part in parts))
    total = 0
    root.mkdir(parents=True, exist_ok=True)
    with parts[0].open("rb") as file:
        is_zip = file.read(len(_ZIP)) == _ZIP
    number = 0
    try:
        for number, (name, size, content) in enumerate((_zip_files if is_zip else _tar_files)(parts), start=1):
            total += size
            if total > most:
                raise DataError(
                    f"Archive `{parts[0]}` must unpack to at most {most:,} bytes, {_MOST_RATIO} for each of its own, "
                    f"but `{name}` would bring it to {total:,}; nothing more is unpacked: it is made to fill the disk."
                )
            _write(_target(root, name, parts[0]), size, content)
            if report is not None:
                report(number)
    except _UNREADABLE as error:
        raise DataError(
            f"Archive `{parts[0]}` ({len(parts)} files) cannot be read after {number} files ({error}); a part may be "
            "missing or cut off: compare their names and sizes with those of the data set's page."
        ) from error
    return number


def _tar_files(parts: Sequence[Path]) -> Iterator[tuple[str, int, IO[bytes]]]:
    """Iterate over the plain files of a tar.

    Raises:
        DataError: if a member is neither a file nor a folder.
    """
    with (
        io.BufferedReader(_JoinedParts(parts), _BUFFER_BYTES) as stream,
        tarfile.open(fileobj=stream, mode="r|*") as tar,
    ):
        for member in tar:
            if member.isdir():
                continue
            content = tar.extractfile(member) if member.isreg() else None
            if content is None:
                raise DataError(
                    f"Archive `{parts[0]}` must hold files and folders only, but `{member.name}` is a link or a "
                    "device; get the archive from another place."
                )
            yield member.name, member.size, content


def _zip_files(parts: Sequence[Path]) -> Iterator[tuple[str, int, IO[bytes]]]:
    """Iterate over the files of a zip.

    Raises:
        DataError: if it is split, for a zip is read from its end.
    """
    if len(parts) > 1:
        raise DataError(f"A zip must be one file, but `{parts[0]}` is one of {len(parts)}; join them with `cat` first.")
    with zipfile.ZipFile(parts[0]) as archive:
        for member in archive.infolist():
            if not member.is_dir():
                with archive.open(member) as content:
                    yield member.filename, member.file_size, content


def _target(root: Path, name: str, archive: Path) -> Path:
    """Return where a member goes.

    Raises:
        DataError: if that is outside the folder, by its name or by a link that already lies there.
    """
    pure = PurePosixPath(name)
    target = root / pure
    is_inside = not pure.is_absolute() and ".." not in pure.parts and "\\" not in name and "\0" not in name
    is_drive = bool(pure.parts) and pure.parts[0].endswith(":")
    if not is_inside or is_drive or not pure.parts or not target.resolve().is_relative_to(root.resolve()):
        raise DataError(
            f"Archive `{archive}` must stay inside the folder that it is unpacked into, but its member `{name}` would "
            "leave it; nothing more is unpacked: get the archive from another place."
        )
    return target


def _write(target: Path, size: int, content: IO[bytes]) -> None:
    if target.is_file() and not target.is_symlink() and target.stat().st_size == size:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial")
    with partial.open("wb") as file:
        shutil.copyfileobj(content, file, _BUFFER_BYTES)
    if partial.stat().st_size != size:
        raise EOFError(f"`{target.name}` is cut off")
    partial.replace(target)


class _JoinedParts(io.RawIOBase):
    """Several files read as one.

    Args:
        parts: in order.
    """

    def __init__(self, parts: Sequence[Path]) -> None:
        self._waiting = list(parts)
        self._file: BinaryIO | None = None

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def readinto(self, buffer: object) -> int:
        """Fill a buffer from the present part, or from the next one at its end."""
        while self._file is not None or self._waiting:
            if self._file is None:
                self._file = self._waiting.pop(0).open("rb")
            number = cast("io.FileIO", self._file).readinto(cast("bytearray", buffer)) or 0
            if number:
                return number
            self._file.close()
            self._file = None
        return 0

    def close(self) -> None:
        """Close the present part."""
        if self._file is not None:
            self._file.close()
        super().close()
