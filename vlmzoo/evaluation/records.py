"""The file of generations: one line a question, resumable, and never a mixture of two models or benchmarks."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlmzoo.data.conversations import text_of
from vlmzoo.data.json_lines import read_json_lines, write_whole
from vlmzoo.errors import DataError
from vlmzoo.evaluation.generation import Completion
from vlmzoo.scoring import Score
from vlmzoo.types import Sample

if TYPE_CHECKING:
    from transformers import PreTrainedModel, ProcessorMixin

__all__ = ["Generation", "claim_folder", "generation_of", "model_digest", "read_generations"]

_SAMPLED_VALUES = 64  # of each tensor: training moves them all, so a few tell two models apart
_VOLATILE = ("_name_or_path", "transformers_version")  # where a model lies and who wrote it, not what it is


@dataclass(frozen=True, kw_only=True)
class Generation:
    """One question, what the model said to it, and what that was worth.

    Args:
        id: of the question.
        prompt: as people read it.
        completion: what the model said, without special tokens.
        reference: what the scores compared it with.
        scores: by name.
        num_prompt_tokens: with the visual tokens, without padding.
        num_completion_tokens: with the end of sequence.
        finished: whether the end of sequence came before the limit.
        meta: the sample's.
    """

    id: str
    prompt: str
    completion: str
    reference: Any
    scores: Mapping[str, float]
    num_prompt_tokens: int
    num_completion_tokens: int
    finished: bool
    meta: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the line of ``generations.jsonl``."""
        return asdict(self)


def generation_of(sample: Sample, completion: Completion, scores: Mapping[str, Score]) -> Generation:
    """Score what a model said to a question."""
    return Generation(
        id=sample.id,
        prompt=text_of(sample.messages),
        completion=completion.text,
        reference=sample.reference,
        scores={name: float(score(completion.text, sample.reference)) for name, score in scores.items()},
        num_prompt_tokens=completion.num_prompt_tokens,
        num_completion_tokens=completion.num_completion_tokens,
        finished=completion.finished,
        meta=dict(sample.meta),
    )


def read_generations(path: Path) -> list[Generation]:
    """Return the generations of a file, in its order; none if it does not exist, and none for a torn last line.

    Raises:
        DataError: if a line is not a generation.
    """
    rows = read_json_lines(path)
    try:
        return [Generation(**row) for row in rows]
    except TypeError as error:
        raise DataError(f"`{path}` must hold generations, but {error} instead; delete it to start anew.") from error


def claim_folder(folder: Path, *, identity: Mapping[str, Any], overwrite: bool) -> Path:
    """Return the path of ``generations.jsonl``, after making sure that what it holds was made in the same way.

    Args:
        folder: made if need be; ``generations.meta.json`` in it says what the generations were made with.
        identity: of the model and the benchmark, as JSON values.
        overwrite: whether generations made otherwise are thrown away.

    Raises:
        DataError: if the generations there were made otherwise, and ``overwrite`` is false.
    """
    path, meta_path = folder / "generations.jsonl", folder / "generations.meta.json"
    identity = json.loads(json.dumps(identity))  # as it will be read back
    known = json.loads(meta_path.read_text(encoding="utf-8")) if meta_path.exists() else None
    if path.exists() and known != identity:
        if not overwrite:
            raise DataError(_other_origin(path, known or {}, identity))
        path.unlink()
    write_whole(meta_path, json.dumps(identity, indent=2) + "\n")
    return path


def model_digest(model: "PreTrainedModel", processor: "ProcessorMixin") -> str:
    """Return a short digest of weights, configuration and chat template: another model, another digest.

    Of each tensor at most 64 values are read, spread evenly, so that it takes moments at any size.
    """
    config = {name: value for name, value in model.config.to_dict().items() if name not in _VOLATILE}
    described = {"config": config, "chat_template": getattr(processor, "chat_template", None)}
    digest = hashlib.sha256(json.dumps(described, sort_keys=True, default=str).encode())
    for name, tensor in model.state_dict().items():
        flat = tensor.detach().reshape(-1)
        values = flat[:: max(1, flat.numel() // _SAMPLED_VALUES)].double().cpu().numpy()
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()[:16]


def _other_origin(path: Path, known: Mapping[str, Any], identity: Mapping[str, Any]) -> str:
    differing = [name for name in identity if known.get(name) != identity[name]]
    parts = "; ".join(f"`{name}` was {known.get(name)!r} and is {identity[name]!r}" for name in differing)
    return (
        f"`{path}` must have been made by this model on this benchmark, but {parts or 'says nothing of its origin'} "
        "instead; give another output folder, delete that file, or pass `overwrite=True`."
    )
