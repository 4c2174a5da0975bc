"""``vlmzoo doctor``: what is installed, what this machine has, and what will therefore work."""

import importlib.metadata
import re
import shutil
from collections.abc import Iterator

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from vlmzoo.errors import VlmzooError

__all__ = ["doctor", "extras_installed"]

_REQUIREMENT = re.compile(r"^(?P<package>[A-Za-z0-9._-]+).*extra\s*==\s*['\"](?P<extra>[^'\"]+)['\"]")
_TOOLS = {
    "g++": "DeepSpeed compiles small operators; install g++",
    "ninja": "DeepSpeed compiles with it; comes with `pip install 'vlmzoo[train]'`",
    "git": "runs note their commit; install git",
}

Row = tuple[str, str, str]
"""What was looked for, ``yes``, ``no`` or a version, and a remark."""


def doctor() -> None:
    """Say what is installed, what this machine has, and what will therefore work."""
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
