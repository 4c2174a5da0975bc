"""The renderer of synthetic tables: images and texts a second on one core.

``python benchmarks/renderer.py``, as ``vlmzoo data s2h --bench`` measures it, for SIMPLE and HARD.
"""

from typing import Any

from recording import record

from vlmzoo.data.export import bench_task
from vlmzoo.data.synthetic import TASKS

TASK, LEVELS, NUM = "consecutive_table_readout", ("simple", "hard"), 500


def main() -> None:
    """Measure each level and record them together."""
    found = {
        level: bench_task(TASKS.build({"type": TASK, "level": level}), num=NUM, seed=0)  # type: ignore[arg-type]
        for level in LEVELS
    }
    record("renderer", levels=found)


def rows(entry: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return the lines of the table: what, target, measured."""
    return [
        (
            f"renderer, {told['task']} {level}, {told['width']} × {told['height']}: drawn, written as PNG, as text",
            "none",
            f"{told['images_per_s']:,.0f}, {told['written_per_s']:,.0f}, {told['texts_per_s']:,.0f} a second",
        )
        for level, told in entry["levels"].items()
    ]


if __name__ == "__main__":
    main()
