"""Audit what a configuration describes: load the model, disturb its pathways one by one, print the table."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from rich.console import Console

from vlmzoo.config import AuditConfig, dump_resolved
from vlmzoo.data.json_lines import write_whole
from vlmzoo.evaluation import BENCHMARKS, complete
from vlmzoo.evaluation.audit import Audit, audit_pathways, audit_table
from vlmzoo.evaluation.pathways import PATHWAYS
from vlmzoo.evaluation.pathways.encoder import encoders_of
from vlmzoo.runs.agents import agent_of, ask_agent, evidence_pathways
from vlmzoo.runs.evaluate import progress_by_label
from vlmzoo.runs.folder import RunFolder
from vlmzoo.runs.models import model_of
from vlmzoo.types import Sample

__all__ = ["audit_run"]


def audit_run(config: AuditConfig) -> Audit:
    """Find out which pathways the answers of a model depend on.

    Args:
        config: which model, which questions, which pathways, where to.

    Returns:
        The audit; ``audit.json`` in the folder holds the same.

    Raises:
        ConfigError: if the folder cannot be written to, or the configuration cannot be built.
        CheckpointError: if the model cannot be loaded whole.
    """
    benchmark = BENCHMARKS.build(config.benchmark)
    folder = RunFolder(config.output_dir).ensure()
    model, processor = model_of(config.model, device="cuda" if torch.cuda.is_available() else "cpu")
    agent = None if config.agent is None else agent_of(config.agent, model)
    specs = config.pathways or (
        {f"encoder_{number}": {"number": number} for number in range(len(encoders_of(model)))}
        if agent is None
        else evidence_pathways(agent)
    )
    pathways = {label: _pathway(spec, model, agent) for label, spec in specs.items()}
    dump_resolved(config, folder.root)

    def ask(samples: Sequence[Sample]) -> list[str]:
        said = complete(model, processor, samples, max_new_tokens=benchmark.max_new_tokens)
        return [completion.text for completion in said]

    with progress_by_label() as report:
        audit = audit_pathways(
            ask if agent is None else ask_agent(agent),
            benchmark,
            pathways,
            kinds=config.kinds,
            batch_size=config.batch_size,
            seed=config.seed,
            report=report,
        )
    found: dict[str, Any] = {"benchmark": dict(benchmark.identity), **audit.to_dict()}
    write_whole(folder.root / "audit.json", json.dumps(found, indent=2) + "\n")
    Console().print(audit_table(audit, title=str(folder.root)))
    return audit


def _pathway(spec: Mapping[str, Any], model: Any, agent: Any) -> Any:
    """Build a pathway: of the model's own encoders, or of what its agent shows."""
    whole = {"type": "encoder", **spec}
    is_of_model = agent is None or whole["type"] in ("encoder", "image")
    return PATHWAYS.build(whole, subject=model if is_of_model else agent)
