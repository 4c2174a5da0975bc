"""The command line, for people: ``vlmzoo list | info | train | sweep | study | eval | data | tiny | verify …``.

Each command imports what it needs when it runs, so that ``vlmzoo --help`` is quick.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text
from typer.core import TyperGroup

from vlmzoo.cli import commands, data_commands, preference_commands, serve_commands
from vlmzoo.cli.demo_command import demo
from vlmzoo.cli.doctor import doctor
from vlmzoo.cli.verifying import verify
from vlmzoo.errors import VlmzooError

__all__ = ["app", "main", "run_command"]

_FAULT = 2
"""Exit code of an error that the caller can mend; click uses the same for a wrong option."""


@contextmanager
def _plain_errors(*, debug: bool = False) -> Iterator[None]:
    """Show an error of this library as its sentence and leave; a traceback only for those who ask."""
    try:
        yield
    except VlmzooError as error:
        if debug:
            raise
        Console(stderr=True).print(Text(f"error: {error}", style="red"), soft_wrap=True)
        raise SystemExit(_FAULT) from error


class _Commands(TyperGroup):
    def invoke(self, ctx: Any) -> Any:
        with _plain_errors(debug=bool(ctx.params.get("debug"))):
            return super().invoke(ctx)


app = typer.Typer(cls=_Commands, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.command("list")(commands.list_models)
app.command()(commands.info)
app.command()(commands.generate)
app.command()(commands.train)
app.command()(commands.sweep)
app.command()(commands.study)
app.command("agent-study")(commands.agent_study)
app.command("eval")(commands.evaluate)
app.command()(commands.tiny)
app.command()(verify)
app.command()(commands.export)
app.command()(commands.push)
app.command()(doctor)
app.command()(demo)

data = typer.Typer(no_args_is_help=True, help="Make and check data.")
data.command("s2h")(data_commands.data_s2h)
data.command("check")(data_commands.data_check)
data.command("unpack")(data_commands.data_unpack)
data.command("verl")(data_commands.data_verl)
data.command("lmms")(data_commands.data_lmms)
data.command("mia")(preference_commands.mia)
data.command("pairs")(preference_commands.pairs)
data.command("reference")(preference_commands.reference)
data.command("online")(serve_commands.data_online)
app.add_typer(data, name="data")

serve = typer.Typer(no_args_is_help=True, help="Serve what training asks, on this machine.")
serve.command("judge")(serve_commands.serve_judge)
serve.command("images")(serve_commands.serve_images)
app.add_typer(serve, name="serve")


def _show_version(is_asked: bool) -> None:
    if is_asked:
        from vlmzoo import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error was raised.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Vision-language models as bases with adapters: look, train, measure."""


def main() -> None:
    """Run the command that the arguments name; the entry point ``vlmzoo``."""
    app()


def run_command(command: Callable[[], object]) -> None:
    """Run a script's own function as the command line would: an error of this library is a sentence and exit code 2."""
    with _plain_errors():
        command()
