"""How fast one core makes the instances of a synthetic task."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vlmzoo.data.export_formats import FORMATS
from vlmzoo.data.synthetic import SyntheticTask
from vlmzoo.errors import ConfigError

__all__ = ["bench_task"]

_NUM_WARM_UP = 10


def bench_task(task: SyntheticTask, *, num: int, seed: int) -> dict[str, Any]:
    """Measure how fast one core makes the instances of a task.

    Args:
        task: what is drawn.
        num: instances in each of the three measurements.
        seed: of the instances.

    Returns:
        ``images_per_s`` (drawn, in RGB, not encoded), ``written_per_s`` (drawn and written as PNG to a temporary
        folder) and ``texts_per_s`` (prompt and response, each with text form), all three with the drawing of the
        parameters, by the clock; the same as ``…_per_cpu_s`` by the time that the core worked for this process, which
        other processes do not lengthen; ``width`` and ``height`` in pixels, ``num``, ``level``, ``task``, ``cores``.

    Raises:
        ConfigError: if ``num`` is not positive.
    """
    if num < 1:
        raise ConfigError(f"`num` must be positive, but is {num} instead.")
    width, height = [task.image(task.instance(seed, index)).size for index in range(_NUM_WARM_UP)][-1]

    def write_text(index: int) -> None:
        instance = task.instance(seed, index)
        task.prompt(instance, "text")
        task.response(instance, "image_via_text")

    with tempfile.TemporaryDirectory() as folder:
        rates = {
            **_rates("images", lambda index: task.image(task.instance(seed, index)), num),
            **_rates(
                "written",
                lambda index: FORMATS["json"].picture(task, task.instance(seed, index), index, Path(folder)),
                num,
            ),
            **_rates("texts", write_text, num),
        }
    return {"task": task.name, "level": task.level, "num": num, "cores": 1, "width": width, "height": height, **rates}


def _rates(what: str, make: Callable[[int], object], num: int) -> dict[str, float]:
    """Return calls per second, by the clock and by the time that this process had a core, over ``num`` calls."""
    start_s, start_cpu_s = time.perf_counter(), time.process_time()
    for index in range(num):
        make(index)
    wall_s, cpu_s = time.perf_counter() - start_s, time.process_time() - start_cpu_s
    return {f"{what}_per_s": round(num / wall_s, 1), f"{what}_per_cpu_s": round(num / max(cpu_s, 1e-9), 1)}
