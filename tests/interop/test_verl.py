"""verl's own dataset class reads what we export for it; run by ``make test-slow``, in an environment beside ours."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from vlmzoo.data.export_verl import export_verl
from vlmzoo.data.sources import SOURCES

pytest.importorskip("pyarrow")
PYTHON = Path(__file__).parents[2] / ".venv-verl" / "bin" / "python"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON.exists(), reason="needs the interop environment: make .venv-verl/.installed"),
]


def test_rows_and_rewards_arrive_as_they_were_meant(tmp_path):
    source = {
        "type": "synthetic",
        "task": {"type": "shape_detection", "wording": "full"},
        "kinds": {"image": 1.0},
        "seed": 3,
    }
    rewards = [{"type": "iou"}, {"type": "confidence", "weight": 0.5}, {"type": "hack_silent_boxes", "weight": 0}]
    export_verl(source, rewards, tmp_path, name="shapes", num=3)
    script = Path(__file__).with_name("verl_read.py")
    done = subprocess.run(
        [str(PYTHON), str(script), str(tmp_path)],
        cwd=script.parents[2],
        env={**os.environ, "PYTHONPATH": str(script.parents[2]), "HF_DATASETS_CACHE": str(tmp_path / "datasets")},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    said = json.loads(done.stdout.strip().splitlines()[-1])
    assert said["class"] == "verl.utils.dataset.rl_dataset"
    assert {"raw_prompt", "reward_model", "data_source", "extra_info", "dummy_tensor"} <= set(said["columns"])
    built = SOURCES.build(source)
    assert len(said["rows"]) == 3
    for number, row in enumerate(said["rows"]):
        sample = built.sample(number)
        (turn,) = row["prompt"]
        text = sample.messages[0]["content"][1]["text"]
        picture: Image.Image = sample.images[0]
        image = {"type": "image", "size": list(picture.size), "pixel": list(picture.convert("RGB").getpixel((0, 0)))}
        assert turn == {"role": "user", "blocks": [image, {"type": "text", "text": text}]}
        assert row["ground_truth"] == sample.reference
        assert (row["data_source"], row["index"]) == ("shapes", number)
        assert row["reward"] == {"score": 1.5, "iou": 1.0, "confidence": 1.0, "hack_silent_boxes": 0.0}
