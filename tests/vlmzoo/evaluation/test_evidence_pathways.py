"""Pathways of evidence disturb one property of what an agent shows, and an audit tells who leans on it."""

import numpy as np
import pytest
import torch
from PIL import Image

from tests.vlmzoo.adapters.bases import make_base, make_picture
from vlmzoo import build_model
from vlmzoo.agents.fast_slow import FastSlow, FastSlowOptions
from vlmzoo.agents.look_twice import LookTwice
from vlmzoo.agents.object_pictures import undimmed_crop
from vlmzoo.agents.shown import Shown
from vlmzoo.config import AuditConfig
from vlmzoo.config.loading import check_config
from vlmzoo.data.collation import Collator
from vlmzoo.data.focus import FocusObject, focus_sample
from vlmzoo.errors import ConfigError, DataError
from vlmzoo.evaluation.audit import audit_pathways
from vlmzoo.evaluation.pathways import KINDS, PATHWAYS
from vlmzoo.geometry import Box, Frame, Mask
from vlmzoo.objectives import OBJECTIVES
from vlmzoo.runs.agents import agent_of, ask_agent, evidence_pathways
from vlmzoo.scoring import SCORES
from vlmzoo.types import Sample, assistant, user

SWITCH = {"type": "switch", "depth": 1, "head_dim": 8, "num_heads": 2, "num_latents": 2}
FRAME = Frame.original("image", width=40, height=40)


def make_shown(number, *, has_mask=False):
    region = Box.from_xywh((4 + number, 6, 12, 12), frame=FRAME)
    array = np.zeros((40, 40), dtype=bool)
    low = 13 + number % 3
    array[8:low, 6 + number : 10 + number] = True
    picture = make_picture(number).resize((40, 40))
    box = Box.from_xyxy((6 + number, 8, 10 + number, low), frame=FRAME) if has_mask else region
    return Shown(
        name=f"thing {number}",
        text=f"[0.1{number}0,0.200,0.300,0.400]",
        crop=picture.crop((4, 4, 16, 16)),
        box=box,
        region=region,
        mask=Mask(array, frame=FRAME) if has_mask else None,
        picture=picture,
    )


class Agent:
    """Shows what it is given."""

    alter = None
    refiner = "somebody"
    options = FastSlowOptions()


def altered(name, kind, found, *, seed=0):
    agent = Agent()
    pathway = PATHWAYS.build({"type": name}, subject=agent)
    samples = [Sample(messages=[user("?")]) for _ in found]
    with pathway.disturbed(kind, samples, seed=seed) as given:
        assert given is samples
        after = agent.alter(found)
        again = PATHWAYS.build({"type": name}, subject=Agent())
        with again.disturbed(kind, samples, seed=seed):
            assert [[one.text for one in own] for own in again.subject.alter(found)] == [
                [one.text for one in own] for own in after
            ]
    assert agent.alter is None
    return after


@pytest.mark.parametrize("kind", KINDS)
def test_a_crop_is_disturbed_and_words_stay(kind):
    found = [[make_shown(0), make_shown(1)], [], [make_shown(2)]]
    after = altered("crop", kind, found)
    assert [len(own) for own in after] == [2, 0, 1]
    for own, before in zip(after, found, strict=True):
        for one, other in zip(own, before, strict=True):
            assert (one.name, one.text, one.box) == (other.name, other.text, other.box)
            assert one.crop.size == other.crop.size and one.crop.tobytes() != other.crop.tobytes()
    if kind == "swap":
        assert after[2][0].crop is found[0][0].crop


@pytest.mark.parametrize("name", ["box_text", "roi_text"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_place_in_words_is_disturbed_and_pixels_stay(kind, name):
    found = [[make_shown(0)], [make_shown(1)]]
    after = altered(name, kind, found)
    for (one,), (other,) in zip(after, found, strict=True):
        assert one.crop is other.crop and one.text != other.text
        assert len(one.text) == len(other.text) and one.text.startswith("[") and one.text.count(",") == 3
    told = after[0][0].text
    expected = {"blank": "[0.000,0.000,1.000,1.000]", "swap": found[1][0].text}.get(kind, told)
    assert told == expected
    if kind == "shuffle":
        assert sorted(told.strip("[]").split(",")) == sorted(found[0][0].text.strip("[]").split(","))


def test_a_text_without_numbers_stays():
    found = [[make_shown(0)], [make_shown(1)]]
    plain = [[Shown(**{**one[0].__dict__, "text": "somewhere"})] for one in found]
    for kind in ("blank", "shuffle", "noise"):
        assert [own[0].text for own in altered("roi_text", kind, plain)] == ["somewhere", "somewhere"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_mask_is_disturbed_within_its_region(kind):
    found = [[make_shown(0, has_mask=True), make_shown(3)], [make_shown(5, has_mask=True)]]
    after = altered("mask", kind, found, seed=1)
    assert after[0][1] is found[0][1]  # without a mask
    one, other = after[0][0], found[0][0]
    if kind == "blank":
        assert one.mask is None and one.box == other.region and one.text == "[0.100,0.150,0.400,0.450]"
    else:
        assert one.mask != other.mask and one.box == one.mask.box()
        inside = one.box.clipped()
        assert inside.x0 >= other.region.x0 and inside.y1 <= other.region.y1


def test_what_cannot_be_disturbed_is_named():
    with pytest.raises(ConfigError, match="A pathway of evidence needs an agent"):
        PATHWAYS.build({"type": "crop"}, subject=object())
    agent = Agent()
    agent.refiner = None
    with pytest.raises(ConfigError, match="A `mask` pathway needs an agent with a segmenter"):
        PATHWAYS.build({"type": "mask"}, subject=agent)
    with pytest.raises(DataError, match="only one of 2 has"):
        altered("crop", "swap", [[make_shown(0)], []])


def test_agents_of_a_config_are_built_and_wrong_ones_named():
    model = make_base("llava-llama", adapters=["roi", SWITCH]).eval()
    twice = agent_of({"type": "look_twice", "max_new_tokens": 3, "max_region_tokens": 3}, model)
    assert isinstance(twice, LookTwice) and list(evidence_pathways(twice)) == ["crop", "roi_text"]
    picture = make_picture(0).resize((40, 40))
    samples = [Sample(messages=[user("What is it?", num_images=1)], images=[picture], id=str(n)) for n in range(2)]
    plain = ask_agent(twice)(samples)
    pathway = PATHWAYS.build({"type": "crop"}, subject=twice)
    with pathway.disturbed("swap", samples, seed=0):
        assert ask_agent(twice)(samples) == plain  # equal pictures have equal crops
    agent = agent_of({"type": "fast_slow", "decide": "slow", "proposer": "cos"}, model)
    assert isinstance(agent, FastSlow) and list(evidence_pathways(agent)) == ["crop", "box_text"]
    for spec, sentence in (
        ({"type": "fast_slo"}, "Did you mean `fast_slow`"),
        ({}, "`agent.type` must be one of fast_slow, look_twice, but is None"),
        ({"type": "look_twice", "speed": 1}, "unexpected keyword argument 'speed'"),
    ):
        with pytest.raises(ConfigError, match=sentence):
            agent_of(spec, model)
    with pytest.raises(DataError, match="is asked about an image, but sample `n` has none"):
        ask_agent(agent)([Sample(messages=[user("?")], id="n")])
    values = {"model": "x/y", "benchmark": {"type": "synthetic"}, "output_dir": "o", "agent": {"type": "look_twice"}}
    assert check_config(values, schema=AuditConfig, origin="test").agent == {"type": "look_twice"}


# known answers: one model learns to read the crop, the other to pass over it

COLOURS = {"red": (220, 30, 30), "blue": (30, 60, 220), "green": (30, 180, 50), "black": (10, 10, 10)}
SPOT = (2, 2, 12, 12)


def make_scene(ground, spot):
    picture = Image.new("RGB", (28, 28), COLOURS[ground])
    picture.paste(COLOURS[spot], SPOT)
    return picture


def make_lesson(number, *, leans_on):
    """A spot on a ground of another colour; what is told is the colour of the crop, or that of the ground.

    Who learns the ground's colour is shown the crop of any scene: else it would tell which colour the ground has not.
    """
    draw = np.random.default_rng(number)
    ground, spot = (list(COLOURS)[place] for place in draw.permutation(4)[:2])
    box = Box.from_xyxy(SPOT, frame=Frame.original("image", width=28, height=28))
    picture = make_scene(ground, spot)
    cropped = (
        picture if leans_on == "crop" else make_scene(*(list(COLOURS)[place] for place in draw.permutation(4)[:2]))
    )
    found = FocusObject("spot", box, undimmed_crop(cropped, "spot", box))
    asked = focus_sample(picture, "What colour?", [found], id=str(number))
    said = spot if leans_on == "crop" else ground
    return Sample(messages=[*asked.messages, assistant(said)], images=asked.images, id=str(number), reference=said)


def make_trained(leans_on, *, num_steps=400):
    torch.manual_seed(0)
    encoder = {"type": "patch_mlp", "image_size": 28, "patch_size": 14, "hidden_size": 32}
    text = {"type": "causal_lm", "model_type": "llama", "hidden_size": 48, "intermediate_size": 96}
    text |= {"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 4, "initializer_range": 0.14}
    processor = {
        "image": {"aspect": "square", "size": 28, "mean": [0.5] * 3, "std": [0.3] * 3},
        "tokenizer": {"type": "byte_bpe", "corpus": [], "vocab_size": 300},
        "chat_template": "plain",
    }
    architecture = {"family": "llava", "encoder": encoder, "projector": {"type": "mlp2x_gelu"}}
    model = build_model(
        {**architecture, "language_model": text, "processor": processor}, adapters=[SWITCH], dtype="float32"
    ).train()
    collate = Collator(pad_token_id=model.processor.padding_id, adapter_inputs=model.processor.adapter_inputs)
    objective = OBJECTIVES.build({"type": "next_token"})
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for step in range(num_steps):
        rows = [model.processor.encode(make_lesson(16 * step + row, leans_on=leans_on)) for row in range(16)]
        batch = collate(rows)
        loss = objective(model(**batch.inputs, return_logits=False), batch, batch.count()).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model.eval()


class Questions:
    """Spots that training has not seen."""

    num_questions = 40
    max_new_tokens = 8
    expected = None

    def __init__(self, leans_on):
        self.leans_on = leans_on
        self.identity = {"type": "spots"}
        self.scores = {"exact_match": SCORES.build({"type": "exact_match"})}

    def questions(self):
        for number in range(self.num_questions):
            lesson = make_lesson(10**6 + number, leans_on=self.leans_on)
            asked = [user("What colour?", num_images=1)]
            yield Sample(
                messages=asked,
                images=lesson.images[:1],
                id=lesson.id,
                reference=lesson.reference,
                meta={"options": list(COLOURS)},
            )


@pytest.mark.slow
@pytest.mark.parametrize("leans_on", ["crop", "ground"])
def test_an_audit_tells_a_model_that_reads_the_crop_from_one_that_does_not(leans_on):
    model = make_trained(leans_on)
    frame = Frame.original("image", width=28, height=28)
    agent = FastSlow(
        model,
        proposer=lambda image, question, name: Box.from_xyxy(SPOT, frame=frame),
        options=FastSlowOptions(decide="slow", max_new_tokens=2),
    )
    pathways = {name: PATHWAYS.build(spec, subject=agent) for name, spec in evidence_pathways(agent).items()}
    audit = audit_pathways(ask_agent(agent), Questions(leans_on), pathways, kinds=["blank", "swap", "noise"])
    assert audit.baseline.low >= 0.9  # chance is 0.25
    of_crop = {row.kind: row.change for row in audit.rows if row.pathway == "crop"}
    if leans_on == "crop":
        assert all(change.high < -0.3 for change in of_crop.values()), of_crop
        assert audit.carriers[0] == "crop"
    else:
        assert all(change.low <= 0 <= change.high for change in of_crop.values()), of_crop
        assert "crop" not in audit.carriers
    of_place = [row.change for row in audit.rows if row.pathway == "box_text"]
    assert all(change.low <= 0 <= change.high for change in of_place)
