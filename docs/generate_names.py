"""The pages of what a config can name: every registry of the package, its rows, their options and sources."""

import importlib
import inspect
import pkgutil
import re
from typing import Any

import vlmzoo
from vlmzoo.registry import Entry, Registry

SHOWN = (
    "model family",
    "encoder",
    "fusion",
    "projector",
    "language model",
    "adapter",
    "mask decoder",
    "experience",
    "objective",
    "synthetic task",
)
"""Kinds whose names the README spells out; of the others it says how many there are."""


def registries() -> list[Registry[Any]]:
    """Return every registry of the package, in order of the packages that hold them."""
    found = {}
    for module in pkgutil.walk_packages(vlmzoo.__path__, "vlmzoo."):
        if module.ispkg:
            for value in vars(importlib.import_module(module.name)).values():
                if isinstance(value, Registry) and value.home == module.name:
                    found[value.home] = value
    return list(found.values())


def entries(registry: Registry[Any]) -> list[Entry[Any]]:
    """Return the rows of a registry that the package itself brings; a plug-in's would not be everybody's."""
    return [entry for entry in registry if entry.build.__module__.startswith("vlmzoo.")]


def names_page() -> str:
    """Return docs/names.md."""
    lines = [
        "# What a config can name",
        "",
        "<!-- Made of the registries by `python docs/generate.py`. -->",
        "",
        "Each row is what stands under `type` of its kind, e.g. `projector: {type: perceiver, num_latents: 32}`. "
        "Options without a default must be given, but for those that the library fills in itself (widths of "
        "neighbouring blocks, the processor, the device). A misspelt name or option is answered with the nearest one.",
    ]
    for registry in registries():
        lines += ["", f"## {_plural(registry.kind).capitalize()}", "", f"`{registry.home}`", ""]
        lines += [_row(entry) for entry in entries(registry)]
    return "\n".join(lines) + "\n"


def names_table() -> str:
    """Return the README's table: the names of the kinds that models and training are made of."""
    known = {registry.kind: entries(registry) for registry in registries()}
    lines = ["| kind | names |", "|---|---|"]
    lines += [f"| {_plural(kind)} | {', '.join(f'`{entry.name}`' for entry in known[kind])} |" for kind in SHOWN]
    others = ", ".join(f"{len(rows)} {_plural(kind)}" for kind, rows in known.items() if kind not in SHOWN)
    return "\n".join([*lines, "", f"And {others}: [every name with its options and source](docs/names.md)."])


def _row(entry: Entry[Any]) -> str:
    summary = (inspect.getdoc(entry.build) or "").split("\n\n")[0].replace("\n", " ").replace("``", "`")
    source = entry.source.replace("*", r"\*")  # of V*
    options = ", ".join(_option(option) for option in inspect.signature(entry.build).parameters.values())
    return f"- **`{entry.name}`**: {summary} *{source}.*" + (f"<br>`{options}`" if options else "")


def _option(option: inspect.Parameter) -> str:
    if option.kind is inspect.Parameter.VAR_KEYWORD:
        return "…"
    default = option.default
    if default is inspect.Parameter.empty:
        return option.name
    text = default.__name__ if inspect.isroutine(default) or inspect.isclass(default) else repr(default)
    return f"{option.name}={re.sub(r' at 0x[0-9a-f]+', '', text)}"


def _plural(kind: str) -> str:
    return f"{kind[:-1]}ies" if re.search(r"[^aeiou]y$", kind) else f"{kind}s"
