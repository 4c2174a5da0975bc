"""TWIN's training rows as its released preparation writes them, for those who train with the authors' own code.

Source: TWIN, arXiv:2512.23592, its data preparation (commit dc6d52d).
"""

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from vlmzoo.data.sizing import capped_size
from vlmzoo.errors import DataError

__all__ = ["twin_record"]

_MAX_SIDE = 512


def twin_record(
    row: Mapping[str, str],
    image_sizes: Mapping[str, tuple[int, int]],
    *,
    index: int,
    image_folder: str = "training/data/images",
    data_source: str = "glab-caltech/TWIN",
) -> dict[str, Any]:
    """Return one row for verl: the prompt with image marks, the images with the sizes they enter with, the label.

    Args:
        row: ``image_1``, ``image_2``, ``question`` and ``answer`` of the download.
        image_sizes: (width, height) in pixels by file name.
        index: of the row.
        image_folder: where the files lie, all in one folder.
        data_source: written as it is.

    Raises:
        DataError: if the size of an image is not known.
    """
    names = [PurePosixPath(row[column]).name for column in ("image_1", "image_2")]
    unknown = [name for name in names if name not in image_sizes]
    if unknown:
        raise DataError(f"The sizes of all images must be known, but those of {unknown} are not; are the files there?")
    return {
        "data_source": data_source,
        "prompt": [{"content": f"<image>\n<image>\n\n{row['question']}", "role": "user"}],
        "images": [_image(f"{image_folder}/{name}", image_sizes[name]) for name in names],
        "ability": "vision",
        "reward_model": {"ground_truth": row["answer"], "style": "rule"},
        "extra_info": {
            "image_files": names,
            "index": index,
            "pair_id": "_".join(PurePosixPath(name).stem for name in names),
        },
    }


def _image(path: str, size: tuple[int, int]) -> dict[str, Any]:
    height, width = capped_size((size[1], size[0]), max_side=_MAX_SIDE)
    return {"image": path, "resized_height": height, "resized_width": width}
