"""What the golden tests of Eagle's blocks share: a sidecar tells of a file of tensors beside it."""

import torch
from safetensors.torch import load_file

from vlmzoo.models.eagle.keys import TABLES

_THEIRS, _OURS = "model.vision_tower.vision_towers.0.vision_tower.", "encoders.0.vision."


def tensors_of(golden):
    """Inputs, weights and outputs of a case."""
    return load_file(golden.path.with_suffix(".safetensors"))


def weights_of(golden):
    """The weights of a case under the authors' names."""
    tensors = tensors_of(golden)
    return {name.removeprefix("weights."): value for name, value in tensors.items() if name.startswith("weights.")}


def tower_weights_of(golden):
    """The weights of one encoder under our names, by way of the family's key table."""
    renamed = TABLES["eagle"].dict_to_ours({f"{_THEIRS}{name}": value for name, value in weights_of(golden).items()})
    return {name.removeprefix(_OURS): value for name, value in renamed.items()}


def assert_golden(found, expected, golden):
    """Compare within the tolerance that the case states, absolute and relative."""
    tolerance = golden.content["tolerance"]
    torch.testing.assert_close(found, expected, atol=tolerance, rtol=tolerance)
