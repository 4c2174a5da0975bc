"""The command that opens the demo."""

from typing import Annotated

import typer

__all__ = ["demo"]


def demo(
    model: Annotated[
        str | None, typer.Argument(metavar="[MODEL]", help="Folder or Hub id; without it a random miniature.")
    ] = None,
    search: Annotated[str | None, typer.Option(help="Folder or Hub id of a model that searches.")] = None,
    segmenter: Annotated[str | None, typer.Option(help="Folder or Hub id of a model that makes masks.")] = None,
    port: Annotated[int, typer.Option(help="0 for any that is free.")] = 7860,
) -> None:
    """Open a page on this machine: upload an image, ask, and see the answer and its way."""
    from vlmzoo.integrations.gradio import launch_page
    from vlmzoo.runs.demo import demo_page

    page = demo_page(model, search=search, segmenter=segmenter)
    typer.echo(launch_page(page, port=port, is_blocking=False))
    page.block_thread()
