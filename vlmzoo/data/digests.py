"""Digests of files, by which results are known to be of the same data and weights, wherever these lie."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

__all__ = ["files_digest", "weights_digest"]

_PIECE_BYTES = 1 << 20
_WEIGHTS = ("*.safetensors", "*.pth", "*.pt", "*.bin")


def files_digest(paths: Iterable[str | Path]) -> str:
    """Return 16 hexadecimal digits of what files hold, one after the other, and of their names.

    Raises:
        OSError: if one cannot be read.
    """
    digest = hashlib.sha256()
    for path in map(Path, paths):
        digest.update(f"{path.name}\0{path.stat().st_size}\0".encode())
        with path.open("rb") as file:
            while piece := file.read(_PIECE_BYTES):
                digest.update(piece)
    return digest.hexdigest()[:16]


def weights_digest(path: str | Path) -> str | None:
    """Return the digest of weights, a file or a folder of them; None if there is no such file here, as for a Hub id."""
    place = Path(path).expanduser()
    if place.is_file():
        return files_digest([place])
    found = [file for pattern in _WEIGHTS for file in sorted(place.glob(pattern))] if place.is_dir() else []
    return files_digest(found) if found else None
