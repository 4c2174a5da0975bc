"""The renderers of synthetic tasks: images and texts a second on one core.

``python benchmarks/renderer.py``, as ``vlmzoo data s2h --bench`` measures it, for every task of S2H at its hardest.
"""

from typing import Any

from recording import record

from vlmzoo.data.export_bench import bench_task
from vlmzoo.data.synthetic import TASKS

NAMES = ("consecutive_table_readout", "table_readout", "grid_navigation", "visual_analogy")
LEVEL, NUM = "hard", 200


def main() -> None:
    """Measure each task and record them together."""
    found = {
        name: bench_task(TASKS.build({"type": name, "level": LEVEL}), num=NUM, seed=0)  # type: ignore[arg-type]
        for name in NAMES
    }
    record("renderer", level=LEVEL, tasks=found)


def rows(entry: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return the lines of the table: what, target, measured."""
    return [
        (
            f"renderer, {name} {entry['level']}, {told['width']} × {told['height']}: drawn, written as PNG, as text",
            "none",
            f"{told['images_per_cpu_s']:,.0f}, {told['written_per_cpu_s']:,.0f}, "
            f"{told['texts_per_cpu_s']:,.0f} a second of the processor",
        )
        for name, told in entry["tasks"].items()
    ]


if __name__ == "__main__":
    main()
