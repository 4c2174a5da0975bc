"""An agent that answers at a glance or looks: its decisions with a scripted switch, its work with tiny models."""

import json
import time

import pytest
import torch
from PIL import Image

from tests.vlmzoo.adapters.bases import BASES, architecture_of, make_base, make_picture
from tests.vlmzoo.adapters.search_samples import search_spec
from tests.vlmzoo.adapters.test_switch import SWITCH, on
from vlmzoo.adapters import ADAPTERS
from vlmzoo.agents import fast_slow, refining
from vlmzoo.agents.fast_slow import FastSlow, FastSlowOptions, Request
from vlmzoo.agents.metering import Meter
from vlmzoo.agents.proposers import Proposal
from vlmzoo.agents.trace import Trace
from vlmzoo.data.focus import focus_sample
from vlmzoo.data.refusals import refusal_of
from vlmzoo.errors import ConfigError, DataError
from vlmzoo.geometry import Box, Frame, Mask
from vlmzoo.models.segmenting import Segmentation
from vlmzoo.models.switching import ForbiddenBeginning, SwitchAnswer, ask_samples

SEG = {"type": "seg", **ADAPTERS.entry("seg").tiny}
SIDE = 60


def make_scene(seed=0):
    return make_picture(seed).resize((SIDE, SIDE), Image.Resampling.NEAREST)


def make_box(x=10, y=12, side=20):
    return Box.from_xywh((x, y, side, side), frame=Frame.original("image", width=SIDE, height=SIDE))


def said(text, *, missing=None, confidence=0.9):
    return SwitchAnswer(text=text, missing=missing, confidence=confidence, num_prompt_tokens=10, num_new_tokens=3)


class Script:
    """Answers at a glance and with evidence, by the number of crops that are shown; what was asked is kept."""

    def __init__(self, *, glance, evidence=None, retried=None):
        self.glance, self.evidence, self.retried = glance, evidence or [], retried
        self.asked = []

    def __call__(self, model, samples, *, is_strict, may_refuse, max_new_tokens):
        self.asked.append((len(samples), may_refuse, [len(sample.images) - 1 for sample in samples]))
        if not may_refuse:
            return [self.retried] * len(samples)
        return [self.evidence.pop(0) if len(sample.images) > 1 else self.glance for sample in samples]


@pytest.fixture(scope="module")
def switch():
    return make_base("llava-llama", adapters=[SWITCH]).eval()


REFUSAL = said(refusal_of(["star"]), missing=["star"])


def make_agent(monkeypatch, switch, script, **options):
    monkeypatch.setattr(fast_slow, "ask_samples", script)
    proposer = options.pop("proposer", lambda image, question, name: make_box())
    return FastSlow(switch, proposer=proposer, options=FastSlowOptions(**options))


def test_an_answer_that_is_no_refusal_stands(monkeypatch, switch):
    script = Script(glance=said("red"))
    answer = make_agent(monkeypatch, switch, script).answer(make_scene(), "What colour is the star?")
    assert (answer.text, answer.mode, answer.is_low_confidence) == ("red", "fast", False)
    assert [step.kind for step in answer.trace.steps] == ["fast"] and answer.evidence == ()
    assert answer.trace.stopped_by == "answered"


def test_a_refusal_is_followed_by_a_search_and_an_answer_with_evidence(monkeypatch, switch):
    script = Script(glance=REFUSAL, evidence=[said("blue")])
    answer = make_agent(monkeypatch, switch, script).answer(make_scene(), "What colour is the star?")
    assert (answer.text, answer.mode) == ("blue", "slow")
    assert [step.kind for step in answer.trace.steps] == ["fast", "propose", "slow"]
    assert [(one.name, one.box.xyxy) for one in answer.evidence] == [("star", make_box().xyxy)]
    assert "star <image> at location [0.167,0.200,0.500,0.533]" in answer.trace.steps[-1].prompt
    assert answer.trace.steps[-1].prompt.endswith("\nWhat colour is the star?")


def test_refused_twice_is_asked_once_more_and_may_not_refuse(monkeypatch, switch):
    script = Script(glance=REFUSAL, evidence=[REFUSAL], retried=said("perhaps red"))
    answer = make_agent(monkeypatch, switch, script).answer(make_scene(), "What colour is the star?")
    assert (answer.text, answer.mode, answer.is_low_confidence) == ("perhaps red", "fast", True)
    assert answer.trace.stopped_by == "refused_twice"
    assert [may_refuse for _, may_refuse, _ in script.asked] == [True, True, False]


def test_a_second_round_looks_for_what_the_second_refusal_names(monkeypatch, switch):
    other = said(refusal_of(["star", "ring"]), missing=["star", "ring"])
    script = Script(glance=REFUSAL, evidence=[other, said("blue")])
    looked = []
    agent = make_agent(
        monkeypatch, switch, script, max_rounds=2, proposer=lambda i, q, name: looked.append(name) or make_box()
    )
    assert agent.answer(make_scene(), "Which is left?").mode == "slow"
    assert looked == ["star", "ring"]


@pytest.mark.parametrize(
    ("proposer", "told"),
    [
        (lambda i, q, n: None, "it was not found"),
        (lambda i, q, n: [], "it was not found"),
        (lambda i, q, n: 1 / 0, "the proposer raised ZeroDivisionError: division by zero"),
        (lambda i, q, n: make_box(x=500), "the proposer gave no box of this image"),
        (lambda i, q, n: ["here"], "the proposer gave no box of this image"),
        (lambda i, q, n: time.sleep(2.0), "the proposer took longer than 0.05 s"),
    ],
)
def test_without_evidence_the_answer_is_fast_and_the_trace_says_why(monkeypatch, switch, proposer, told):
    script = Script(glance=REFUSAL, retried=said("red"))
    limit = 0.05 if "longer" in told else None
    agent = make_agent(monkeypatch, switch, script, proposer=proposer, proposer_timeout_s=limit)
    answer = agent.answer(make_scene(), "What colour is the star?")
    assert (answer.text, answer.mode, answer.is_low_confidence) == ("red", "fast", True)
    assert answer.trace.stopped_by == "no_evidence"
    assert told in answer.evidence[0].fault and not answer.evidence[0].is_found
    assert told in answer.trace.to_html()
    assert bool(answer.trace.faults) == ("not found" not in told)


def test_one_object_that_fails_leaves_the_others(monkeypatch, switch):
    glance = said(refusal_of(["star", "ring"]), missing=["star", "ring"])
    script = Script(glance=glance, evidence=[said("left")])

    def propose(image, question, name):
        if name == "star":
            raise RuntimeError("no star today")
        return Proposal(boxes=[make_box(), make_box(x=30)], probability=0.8)

    answer = make_agent(monkeypatch, switch, script, proposer=propose).answer(make_scene(), "Where is the star?")
    assert answer.mode == "slow" and script.asked[-1][2] == [2]
    assert [one.is_found for one in answer.evidence] == [False, True, True]


def test_no_more_objects_are_looked_for_than_allowed(monkeypatch, switch):
    names = ["a", "b", "c", "d", "e", "f"]
    script = Script(glance=said(refusal_of(names), missing=names), evidence=[said("yes")])
    answer = make_agent(monkeypatch, switch, script, max_objects=3).answer(make_scene(), "Are there six?")
    assert [one.name for one in answer.evidence] == ["a", "b", "c"]


def test_a_used_up_budget_ends_the_search(monkeypatch, switch):
    names = ["star", "ring"]
    script = Script(glance=said(refusal_of(names), missing=names), evidence=[said("left")])
    agent = make_agent(
        monkeypatch, switch, script, time_budget_s=0.3, proposer=lambda i, q, n: time.sleep(0.35) or make_box()
    )
    answer = agent.answer(make_scene(), "Where is the star?")
    assert answer.trace.stopped_by == "time_budget" and answer.mode == "slow"
    assert [one.is_found for one in answer.evidence] == [True, False]


def test_what_decides(monkeypatch, switch):
    unsure = said("red", confidence=0.3)
    question = "What colour is the small star?"
    for options, mode in (
        ({}, "fast"),
        ({"tau_fast": 0.5}, "slow"),
        ({"tau_fast": 0.2}, "fast"),
        ({"decide": "slow"}, "slow"),
        ({"decide": "fast", "tau_fast": 0.5}, "fast"),
    ):
        script = Script(glance=unsure, evidence=[said("blue")])
        answer = make_agent(monkeypatch, switch, script, **options).answer(make_scene(), question)
        assert answer.mode == mode, options
        assert [one.name for one in answer.evidence] == (["small star"] if mode == "slow" else [])
    script = Script(glance=REFUSAL, retried=said("red"))
    answer = make_agent(monkeypatch, switch, script, decide="fast").answer(make_scene(), question)
    assert answer.trace.stopped_by == "fast_only" and answer.text == "red"


def test_stages_ask_questions_together(monkeypatch, switch):
    script = Script(glance=REFUSAL, evidence=[said("blue")] * 5)
    agent = make_agent(monkeypatch, switch, script, batch_size=3)
    answers = agent.answer_all([Request(make_scene(), "What colour is the star?")] * 5)
    assert [answer.text for answer in answers] == ["blue"] * 5
    assert [number for number, _, _ in script.asked] == [3, 3, 2, 2]


def make_segments(monkeypatch, mask, reason=""):
    def segment(model, samples, *, max_new_tokens=64):
        found = []
        for sample in samples:
            width, height = sample.images[0].size
            array = torch.zeros(height, width, dtype=torch.bool)
            if mask is not None:
                x0, y0, x1, y1 = mask
                array[y0:y1, x0:x1] = True
            masks = [] if mask is None else [Mask(array.numpy(), frame=Frame.original("c", width=width, height=height))]
            found.append(Segmentation(masks, text="[SEG].", spans=[(0, 5)] * len(masks), scores=[1.0], reason=reason))
        return found

    monkeypatch.setattr(refining, "segment_samples", segment)
    monkeypatch.setattr(refining, "seg_adapter", lambda model: None)


@pytest.mark.parametrize(
    ("mask", "edges", "told"),
    [
        ((4, 6, 16, 20), (12, 16, 24, 30), ""),
        ((4, 6, 7, 9), (10, 12, 30, 32), "the mask has only 9 pixels"),
        ((0, 0, 24, 1), (10, 12, 30, 32), "the mask lies elsewhere: IoU 0.0"),
        ((0, 0, 0, 0), (10, 12, 30, 32), "the mask is empty"),
        (None, (10, 12, 30, 32), "no [SEG]"),
    ],
)
def test_a_mask_tightens_a_box_where_it_can_be_believed(monkeypatch, switch, mask, edges, told):
    make_segments(monkeypatch, mask, reason="no [SEG]" if mask is None else "")
    script = Script(glance=REFUSAL, evidence=[said("blue")])
    monkeypatch.setattr(fast_slow, "ask_samples", script)
    agent = FastSlow(switch, proposer=lambda i, q, n: make_box(), segmenter=switch)
    answer = agent.answer(make_scene(), "What colour is the star?")
    (one,) = answer.evidence
    assert one.box.xyxy == edges  # the crop begins at (8, 10)
    assert (one.mask is not None) == (told == "")
    assert any(told in step.fault for step in answer.trace.steps if step.kind == "segment")


def test_a_dimmed_crop_keeps_the_object_and_darkens_the_rest(monkeypatch, switch):
    make_segments(monkeypatch, (4, 6, 16, 20))
    seen = []

    class Looking(Script):
        def __call__(self, model, samples, **options):
            seen.extend(sample.images[1] for sample in samples if len(sample.images) > 1)
            return super().__call__(model, samples, **options)

    script = Looking(glance=REFUSAL, evidence=[said("blue")])
    monkeypatch.setattr(fast_slow, "ask_samples", script)
    options = FastSlowOptions(dims_outside=True)
    white = Image.new("RGB", (SIDE, SIDE), "white")
    FastSlow(switch, proposer=lambda i, q, n: make_box(), segmenter=switch, options=options).answer(white, "The star?")
    assert set(seen[0].convert("L").get_flattened_data()) == {255, 89}


def test_a_trace_goes_to_json_and_back(monkeypatch, switch):
    make_segments(monkeypatch, (4, 6, 16, 20))
    script = Script(glance=REFUSAL, evidence=[said("blue")])
    monkeypatch.setattr(fast_slow, "ask_samples", script)
    agent = FastSlow(switch, proposer=lambda i, q, n: make_box(), segmenter=switch)
    trace = agent.answer(make_scene(), "What <colour> is the star?").trace
    told = json.loads(json.dumps(trace.to_dict()))
    again = Trace.from_dict(told)
    assert again == trace and again.to_dict() == told
    assert again.cost.lm_tokens == 24
    page = again.to_html(make_scene())
    assert "What &lt;colour&gt; is" in page and "data:image/png;base64," in page and "<colour>" not in page
    assert "data:image" not in again.to_html()
    for broken in ({**told, "version": 0}, {key: told[key] for key in told if key != "steps"}):
        with pytest.raises(DataError, match="A trace must"):
            Trace.from_dict(broken)


# with real models


@pytest.fixture(scope="module")
def whole():
    """A model with everything, whose search and masks say what comes."""
    torch.manual_seed(0)
    model = make_base("llava-llama", adapters=[SWITCH, search_spec(cache_size=32), SEG])
    return model.eval()


def test_one_model_with_all_adapters_answers(whole):
    answer = whole.answer(
        make_scene(), "What colour is the star?", decide="slow", max_new_tokens=6, options=["red", "blue"]
    )
    assert answer.text in ("red", "blue") and answer.option in (0, 1)
    kinds = [step.kind for step in answer.trace.steps]
    assert kinds[:2] == ["fast", "propose"] and "search" in answer.trace.steps[1].detail
    (search,) = answer.trace.searches
    assert search.path_length >= 1 and Trace.from_dict(json.loads(json.dumps(answer.trace.to_dict()))).searches
    cost = answer.trace.cost
    assert cost.lm_tokens > 0 and cost.images > 0 and cost.seconds > 0
    assert "the search for star" in answer.trace.to_html()
    assert not whole.training


def test_a_hundred_questions_about_one_image_encode_it_once(whole):
    scene = make_scene()
    agent = FastSlow(whole, options=FastSlowOptions(decide="fast", max_new_tokens=2, batch_size=40))
    seen = []
    handle = whole.encoder.register_forward_pre_hook(lambda module, args: seen.append(len(args[0])))
    with Meter([whole]) as meter:
        answers = agent.answer_all([Request(scene, f"What is number {number}?") for number in range(100)])
    handle.remove()
    assert len(answers) == 100 and sum(seen) == 1 and meter.reading.images == 1
    assert whole.image_memory is None


def test_remembered_images_change_no_answer(whole):
    scenes = [make_scene(0), make_scene(1), make_scene(0)]
    agent = FastSlow(whole, options=FastSlowOptions(decide="fast", max_new_tokens=4))
    together = agent.answer_all([Request(scene, "What is it?") for scene in scenes])
    alone = [agent.answer(scene, "What is it?") for scene in scenes]
    assert [one.text for one in together] == [one.text for one in alone]
    assert [one.confidence for one in together] == pytest.approx([one.confidence for one in alone], rel=1e-4)


@pytest.mark.parametrize("base_name", BASES)
def test_answers_in_a_batch_are_those_of_one_by_one(base_name):
    model = make_base(base_name, adapters=[on(architecture_of(base_name))])
    samples = [focus_sample(make_picture(n), "What is it, " * (n + 1)) for n in range(3)]
    together = ask_samples(model, samples, max_new_tokens=4)
    alone = [ask_samples(model, [sample], max_new_tokens=4)[0] for sample in samples]
    assert [one.text for one in together] == [one.text for one in alone]
    assert [one.confidence for one in together] == pytest.approx([one.confidence for one in alone], rel=1e-3)
    assert [one.num_prompt_tokens for one in together] == [one.num_prompt_tokens for one in alone]


def test_a_forbidden_beginning_is_not_said():
    forbid = ForbiddenBeginning([4, 2], start=3)
    scores = torch.zeros(2, 6)
    prompt = torch.tensor([[1, 1, 1], [1, 1, 1]])
    assert torch.equal(forbid(prompt, scores), scores)  # it may begin with 4, not go on with 2
    after = forbid(torch.tensor([[1, 1, 1, 4], [1, 1, 1, 5]]), scores)
    assert after[0, 2] == -torch.inf and torch.isfinite(after[1]).all()
    assert torch.equal(forbid(torch.tensor([[1, 1, 1, 4, 3]] * 2), scores), scores)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"decide": "never"}, "`decide` must be auto, fast or slow, but is 'never'"),
        ({"tau_fast": 1.5}, r"`tau_fast` must lie within \[0, 1\], but is 1.5"),
        ({"max_objects": 0}, "`max_objects` must be at least 1, but is 0"),
        ({"time_budget_s": 0.0}, "`time_budget_s` must be positive"),
        ({"speed": 3}, "unexpected keyword argument 'speed'"),
    ],
)
def test_wrong_options_are_named(switch, options, sentence):
    with pytest.raises(ConfigError, match=sentence):
        switch.answer(make_scene(), "What?", **options)


def test_a_wrong_proposer_and_an_empty_question_are_named(switch):
    with pytest.raises(ConfigError, match="`proposer` must be a name"):
        FastSlow(switch, proposer=3)
    with pytest.raises(ConfigError, match="To search, a model must have one search adapter"):
        FastSlow(switch, proposer="vstar")
    with pytest.raises(DataError, match="A question must be in words"):
        FastSlow(switch).answer(make_scene(), "  ")
