"""Commands about data: draw synthetic tasks, and look at every row before training does."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import BaseModel, ConfigDict
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from vlmzoo.errors import ConfigError

if TYPE_CHECKING:
    from vlmzoo.data.checking import SourceReport

__all__ = ["data_check", "data_lmms", "data_s2h", "data_unpack", "data_verl", "progress_bar", "source_of"]

_ROWS_BETWEEN_REPORTS = 100


class _DataConfig(BaseModel):
    """A file that only says which data."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: dict[str, Any]
    """``{type: name, …}`` for the source registry."""


def data_s2h(
    task: Annotated[str, typer.Option(help="A synthetic task, e.g. table_readout.")],
    options: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Options of the task, e.g. num_rows=8 image.cell_width=32."),
    ] = None,
    level: Annotated[str, typer.Option(help="simple, medium or hard.")] = "simple",
    num: Annotated[int, typer.Option("-n", "--num", min=1, help="Instances.")] = 1000,
    seed: Annotated[int, typer.Option(help="Of the instances.")] = 0,
    kinds: Annotated[
        str, typer.Option(help="Comma-separated: text, image, image_via_text, conversion.")
    ] = "text,image",
    cot: Annotated[bool, typer.Option("--cot/--no-cot", help="Write chains of thought.")] = True,
    keep: Annotated[float, typer.Option(help="Share of the chain of thought that is left.")] = 1.0,
    cot_style: Annotated[str, typer.Option(help="standard, template, order or value.")] = "standard",
    out: Annotated[Path | None, typer.Option("--out", "-o", help="A folder, new or of a stopped export.")] = None,
    format: Annotated[str, typer.Option(help="json, parquet, webdataset or vlmevalkit.")] = "json",
    workers: Annotated[int, typer.Option(min=0, help="Processes beside this one.")] = 0,
    shard_size: Annotated[int | None, typer.Option(min=1, help="Instances written at a time.")] = None,
    bench: Annotated[bool, typer.Option("--bench", help="Write nothing; measure and print one JSON line.")] = False,
) -> None:
    """Write the instances of a synthetic task as files, or measure how fast they are made."""
    if (out is None) != bench:
        raise ConfigError("Exactly one of `--out FOLDER` and `--bench` must be given.")
    from vlmzoo.config import parse_overrides
    from vlmzoo.data.export import Split, export_task
    from vlmzoo.data.export_bench import bench_task
    from vlmzoo.data.synthetic import TASKS

    built = TASKS.build({"type": task, "level": level, **parse_overrides(options or [])})
    if out is None:
        typer.echo(json.dumps(bench_task(built, num=num, seed=seed)))
        return
    names: Any = [kind.strip() for kind in kinds.split(",")]
    split = Split(kinds=names, num=num, seed=seed, cot=cot, keep=keep, cot_style=cot_style)
    with progress_bar(f"{task}, {level}") as report:
        paths = export_task(built, split, out, format=format, num_workers=workers, shard_size=shard_size, report=report)
    for path in paths:
        typer.echo(str(path))


def data_check(
    config: Annotated[
        str, typer.Argument(metavar="SPEC", help="A YAML file with a `source`, or the config of a training run.")
    ],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Dotted overrides, e.g. source.path=x.json.")
    ] = None,
    write_clean: Annotated[
        Path | None, typer.Option("--write-clean", help="A new file for the good rows, in LLaVA's JSON.")
    ] = None,
    relative: Annotated[
        bool, typer.Option("--relative", help="Image paths of --write-clean start from its folder.")
    ] = False,
    limit_fraction: Annotated[
        float, typer.Option("--limit-fraction", min=0.0, max=1.0, help="Share of corrupt rows that is put up with.")
    ] = 0.01,
    decode: Annotated[bool, typer.Option("--decode", help="Decode images, not only their headers.")] = False,
    num: Annotated[int | None, typer.Option("-n", "--num", min=1, help="Look at the first so many rows.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Read every row of a source: count, find what is corrupt, and leave with 1 if it is too much."""
    from vlmzoo.data.sources import SOURCES
    from vlmzoo.data.sources.llava_json import LlavaJsonWriter

    if write_clean is not None and write_clean.exists():
        raise ConfigError(f"`--write-clean` must name a new file, but `{write_clean}` exists; choose another.")
    source = SOURCES.build(source_of(config, overrides or []))
    if write_clean is None:
        found = _check(source, num=num, decode=decode)
    else:
        with LlavaJsonWriter(write_clean, is_relative=relative) as writer:
            found = _check(source, num=num, decode=decode, keep=writer.write)
    if as_json:
        typer.echo(json.dumps({**found.to_dict(), "limit_fraction": limit_fraction}, indent=2, ensure_ascii=False))
    else:
        _show(found, limit_fraction)
    if found.fault_fraction > limit_fraction:
        raise typer.Exit(1)


def data_unpack(
    archive: Annotated[
        list[str], typer.Argument(metavar="ARCHIVE...", help="A file, its parts, or a pattern in quotes.")
    ],
    into: Annotated[Path, typer.Option("--into", help="The folder, made if need be.")],
) -> None:
    """Unpack a tar or a zip, also one that was split into parts; run again, it goes on where it stopped."""
    from vlmzoo.data.archives import unpack

    console = Console(stderr=True)
    with Progress(TextColumn("{task.description}"), console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("files", total=None)

        def report(done: int) -> None:
            if done % _ROWS_BETWEEN_REPORTS == 0:
                progress.update(bar, description=f"{done:,} files")

        number = unpack(archive, into, report=report)
    typer.echo(f"{number:,} files in {into}")


def data_verl(
    config: Annotated[str, typer.Argument(metavar="CONFIG", help="The config of a run that learns from rollouts.")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Dotted overrides.")] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="A folder, made if need be.")] = Path("verl"),
    num: Annotated[int | None, typer.Option("-n", "--num", min=1, help="Write the first so many rows.")] = None,
    name: Annotated[str, typer.Option(help="Written as data_source.")] = "vlmzoo",
) -> None:
    """Write the prompts and rewards of a run for verl: train.parquet and reward.py."""
    from vlmzoo.config import load_config
    from vlmzoo.config.schema import RunConfig
    from vlmzoo.data.export_verl import export_verl

    experience = load_config(config, overrides or [], schema=RunConfig).experience
    if "rewards" not in experience or "source" not in experience:
        raise ConfigError(f"`{config}` must have an `experience` with `source` and `rewards`, e.g. of type rollouts.")
    for path in export_verl(experience["source"], experience["rewards"], out, name=name, num=num):
        typer.echo(str(path))


def data_lmms(
    config: Annotated[str, typer.Argument(metavar="CONFIG", help="Of an evaluation, e.g. eval/fast.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="A folder, new or empty, for `--include_path`.")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Dotted overrides.")] = None,
) -> None:
    """Write the benchmarks of an evaluation as tasks of lmms-eval, which score as ours do."""
    from vlmzoo.config import EvalConfig, load_config
    from vlmzoo.evaluation.lmms_export import export_tasks

    benchmarks = load_config(config, overrides or [], schema=EvalConfig).benchmarks
    left_out = export_tasks(benchmarks, out)
    for label in benchmarks:
        typer.echo(f"{label}: {left_out[label]}" if label in left_out else f"{label}: task vlmzoo_{label}")


def source_of(config: str, overrides: list[str]) -> dict[str, Any]:
    """Return the source that a file names: its own, or that of what a run learns from.

    Raises:
        ConfigError: if there is neither.
    """
    from vlmzoo.config import find_config, load_config
    from vlmzoo.config.files import read_config_file

    if "source" in read_config_file(find_config(config)):
        return load_config(config, overrides, schema=_DataConfig).source
    experience = load_config(config, overrides).experience
    if "source" not in experience:
        raise ConfigError(
            f"`experience` must have a `source` to be checked, but has {', '.join(experience)} instead; name the data "
            "in a file with a `source`."
        )
    return experience["source"]


def _check(source: Any, *, num: int | None, **options: Any) -> "SourceReport":
    from vlmzoo.data.checking import check_source, rows_to_check

    with progress_bar("rows", total=rows_to_check(source, num)) as show:

        def report(done: int, total: int) -> None:
            if done % _ROWS_BETWEEN_REPORTS == 0 or done == total:
                show(done, total)

        return check_source(source, num=num, report=report, **options)


@contextmanager
def progress_bar(label: str, *, total: int | None = None) -> Iterator[Callable[[int, int], None]]:
    """Show a bar on a terminal, nothing elsewhere; give what moves it: (done, of all)."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task(label, total=total)
        yield lambda done, of_all: progress.update(bar, completed=done, total=of_all)


def _show(found: "SourceReport", limit_fraction: float) -> None:
    console = Console()
    table = Table(show_header=False, box=None)
    for label, text in _lines(found, limit_fraction):
        table.add_row(f"[bold]{label}[/bold]", Text(text))
    console.print(table, highlight=False)
    if not found.faults:
        return
    faults = Table("fault", "rows", "the first")
    for kind, count in found.faults.most_common():
        faults.add_row(kind, f"{count:,}", Text("\n".join(found.first_faults[kind])))
    console.print(faults, highlight=False)


def _lines(found: "SourceReport", limit_fraction: float) -> list[tuple[str, str]]:
    verdict = "too many" if found.fault_fraction > limit_fraction else "within the limit"
    repeated = f"{found.num_repeated_ids:,}" + "".join(f", `{id}`" for id in found.repeated_ids)
    lines = [
        ("rows", f"{found.num_rows:,}"),
        ("corrupt", f"{found.num_faults:,} ({found.fault_fraction:.2%}; {verdict} of {limit_fraction:.2%})"),
        ("with images", f"{found.num_with_images:,}"),
        ("images", f"{found.num_images:,}" + _spread(found.image_sides.to_dict(), "pixels on the longer side")),
        *([("masks", f"{found.num_masks:,}, of which {found.num_empty_masks:,} are empty")] if found.num_masks else []),
        ("turns", _spread(found.turns_per_row.to_dict(), "in a row").lstrip(", ")),
        ("without an answer", f"{found.num_without_answer:,}"),
        ("repeated ids", repeated),
    ]
    texts = found.to_dict()["text_lengths"]
    return lines + [
        (f"{role} turns", f"{count:,}" + _spread(texts[role], "characters"))
        for role, count in sorted(found.turns.items())
    ]


def _spread(values: dict[str, float], unit: str) -> str:
    if not values:
        return ""
    low, median, high, top = (f"{values[name]:,}" for name in ("min", "median", "p95", "max"))
    if low == top:
        return f", all {low} {unit}"
    return f", {low} to {top} {unit}, half up to {median}, 95 % up to {high}"
