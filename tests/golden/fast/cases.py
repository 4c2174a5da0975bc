"""Golden files of FaST: a JSON sidecar, and tensors beside it."""

import json

import numpy as np
from PIL import Image
from safetensors.torch import load_file

from tests.golden.conftest import golden_folder, report_missing


def sidecars(folder):
    """Return every sidecar of a folder, or one None that makes ``read_case`` report what is missing."""
    try:
        return sorted((golden_folder("fast") / folder).glob("*.json")) or [None]
    except BaseException:  # skipping or failing is the test's to do
        return [None]


def case_name(folder):
    """Return what names a case in a test's id."""
    return lambda path: f"fast-{folder}-{path.stem if path else 'missing'}"


def read_case(path, folder):
    """Return the sidecar's content and its tensors, ``w.`` taken off the weights in a dictionary of their own."""
    if path is None:
        report_missing(f"{folder} holds no files")
    content, tensors = json.loads(path.read_text(encoding="utf-8")), load_file(path.with_suffix(".safetensors"))
    weights = {key.removeprefix("w."): value for key, value in tensors.items() if key.startswith("w.")}
    return content, {key: value for key, value in tensors.items() if not key.startswith("w.")}, weights


def synthetic_picture(width, height, seed):
    """Draw the picture that the README of the goldens describes."""
    x, y = np.meshgrid(np.arange(width, dtype=np.int64), np.arange(height, dtype=np.int64))
    red = x * (3 + seed) + y * 5 + (x * y) // 7
    green = x * x // 11 + y * (7 + seed) + 31 * seed
    blue = (x + 2 * y) * (2 + seed) + (x // 16 + y // 16) * 40
    return Image.fromarray((np.stack([red, green, blue], axis=-1) % 256).astype(np.uint8))
