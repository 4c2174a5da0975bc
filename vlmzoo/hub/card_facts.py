"""What is known of a model's folder and of the run that made it; what nobody wrote down stays unknown."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vlmzoo.hub.faults import is_hub_id
from vlmzoo.hub.files import CONFIG, MANIFEST, has_base_weights, read_bases, read_json
from vlmzoo.zoo import Card, list_models, load_card

__all__ = ["CardFacts", "MeasuredScore", "collect_facts"]

_RUN_CONFIG, _RUN_REPORT = "config.resolved.json", "report.json"


@dataclass(frozen=True)
class MeasuredScore:
    """One score of one benchmark.

    Args:
        benchmark: its label in the run.
        name: of the score.
        mean: over the questions.
        low: lower end of the interval; None if it is not known.
        high: upper end of the interval; None if it is not known.
        num: how many questions; None if it is not known.
    """

    benchmark: str
    name: str
    mean: float
    low: float | None
    high: float | None
    num: int | None


@dataclass(frozen=True, kw_only=True)
class CardFacts:
    """All that a model card says.

    Args:
        repo_id: where the model will be.
        architecture: as ``config.json`` names it.
        bases: ids on the Hub of what it was made from, with revisions.
        relation: ``adapter``, ``finetune``, ``merge`` or ``quantized``, as the Hub has them.
        is_from_scratch: whether training began with random weights.
        adapters: what is bolted on the base.
        zoo_card: what the zoo knows of the base.
        licence: as somebody stated it.
        datasets: ids on the Hub.
        sources: what it learnt from, as people read it.
        training: figures of the run by name.
        scores: what was measured.
        unmeasured: scores that came out as no number.
        notes: what the run's configuration says a reader must know.
        seed: of the run.
        versions: of what made it.
        commit: of the code that made it.
    """

    repo_id: str
    architecture: str | None = None
    bases: list[tuple[str, str | None]] = field(default_factory=list)
    relation: str | None = None
    is_from_scratch: bool = False
    adapters: list[str] = field(default_factory=list)
    zoo_card: Card | None = None
    licence: str | None = None
    datasets: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    training: dict[str, str] = field(default_factory=dict)
    scores: list[MeasuredScore] = field(default_factory=list)
    unmeasured: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seed: int | None = None
    versions: dict[str, str] = field(default_factory=dict)
    commit: str | None = None

    @property
    def name(self) -> str:
        """The model's name without its owner."""
        return self.repo_id.rsplit("/", 1)[-1]


def collect_facts(
    folder: Path, *, repo_id: str, licence: str | None = None, datasets: list[str] | None = None
) -> CardFacts:
    """Read what the folder and its run say.

    Args:
        folder: of a model; its run's files are looked for above it, if it is called ``final`` or stands in
            ``checkpoints``.
        repo_id: where the model will be.
        licence: of the weights; None takes what ``vlmzoo.json`` states, if anything.
        datasets: ids on the Hub; None takes those that the run's configuration names.
    """
    manifest, config = read_json(folder / MANIFEST), read_json(folder / CONFIG)
    run = _run_folder(folder)
    resolved, report = read_json(run / _RUN_CONFIG), read_json(run / _RUN_REPORT)
    run_config = _mapping(resolved.get("config"))
    bases, zoo_card = _bases(manifest, run_config, folder)
    scores, unmeasured = _scores(_mapping(report.get("scores")))
    sources = list(_sources(_mapping(run_config.get("experience"))))
    return CardFacts(
        repo_id=repo_id,
        architecture=_architecture(config),
        bases=bases,
        relation=_relation(folder, config, bases),
        is_from_scratch=not bases and _is_from_scratch(run_config),
        adapters=_adapters(manifest, folder),
        zoo_card=zoo_card,
        licence=licence or _text(manifest.get("licence")) or _text(manifest.get("license")),
        datasets=datasets if datasets is not None else sorted({id for source in sources for id in _hub_ids(source)}),
        sources=list(dict.fromkeys(_source_text(source) for source in sources)),
        training=_training(run_config, report),
        scores=scores,
        unmeasured=unmeasured,
        notes=[note for note in report.get("notes") or run_config.get("notes") or [] if isinstance(note, str)],
        seed=run_config.get("seed"),
        versions=dict(_mapping(resolved.get("versions"))) or _manifest_version(manifest),
        commit=_text(resolved.get("commit")),
    )


def _run_folder(folder: Path) -> Path:
    """Return the folder of the run that a model's folder belongs to; the folder itself if to none."""
    folder = folder.absolute()
    if folder.name == "final":
        return folder.parent
    return folder.parent.parent if folder.parent.name == "checkpoints" else folder


def _bases(
    manifest: Mapping[str, Any], run_config: Mapping[str, Any], folder: Path
) -> tuple[list[tuple[str, str | None]], Card | None]:
    """Return what the model was made from, from the first place that says so, and what the zoo knows of it."""
    model = _mapping(run_config.get("model"))
    started_from = [(model[key], model.get("revision")) for key in ("path", "name") if isinstance(model.get(key), str)]
    if not model.get("path") and not model.get("pretrained"):
        started_from = []
    lora = read_json(folder / "lora" / "adapter_config.json").get("base_model_name_or_path")
    for candidates in (read_bases(manifest), started_from, [(lora, None)] if isinstance(lora, str) else []):
        bases = [_on_hub(id, revision) for id, revision in candidates]
        bases = [(id, revision) for id, revision in bases if is_hub_id(id) and not Path(id).exists()]
        if bases:
            cards = (load_card(name) for name in list_models())
            return bases, next((card for card in cards if card.weights.repo == bases[0][0]), None)
    return [], None


def _on_hub(id: str, revision: str | None) -> tuple[str, str | None]:
    """Return where the weights of a model of the zoo lie; anything else is taken for what it is."""
    if id not in list_models():
        return id, revision
    weights = load_card(id).weights
    return weights.repo or id, revision or weights.revision


def _relation(folder: Path, config: Mapping[str, Any], bases: list[tuple[str, str | None]]) -> str | None:
    if not bases:
        return None
    if not has_base_weights(path.name for path in folder.iterdir()):
        return "adapter"
    if config.get("quantization_config"):
        return "quantized"
    return "merge" if len(bases) > 1 else "finetune"


def _is_from_scratch(run_config: Mapping[str, Any]) -> bool:
    """Say whether the run's configuration asks for random weights; a path asks for those of somebody's folder."""
    model = _mapping(run_config.get("model"))
    return bool(model) and model.get("path") is None and not (model.get("name") and model.get("pretrained"))


def _adapters(manifest: Mapping[str, Any], folder: Path) -> list[str]:
    named = manifest.get("adapters")
    specs = [spec or label for label, spec in named.items()] if isinstance(named, Mapping) else named or []
    names = [spec.get("type") or spec.get("name") if isinstance(spec, Mapping) else spec for spec in specs]
    found = [name for name in names if isinstance(name, str)]
    return found if found or not (folder / "lora").is_dir() else ["lora"]


def _architecture(config: Mapping[str, Any]) -> str | None:
    architectures = config.get("architectures")
    return architectures[0] if isinstance(architectures, list) and architectures else _text(config.get("model_type"))


def _sources(spec: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Iterate over the data sources of an experience, those within mixtures too."""
    for key in ("source", "sources"):
        found = spec.get(key)
        for source in found if isinstance(found, list) else [found]:
            if isinstance(source, Mapping):
                inner = list(_sources(source))
                yield from inner or [source]


def _hub_ids(source: Mapping[str, Any]) -> list[str]:
    return [source[key] for key in ("repo", "repo_id", "dataset") if is_hub_id(source.get(key))]


def _source_text(source: Mapping[str, Any]) -> str:
    """Describe a source without the places of files, which concern nobody else."""
    task = _mapping(source.get("task")).get("type")
    of = [f"`{task}`"] if task else [f"`{id}`" for id in _hub_ids(source)]
    return f"`{source.get('type', 'unnamed')}`" + (f" of {', '.join(of)}" if of else "")


def _scores(scores: Mapping[str, Any]) -> tuple[list[MeasuredScore], list[str]]:
    measured, unmeasured = [], []
    for benchmark, values in scores.items():
        for name, value in _mapping(values).items():
            entry = _mapping(value) or {"mean": value}
            mean = _number(entry.get("mean"))
            if mean is None:
                unmeasured.append(f"{benchmark} {name}")
                continue
            low, high, num = (_number(entry.get(key)) for key in ("low", "high", "num"))
            measured.append(MeasuredScore(benchmark, name, mean, low, high, None if num is None else int(num)))
    return measured, unmeasured


def _training(run_config: Mapping[str, Any], report: Mapping[str, Any]) -> dict[str, str]:
    """Return the figures of a run that readers ask for, as far as they are known."""
    optim = _mapping(run_config.get("optim"))
    known = {
        "objective": _mapping(run_config.get("objective")).get("type"),
        "steps": run_config.get("num_steps"),
        "sequences a micro-batch": run_config.get("micro_batch_size"),
        "micro-batches a step": run_config.get("accumulation_steps"),
        "peak learning rate": optim.get("learning_rate"),
        "seed": run_config.get("seed"),
        "parameters": report.get("parameters"),
        "seconds of training": report.get("train_seconds"),
    }
    return {
        name: f"{value:,}" if type(value) is int else str(value) for name, value in known.items() if value is not None
    }


def _manifest_version(manifest: Mapping[str, Any]) -> dict[str, str]:
    version = _text(manifest.get("vlmzoo_version"))
    return {"vlmzoo": version} if version else {}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _number(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if is_number else None
