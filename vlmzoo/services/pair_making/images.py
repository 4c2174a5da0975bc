"""Pictures by their content: one file for each, named by its digest, written whole or not at all."""

import hashlib
import io
from pathlib import Path

from PIL import Image

from vlmzoo.errors import DataError

__all__ = ["ImageStore"]


class ImageStore:
    """Keeps pictures.

    Args:
        folder: of the files; None keeps them in memory.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self._kept: dict[str, bytes] = {}

    def put(self, image: Image.Image) -> str:
        """Keep a picture and return its digest, the same for equal pixels."""
        buffer = io.BytesIO()
        image.convert("RGB").save(buffer, format="PNG")
        data = buffer.getvalue()
        digest = hashlib.sha256(data).hexdigest()
        if self.folder is None:
            self._kept[digest] = data
            return digest
        path = self.path_of(digest)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(f".{path.name}.{id(data)}.partial")  # threads write beside one another
            partial.write_bytes(data)
            partial.replace(path)
        return digest

    def get(self, digest: str) -> Image.Image:
        """Return a picture.

        Raises:
            DataError: if it is not there, or is not what its name says.
        """
        try:
            data = self._kept[digest] if self.folder is None else self.path_of(digest).read_bytes()
        except (KeyError, OSError) as error:
            raise DataError(f"The picture {digest} must be in `{self.folder}`, but is not; it was removed.") from error
        if hashlib.sha256(data).hexdigest() != digest:
            raise DataError(f"`{self.path_of(digest)}` does not hold what its name says; it was changed.")
        return Image.open(io.BytesIO(data)).convert("RGB")

    def path_of(self, digest: str) -> Path:
        """Return where a picture lies."""
        return (self.folder or Path()) / digest[:2] / f"{digest}.png"
