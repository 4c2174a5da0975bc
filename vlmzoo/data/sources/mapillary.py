"""Mapillary Vistas 2.0: street scenes with 124 classes."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from vlmzoo.data.sources import SOURCES
from vlmzoo.data.sources._label_maps import LabelMapSource, listed
from vlmzoo.data.sources._tiny import TINY
from vlmzoo.errors import DataError

__all__ = ["MapillarySource"]


@SOURCES.register(
    "mapillary",
    source="Neuhold et al., The Mapillary Vistas Dataset, ICCV 2017; layout as in LISA's repository",
    tiny={"root": str(TINY / "lisa")},
)
class MapillarySource(LabelMapSource):
    """Images under ``mapillary/SPLIT/images`` and palette labels under ``mapillary/SPLIT/v2.0/labels``.

    A label is a place in ``labels`` of ``config_v2.0.json``; the phrase is its ``readable`` name in lower case, and
    labels that share a name are one class.

    Args:
        root: folder that holds ``mapillary``.
        split: ``training`` or ``validation``.
        drop_unjudged: whether what the set does not evaluate (``unlabeled``, the car itself) is ignored; the authors of
            LISA ask for it like for anything else.
        options: ``rounds``, ``draws``, ``seed``, ``on_missing``, see ``SegmentationSource``.

    Raises:
        DataError: if a folder, an image or the list of labels is missing.
    """

    name = "mapillary"

    def __init__(
        self,
        *,
        root: str,
        split: Literal["training", "validation"] = "training",
        drop_unjudged: bool = True,
        **options: Any,
    ) -> None:
        folder = Path(root).expanduser() / "mapillary"
        classes = {
            number: str(label["readable"]).lower()
            for number, label in enumerate(_labels(folder / "config_v2.0.json"))
            if not (drop_unjudged and _is_unjudged(label))
        }
        labels = listed(folder / split / "v2.0" / "labels", ".png")
        pairs = [(folder / split / "images" / f"{path.stem}.jpg", path) for path in labels]
        super().__init__(root=folder, pairs=pairs, classes=classes, **options)


def _labels(path: Path) -> list[Mapping[str, Any]]:
    try:
        labels = json.loads(path.read_text(encoding="utf-8"))["labels"]
    except OSError as error:
        raise DataError(f"`{path}` cannot be read ({error}); check `root`.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"`{path}` must be a JSON object with `labels`, but is not ({error!r}).") from error
    return labels


def _is_unjudged(label: Mapping[str, Any]) -> bool:
    return not label.get("evaluate", True) or str(label.get("name", "")).startswith("void--")
