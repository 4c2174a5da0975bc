"""Commands about preference data: build multi-image pairs, write pairs for others, ask a reference beforehand."""

import json
from pathlib import Path
from typing import Annotated

import typer

from vlmzoo.cli.data_commands import progress_bar, source_of

__all__ = ["mia", "pairs", "reference"]


def reference(
    config: Annotated[str, typer.Argument(metavar="CONFIG", help="The config of a run that learns from pairs.")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Dotted overrides.")] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="The file.")] = Path("reference.safetensors"),
) -> None:
    """Write what a run's starting model thinks of all its pairs, for `reference: precomputed`."""
    from vlmzoo.config import load_config
    from vlmzoo.config.schema import ReferenceConfig
    from vlmzoo.runs.reference import write_reference

    with progress_bar("pairs") as report:
        path = write_reference(load_config(config, overrides or [], schema=ReferenceConfig), out, report=report)
    typer.echo(str(path))


def mia(
    config: Annotated[str, typer.Argument(metavar="CONFIG", help="A YAML file, e.g. mia_dpo/pairs_llava_7b.")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Dotted overrides.")] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="A folder, new or of a stopped build.")] = Path("mia_pairs"),
    part: Annotated[int, typer.Option(help="Of this process, from 0, where several share the folder.")] = 0,
    parts: Annotated[int, typer.Option(min=1, help="How many processes there are.")] = 1,
) -> None:
    """Make multi-image preference pairs after MIA-DPO: ask, watch attention, select, write."""
    from vlmzoo.config import MiaConfig, load_config
    from vlmzoo.runs.mia import build_mia

    checked = load_config(config, overrides or [], schema=MiaConfig)
    with progress_bar("questions") as report:
        found = build_mia(checked, out, part=part, parts=parts, report=report)
    typer.echo(json.dumps(found, indent=2))


def pairs(
    config: Annotated[
        str, typer.Argument(metavar="SPEC", help="A YAML file with a `source`, or the config of a training run.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The file; images in memory go beside it.")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Dotted overrides.")] = None,
    format: Annotated[str, typer.Option(help="trl, tagged, mia_dpo or llamafactory.")] = "trl",
    num: Annotated[int | None, typer.Option("-n", "--num", min=1, help="Write the first so many pairs.")] = None,
) -> None:
    """Write the preference pairs of a source as a file that others read."""
    from vlmzoo.data.checking import rows_to_check
    from vlmzoo.data.preference_files import write_pairs
    from vlmzoo.data.sources import SOURCES

    source = SOURCES.build(source_of(config, overrides or []))
    samples = (source.sample(position) for position in range(rows_to_check(source, num)))
    written = write_pairs(samples, out, format=format)  # type: ignore[arg-type]
    typer.echo(f"{written:,} pairs in {out}")
