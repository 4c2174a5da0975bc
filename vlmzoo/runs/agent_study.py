"""A study of a fast-and-slow agent: its models are trained stage by stage, then it answers about drawn rooms."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from vlmzoo.agents.fast_slow import Answer, FastSlow, FastSlowOptions
from vlmzoo.agents.picture_strip import picture_strip
from vlmzoo.config import AgentStudyConfig, ArmConfig, RunConfig, load_config
from vlmzoo.data.hidden_glyphs import Room, RoomRules, Size, draw_room
from vlmzoo.data.json_lines import JsonLinesWriter, read_json_lines, write_whole
from vlmzoo.data.sources.hidden_glyphs import question_of, room_options
from vlmzoo.data.synthetic._draws import Draws
from vlmzoo.errors import ConfigError
from vlmzoo.geometry import iou
from vlmzoo.hub import load_model
from vlmzoo.runs.agent_summary import AgentSummary, summarise_agent
from vlmzoo.runs.folder import RunFolder
from vlmzoo.runs.series import is_done, tell
from vlmzoo.runs.train import train_run

__all__ = ["agent_study_run", "plan_agent_study"]

_STAGES = ("switch", "search")
_SIZES: tuple[Size, ...] = ("tiny", "large")


@dataclass(frozen=True, kw_only=True)
class _Stage:
    """One training of one seed."""

    name: str
    seed: int
    config: RunConfig

    @property
    def final(self) -> Path:
        return RunFolder(self.config.output_dir).final


def plan_agent_study(config: AgentStudyConfig) -> list[_Stage]:
    """Turn a study into its trainings, seed by seed.

    Raises:
        ConfigError: if a stage is missing or unknown, a run cannot be read, or a seed comes twice.
    """
    if set(config.stages) != set(_STAGES):
        raise ConfigError(f"`stages` must be {' and '.join(_STAGES)}, but are {', '.join(config.stages)} instead.")
    if len(set(config.seeds)) < len(config.seeds):
        raise ConfigError(f"`seeds` must name each once, but is {config.seeds} instead.")
    RoomRules(**config.rooms)
    return [_stage(config, name, config.stages[name], seed) for seed in config.seeds for name in _STAGES]


def agent_study_run(config: AgentStudyConfig) -> AgentSummary | None:
    """Train all stages and measure the agent; killed and run again, it goes on.

    The summary is written anew after each seed.

    Args:
        config: of the study.

    Returns:
        The summary; None if the study was asked to stop before its end.

    Raises:
        ConfigError: if something of it cannot be built; before the first run.
    """
    stages = plan_agent_study(config)
    root = RunFolder(config.output_dir).ensure().root
    rows: dict[int, list[dict[str, Any]]] = {}
    summary = None
    for seed in config.seeds:
        own = {stage.name: stage for stage in stages if stage.seed == seed}
        for stage in own.values():
            tell(f"seed {seed}: {stage.name}")
            if not is_done(stage.config) and not train_run(stage.config).summary:
                tell("Stopped; the same command goes on from there.")
                return None
        tell(f"seed {seed}: questions")
        rows[seed] = _measured(config, seed, own, root)
        summary = summarise_agent(config, rows)
        summary.write(root)
    if summary is not None:
        Console().print(summary.table())
        if config.publish is not None:
            place = Path(config.publish)
            write_whole(place, summary.markdown(pictures=place.stem))
            summary.draw(place.with_name(f"{place.stem}.png"))
            strip = root / f"strip-seed{config.seeds[0]}.png"
            if strip.is_file():
                place.with_name(f"{place.stem}-strip.png").write_bytes(strip.read_bytes())
    return summary


def _stage(config: AgentStudyConfig, name: str, arm: ArmConfig, seed: int) -> _Stage:
    run = load_config(arm.run, arm.overrides)
    changed = {
        "seed": seed,
        "output_dir": str(Path(config.output_dir) / name / f"seed{seed}"),
        "title": f"{config.title or Path(config.output_dir).name}: {name}, seed {seed}",
    }
    return _Stage(name=name, seed=seed, config=run.model_copy(update=changed))


def _measured(config: AgentStudyConfig, seed: int, stages: Mapping[str, _Stage], root: Path) -> list[dict[str, Any]]:
    """Return a row for each room, from the file as far as they are there."""
    path = root / f"answers-seed{seed}.jsonl"
    origin = _origin(config, stages)
    known = [row for row in read_json_lines(path) if row["origin"] == origin]
    done = {(row["size"], row["index"]): row for row in known}
    left: list[tuple[Size, int]] = [
        (size, index) for size in _SIZES for index in range(config.num_rooms) if (size, index) not in done
    ]
    if left:
        agents = _agents(config, stages)
        if not known:
            path.unlink(missing_ok=True)
        with JsonLinesWriter(path) as writer:
            for number, (row, answer) in enumerate(_rows(config, agents, left)):
                done[row["size"], row["index"]] = {**row, "origin": origin}
                writer.write(done[row["size"], row["index"]])
                if number == 0:
                    _show(answer, root, seed)
                if (number + 1) % 50 == 0:
                    tell(f"{number + 1}/{len(left)} rooms")
    return [done[size, index] for size in _SIZES for index in range(config.num_rooms)]


def _origin(config: AgentStudyConfig, stages: Mapping[str, _Stage]) -> str:
    """Tell what answers depend on, so that those of another configuration are not taken for done."""
    told = {name: stage.config.model_dump(mode="json") for name, stage in stages.items()}
    own = config.model_dump(mode="json", include={"rooms", "room_seed", "vstar", "with_random_order"})
    return json.dumps([own, told], sort_keys=True)


def _agents(config: AgentStudyConfig, stages: Mapping[str, _Stage]) -> dict[str, FastSlow]:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    switch, _ = load_model(str(stages["switch"].final), device=device)
    search, _ = load_model(str(stages["search"].final), device=device)

    def agent(decide: Any, **options: Any) -> FastSlow:
        proposer = {"type": "vstar", "model": search, **config.vstar, **options}
        return FastSlow(switch, proposer=proposer, options=FastSlowOptions(decide=decide, max_new_tokens=48))

    agents = {"fast": agent("fast"), "slow": agent("slow")}
    if config.with_random_order:
        agents["random"] = agent("slow", order="random")
    return agents


def _rows(
    config: AgentStudyConfig, agents: Mapping[str, FastSlow], places: list[tuple[Size, int]]
) -> Iterator[tuple[dict[str, Any], Answer]]:
    rules = RoomRules(**config.rooms)
    for size, index in places:
        room = draw_room(rules, size, seed=config.room_seed, index=index)
        options = room_options(room, Draws("options", config.room_seed, size, index))
        asked = [mode for mode in agents if mode != "random" or size == "tiny"]
        picture = room.picture()
        answers = {mode: agents[mode].answer(picture, question_of(room), options=options) for mode in asked}
        yield _row(room, size, index, answers), answers["slow"]


def _row(room: Room, size: Size, index: int, answers: Mapping[str, Answer]) -> dict[str, Any]:
    glance = answers["fast"].trace.steps[0]
    row: dict[str, Any] = {
        "size": size,
        "index": index,
        "gold": room.target.color,
        "is_refused": answers["fast"].is_low_confidence,
        "glance": glance.said,
        "confidence": 0.0 if answers["fast"].is_low_confidence else glance.detail["confidence"],
    }
    for mode, answer in answers.items():
        row[mode] = {
            "text": answer.text,
            "score": float(answer.text == room.target.color),
            "cost": answer.trace.cost.to_dict(),
            **(_search(answer, room) if mode != "fast" else {}),
        }
    return row


def _search(answer: Answer, room: Room) -> dict[str, Any]:
    """Tell how the search went: patches, and the overlap of the first box with the target's."""
    searches = answer.trace.searches
    found = [one.box for one in answer.evidence if one.box is not None]
    here = room.box.to(room.frame)
    overlap = 0.0
    if found:
        own = found[0]
        overlap = iou(type(own).from_xyxy(own.xyxy, frame=room.frame), here)
    return {
        "num_patches": sum(len(search.visits) for search in searches),
        "path_length": sum(search.path_length for search in searches),
        "is_hit": any(search.is_hit for search in searches),
        "iou": overlap,
    }


def _show(answer: Answer, root: Path, seed: int) -> None:
    """Write the strip of a search and the page of its answer."""
    write_whole(root / f"trace-seed{seed}.html", answer.trace.to_html())
    if answer.trace.searches and answer.trace.picture is not None:
        picture_strip(answer.trace.picture, answer.trace.searches[0]).save(root / f"strip-seed{seed}.png")
