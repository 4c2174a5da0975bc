"""Gradient alignment and loss parts of one model, from a configuration to a file."""

import json
from collections.abc import Callable
from typing import Any

import torch
from rich.console import Console
from torch import Tensor

from vlmzoo.config import AlignmentConfig, dump_resolved
from vlmzoo.data.json_lines import write_whole
from vlmzoo.data.synthetic import TASKS, SyntheticTask
from vlmzoo.evaluation.gradient_alignment import (
    GradientAlignment,
    align_gradients,
    choose_parameters,
    example_gradients,
)
from vlmzoo.evaluation.loss_parts import example_loss, measure_loss_parts
from vlmzoo.runs.folder import RunFolder
from vlmzoo.runs.models import model_of

__all__ = ["alignment_run"]


def alignment_run(config: AlignmentConfig) -> GradientAlignment:
    """Measure one model and write ``alignment.json``: the figures of both levels, and what they were taken of.

    Args:
        config: which model, which tasks, how many examples, exact or in a sketch.

    Returns:
        The gradients' figures.

    Raises:
        ConfigError: if a task cannot be built, or a pattern matches no parameter.
    """
    levels = {"simple": TASKS.build(config.simple), "hard": TASKS.build(config.hard)}
    folder = RunFolder(config.output_dir).ensure()
    model, processor = model_of(config.model, device="cuda" if torch.cuda.is_available() else "cpu")
    model.eval()
    parameters = choose_parameters(model, config.parameters)
    dump_resolved(config, folder.root)

    def losses(task: SyntheticTask) -> list[Callable[[], Tensor]]:
        def loss_of(index: int) -> Callable[[], Tensor]:
            return lambda: example_loss(model, processor, task.sample("image", config.seed, index))

        return [loss_of(index) for index in range(config.num_examples)]

    found = align_gradients(
        *(
            example_gradients(losses(task), parameters, sketch_dim=config.sketch_dim, seed=config.sketch_seed)
            for task in levels.values()
        )
    )
    indices = range(config.num_examples)
    parts = {
        level: measure_loss_parts(model, processor, task, seed=config.seed, indices=indices).to_dict()
        for level, task in levels.items()
    }
    content: dict[str, Any] = {
        "alignment": found.to_dict(),
        "loss_parts": parts,
        "parameters": sum([parameter.numel() for parameter in parameters.values()]),
        "sketch_dim": config.sketch_dim,
    }
    write_whole(folder.root / "alignment.json", json.dumps(content, indent=2) + "\n")
    for name, value in found.to_dict().items():
        Console().print(f"{name}: {value:.6g}", highlight=False)
    return found
