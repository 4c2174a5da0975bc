"""Commands of online preferences: serve a judge or negative images on this machine, export what a run made."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["data_online", "serve_images", "serve_judge"]

Port = Annotated[int, typer.Option(help="0 for any that is free.")]
Options = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Options, e.g. path=Qwen/Qwen2.5-7B-Instruct.")
]


def serve_judge(
    options: Options = None,
    type: Annotated[str, typer.Option(help="A chat client, or a judge without a model.")] = "transformers",
    port: Port = 8001,
) -> None:
    """Serve chat completions for `judge: {type: chat, client: {type: openai, base_url: …}}`."""
    from vlmzoo.services.serving import judge_server

    _serve(judge_server(_spec(type, options), port=port))


def serve_images(
    options: Options = None,
    type: Annotated[str, typer.Option(help="A source of negative images.")] = "diffusers",
    port: Port = 8002,
) -> None:
    """Serve pictures for `images: {type: endpoint, base_url: …}`."""
    from vlmzoo.services.serving import images_server

    _serve(images_server(_spec(type, options), port=port))


def data_online(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run with `online_pairs`.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="A JSON file that `ovip_pairs` reads.")],
) -> None:
    """Write the pairs that an online run made as offline training data."""
    from vlmzoo.data.json_lines import write_whole
    from vlmzoo.services.pair_making.spool import export_pairs

    rows = export_pairs(run / "online" if (run / "online").is_dir() else run)
    write_whole(out, json.dumps(rows, ensure_ascii=False, indent=1) + "\n")
    typer.echo(f"{out}: {len(rows)} pairs")


def _spec(type: str, options: list[str] | None) -> dict[str, Any]:
    from vlmzoo.config import parse_overrides

    return {"type": type, **parse_overrides(options or [])}


def _serve(server: Any) -> None:
    typer.echo(f"{server.url} (stop with Ctrl-C)")
    try:
        server.serve()
    except KeyboardInterrupt:
        server.close()
