"""Visual-RFT's rows: the nine sets' columns, the convention of coordinates, and ReasonSeg as one box each."""

import json

import pytest
from PIL import Image
from typer.testing import CliRunner

from vlmzoo.cli import app
from vlmzoo.data.export_verl import export_verl
from vlmzoo.data.sources import SOURCES, RowError
from vlmzoo.data.sources.virft_lisa import corners_text
from vlmzoo.errors import ConfigError, DataError
from vlmzoo.scoring import SCORES

BOXES = "<answer>[{'Position': [100, 200, 300, 400], 'Confidence': 1}]</answer>"


def write(folder, solutions, name="rows.jsonl", problem="Detect all dogs."):
    Image.new("RGBA", (50, 40), "red").save(folder / "red.png")
    rows = [{"image": "red.png", "problem": problem, "solution": solution} for solution in solutions]
    text = "\n".join(map(json.dumps, rows)) if name.endswith("l") else json.dumps(rows)
    (folder / name).write_text(text, encoding="utf-8")
    return str(folder / name)


def build(folder, solutions, solution="boxes", **options):
    name = options.pop("name", "rows.jsonl")
    return SOURCES.build({"type": "virft", "path": write(folder, solutions, name), "solution": solution, **options})


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json"])
def test_the_problem_is_the_prompt_word_for_word(tmp_path, name):
    problem = "Detect <image> all.\nOutput <think> </think> and <answer> </answer> tags.The output"
    path = write(tmp_path, [BOXES], name, problem=problem)
    sample = SOURCES.build({"type": "virft", "path": path, "solution": "boxes"}).sample(0)
    (turn,) = sample.messages
    assert [block["type"] for block in turn["content"]] == ["image", "text"]
    assert turn["content"][1]["text"].replace("< image>", "<image>") == problem
    assert sample.reference == BOXES
    assert len(sample.images) == 1
    assert sample.meta["coordinates"] == "norm1000"


def test_the_solution_can_be_taught(tmp_path):
    sample = build(tmp_path, [BOXES], teach=True).sample(0)
    assert [turn["role"] for turn in sample.messages] == ["user", "assistant"]
    assert sample.messages[1]["content"][0]["text"] == BOXES


@pytest.mark.parametrize(
    ("solution", "text", "coordinates", "sentence"),
    [
        ("boxes", "<answer>[{'Position': [300, 200, 100, 400]}]</answer>", "norm1000", "x1 < x2 and y1 < y2"),
        ("boxes", "<answer>[{'Position': [0, 0, 1200, 90]}]</answer>", "norm1000", "must lie within 1000 × 1000"),
        ("boxes", "<answer>[{'Position': [0.1, 0.1, 0.5, 0.5]}]</answer>", "norm1000", "declare `coordinates: unit`"),
        ("boxes", "<answer>[{'Position': [1, 1, 60, 30]}]</answer>", "pixel", "must lie within 50 × 40"),
        ("boxes", "<answer>[{'Position': [0.5, 0.5, 1.5, 0.9]}]</answer>", "unit", "must lie within 1 × 1"),
        ("boxes", "<answer>[{'position': [1, 1, 60, 30]}]</answer>", "norm1000", "with these very names"),
        ("boxes", "<answer>a dog</answer>", "norm1000", "must be a list such as"),
        ("corners", "<answer>(1,1,5,5)</answer>", "norm1000", r"must hold `\(x1,y1\),\(x2,y2\)`"),
        ("corners", "<answer>(9,9),(5,5)</answer>", "norm1000", "x1 < x2 and y1 < y2"),
        ("label", "<answer> </answer>", "norm1000", "must hold a label"),
    ],
)
def test_a_solution_that_no_reward_could_compare_with_is_a_fault_of_its_row(
    tmp_path, solution, text, coordinates, sentence
):
    source = build(tmp_path, [text], solution, coordinates=coordinates)
    with pytest.raises(RowError, match=sentence):
        source.sample(0)


@pytest.mark.parametrize(
    ("solution", "text", "coordinates"),
    [
        ("boxes", BOXES, "norm1000"),
        ("boxes", "<answer>No Objects</answer>", "norm1000"),
        ("boxes", '<answer>[{"Position": [1, 1, 50, 40], "Confidence": 1}]</answer>', "pixel"),
        ("boxes", "<answer>[{'Position': [0.1, 0.1, 0.5, 1.0]}]</answer>", "unit"),
        ("corners", "<answer> (0,0),(645,618) </answer>", "norm1000"),
        ("label", "<answer>american_bulldog</answer>", "norm1000"),
    ],
)
def test_good_solutions_pass(tmp_path, solution, text, coordinates):
    assert build(tmp_path, [text], solution, coordinates=coordinates).sample(0).reference == text


def test_data_check_counts_rows_in_another_convention(tmp_path):
    path = write(tmp_path, [BOXES, "<answer>[{'Position': [0.1, 0.1, 0.5, 0.5]}]</answer>"])
    config = tmp_path / "data.yaml"
    config.write_text(f"source: {{type: virft, path: {path}, solution: boxes}}\n", encoding="utf-8")
    result = CliRunner().invoke(app, ["data", "check", str(config), "--json"])
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert (found["num_rows"], found["faults"]) == (2, {"wrong value": 1})
    assert "declare `coordinates: unit`" in found["first_faults"]["wrong value"][0]


def test_bad_options_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="`coordinates` must be one of norm1000, unit, pixel, but is 'norm100'"):
        build(tmp_path, [BOXES], coordinates="norm100")
    with pytest.raises(ConfigError, match="`solution` must be one of boxes, corners, label, but is 'box'"):
        build(tmp_path, [BOXES], solution="box")
    with pytest.raises(ConfigError, match="Exactly one of `repo` and `path`"):
        SOURCES.build({"type": "virft", "solution": "boxes"})


def make_lisa(folder):
    (folder / "train").mkdir()
    Image.new("RGB", (200, 100), "blue").save(folder / "train" / "a.jpg")
    shapes = [
        {"label": "target", "points": [[20.0, 10.0], [60.0, 10.0], [60.0, 50.0]]},
        {"label": "target", "points": [[100.0, 20.0], [150.0, 90.0]]},
        {"label": "ignore", "points": [[0.0, 0.0], [199.0, 99.0]]},
    ]
    content = {"text": ["the thing that flies", "what flies?"], "is_sentence": False, "shapes": shapes}
    (folder / "train" / "a.json").write_text(json.dumps(content), encoding="utf-8")
    return str(folder)


def test_every_instruction_of_reasonseg_is_a_question_about_one_box(tmp_path):
    root = make_lisa(tmp_path)
    source = SOURCES.build({"type": "virft_lisa", "root": root})
    assert source.size == 2
    first, second = source.sample(0), source.sample(1)
    assert first.reference == second.reference == "<answer> (100,100),(750,900) </answer>"
    assert (
        "the instruction: the thing that flies Output the thinking process" in first.messages[0]["content"][1]["text"]
    )
    assert '</think>\n<answer>(x1,y1),(x2,y2)</answer>)" format.' in second.messages[0]["content"][1]["text"]
    theirs = SOURCES.build({"type": "virft_lisa", "root": root, "first_shape_only": True, "first_text_only": True})
    assert theirs.size == 1
    assert theirs.sample(0).reference == "<answer> (100,100),(300,500) </answer>"
    assert SCORES.build({"type": "grounding"})(theirs.sample(0).reference, theirs.sample(0).reference) == 2.0


def test_a_folder_without_annotations_is_named(tmp_path):
    with pytest.raises(DataError, match="does not exist; check `root` and `split`"):
        SOURCES.build({"type": "virft_lisa", "root": str(tmp_path)})
    (tmp_path / "train").mkdir()
    with pytest.raises(DataError, match="holds no annotated image"):
        SOURCES.build({"type": "virft_lisa", "root": str(tmp_path)})


def test_corners_are_cut_off_and_not_rounded():
    assert corners_text((1.9, 1.9, 99.99, 49.99), width=100, height=50) == "(19,38),(999,999)"


def test_rows_and_rewards_go_to_verl_and_come_back(tmp_path):
    pytest.importorskip("pyarrow")
    source = {"type": "virft", "path": write(tmp_path, [BOXES, "<answer>No Objects</answer>"]), "solution": "boxes"}
    rewards = [{"type": "iou", "weight": 2.0}, {"type": "format_think_answer", "name": "form"}]
    table, reward = export_verl(source, rewards, tmp_path / "verl", name="dogs")
    back = SOURCES.build({"type": "verl", "path": str(table)})
    ours = SOURCES.build(source)
    assert back.size == 2
    for position in range(2):
        theirs, mine = back.sample(position), ours.sample(position)
        assert theirs.messages == mine.messages
        assert theirs.reference == mine.reference
        assert theirs.images[0].size == (50, 40)
        assert theirs.meta["data_source"] == "dogs"
    scope = {}
    exec(compile(reward.read_text(encoding="utf-8"), "reward.py", "exec"), scope)  # as verl loads it
    found = scope["compute_score"]("dogs", f"<think>a</think>{BOXES}", BOXES, None)
    assert found == {"score": 3.0, "iou": 1.0, "form": 1.0}


def test_what_verl_cannot_hold_is_refused(tmp_path):
    source = {"type": "virft", "path": write(tmp_path, [BOXES]), "solution": "boxes"}
    with pytest.raises(ConfigError, match="`rewards` must name at least one"):
        export_verl(source, [], tmp_path / "verl")
    endless = {"type": "synthetic", "task": {"type": "shape_detection"}, "kinds": {"image": 1.0}}
    with pytest.raises(ConfigError, match="`num` must be given for a source without end"):
        export_verl(endless, [{"type": "iou"}], tmp_path / "verl")
