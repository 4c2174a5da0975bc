"""``vlmzoo verify``: is a model what it was?"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from vlmzoo.errors import ConfigError, VlmzooError

__all__ = ["verify"]


def verify(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME|PATH]...", help="Models of the zoo, or folders with a passport."),
    ] = None,
    make: Annotated[bool, typer.Option("--make", help="Write the passport instead of replaying it.")] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder of passports of published weights; passports/ by default."),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every model of the zoo.")] = False,
    download: Annotated[
        bool, typer.Option("--download", help="Also the published weights; large, needs the Hub.")
    ] = False,
    keys: Annotated[bool, typer.Option("--keys", help="Only names and shapes of tensors, with --against.")] = False,
    against: Annotated[
        Path | None, typer.Option("--against", help="A manifest (JSON of key to shape) or a folder of weights.")
    ] = None,
) -> None:
    """Replay passports, and name the first layer, processor step or token row that departs.

    A model of the zoo is checked by its card and its tiny twin, without any download; a folder by its passport.json.
    """
    from vlmzoo import list_models

    wanted = list_models() if every else list(names or ())
    if not wanted:
        raise ConfigError("`vlmzoo verify` must be given a model of the zoo, a folder, or --all, but has none.")
    if keys or against is not None:
        _compare_keys(wanted, against, keys=keys)
        return
    num_faults = sum(not is_clean for name in wanted for is_clean in _checks(name, make, out, download=download))
    if num_faults:
        raise typer.Exit(1)


def _checks(name: str, make: bool, out: Path | None, *, download: bool) -> Iterator[bool]:
    """Say what came of each check of one model, and whether it passed; a failure does not stop those that follow."""
    from vlmzoo.hub import passport
    from vlmzoo.zoo import list_models, load_card

    if name not in list_models() and Path(name).is_dir():
        yield _tell(lambda: _make_folder(name) if make else passport.check_folder(name))
        return
    if download:
        if load_card(name).weights.repo is None:
            typer.echo(f"{name}: nobody has published weights of it")
        else:
            folder = out or Path("passports")
            yield _tell(lambda: passport.check_published(name, folder=folder, make=make))
    elif make:
        yield _tell(lambda: _make_entry(name, out))
        return
    yield _tell(lambda: passport.check_entry(name))


def _make_folder(folder: str) -> str:
    from vlmzoo import load_model
    from vlmzoo.hub import passport

    model, _ = load_model(folder)
    facts = passport.make_passport(model, about=Path(folder).name)
    return str(passport.write_passport(facts, Path(folder) / passport.PASSPORT))


def _make_entry(name: str, out: Path | None) -> str:
    from vlmzoo.hub import passport

    if out is None:
        raise ConfigError("`--make` of a model of the zoo needs `--out`: the folder that its record is written to.")
    return str(passport.write_passport(passport.make_entry(name), out / f"{name}.json"))


def _tell(check: Any) -> bool:
    try:
        result = check()
    except VlmzooError as error:
        if isinstance(error, ConfigError | LookupError):
            raise
        typer.echo(f"failed: {error}", err=True)
        return False
    typer.echo(str(result))
    return getattr(result, "is_clean", True)


def _compare_keys(names: list[str], against: Path | None, *, keys: bool) -> None:
    """Compare names and shapes of published weights with a model on the meta device, reading no weights."""
    from vlmzoo import verify_model

    if not keys or against is None:
        raise ConfigError("`--keys` and `--against` go together: a manifest (a JSON file), or a folder of weights.")
    if len(names) > 1:
        raise ConfigError(f"`--keys` compares one model, but {len(names)} are named; name one.")
    report = verify_model(names[0], against)
    typer.echo(str(report))
    if not report.is_clean:
        raise typer.Exit(1)
