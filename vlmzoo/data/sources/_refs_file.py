"""The files of references of REFER's data sets, published as pickles of plain values: read without running anything.

Source: REFER, https://github.com/lichengunc/refer (``refs(unc).p`` and its like).
"""

import io
import json
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from vlmzoo.errors import DataError

__all__ = ["find_refs_file", "read_refs"]

_MAX_BYTES = 256 * 2**20
_FIELDS: Mapping[str, tuple[type, ...]] = {
    "ref_id": (int, str),
    "image_id": (int, str),
    "ann_id": (int, str, list),
    "split": (str,),
    "sentences": (list,),
}


def find_refs_file(folder: Path, *, split_by: str, stem: str = "refs") -> Path:
    """Return the file of references of a data set: ``refs(unc).json`` where there is one, else ``refs(unc).p``.

    Raises:
        DataError: if there is neither.
    """
    for suffix in (".json", ".p"):
        path = folder / f"{stem}({split_by}){suffix}"
        if path.is_file():
            return path
    found = ", ".join(sorted(f"`{path.name}`" for path in folder.glob(f"{stem}(*)*"))) or "none"
    raise DataError(
        f"`{folder}` must hold `{stem}({split_by}).json` or `{stem}({split_by}).p`, but holds {found} instead; check "
        "`root` and `split_by`."
    )


def read_refs(path: Path) -> list[dict[str, Any]]:
    """Read a file of references.

    Args:
        path: JSON, or a pickle of lists, dicts, texts and numbers; one that names a class or a function is refused
            before anything is called.

    Raises:
        DataError: if the file is missing, too large, names a class, or holds something else than references.
    """
    try:
        size = path.stat().st_size
        if size > _MAX_BYTES:
            raise DataError(f"`{path}` must have at most {_MAX_BYTES:,} bytes, but has {size:,}; is it a refs file?")
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"References `{path}` cannot be read ({error}); check `root`.") from error
    refs = _from_json(content, path) if path.suffix == ".json" else _from_pickle(content, path)
    _check(refs, path)
    return refs


def _from_json(content: bytes, path: Path) -> Any:
    try:
        return json.loads(content)
    except ValueError as error:
        raise DataError(
            f"References `{path}` must be JSON, but cannot be read ({error}); fetch the file again."
        ) from error


class _PlainUnpickler(pickle.Unpickler):
    """An unpickler that knows no class: whatever would be called must first be found, and nothing is found."""

    def find_class(self, module_name: str, global_name: str, /) -> NoReturn:
        """Refuse.

        Raises:
            DataError: always.
        """
        raise DataError(f"it names `{module_name}.{global_name}`")

    def persistent_load(self, pid: Any, /) -> NoReturn:
        """Refuse.

        Raises:
            DataError: always.
        """
        raise DataError("it refers to something outside the file")


def _from_pickle(content: bytes, path: Path) -> Any:
    way_out = "a file of references is lists, dicts, texts and numbers, so this one is damaged or was tampered with"
    try:
        refs = _PlainUnpickler(io.BytesIO(content), encoding="latin1").load()  # texts of Python 2 are bytes
        _refuse_objects(refs)
    except DataError as error:
        raise DataError(f"References `{path}` must hold plain values, but {error} instead; {way_out}.") from error
    except (pickle.UnpicklingError, ValueError, EOFError, LookupError, TypeError, AttributeError) as error:
        raise DataError(f"References `{path}` cannot be read as a pickle ({error}); {way_out}.") from error
    return refs


def _refuse_objects(values: Any) -> None:
    """Refuse all but lists, tuples, dicts, texts, numbers and None.

    Raises:
        DataError: if there is anything else.
    """
    waiting = [values]
    while waiting:
        value = waiting.pop()
        if isinstance(value, (list, tuple)):
            waiting += value
        elif isinstance(value, dict):
            waiting += value.keys()
            waiting += value.values()
        elif value is not None and type(value) not in (str, int, float, bool):
            raise DataError(f"it holds a {type(value).__name__}")


def _check(refs: Any, path: Path) -> None:
    if not isinstance(refs, Sequence) or isinstance(refs, str) or not refs:
        raise DataError(f"References `{path}` must be a list, but are {type(refs).__name__} or empty instead.")
    for number, ref in enumerate(refs):
        if not isinstance(ref, dict):
            raise DataError(f"Reference {number} of `{path}` must be a dict, but is {ref!r:.60} instead.")
        for key, types in _FIELDS.items():
            if not isinstance(ref.get(key), types):
                raise DataError(
                    f"Reference {number} of `{path}` must have `{key}` as {_or(types)}, but has "
                    f"{ref.get(key)!r:.60} instead."
                )
        for sentence in ref["sentences"]:
            if not isinstance(sentence, dict) or not isinstance(sentence.get("sent"), str):
                raise DataError(f"`sentences` of reference {number} of `{path}` must have a text `sent` each.")


def _or(types: Sequence[type]) -> str:
    return " or ".join(kind.__name__ for kind in types)
