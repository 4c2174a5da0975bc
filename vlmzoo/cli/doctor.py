"""``vlmzoo doctor``: what is installed and what will therefore work; ``doctor run``: what a run suffers from."""

import importlib.metadata
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from vlmzoo.errors import ConfigError, VlmzooError

__all__ = ["doctor", "extras_installed"]

_REQUIREMENT = re.compile(r"^(?P<package>[A-Za-z0-9._-]+).*extra\s*==\s*['\"](?P<extra>[^'\"]+)['\"]")
_TOOLS = {
    "g++": "DeepSpeed compiles small operators; install g++",
    "ninja": "DeepSpeed compiles with it; comes with `pip install 'vlmzoo[train]'`",
    "git": "runs note their commit; install git",
}

_SAME_LOSS = 1e-6
"""How far a loss that is computed again may lie off, by the order of sums."""

Row = tuple[str, str, str]
"""What was looked for, ``yes``, ``no`` or a version, and a remark."""


def doctor(
    what: Annotated[str, typer.Argument(metavar="[run]", help="`run` looks at a run; nothing at this machine.")] = "",
    folder: Annotated[Path | None, typer.Argument(metavar="[DIR]", help="`output_dir` of the run.")] = None,
    step: Annotated[int | None, typer.Option("--step", min=1, help="Compute the loss of this step again.")] = None,
) -> None:
    """Say what this machine will do; or, with `run DIR`, what a run that learns from rollouts suffers from."""
    if what not in ("", "run") or (what == "run") != (folder is not None) or (step is not None and folder is None):
        raise ConfigError("`vlmzoo doctor` takes nothing, or `run DIR`, and `--step N` with it.")
    if folder is not None:
        _look_at_run(folder, step)
        return
    console = Console()
    for title, rows in (
        ("versions", _versions()),
        ("accelerators", _accelerators()),
        ("attention", _attention()),
        ("extras", _extras()),
        ("tools", _tools()),
    ):
        table = Table(title=title, title_justify="left", show_header=False)
        for name, found, remark in rows:
            colour = {"yes": "green", "no": "yellow"}.get(found, "default")
            table.add_row(escape(name), f"[{colour}]{escape(found)}[/{colour}]", escape(remark))
        if table.row_count:
            console.print(table, highlight=False)


def _look_at_run(path: Path, step: int | None) -> None:
    """Print what a run suffers from; leave with 1 if it does, or if a step's loss comes out otherwise."""
    from vlmzoo.runs.diseases import diagnose
    from vlmzoo.runs.flight import read_rollouts, replay_step
    from vlmzoo.runs.folder import RunFolder

    folder = RunFolder(path)
    if step is not None:
        replay = replay_step(folder, step)
        typer.echo(f"step {step}: loss {replay.loss:.9g} from {replay.num_completions} recorded completions")
        typer.echo(f"the journal says {replay.journal_loss:.9g}, {replay.difference:.2g} away")
        if replay.difference > _SAME_LOSS * max(1.0, abs(replay.journal_loss)):
            raise typer.Exit(1)
        return
    lines = read_rollouts(folder)
    findings = diagnose(lines)
    steps = {line["step"] for line in lines}
    typer.echo(f"{len(lines):,} completions of {len(steps):,} steps, the last of them {max(steps)}")
    for finding in findings:
        typer.echo(f"{finding.name}\n  {finding.evidence}\n  {finding.way_out}")
    if findings:
        raise typer.Exit(1)
    typer.echo("nothing found")


def _versions() -> Iterator[Row]:
    from vlmzoo import __version__
    from vlmzoo.config.resolved import find_commit, installed_versions

    yield "vlmzoo", __version__, find_commit() or "no checkout"
    for package, version in installed_versions().items():
        if package != "vlmzoo":
            yield package, version, ""


def _accelerators() -> Iterator[Row]:
    import torch

    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        yield f"cuda:{index}", "yes", f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB"
    if torch.backends.mps.is_available():
        yield "mps", "yes", ""
    yield "cpu", "yes", f"{torch.get_num_threads()} threads"


def _attention() -> Iterator[Row]:
    import torch

    from vlmzoo.models.attention import ATTENTION_NAMES, check_attention

    for name in ATTENTION_NAMES:
        try:
            check_attention(name, "cuda" if torch.cuda.is_available() else "cpu")
        except VlmzooError as error:
            yield name, "no", str(error)
        else:
            yield name, "yes", ""


def _extras() -> Iterator[Row]:
    for extra, missing in extras_installed().items():
        yield extra, "no" if missing else "yes", f"missing: {', '.join(missing)}" if missing else ""


def extras_installed() -> dict[str, list[str]]:
    """Return, for each extra of this package, which of its packages are not installed."""
    try:
        requirements = importlib.metadata.requires("vlmzoo") or []
    except importlib.metadata.PackageNotFoundError:  # run from a folder that pip does not know
        return {}
    extras: dict[str, list[str]] = {}
    for requirement in requirements:
        match = _REQUIREMENT.match(requirement)
        if match is None:
            continue
        missing = extras.setdefault(match["extra"], [])
        try:
            importlib.metadata.version(match["package"])
        except importlib.metadata.PackageNotFoundError:
            missing.append(match["package"])
    return extras


def _tools() -> Iterator[Row]:
    for tool, remark in _TOOLS.items():
        place = shutil.which(tool)
        yield tool, "yes" if place else "no", place or remark
