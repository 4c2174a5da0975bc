"""Visual-RFT's evaluations: labels, boxes by query map, honest LVIS, and one box with the mask that SAM makes of it."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from vlmzoo.blocks.decoders import DECODERS
from vlmzoo.data.conversations import text_of
from vlmzoo.data.sources import TINY
from vlmzoo.errors import ConfigError, DataError
from vlmzoo.evaluation import BENCHMARKS, run_benchmark
from vlmzoo.evaluation.generation import Completion
from vlmzoo.evaluation.records import generation_of

LABELS = {"type": "virft", "path": str(TINY / "virft_labels.jsonl"), "solution": "label"}
SAM = {"image_size": 64, "dim": 16, "depth": 1, "num_heads": 2, "global_blocks": [0], "window_size": 3}
SAM |= {"prompt_dim": 16, "decoder_mlp_dim": 32, "decoder_heads": 2, "quality_dim": 16}


def classify(**options):
    return BENCHMARKS.build({"type": "virft_classification", "source": LABELS, **options})


def said(benchmark, answers):
    """Return the generations of a model that gives these answers, in the order of the questions."""
    completions = [
        Completion(text=text, num_prompt_tokens=1, num_completion_tokens=1, finished=True) for text in answers
    ]
    pairs = zip(benchmark.questions(), completions, strict=True)
    return [generation_of(sample, completion, benchmark.scores) for sample, completion in pairs]


def test_a_label_is_right_exactly_or_by_being_held():
    answers = ["<answer>a red patch</answer>", "<answer>Blue</answer>"]
    exact, contains = (
        [one.scores[name] for one in said(classify(), answers)] for name in ("class_exact", "class_contains")
    )
    assert (exact, contains) == ([0.0, 1.0], [1.0, 1.0])
    hedged = said(classify(classes=["red", "blue"]), ["<answer>red or blue</answer>", "<answer>blue</answer>"])
    assert [one.scores["class_contains"] for one in hedged] == [0.0, 1.0]


def test_labels_may_stand_in_a_file(tmp_path):
    path = tmp_path / "classes.txt"
    path.write_text("red\nblue\n\n")
    assert classify(classes=str(path)).identity["classes"] == ["red", "blue"]
    with pytest.raises(DataError, match="`classes` must be labels or a text file"):
        classify(classes=str(tmp_path / "none.txt"))


def test_the_training_prompt_is_asked_unless_the_released_one_is_wanted():
    training, released = (
        text_of(next(classify(template=template).questions()).messages) for template in ("training", "released")
    )
    assert "<image>" not in training and training.endswith("Please identify the color.")
    assert "<image>\nThis is an image" in released
    with pytest.raises(ConfigError, match="`template` must be one of training, released"):
        classify(template="mine")


@pytest.mark.parametrize("num", [0, 3])
def test_no_more_rows_are_asked_than_there_are(num):
    with pytest.raises(ConfigError, match="`num_questions` must be from 1 to the rows of the source, of which there"):
        classify(num_questions=num)


TRUTH = {
    "images": [
        {"id": 7, "file_name": "a.png", "width": 200, "height": 100},
        {"id": 9, "coco_url": "http://images.example/val2017/b.png", "width": 100, "height": 100},
    ],
    "annotations": [
        {"id": 1, "image_id": 7, "category_id": 2, "bbox": [20, 10, 100, 50], "area": 5000, "iscrowd": 0},
        {"id": 2, "image_id": 9, "category_id": 1, "bbox": [0, 0, 50, 50], "area": 2500, "iscrowd": 0},
    ],
    "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
}


def detect(tmp_path, truth=TRUTH, **options):
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps(truth))
    spec = {"type": "virft_detection", "annotations": str(path), "image_folder": str(tmp_path), "num_resamples": 4}
    return BENCHMARKS.build({**spec, **options})


def ids_of(benchmark):
    return [sample.id for sample in benchmark.questions()]


def measured(benchmark, answers):
    return benchmark.average_precision([benchmark.judged(one) for one in said(benchmark, answers)])


def test_query_maps_decide_what_is_asked(tmp_path):
    assert ids_of(detect(tmp_path)) == ["7/2", "9/1"]
    assert ids_of(detect(tmp_path, queries="all")) == ["7/1", "7/2", "9/1", "9/2"]
    assert ids_of(detect(tmp_path, queries="all", classes=["dog"])) == ["7/2", "9/2"]
    path = tmp_path / "base.json"
    path.write_text(json.dumps({"name": "base-2b", "queries": {"9": ["dog", "cat", "dog"], "7": []}}))
    mapped = detect(tmp_path, queries=str(path))
    assert ids_of(mapped) == ["9/2", "9/1"]
    assert mapped.identity["queries"] == "base-2b"
    images = [sample.images[0] for sample in detect(tmp_path).questions()]
    assert images == [str(tmp_path / "a.png"), str(tmp_path / "val2017" / "b.png")]


def test_the_prompt_is_the_one_of_training_and_the_solution_is_in_thousandths(tmp_path):
    sample = next(detect(tmp_path).questions())
    assert text_of(sample.messages).count("'dog'") == 2 and "between 0 and 1000" in text_of(sample.messages)
    assert sample.reference == "<answer>[{'Position': [100, 100, 600, 600], 'Confidence': 1}]</answer>"
    absent = next(detect(tmp_path, queries="all").questions())
    assert absent.reference == "<answer>No Objects</answer>"


def test_right_boxes_have_precision_1_and_what_nobody_asked_for_is_missed(tmp_path):
    pytest.importorskip("pycocotools")
    answers = [sample.reference for sample in detect(tmp_path).questions()]
    found = measured(detect(tmp_path), answers)
    assert found.per_class == {"cat": pytest.approx(1), "dog": pytest.approx(1)}
    path = tmp_path / "map.json"
    path.write_text(json.dumps({"name": "m", "queries": {"7": ["dog"]}}))
    assert measured(detect(tmp_path, queries=str(path)), answers[:1]).per_class == {
        "cat": 0.0,
        "dog": pytest.approx(1),
    }


def test_lvis_is_judged_only_where_it_was_looked_through(tmp_path):
    pytest.importorskip("pycocotools")
    images = [
        {**TRUTH["images"][0], "neg_category_ids": [], "not_exhaustive_category_ids": [2]},
        {**TRUTH["images"][1], "neg_category_ids": [2], "not_exhaustive_category_ids": []},
    ]
    lvis = {**TRUTH, "images": images}
    right = {"7/2": "[100, 100, 600, 600]", "9/1": "[0, 0, 500, 500]"}

    def answer(id, wrong_in):
        boxes = [f"{{'Position': {right[id]}, 'Confidence': 0.5}}"] if id in right else []
        boxes += ["{'Position': [700, 700, 900, 900], 'Confidence': 0.9}"] if id == wrong_in else []
        return f"<answer>[{', '.join(boxes)}]</answer>" if boxes else "<answer>No Objects</answer>"

    def ap(wrong_in, **options):
        benchmark = detect(tmp_path, lvis, queries="all", **options)
        return measured(benchmark, [answer(id, wrong_in) for id in ids_of(benchmark)]).per_class

    assert ap("7/1") == {"cat": pytest.approx(1), "dog": pytest.approx(1)}  # cats: nobody looked in image 7
    assert ap("7/1", federated=False)["cat"] < 1
    assert ap("7/2") == {"cat": pytest.approx(1), "dog": pytest.approx(1)}  # dogs: not all are annotated in image 7
    assert ap("7/2", federated=False)["dog"] < 1
    assert ap("9/2")["dog"] < 1  # verified to be absent
    assert ap("9/1")["cat"] < 1  # annotated to the end


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"classes": ["bird"]}, DataError, "`classes` names `bird`, which is none of the 2"),
        ({"queries": "base"}, ConfigError, "`queries` must be oracle, all or a JSON file, but is 'base'"),
        ({"queries": "none.json"}, DataError, "must be a JSON file, but cannot be read"),
        ({"map": {"name": "m", "queries": {"8": ["cat"]}}}, DataError, "asks about image 8"),
        ({"map": {"name": "m", "queries": {"7": ["bird"]}}}, DataError, "asks for `bird`, which is no class"),
        ({"map": {"queries": {}}}, DataError, "must have `name`, but has not"),
        ({"map": {"name": "m", "queries": {}}}, ConfigError, "must ask for something"),
    ],
)
def test_what_cannot_be_asked_is_refused(tmp_path, options, error, sentence):
    if "map" in options:
        path = tmp_path / "map.json"
        path.write_text(json.dumps(options["map"]))
        options = {"queries": str(path)}
    with pytest.raises(error, match=sentence):
        detect(tmp_path, **options)


@pytest.fixture
def reason_seg(tmp_path):
    """Two pictures of 100 x 50: one polygon each, the second has another one, and two instructions."""
    folder = tmp_path / "test"
    folder.mkdir()
    square = [[10, 10], [59, 10], [59, 29], [10, 29]]
    for name, shapes in (("a", [square]), ("b", [square, [[80, 30], [90, 30], [90, 40]]])):
        Image.new("RGB", (100, 50), (90, 120, 30)).save(folder / f"{name}.jpg")
        labelled = [{"label": "target", "points": points} for points in shapes]
        content = {"text": ["the square", "it"], "is_sentence": False, "shapes": labelled}
        (folder / f"{name}.json").write_text(json.dumps(content))
    return tmp_path


def ground(root, **options):
    return BENCHMARKS.build({"type": "virft_grounding", "root": str(root), **options})


def judge(benchmark, answers):
    picture = Image.new("RGB", (100, 50), (90, 120, 30))
    return [benchmark.judged(one, picture) for one in said(benchmark, answers)]


def test_boxes_are_compared_in_pixels_and_a_missing_one_is_0(reason_seg):
    benchmark = ground(reason_seg)
    assert benchmark.num_questions == 2
    judged = judge(benchmark, ["<think>(1,1),(2,2)</think><answer>(100,200),(590,580)</answer>", "I see nothing."])
    assert [one.scores["box_iou"] for one in judged] == [pytest.approx(1.0, abs=1e-6), 0.0]
    assert [one.scores["without_box"] for one in judged] == [0.0, 1.0]
    scores = benchmark.summarise(judged, seed=0)
    assert list(scores) == ["box_iou", "without_box"] and scores["box_iou"].mean == pytest.approx(0.5, abs=1e-6)
    assert judge(benchmark, ["<answer>(590,580),(100,200)</answer>"] * 2)[0].scores["without_box"] == 1.0


def test_all_polygons_and_all_instructions_can_be_asked_for(reason_seg):
    whole = ground(reason_seg, first_shape_only=False, first_text_only=False)
    assert whole.num_questions == 4
    boxes = [sample.meta["box_xyxy_px"] for sample in whole.questions()]
    assert boxes == [[10, 10, 59, 29]] * 2 + [[10, 10, 90, 40]] * 2
    assert ground(reason_seg, num_questions=1).num_questions == 1


def make_sam(tmp_path):
    torch.manual_seed(0)
    decoder = DECODERS.build({"type": "sam", **SAM})
    path = tmp_path / "sam.safetensors"
    save_file(decoder.state_dict(), path)
    return {"type": "sam", **SAM, "weights": str(path)}


def test_the_box_prompts_sam_and_a_missing_one_counts_in_the_union(reason_seg, tmp_path):
    benchmark = ground(reason_seg, sam=make_sam(tmp_path))
    judged = judge(benchmark, ["<answer>(100,200),(600,600)</answer>", "nothing"])
    assert judged[1].scores["mask_giou"] == 0.0
    assert judged[1].scores["union"] == 50 * 20  # the polygon with its outline
    segmenter = benchmark._segmenter("cpu")
    mask = segmenter(Image.new("RGB", (100, 50), (90, 120, 30)), [[10, 10, 60, 30]])[0]
    truth = np.zeros((50, 100), dtype=bool)
    truth[10:30, 10:60] = True
    assert judged[0].scores["intersection"] == np.count_nonzero(mask & truth)
    scores = benchmark.summarise(judged, seed=0)
    assert list(scores) == ["box_iou", "mask_giou", "without_box", "mask_ciou"]
    assert "weights" not in benchmark.identity["sam"]


def test_results_are_told_apart_by_what_files_hold_and_not_by_where_they_lie(reason_seg, tmp_path):
    from vlmzoo.data.digests import files_digest, weights_digest

    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first = {**make_sam(tmp_path / "a")}
    second = {**first, "weights": str(shutil.copy(first["weights"], tmp_path / "b"))}
    one, same = (ground(reason_seg, sam=sam).identity for sam in (first, second))
    assert one == same and weights_digest(tmp_path / "b") == weights_digest(second["weights"])
    with open(second["weights"], "ab") as file:  # noqa: PTH123
        file.write(b" ")
    assert ground(reason_seg, sam=second).identity != one
    annotation = next(iter(ground(reason_seg)._source.items))[0]
    annotation.write_text(annotation.read_text() + " ")
    assert ground(reason_seg).identity["annotations_digest"] != one["annotations_digest"]
    assert weights_digest("owner/name") is None
    before = detect(tmp_path, queries="all").identity
    assert before["annotations_digest"] == files_digest([detect(tmp_path, queries="all").annotations])
    assert before["queries_digest"] != detect(tmp_path, queries="oracle").identity["queries_digest"]


def test_a_decoder_without_weights_or_boxes_is_refused(reason_seg):
    with pytest.raises(ConfigError, match="`sam` must name its `weights`"):
        ground(reason_seg, sam={"type": "sam-vit-b"})
    with pytest.raises(ConfigError, match="`num_questions` must be from 1 to 2"):
        ground(reason_seg, num_questions=3)
    from vlmzoo.models.sam.boxes import BoxSegmenter

    with pytest.raises(ConfigError, match="takes no boxes"):
        BoxSegmenter(torch.nn.Linear(1, 1))


def test_grounding_runs_on_a_model(reason_seg, make_model, processor, tmp_path):
    benchmark = ground(reason_seg)
    answers = {text_of(sample.messages): "<answer>(100,200),(590,580)</answer>" for sample in benchmark.questions()}
    result = run_benchmark(make_model(answers), processor, benchmark, out_dir=tmp_path / "out", batch_size=2)
    assert result.main_score == "box_iou" and len(result.generations) == 2


def test_a_base_map_is_what_a_model_found_when_it_was_asked_for_everything(tmp_path):
    from vlmzoo.evaluation.query_maps import query_map_of, write_query_map

    whole = detect(tmp_path, queries="all")
    box = "<answer>[{'Position': [0, 0, 500, 500], 'Confidence': 0.5}]</answer>"
    answers = ["<answer>No Objects</answer>", box, box, "I cannot say."]
    found = [whole.judged(one) for one in said(whole, answers)]
    assert query_map_of(found, name="base")["queries"] == {"7": ["dog"], "9": ["cat"]}
    path = write_query_map(found, tmp_path / "base.json", name="base")
    mapped = detect(tmp_path, queries=str(path))
    assert ids_of(mapped) == ["7/2", "9/1"] and mapped.identity["queries"] == "base"
    with pytest.raises(DataError, match="made of answers to `virft_detection`"):
        query_map_of(said(classify(), ["red", "blue"]), name="base")


@pytest.mark.gpu
def test_boxes_become_the_same_masks_on_an_accelerator(tmp_path):
    from vlmzoo.models.sam.boxes import BoxSegmenter

    spec = make_sam(tmp_path)
    spec.pop("weights")
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 100, 3), dtype=np.uint8))
    found = []
    for device in ("cpu", "cuda"):
        torch.manual_seed(0)
        found.append(BoxSegmenter(DECODERS.build(spec), device=device)(picture, [[10, 10, 60, 30], [0, 0, 99, 49]]))
    assert np.mean(found[0] == found[1]) > 0.999
