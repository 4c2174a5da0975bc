"""What verl's own dataset class and reward loader make of an export: ``verl_read.py FOLDER``, one JSON line out."""

import inspect
import json
import sys
from pathlib import Path

from omegaconf import OmegaConf
from verl.utils.dataset.rl_dataset import RLHFDataset, collate_fn
from verl.utils.import_utils import load_extern_object


def main(folder: Path) -> None:
    config = OmegaConf.create({"filter_overlong_prompts": False, "cache_dir": str(folder / "cache")})
    dataset = RLHFDataset(str(folder / "train.parquet"), tokenizer=None, config=config, processor=object())
    rows = [dataset[number] for number in range(len(dataset))]
    compute_score = load_extern_object(str(folder / "reward.py"), "compute_score")
    told = [
        {
            "prompt": [
                {"role": message["role"], "blocks": [_shown(block) for block in message["content"]]}
                for message in row["raw_prompt"]
            ],
            "data_source": row["data_source"],
            "ground_truth": row["reward_model"]["ground_truth"],
            "index": row["index"],
            "reward": compute_score(
                data_source=row["data_source"],
                solution_str=row["reward_model"]["ground_truth"],
                ground_truth=row["reward_model"]["ground_truth"],
                extra_info=row["extra_info"],
            ),
        }
        for row in rows
    ]
    columns = sorted(collate_fn(rows))
    sys.stdout.write(json.dumps({"class": inspect.getmodule(RLHFDataset).__name__, "rows": told, "columns": columns}))


def _shown(block):
    if block["type"] == "image":
        return {"type": "image", "size": block["image"].size, "pixel": block["image"].convert("RGB").getpixel((0, 0))}
    return {"type": block["type"], "text": block["text"]}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
