"""A run of any size, in small: the model's miniature, the source's smallest example, two steps."""

from typing import Any

from vlmzoo.adapters import ADAPTERS
from vlmzoo.config import RunConfig
from vlmzoo.data.sources import SOURCES
from vlmzoo.experience import EXPERIENCES
from vlmzoo.zoo import laid_over, load_card

__all__ = ["in_small"]

_FOR_FOLDERS = "eagle-x2-llama3-8b"  # stands for a model that an earlier run left behind
_ON_DISK = ("path", "folder", "repo", "root")


def in_small(config: RunConfig, *, output_dir: str) -> RunConfig:
    """Return the same run with all that is large made small, and nothing that must be downloaded."""
    values = config.model_dump()
    values["model"] = _model(values["model"])
    values["experience"] = _experience(values["experience"])
    changed = {"num_steps": 2, "micro_batch_size": 2, "accumulation_steps": 1, "deepspeed": "zero0"}
    if values["experience"]["type"] == "curriculum":
        changed["accumulation_steps"] = 3  # its 12 presentations in 2 steps
    if values["experience"]["type"] == "rollouts":
        changed["accumulation_steps"] = 2  # a batch of its 4 completions serves one update, as some objectives ask
    quiet = {"evaluation": {}, "report_to": [], "samples_every": 0, "hub": None, "output_dir": output_dir}
    return RunConfig.model_validate({**values, **changed, **quiet})


def _experience(experience: dict[str, Any]) -> dict[str, Any]:
    if experience["type"] == "rollouts":
        few = {"num_prompts": 2, "num_rollouts": 2, "prompts": {}, "engine": {"type": "in_process"}}
        return {**_small_sources(experience), **few, "sampling": {**experience["sampling"], "max_new_tokens": 4}}
    if experience["type"] == "online_pairs":
        tiny = EXPERIENCES.entry("online_pairs").tiny
        few = {
            "num_prompts": 2,
            "num_rollouts": 2,
            "prompts": {},
            "engine": None,
            "judge": tiny["judge"],
            "ledger": None,
        }
        few |= {"selection": {"type": "ovip_code"}, "sampling": {**experience["sampling"], "max_new_tokens": 4}}
        if experience.get("images") is not None:  # a miniature names no icon, so pictures are altered
            few |= {"describer": {"type": "rejected_answer"}, "images": {"type": "altered", "kind": "noise"}}
        return {**_small_sources(experience), **few}
    if experience["type"] != "curriculum":
        return {**_small_sources(experience), "num_workers": 0}
    tasks = EXPERIENCES.entry("curriculum").tiny["tasks"]
    tasks = {**tasks, "medium": {**tasks["hard"], "level": "medium"}}
    return {**experience, "budget": 12, "align_budget": 12, "tasks": tasks, "max_tokens": None, "num_workers": 0}


def _model(model: dict[str, Any]) -> dict[str, Any]:
    model = {
        **model,
        "adapters": [_adapter(one) for one in model["adapters"]],
        "parts": {},
        "pretrained": False,
        "path": None,
        "revision": None,
        "dtype": "float32",
        "attn_implementation": None,
    }
    if model["name"] is None and model["architecture"] is not None:
        return model
    card = load_card(model["name"] or _FOR_FOLDERS)
    small = card.miniature()
    if model["name"] is not None and model["architecture"] is None:
        model["adapters"] = [*card.tiny_adapters, *model["adapters"]]
    given = model["architecture"] or {}
    if "encoders" in given:  # fewer of them
        kinds = [spec["type"] for spec in given["encoders"]]
        small["encoders"] = [spec for spec in small["encoders"] if spec["type"] in kinds]
        small["image_size"] = small["processor"]["image"]["size"]
    small["processor"] = laid_over(small["processor"], _processor(given.get("processor", {}), small["processor"]))
    return {**model, "name": None, "architecture": small}


def _processor(given: dict[str, Any], small: dict[str, Any]) -> dict[str, Any]:
    """Return what a run changes in its card's processor, but for the tokenizer and for sizes, which are the model's."""
    changed = {name: value for name, value in given.items() if name != "tokenizer"}
    if "image" in changed:
        changed["image"] = {name: value for name, value in changed["image"].items() if name != "size"}
    if "pixels" in changed:
        changed["pixels"] = {name: min(value, small["pixels"]["max"]) for name, value in changed["pixels"].items()}
    return changed


def _adapter(adapter: str | dict[str, Any]) -> str | dict[str, Any]:
    """Return an adapter; one that reads weights is replaced by its smallest example."""
    spec = {"type": adapter} if isinstance(adapter, str) else adapter
    entry = ADAPTERS.entry(spec["type"])
    return adapter if spec["type"] == "lora" else {"type": entry.name, **entry.tiny}


def _small_sources(node: Any) -> Any:
    """Replace every source that lies on disk, however deep it stands, by the smallest example of its kind."""
    if isinstance(node, list):
        return [_small_sources(inner) for inner in node]
    if not isinstance(node, dict):
        return node
    if node.get("type") in SOURCES and any(name in node for name in _ON_DISK):
        kept = {"teach": node["teach"]} if "teach" in node else {}
        return {"type": node["type"], **SOURCES.entry(node["type"]).tiny, **kept}
    return {name: _small_sources(inner) for name, inner in node.items()}
