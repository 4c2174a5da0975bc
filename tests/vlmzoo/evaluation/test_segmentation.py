"""Benchmarks of masks: questions, both protocols, scores, and what the report shows."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from transformers.utils.chat_template_utils import render_jinja_template

from tests.vlmzoo.adapters.bases import make_base
from tests.vlmzoo.adapters.seg_samples import seg_spec
from tests.vlmzoo.data.sources.lisa_tree import draw_lisa_tree
from tests.vlmzoo.data.sources.reading import turns_of
from vlmzoo.data.assembly import chat_template
from vlmzoo.errors import ConfigError, DataError, ShapeError
from vlmzoo.evaluation import BENCHMARKS, run_benchmark
from vlmzoo.evaluation.overlays import beside, overlaid
from vlmzoo.evaluation.records import Generation
from vlmzoo.geometry import Frame, Mask, decode_rle
from vlmzoo.models.segmenting import Segmentation
from vlmzoo.runs.quality import gallery_of
from vlmzoo.scoring.masks import mask_overlap

TASK = {"type": "shape_scenes", "num_objects": 5, "image": {"canvas_px": 96}}
SCENES = {"type": "synthetic_masks", "task": TASK, "num_questions": 4, "seed": 9}


@pytest.fixture(scope="module")
def model():
    return make_base("llava", adapters=[seg_spec()])


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return str(draw_lisa_tree(tmp_path_factory.mktemp("dataset")))


def make_benchmark(**options):
    return BENCHMARKS.build({**SCENES, **options})


def with_perfect_masks(benchmark, monkeypatch, *, share=1.0):
    """Let the model be right about this share of the questions, and silent else."""
    from vlmzoo.models.segmenting import Segmentation

    def answer(model, samples, *, max_new_tokens):
        right = [index < share * len(samples) for index in range(len(samples))]
        return [
            Segmentation([sample.masks[0]], text="[SEG]", spans=[(0, 5)], scores=[1.0], is_finished=index > 0)
            if is_right
            else Segmentation(text="no", reason="The model did not say [SEG].", is_finished=False)
            for index, (sample, is_right) in enumerate(zip(samples, right, strict=True))
        ]

    monkeypatch.setattr("vlmzoo.evaluation.segmentation.segment_samples", answer)
    return benchmark


@pytest.mark.parametrize("protocol", ["teacher_forced", "generate"])
def test_a_model_is_asked_and_judged_by_its_masks(model, tmp_path, protocol):
    benchmark = make_benchmark(protocol=protocol, max_new_tokens=3)
    result = run_benchmark(model, model.processor, benchmark, out_dir=tmp_path, batch_size=2)
    assert result.main_score == "giou"
    assert 0 <= result.scores["giou"].mean < 0.6
    assert result.scores["ciou"].low <= result.scores["ciou"].mean <= result.scores["ciou"].high
    for question, said in zip(benchmark.questions(), result.generations, strict=True):
        mask = decode_rle(said.meta["predicted_rle"], frame=question.masks[0].frame)
        overlap = mask_overlap(mask.array, question.masks[0].array)
        assert (overlap.intersection, overlap.union) == (said.scores["intersection"], said.scores["union"])
        assert said.scores["giou"] == overlap.iou()
    again = run_benchmark(model, model.processor, benchmark, out_dir=tmp_path, batch_size=2)
    assert again.to_dict() == result.to_dict()


def test_the_two_protocols_agree_where_the_model_says_the_same(model):
    """With the answer in the prompt's place, the mask is that of the states that generation would have had."""
    benchmark = make_benchmark(task={**TASK, "wording": "compact"})
    samples = list(benchmark.questions())
    together = [g.meta["predicted_rle"] for g in benchmark.answer(model, model.processor, samples)]
    alone = [g.meta["predicted_rle"] for s in samples for g in benchmark.answer(model, model.processor, [s])]
    assert together == alone


def test_perfect_masks_get_full_marks_and_silence_an_empty_mask(monkeypatch, tmp_path):
    benchmark = with_perfect_masks(make_benchmark(protocol="generate"), monkeypatch, share=0.5)
    generations = list(benchmark.answer(None, None, list(benchmark.questions())))
    assert [g.scores["giou"] for g in generations] == [1, 1, 0, 0]
    assert generations[-1].meta["reason"] == "The model did not say [SEG]."
    assert [g.finished for g in generations] == [False, True, False, False]  # as the answers say of themselves
    scores = benchmark.summarise(generations, seed=0)
    assert scores["giou"].mean == 0.5
    assert {"giou_relational", "giou_attributes"} & set(scores)


def test_controls_change_the_phrase_and_nothing_else():
    own, others, none = (list(make_benchmark(phrases=phrases).questions()) for phrases in ("own", "others", "none"))
    assert sorted(turns_of(q)[0][1] for q in own) == sorted(turns_of(q)[0][1] for q in others)
    for one, other, blank in zip(own, others, none, strict=True):
        assert turns_of(one) != turns_of(other)
        assert one.meta["phrases"][0] not in turns_of(blank)[0][1]
        assert "object" in turns_of(blank)[0][1]
        assert one.images[0].tobytes() == other.images[0].tobytes() == blank.images[0].tobytes()
        assert one.masks == other.masks == blank.masks


def test_an_identity_tells_protocols_and_controls_apart(root):
    specs = [SCENES, {**SCENES, "protocol": "generate"}, {**SCENES, "phrases": "none"}, {**SCENES, "compat": True}]
    specs += [
        {"type": "reason_seg", "root": root, "split": "train"},
        {"type": "refer_seg", "root": root, "split": "train"},
    ]
    assert len({json.dumps(BENCHMARKS.build(spec).identity) for spec in specs}) == len(specs)


def test_reason_seg_asks_the_first_text_in_the_authors_words(root):
    benchmark = BENCHMARKS.build({"type": "reason_seg", "root": root, "split": "train"})
    long, short = benchmark.questions()
    assert turns_of(long) == [("user", "[image] Where\u2019s the food? Please output segmentation mask.")]
    assert turns_of(short) == [("user", "[image] What is A thing in this image? Please output segmentation mask.")]
    assert turns_of(benchmark.forced(long))[-1] == ("assistant", "[SEG].")
    assert (long.masks[0].area, long.ignored_masks[0].area, short.masks[0].area) == (76, 12, 0)
    for subset, wanted in (("long", long.id), ("short", short.id)):
        part = BENCHMARKS.build({"type": "reason_seg", "root": root, "split": "train", "subset": subset})
        assert [question.id for question in part.questions()] == [wanted]
        assert part.num_questions == 1


@pytest.mark.parametrize("template", ["llava_v1", "llava_llama_2"])
def test_the_space_in_front_of_the_authors_questions_reaches_the_model(root, template):
    benchmark = BENCHMARKS.build({"type": "refer_seg", "root": root, "dataset": "refcoco", "split": "testA"})
    messages = next(iter(benchmark.questions())).messages
    (text,), _ = render_jinja_template(
        conversations=[list(messages)], chat_template=chat_template(template), bos_token="<s>", eos_token="</s>"
    )
    assert "<im_end>\n What is the man in this image? Please output segmentation mask. " in text


def test_an_empty_target_counts_one_for_an_empty_prediction_and_means_are_told_without_it(root, monkeypatch):
    benchmark = BENCHMARKS.build({"type": "reason_seg", "root": root, "split": "train", "protocol": "generate"})
    with_perfect_masks(benchmark, monkeypatch, share=0.0)
    generations = list(benchmark.answer(None, None, list(benchmark.questions())))
    assert [g.scores["giou"] for g in generations] == [0, 1]
    scores = benchmark.summarise(generations, seed=0)
    assert (scores["giou"].mean, scores["giou_with_target"].mean) == (0.5, 0.0)


def test_pixels_that_nobody_judged_do_not_count(root, monkeypatch):
    benchmark = BENCHMARKS.build({"type": "reason_seg", "root": root, "split": "train", "protocol": "generate"})
    question = next(iter(benchmark.questions()))
    both = Mask(question.masks[0].array | question.ignored_masks[0].array, frame=question.masks[0].frame)
    said = benchmark._judged(question, Segmentation([both], text="[SEG]"))
    assert said.scores["giou"] == 1.0


def test_refcoco_asks_every_sentence_and_reports_ciou_first(root):
    benchmark = BENCHMARKS.build({"type": "refer_seg", "root": root, "dataset": "refcoco", "split": "train"})
    questions = list(benchmark.questions())
    assert benchmark.num_questions == len(questions) == 3
    assert [question.reference for question in questions] == ["left box", "box", "nothing"]
    assert "What is left box in this image? Please output segmentation mask." in turns_of(questions[0])[0][1]
    scores = {"giou": 0.5, "intersection": 1.0, "union": 2.0}
    said = [_generation(q.id, scores) for q in questions]
    assert next(iter(benchmark.summarise(said, seed=0))) == "ciou"


def _generation(id, scores):
    numbers = {"num_prompt_tokens": 0, "num_completion_tokens": 0, "finished": True}
    return Generation(id=id, prompt="", completion="", reference="", scores=scores, **numbers)


def test_the_report_shows_truth_and_prediction_side_by_side(model, tmp_path):
    result = run_benchmark(model, model.processor, make_benchmark(), out_dir=tmp_path, batch_size=4)
    items = gallery_of({"scenes": SCENES}, {"scenes": result}, num=2)
    assert [item.image.size for item in items] == [(3 * 192 + 8, 192)] * 2
    question = next(iter(make_benchmark().questions()))
    truth_panel = np.asarray(items[0].image)[:, 196:388].astype(int)
    tint = truth_panel[..., 1] - truth_panel[..., 0]
    assert np.array_equal(tint[::2, ::2] > 20, question.masks[0].array)


def test_masks_of_another_size_are_not_drawn():
    mask = Mask(np.ones((4, 4), dtype=bool), frame=Frame.original("x", width=4, height=4))
    with pytest.raises(ShapeError, match="must have the picture's height and width, \\(4, 5\\)"):
        overlaid(Image.new("RGB", (5, 4)), mask)
    assert beside(Image.new("RGB", (4, 4)), truth=mask, predicted=mask).size == (3 * 192 + 8, 192)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"protocol": "guess"}, "`protocol` must be one of teacher_forced, generate"),
        ({"phrases": "loud"}, "`phrases` must be one of own, others, none"),
        ({"phrases": "others", "num_questions": 1}, "`num_questions` must be at least 2"),
        ({"task": {**TASK, "num_queries": 2}}, "one mask each, but gives 2"),
        ({"kind": "text"}, "one mask each, but gives 0"),
    ],
)
def test_what_cannot_be_measured_is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        make_benchmark(**options)


def test_other_faults_are_told(root, model):
    with pytest.raises(ConfigError, match="`subset` must be one of"):
        BENCHMARKS.build({"type": "reason_seg", "root": root, "split": "train", "subset": "wide"})
    with pytest.raises(DataError, match="does not exist"):
        BENCHMARKS.build({"type": "reason_seg", "root": root, "split": "val"})
    bare = make_base("llava")
    with pytest.raises(ConfigError, match="must have one seg adapter, but has 0"):
        list(make_benchmark().answer(bare, bare.processor, list(make_benchmark().questions())))
    two = make_benchmark()
    question = next(iter(two.questions()))
    from dataclasses import replace

    with pytest.raises(DataError, match="must have one mask, but has 2"):
        list(two.answer(model, model.processor, [replace(question, masks=[*question.masks] * 2)]))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("protocol", ["teacher_forced", "generate"])
def test_masks_on_an_accelerator_are_those_of_the_cpu(protocol):
    benchmark = make_benchmark(protocol=protocol, max_new_tokens=3)
    questions = list(benchmark.questions())
    on_cpu = make_base("llava", adapters=[seg_spec()])
    expected = [said.scores["giou"] for said in benchmark.answer(on_cpu, on_cpu.processor, questions)]
    on_gpu = on_cpu.to("cuda")
    found = [said.scores["giou"] for said in benchmark.answer(on_gpu, on_gpu.processor, questions)]
    assert found == pytest.approx(expected, abs=0.02)
