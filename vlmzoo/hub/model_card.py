"""The model card: what the Hub shows of a model, its metadata included, and what nobody measured or wrote down."""

import hashlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from vlmzoo.data.json_lines import write_whole
from vlmzoo.errors import CheckpointError, ConfigError
from vlmzoo.hub.card_facts import CardFacts, MeasuredScore, collect_facts
from vlmzoo.hub.files import CARD

__all__ = ["is_generated", "make_model_card", "write_card"]

_TASK = "image-text-to-text"
_MARK = "<!-- vlmzoo card {digest}: the next push writes it anew, unless it was edited -->"
_MARKED = re.compile(r"\n?" + re.escape(_MARK).replace(r"\{digest\}", "([0-9a-f]{16})") + r"\n?")
_HUB_LICENCES = {  # as people and papers write them: as the Hub does
    "apache license 2.0": "apache-2.0",
    "bsd-3-clause license": "bsd-3-clause",
    "cc by-nc 4.0": "cc-by-nc-4.0",
    "cc by 4.0": "cc-by-4.0",
    "llama 2 community license": "llama2",
    "meta llama 3 community license": "llama3",
    "mit license": "mit",
}
_HUB_LICENCE_IDS = {
    *_HUB_LICENCES.values(),
    *("afl-3.0", "agpl-3.0", "bsd-2-clause", "bsd-3-clause-clear", "cc0-1.0", "cc-by-nc-nd-4.0", "cc-by-nc-sa-4.0"),
    *("cc-by-sa-4.0", "gemma", "gpl-2.0", "gpl-3.0", "lgpl-3.0", "llama3.1", "llama3.2", "llama3.3", "mpl-2.0"),
    *("openrail", "unlicense", "unknown"),
}


def make_model_card(
    folder: str | Path, *, repo_id: str, licence: str | None = None, datasets: Sequence[str] | None = None
) -> ModelCard:
    """Write a card from what a model's folder and its run say.

    Read are ``vlmzoo.json``, ``config.json`` and, of the run, ``config.resolved.json`` and ``report.json``. What none
    of them says is said to be unknown.

    Args:
        folder: of a model.
        repo_id: where the model will be.
        licence: of these weights, as the Hub or their licence calls it; None takes what ``vlmzoo.json`` states.
        datasets: ids on the Hub of what it learnt from; None takes those that the run's configuration names.

    Returns:
        A card that the same folder gives again to the letter.
    """
    facts = collect_facts(
        Path(folder), repo_id=repo_id, licence=licence, datasets=None if datasets is None else list(datasets)
    )
    sections = (_introduction, _use, _origin, _training, _measurements, _limits)
    body = "\n\n".join(text for section in sections if (text := section(facts)))
    text = str(ModelCard(f"---\n{_metadata(facts).to_yaml()}\n---\n\n{body}\n"))  # in the order that it is read back
    return ModelCard(f"{text}\n{_MARK.format(digest=_digest(text))}\n")


def is_generated(text: str) -> bool:
    """Say whether a card was written by this library and not edited since."""
    text = text.replace("\r\n", "\n")
    found = _MARKED.search(text)
    return found is not None and found[1] == _digest(text[: found.start()] + text[found.end() :])


def write_card(folder: Path, *, repo_id: str, card: str | ModelCard | None = None) -> Path:
    """Write README.md into a model's folder, unless a person wrote the one that is there.

    Args:
        folder: of a model.
        repo_id: where the model will be.
        card: its text; None makes one.

    Raises:
        ConfigError: if a card is given and a person wrote the one that is there.
        CheckpointError: if it cannot be written.
    """
    path = folder / CARD
    is_ours = not path.exists() or is_generated(path.read_text(encoding="utf-8"))
    if card is None and not is_ours:
        return path
    if not is_ours and str(card) != path.read_text(encoding="utf-8"):
        raise ConfigError(f"`card` must be left out, as a person wrote `{path}`; leave it out, or delete that file.")
    try:
        return write_whole(path, str(card) if card is not None else str(make_model_card(folder, repo_id=repo_id)))
    except OSError as error:
        raise CheckpointError(f"`{path}` cannot be written ({error}); copy the folder to a place that can.") from error


def _digest(text: str) -> str:
    return hashlib.sha256(text.strip().encode()).hexdigest()[:16]


def _metadata(facts: CardFacts) -> ModelCardData:
    licence, licence_name = _hub_licence(facts.licence)
    bases = [id for id, _ in facts.bases]
    return ModelCardData(
        license=licence,
        license_name=licence_name,
        library_name="vlmzoo",
        pipeline_tag=_TASK,
        base_model=(bases[0] if len(bases) == 1 else bases) or None,
        base_model_relation=facts.relation,
        datasets=facts.datasets or None,
        tags=["vlmzoo", "vision-language", *facts.adapters],
        model_name=facts.name,
        eval_results=[_eval_result(score) for score in facts.scores] or None,
    )


def _hub_licence(stated: str | None) -> tuple[str, str | None]:
    """Return the Hub's id of a licence and, if the Hub has none for it, its name."""
    if stated is None:
        return "unknown", None
    plain = stated.strip().lower()
    plain = _HUB_LICENCES.get(plain, plain)
    return (plain, None) if plain in _HUB_LICENCE_IDS else ("other", re.sub(r"[^a-z0-9.]+", "-", plain).strip("-"))


def _eval_result(score: MeasuredScore) -> EvalResult:
    return EvalResult(
        task_type=_TASK,
        dataset_type=score.benchmark,
        dataset_name=score.benchmark,
        metric_type=score.name,
        metric_name=f"{score.name} ({_interval(score)})",
        metric_value=score.mean,
    )


def _interval(score: MeasuredScore) -> str:
    known = [] if score.low is None or score.high is None else [f"95 % interval {score.low:.3f} to {score.high:.3f}"]
    known += [] if score.num is None else [f"{score.num:,} questions"]
    return ", ".join(known) or "interval unknown"


def _introduction(facts: CardFacts) -> str:
    made_with = " ".join(["vlmzoo", facts.versions.get("vlmzoo", "")]).strip()
    built = f"`{facts.architecture}`" if facts.architecture else "A vision-language model"
    adapters = f" with the adapters {_listed(facts.adapters)}" if facts.adapters else ""
    return (
        f"# {facts.name}\n\n{built}{adapters}, made with {made_with}. This card was written from the files of the run."
    )


def _use(facts: CardFacts) -> str:
    return f"""## Use

```python
from vlmzoo import load_model
from vlmzoo.data.images import load_image

model, processor = load_model("{facts.repo_id}")
content = [{{"type": "image", "image": load_image("picture.png")}}, {{"type": "text", "text": "What is this?"}}]
inputs = processor.apply_chat_template(
    [{{"role": "user", "content": content}}],
    add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt",
)
print(processor.batch_decode(model.generate(**inputs, max_new_tokens=64))[0])
```"""


def _origin(facts: CardFacts) -> str:
    lines = [f"- **Base:** {_base_text(facts)}", f"- **Licence:** {facts.licence or 'unknown; nobody stated one.'}"]
    if facts.zoo_card is not None:
        terms = facts.zoo_card.licence
        paper = facts.zoo_card.paper
        lines.append(f"- **Terms of the base:** weights: {terms.weights}; what they were trained from: {terms.base}")
        lines.append(
            f"- **Paper of the base:** {paper.title}, [arXiv:{paper.arxiv}](https://arxiv.org/abs/{paper.arxiv})"
        )
    return "## Origin\n\n" + "\n".join(lines)


def _base_text(facts: CardFacts) -> str:
    if facts.is_from_scratch:
        return "none; training began with random weights."
    if not facts.bases:
        return "unknown."
    shown = [
        f"[{id}](https://huggingface.co/{id})" + (f" at `{revision}`" if revision else "")
        for id, revision in facts.bases
    ]
    how = {
        "adapter": "; only what was attached to it is here",
        "finetune": "; its weights were trained further and are here",
        "quantized": "; its weights are here in lower precision",
        "merge": "; their weights were merged and are here",
    }
    return ", ".join(shown) + how.get(facts.relation or "", "") + "."


def _training(facts: CardFacts) -> str:
    sources = f"Sources of the data: {', '.join(facts.sources)}." if facts.sources else "The training data is unknown."
    rows = [f"| {name} | {value} |" for name, value in facts.training.items()]
    table = "\n".join(["| | |", "|---|---|", *rows]) if rows else "How it was trained is unknown."
    versions = [f"{name} {version}" for name, version in facts.versions.items()]
    commit = [f"commit {facts.commit[:12]}"] if facts.commit else []
    made_by = f"Made with {', '.join([*versions, *commit])}." if versions or commit else ""
    return "\n\n".join(part for part in ("## Training", sources, table, made_by) if part)


def _measurements(facts: CardFacts) -> str:
    if not facts.scores:
        return "## Measured\n\nNothing: no report of an evaluation lay beside the model."
    rows = [f"| {s.benchmark} | {s.name} | {s.mean:.3f} | {_interval(s)} |" for s in facts.scores]
    return "\n".join(["## Measured", "", "| benchmark | score | mean | how sure |", "|---|---|---|---|", *rows])


def _limits(facts: CardFacts) -> str:
    lines = [*facts.notes]
    if facts.scores:
        benchmarks = _listed(dict.fromkeys(score.benchmark for score in facts.scores))
        lines.append(f"Measured: {benchmarks}. Other tasks, languages and kinds of picture were not measured.")
        lines.append("The intervals come from the questions; another training run was not measured.")
    lines += [f"`{name}` came out as no number." for name in facts.unmeasured]
    lines.append("Safety, bias and the truth of what it says about people were not measured.")
    if facts.zoo_card is not None and facts.zoo_card.parity != "verified":
        lines.append(
            "The base was compared with its authors' code by names and shapes of tensors only, not by outputs."
        )
    return "## Limits\n\n" + "\n".join(f"- {line}" for line in lines)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
