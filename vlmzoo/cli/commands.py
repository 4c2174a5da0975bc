"""What each command does: read its options, call the library, show the answer."""

import json
import re
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import BaseModel
from rich.console import Console
from rich.table import Table

from vlmzoo.errors import ConfigError, RegistryError
from vlmzoo.registry import nearest_hint

__all__ = [
    "agent_study",
    "evaluate",
    "export",
    "generate",
    "info",
    "list_models",
    "push",
    "study",
    "sweep",
    "tiny",
    "train",
]

ModelArgument = Annotated[str, typer.Argument(metavar="MODEL", help="A folder that `load_model` reads, or a Hub id.")]
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="A model of the zoo, see `vlmzoo list`.")]
ConfigArgument = Annotated[
    str, typer.Argument(metavar="CONFIG", help="A YAML file, or a name such as tiny/quickstart.")
]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Dotted overrides, e.g. optim.learning_rate=1e-4.")
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Check the config with all its names, print what it resolves to, and stop.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
_HUB_ID = re.compile(r"[^./][^/]*/[^/]+")
_WIDE = 140
"""Columns of a terminal that also holds the licences."""


def list_models(
    pattern: Annotated[str, typer.Argument(help="Shell wildcards, e.g. 'llava*'.")] = "*", as_json: AsJson = False
) -> None:
    """List the models of the zoo: size, visual tokens of an image and, where there is room, licence and parity."""
    from vlmzoo import zoo

    infos = [zoo.model_info(name) for name in zoo.list_models(pattern)]
    if as_json:
        typer.echo(json.dumps([info.to_dict() for info in infos], indent=2))
        return
    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDE)  # a pipe has no width of its own
    is_wide = console.width >= _WIDE
    table = Table(box=None, pad_edge=False)
    for heading in ("model", "family"):
        table.add_column(heading, no_wrap=True)
    for heading in ("size", "tokens"):
        table.add_column(heading, justify="right", no_wrap=True)
    for heading in ("licence of the weights", "parity") if is_wide else ():
        table.add_column(heading)
    for info in infos:
        size = f"{info.num_parameters / 1e9:.2f} B"
        more = (info.licence["weights"], info.parity) if is_wide else ()
        table.add_row(info.name, info.family, size, str(info.image_tokens), *more)
    console.print(table if infos else f"No model of the zoo matches `{pattern}`.", highlight=False)


def info(name: NameArgument, as_json: AsJson = False) -> None:
    """Say what is known of a model: parameters by part, tokens per image, memory, licence, paper, weights, parity."""
    from vlmzoo import model_info

    known = model_info(name)
    if as_json:
        typer.echo(json.dumps(known.to_dict(), indent=2))
        return
    table = Table(show_header=False, box=None)
    for label, text in known.rows():
        table.add_row(f"[bold]{label}[/bold]", text)
    Console().print(table, highlight=False)


def generate(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A folder that `load_model` reads, a Hub id, or a model of the zoo with its published weights.",
        ),
    ],
    prompt: Annotated[str, typer.Option("--prompt", "-p", help="What to ask.")],
    image: Annotated[
        list[Path] | None, typer.Option("--image", "-i", help="A picture; may be given several times.")
    ] = None,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Limit of the answer, in tokens.")] = 256,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1 ...; without it a GPU if there is one.")] = None,
    save_masks: Annotated[
        Path | None,
        typer.Option("--save-masks", help="Folder for the masks of a model with the seg adapter: a picture and JSON."),
    ] = None,
) -> None:
    """Answer one question about images, greedily."""
    import torch

    from vlmzoo.evaluation import complete
    from vlmzoo.types import Sample, user

    images = list(image or [])
    loaded, processor = _find_model(model, device=device or ("cuda" if torch.cuda.is_available() else "cpu"))
    question = Sample(messages=[user(prompt, num_images=len(images))], images=images, id="prompt")
    if save_masks is None:
        [answer] = complete(loaded, processor, [question], max_new_tokens=max_new_tokens)
        typer.echo(answer.text)
        return
    if not images:
        raise ConfigError("`--save-masks` needs an `--image` that the masks are of.")
    from vlmzoo.models.segmenting import segment_samples

    [segmentation] = segment_samples(loaded, [question], max_new_tokens=max_new_tokens)
    typer.echo(segmentation.text)
    if segmentation.reason:
        typer.echo(segmentation.reason, err=True)
    for path in segmentation.save(save_masks, image=images[-1], name=images[-1].stem):
        typer.echo(str(path))


def _find_model(model: str, *, device: str) -> tuple[Any, Any]:
    """Load a folder or a Hub id, or build a model of the zoo with its published weights.

    Raises:
        RegistryError: if it is none of these.
    """
    from vlmzoo import build_model, load_model, zoo

    if "/" in model or Path(model).is_dir():
        return load_model(model, device=device)
    names = zoo.list_models()
    if model not in names:
        hint = nearest_hint(model, names)
        raise RegistryError(f"`{model}` is no folder, no Hub id (owner/name) and no model of `vlmzoo list`.{hint}")
    built = build_model(model, pretrained=True, device=device)
    return built, built.processor


def train(config: ConfigArgument, overrides: Overrides = None, dry_run: DryRun = False) -> None:
    """Train the run that a config describes, in this process; for several use the launcher and training/train.py."""
    from vlmzoo.config import load_config

    checked = load_config(config, overrides or [])
    if dry_run:
        from vlmzoo.runs.checking import check_run

        check_run(checked)
        _print_config(checked)
        return
    from vlmzoo.runs import train_run

    train_run(checked)


def sweep(config: ConfigArgument, overrides: Overrides = None, dry_run: DryRun = False) -> None:
    """Train and evaluate several supervisions of one curriculum, and compare them in one table."""
    from vlmzoo.config import SweepConfig, load_config

    checked = load_config(config, overrides or [], schema=SweepConfig)
    from vlmzoo.runs import sweep_run
    from vlmzoo.runs.checking_plans import check_sweep

    check_sweep(checked)  # of all runs, before the first
    if dry_run:
        _print_config(checked)
        return
    sweep_run(checked)


def study(config: ConfigArgument, overrides: Overrides = None, dry_run: DryRun = False) -> None:
    """Train several arms from the same start with several seeds, and compare what they answer."""
    from vlmzoo.config import StudyConfig, load_config

    checked = load_config(config, overrides or [], schema=StudyConfig)
    from vlmzoo.runs import study_run
    from vlmzoo.runs.checking_plans import check_study

    check_study(checked)  # of all runs, before the first
    if dry_run:
        _print_config(checked)
        return
    study_run(checked)


def agent_study(config: ConfigArgument, overrides: Overrides = None, dry_run: DryRun = False) -> None:
    """Train the models of a fast-and-slow agent, and measure it at a glance, always looking, and as it decides."""
    from vlmzoo.config import AgentStudyConfig, load_config

    checked = load_config(config, overrides or [], schema=AgentStudyConfig)
    from vlmzoo.runs import agent_study_run
    from vlmzoo.runs.checking_plans import check_agent_study

    check_agent_study(checked)  # of all runs, before the first
    if dry_run:
        _print_config(checked)
        return
    agent_study_run(checked)


def evaluate(
    config: ConfigArgument,
    overrides: Overrides = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Throw away another model's answers in the folder.")
    ] = False,
    dry_run: DryRun = False,
) -> None:
    """Measure a model on the benchmarks that a config names."""
    from vlmzoo.config import EvalConfig, load_config

    checked = load_config(config, overrides or [], schema=EvalConfig)
    if dry_run:
        from vlmzoo.runs.checking import check_evaluation

        check_evaluation(checked)
        _print_config(checked)
        return
    from vlmzoo.runs import evaluate_run

    evaluate_run(checked, overwrite=overwrite)


def tiny(
    name: NameArgument,
    out: Annotated[Path, typer.Option("--out", "-o", help="A new folder for the miniature.")],
    seed: Annotated[int, typer.Option(help="Of the random weights.")] = 0,
) -> None:
    """Write a random miniature of a model: same topology, same habits, a few megabytes."""
    _refuse_full(out)
    import torch

    from vlmzoo import build_model
    from vlmzoo.checkpoint import save_model
    from vlmzoo.zoo import load_card

    torch.manual_seed(seed)
    card = load_card(name)
    model = build_model(card.miniature(), adapters=card.tiny_adapters)
    typer.echo(str(save_model(model, model.processor, out)))


def export(
    model: ModelArgument,
    out: Annotated[Path, typer.Option("--out", "-o", help="A new folder.")],
    merge: Annotated[bool, typer.Option("--merge", help="Put LoRA and new tokens into the base's weights.")] = False,
    layout: Annotated[
        str | None, typer.Option(help="Write the base under another layout's names, e.g. llava or llava_hf_4.")
    ] = None,
) -> None:
    """Write a model in another form: merged, so that transformers alone reads it, or under the authors' names."""
    _refuse_full(out)
    from vlmzoo import load_model
    from vlmzoo.checkpoint import export_layout, save_model
    from vlmzoo.hub import fetch_model
    from vlmzoo.models.merging import merge_adapters

    folder = Path(model)
    if not folder.is_dir() and _HUB_ID.fullmatch(model):
        folder = fetch_model(model)
    loaded, processor = load_model(folder, dtype=_stored_dtype(folder))
    if merge:
        merge_adapters(loaded)
    written = save_model(loaded, processor, out) if layout is None else export_layout(loaded, processor, out, layout)
    typer.echo(str(written))


def push(
    folder: Annotated[Path, typer.Argument(help="A model's folder, or that of a run.")],
    repo_id: Annotated[str, typer.Argument(help="owner/name on the Hub.")],
    public: Annotated[bool, typer.Option("--public", help="Let everybody see a repository that is made.")] = False,
    revision: Annotated[str | None, typer.Option(help="A branch; made if it is not there.")] = None,
) -> None:
    """Push a model's folder to the Hub, with a model card."""
    from vlmzoo import push_model

    typer.echo(push_model(folder, repo_id, private=not public, revision=revision))


def _stored_dtype(folder: Path) -> str:
    """Return the precision of a folder's weights, which an export keeps; of what is no model `load_model` tells."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return config.get("dtype") or config.get("torch_dtype") or "auto"
    except (OSError, ValueError, AttributeError):
        return "auto"


def _refuse_full(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"`--out` must be a new or empty folder, but `{out}` holds something; choose another.")


def _print_config(config: BaseModel) -> None:
    typer.echo(json.dumps(config.model_dump(mode="json"), indent=2, ensure_ascii=False))
