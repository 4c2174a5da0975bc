"""Multi-image preference pairs after MIA-DPO: asked, answered, selected and written, shard by shard.

Source: MIA-DPO, arXiv:2410.17637, sections 3.1 to 3.3.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from vlmzoo.config.studies import MiaConfig
from vlmzoo.data.conversations import words_of
from vlmzoo.data.images import load_image
from vlmzoo.data.json_lines import write_whole
from vlmzoo.data.mia.building import MiaBuilder, MiaItem, MiaPlan
from vlmzoo.data.mia.corruption import Corruption
from vlmzoo.data.mia.selection import Candidate, PostSelection, Thresholds, same_answer
from vlmzoo.data.preference_files import pair_record
from vlmzoo.data.sources import SOURCES
from vlmzoo.errors import ConfigError, DataError
from vlmzoo.models.watched_answers import WatchedAnswer, answer_watched
from vlmzoo.runs.mia_report import mia_report
from vlmzoo.runs.models import model_of

__all__ = ["build_mia"]

Report = Callable[[int, int], None]


def build_mia(
    config: MiaConfig, folder: str | Path, *, part: int = 0, parts: int = 1, report: Report = lambda done, of: None
) -> dict[str, Any]:
    """Build the pairs of a configuration; stopped and run again, it goes on with the first shard that is not there.

    Args:
        config: of the pairs.
        folder: gets ``pairs-00000-of-00004.jsonl`` and so on in TRL's columns, ``candidates-…`` with the scores of all
            answers, ``images/``, and ``report.json``.
        part: of this process, from 0, where several share the folder: it makes every ``parts``-th shard.
        parts: how many processes there are.
        report: told the number of finished questions, and of all.

    Returns:
        The report on all that is there: kept and dropped answers by layout and filter, the mix, and, where the source
        knows, how well attention finds answers about the wrong image.

    Raises:
        ConfigError: if something cannot be built, or the folder holds the pairs of another configuration.
        DataError: if a question cannot be made.
    """
    if not 0 <= part < parts:
        raise ConfigError(f"`part` must be one of {parts}, from 0, but is {part} instead.")
    root = Path(folder)
    _claim(root, config)
    plan = _plan(config)
    builder = MiaBuilder(SOURCES.build(config.source), plan)
    selection = _selection(config)
    for kind, counts in plan.layouts.items():
        for num_images in counts:
            selection.thresholds.require(kind, num_images)  # type: ignore[arg-type]
    shards = [
        range(start, min(start + config.shard_size, len(plan))) for start in range(0, len(plan), config.shard_size)
    ]
    model: Any = None
    for number, places in enumerate(shards):
        name = f"{number:05d}-of-{len(shards):05d}.jsonl"
        if number % parts == part and not (root / f"candidates-{name}").exists():
            if model is None:
                model, processor = _load(config)
            shard = _Shard(config, builder, selection, root)
            shard.write(name, list(_answered(config, builder, places, model, processor)))
        report(places.stop, len(plan))
    found = mia_report(root)
    write_whole(root / "report.json", json.dumps(found, indent=2) + "\n")
    return found


class _Shard:
    """Writes the answers of a stretch of questions."""

    def __init__(self, config: MiaConfig, builder: MiaBuilder, selection: PostSelection, root: Path) -> None:
        self.config, self.builder, self.selection, self.root = config, builder, selection, root

    def write(self, name: str, answered: Sequence[tuple[MiaItem, WatchedAnswer]]) -> None:
        """Write pairs and candidates; the latter last, since they say that the shard is whole."""
        candidates, pairs, dropped = [], [], []
        for item, answer in answered:
            meta = self._meta(item, answer)
            candidates.append(json.dumps({"id": item.id, **meta}, ensure_ascii=False))
            is_kept = meta["verdict"] == "kept"
            is_wrong = bool(answer.text.strip()) and not same_answer(answer.text, meta["chosen"])
            if is_kept or (self.config.write_dropped and is_wrong):
                sample = replace(item.sample, rejected=answer.text, meta=meta)
                record = pair_record(sample, self._placed(item), "tagged")
                (pairs if is_kept else dropped).append(json.dumps(record, ensure_ascii=False))
        files = {
            "pairs": pairs,
            **({"dropped": dropped} if self.config.write_dropped else {}),
            "candidates": candidates,
        }
        for kind, lines in files.items():
            write_whole(self.root / f"{kind}-{name}", "".join(f"{line}\n" for line in lines))

    def _meta(self, item: MiaItem, answer: WatchedAnswer) -> dict[str, Any]:
        chosen = words_of(item.sample.messages[-1])
        candidate = Candidate(
            kind=item.kind,
            num_images=item.num_images,
            ratio=answer.ratio,
            perplexity=answer.perplexity,
            chosen=chosen,
            rejected=answer.text,
        )
        corruption = self.config.corruptions.get(item.kind)
        return {
            "kind": item.kind,
            "num_images": item.num_images,
            "target": item.target,
            "answer": answer.text,
            "chosen": chosen,
            "ratio": round(answer.ratio, 6),
            "perplexity": round(answer.perplexity, 6),
            "verdict": self.selection.reason(candidate) or "kept",
            "is_refusal": item.is_refusal,
            "corruption": Corruption(**(corruption or {})).to_dict(),
            **item.meta,
        }

    def _placed(self, item: MiaItem) -> list[str]:
        """Return where the images of a pair lie; those that are no files are written."""
        placed: list[str] = []
        for number, image in enumerate(item.sample.images):
            if isinstance(image, (str, Path)):
                placed.append(str(Path(image).resolve()))
                continue
            path = self.root / "images" / f"{item.id}_{number}.png"
            path.parent.mkdir(exist_ok=True)
            load_image(image).save(path)
            placed.append(str(path.relative_to(self.root)))
        return placed


def _answered(
    config: MiaConfig, builder: MiaBuilder, places: range, model: Any, processor: Any
) -> Iterator[tuple[MiaItem, WatchedAnswer]]:
    """Ask the model, batch by batch, with the declared noise on what it is shown."""
    noise = {kind: Corruption(**spec) for kind, spec in config.corruptions.items()}
    for start in range(places.start, places.stop, config.batch_size):
        items = [builder.item(number) for number in range(start, min(start + config.batch_size, places.stop))]
        shown = [
            [
                noise[item.kind](load_image(image), item.box, seed=f"{config.seed}/{item.id}/{number}")
                if item.kind in noise
                else image
                for number, image in enumerate(item.sample.images)
            ]
            for item in items
        ]
        answers = answer_watched(
            model,
            processor,
            items,
            shown=shown,
            max_new_tokens=config.max_new_tokens,
            layer=config.layer,
            region=config.region,  # type: ignore[arg-type]
            include_prompt=config.include_prompt,
        )
        yield from zip(items, answers, strict=True)


def _plan(config: MiaConfig) -> MiaPlan:
    return MiaPlan(
        layouts={kind: {int(n): int(count) for n, count in counts.items()} for kind, counts in config.layouts.items()},
        refusals=config.refusals,
        companions=config.companions,  # type: ignore[arg-type]
        max_answer_chars=config.max_answer_chars,
        tile_px=config.tile_px,
        margin_px=config.margin_px,
        seed=config.seed,
    )


def _selection(config: MiaConfig) -> PostSelection:
    thresholds = Thresholds.published()
    if config.thresholds is not None:
        thresholds = Thresholds(
            limits={
                kind: {**rule, "limits": {int(count): limit for count, limit in dict(rule.get("limits", {})).items()}}
                for kind, rule in config.thresholds.items()
            }
        )
    return PostSelection(
        thresholds=thresholds,
        perplexity=config.perplexity,
        max_length_ratio=config.max_length_ratio,
        min_edit_distance=config.min_edit_distance,
    )


def _load(config: MiaConfig) -> tuple[Any, Any]:
    device = f"cuda:{torch.cuda.current_device()}" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(config.seed)
    model, processor = model_of(config.model, device=device)
    return model.eval(), processor


def _claim(root: Path, config: MiaConfig) -> None:
    """Mark a folder with its configuration, and refuse that of another.

    Raises:
        ConfigError: if it holds other pairs.
        DataError: if it cannot be written.
    """
    values = config.model_dump(mode="json")
    mark = root / "mia.json"
    digest = hashlib.blake2b(json.dumps(values, sort_keys=True).encode(), digest_size=8).hexdigest()
    if mark.exists() and json.loads(mark.read_text(encoding="utf-8")).get("digest") != digest:
        raise ConfigError(f"`{root}` holds the pairs of another configuration (`{mark}`); choose another folder.")
    try:
        root.mkdir(parents=True, exist_ok=True)
        for leftover in root.glob(".*.partial"):
            shutil.rmtree(leftover, ignore_errors=True)
        write_whole(mark, json.dumps({"digest": digest, "config": values}, indent=2) + "\n")
    except OSError as error:
        raise DataError(f"`{root}` must be a folder that can be written, but {error}.") from error
