"""``vlmzoo verify``: is a model what it was?"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
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
    device: Annotated[
        str | None, typer.Option(help="Where published weights run, with --download: cpu (the default), cuda …")
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(help="Of published weights, with --download: bfloat16 …; float32 on a CPU by default."),
    ] = None,
    keys: Annotated[bool, typer.Option("--keys", help="Only names and shapes of tensors, with --against.")] = False,
    against: Annotated[
        Path | None, typer.Option("--against", help="A manifest (JSON of key to shape) or a folder of weights.")
    ] = None,
) -> None:
    """Replay passports, and name the first layer, processor step or token row that departs.

    A model of the zoo is checked by its card and its tiny twin, without any download; a folder by its passport.json.
    """
    from vlmzoo import list_models

    if every and names:
        raise ConfigError(f"`--all` stands for every model of the zoo, but {', '.join(names)} is named, too; drop one.")
    wanted = list_models() if every else list(names or ())
    if not wanted:
        raise ConfigError("`vlmzoo verify` must be given a model of the zoo, a folder, or --all, but has none.")
    if keys or against is not None:
        _refuse_idle({"--make": make, "--out": out, "--download": download, "--device": device, "--dtype": dtype})
        _compare_keys(wanted, against, keys=keys)
        return
    asked = _Asked(make=make, out=out, download=download, device=device, dtype=dtype, is_patient=every)
    asked.check(has_entries=any(not _is_folder(name) for name in wanted))
    num_faults = sum(not is_clean for name in wanted for is_clean in _checks(name, asked))
    if num_faults:
        raise typer.Exit(1)


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """What is to be done with each model.

    Args:
        make: whether passports are written.
        out: where to.
        download: whether published weights are fetched.
        device: where they run.
        dtype: of them.
        is_patient: whether a model that cannot be checked, for whatever reason, does not stop those that follow.
    """

    make: bool
    out: Path | None
    download: bool
    device: str | None
    dtype: str | None
    is_patient: bool

    def check(self, *, has_entries: bool) -> None:
        """Refuse options that would have no effect, and what no model can be run with.

        Raises:
            ConfigError: naming the option.
        """
        if self.out is not None and not (has_entries and (self.make or self.download)):
            raise ConfigError(
                f"`--out` is where passports of models of the zoo go, with --make or --download, but is `{self.out}` "
                "without; leave it out. The passport of a folder lies in it."
            )
        if self.download and not has_entries:
            raise ConfigError(
                "`--download` fetches published weights of models of the zoo, but only folders are named."
            )
        if self.make and has_entries and self.out is None and not self.download:
            raise ConfigError("`--make` of a model of the zoo needs `--out`: the folder that its record is written to.")
        if not self.download and (self.device or self.dtype):
            raise ConfigError("`--device` and `--dtype` are of published weights; give --download, or leave them out.")
        if self.download:
            _check_place(self.device, self.dtype)


def _refuse_idle(options: dict[str, Any]) -> None:
    given = [name for name, value in options.items() if value]
    if given:
        raise ConfigError(f"`--keys` reads names and shapes alone, so {', '.join(given)} has no effect; leave it out.")


def _check_place(device: str | None, dtype: str | None) -> None:
    """Check that a device and a dtype are there.

    Raises:
        ConfigError: if one is not.
    """
    import torch

    from vlmzoo.models.assembler import choose_dtype

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # what torch raises depends on how it was built
        reason = str(error).partition("\n")[0]
        raise ConfigError(
            f"`--device` must be one of this machine, such as cpu, but is {device!r}: {reason}"
        ) from error
    if dtype is not None:
        choose_dtype(dtype, device)


def _is_folder(name: str) -> bool:
    from vlmzoo.zoo import list_models

    return name not in list_models() and Path(name).is_dir()


def _checks(name: str, asked: _Asked) -> Iterator[bool]:
    """Say what came of each check of one model, and whether it passed; a failure does not stop those that follow."""
    from vlmzoo.hub import passport
    from vlmzoo.zoo import load_card

    if _is_folder(name):
        yield _tell(lambda: _make_folder(name) if asked.make else passport.check_folder(name), asked)
        return
    if asked.download:
        yield _tell(lambda: _published(name, asked, has_weights=load_card(name).weights.repo is not None), asked)
    elif asked.make:
        yield _tell(lambda: _make_entry(name, asked), asked)
        return
    yield _tell(lambda: passport.check_entry(name), asked)


def _published(name: str, asked: _Asked, *, has_weights: bool) -> Any:
    from vlmzoo.hub import passport

    if not has_weights:
        return f"{name}: nobody has published weights of it"
    folder = asked.out or Path("passports")
    return passport.check_published(name, folder=folder, make=asked.make, device=asked.device, dtype=asked.dtype)


def _make_folder(folder: str) -> str:
    from vlmzoo import load_model
    from vlmzoo.hub import passport

    model, _ = load_model(folder)
    facts = passport.make_passport(model, about=Path(folder).name)
    return str(passport.write_passport(facts, Path(folder) / passport.PASSPORT))


def _make_entry(name: str, asked: _Asked) -> str:
    from vlmzoo.hub import passport

    assert asked.out is not None  # checked before
    return str(passport.write_passport(passport.make_entry(name), asked.out / f"{name}.json"))


def _tell(check: Callable[[], Any], asked: _Asked) -> bool:
    """Make a check and show what comes of it.

    Raises:
        VlmzooError: if what is asked cannot be, unless all models are asked, of which one does not stop the others.
    """
    try:
        result = check()
    except VlmzooError as error:
        if isinstance(error, ConfigError | LookupError) and not asked.is_patient:
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
