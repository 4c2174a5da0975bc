"""The switch adapter: long and short forms on LLaVA, crops as images elsewhere, refusals, options."""

from dataclasses import replace

import pytest
import torch
from PIL import Image

from tests.vlmzoo.adapters.bases import architecture_of, make_base, make_picture
from vlmzoo import build_model, load_model
from vlmzoo.checkpoint import save_model
from vlmzoo.data.collation import Collator
from vlmzoo.data.conversations import prompt_of
from vlmzoo.data.focus import FocusObject, focus_sample, forms_of
from vlmzoo.data.prompting import prompt_inputs
from vlmzoo.data.refusals import missing_objects, refusal_of
from vlmzoo.errors import ConfigError, DataError, ShapeError
from vlmzoo.evaluation import complete
from vlmzoo.geometry import Box, Frame
from vlmzoo.models.option_scoring import option_losses
from vlmzoo.models.switching import ask, choose
from vlmzoo.objectives import OBJECTIVES
from vlmzoo.types import assistant
from vlmzoo.zoo import load_card

SWITCH = {"type": "switch", "depth": 1, "head_dim": 8, "num_heads": 2, "num_latents": 3}


def on(architecture, spec=SWITCH):
    """Leave the sizes of a tiny switch out where the base has no short form of images."""
    return spec if spec is not SWITCH or architecture["family"] == "llava" else {"type": "switch"}


NAMES = ("cup", "lamp", "star", "ring", "key", "book", "ball", "shoe")
COLOURS = ("red", "blue", "green", "gold", "grey", "pink", "cyan", "white")


def make_object(number):
    frame = Frame.original("picture", width=28, height=28)
    return FocusObject(NAMES[number % 8], Box.from_xywh((2 + number % 8, 3, 9, 7), frame=frame))


def make_question(number, *, num_objects=1, layout="seal"):
    objects = [make_object(number + extra) for extra in range(num_objects)]
    question = f"What colour is the {NAMES[number]}?"
    return focus_sample(make_picture(number), question, objects, layout=layout, id=str(number))


def make_sample(number):
    """Even ones are refused, odd ones are answered with an object before the question."""
    said = f"It is {COLOURS[number]}." if number % 2 else refusal_of([NAMES[number]])
    asked = make_question(number, num_objects=number % 2)
    return replace(asked, messages=[*asked.messages, assistant(said)])


def make_batch(model, samples):
    processor = model.processor
    collate = Collator(pad_token_id=processor.padding_id, adapter_inputs=processor.adapter_inputs)
    return collate([processor.encode(sample) for sample in samples])


@torch.no_grad()
def test_an_untriggered_adapter_leaves_the_logits_bit_for_bit(base_name):
    bare, adapted = make_base(base_name), make_base(base_name)
    sample = make_sample(0)
    batch = make_batch(bare, [sample])
    adapted.attach_adapters([on(architecture_of(base_name))])
    before, after = bare(**batch.inputs).logits, adapted(**batch.inputs).logits
    assert torch.equal(after[..., : before.shape[-1]], before)
    whole = make_batch(adapted, [sample])
    assert torch.equal(whole.inputs["input_ids"], batch.inputs["input_ids"])
    assert torch.equal(adapted(**whole.inputs).logits, after)


@pytest.mark.parametrize(
    ("num_objects", "image", "objects"), [(0, "long", []), (1, "short", ["long"]), (3, "short", ["short"] * 3)]
)
def test_the_processor_expands_each_form(num_objects, image, objects):
    model = make_base("llava-llama", adapters=[SWITCH])
    lengths = {"long": model.num_image_tokens, "short": SWITCH["num_latents"]}
    encoded = model.processor.encode_prompt(make_question(0, num_objects=num_objects))
    ids = encoded["input_ids"]
    expected = [lengths[form] for form in (image, *objects)]
    assert ids.count(model.config.image_token_id) == sum(expected)
    assert encoded["adapters"]["switch"]["is_long"] == [form == "long" for form in (image, *objects)]
    assert len(encoded["pixel_values"]) == 1 + num_objects


@torch.no_grad()
def test_rows_of_a_batch_are_read_as_they_are_alone(base_name):
    model = make_base(base_name, adapters=[on(architecture_of(base_name))])
    samples = [make_question(number, num_objects=number) for number in range(4)]
    inputs = prompt_inputs(model.processor, samples, device="cpu", dtype=model.dtype)
    together = model(**inputs).logits[:, -1]
    for row, sample in enumerate(samples):
        alone = prompt_inputs(model.processor, [sample], device="cpu", dtype=model.dtype)
        torch.testing.assert_close(together[row], model(**alone).logits[0, -1], atol=2e-4, rtol=1e-4)


def test_generation_keeps_the_forms_of_its_images():
    model = make_base("llava-llama", adapters=[SWITCH])
    inputs = prompt_inputs(model.processor, [make_question(1, num_objects=2)], device="cpu", dtype=model.dtype)
    cached = model.generate(**inputs, max_new_tokens=4, do_sample=False)
    whole = model.generate(**inputs, max_new_tokens=4, do_sample=False, use_cache=False)
    assert torch.equal(cached, whole)
    with pytest.raises(ConfigError, match="`num_return_sequences` must be 1 where images have short forms, but is 2"):
        model.generate(**inputs, max_new_tokens=2, do_sample=True, num_return_sequences=2)


def test_questions_of_an_evaluation_keep_the_forms_of_their_images(monkeypatch):
    model = make_base("llava-llama", adapters=[SWITCH])
    samples = [make_question(number, num_objects=number) for number in (1, 0, 3)]
    expected = prompt_inputs(model.processor, samples, device="cpu", dtype=model.dtype)
    generate, given = model.generate, {}
    monkeypatch.setattr(model, "generate", lambda **inputs: given.update(inputs) or generate(**inputs))
    complete(model, model.processor, samples, max_new_tokens=2)
    assert {"switch_is_long", "pixel_values"} <= expected.keys() <= given.keys()
    assert all(torch.equal(given[name], value) for name, value in expected.items())
    begun = [replace(one, messages=[*one.messages, assistant("It is")]) for one in samples]
    with pytest.raises(DataError, match="answers cannot be begun"):
        complete(model, model.processor, begun, max_new_tokens=2)


def test_both_projectors_have_gradients_whatever_the_forms():
    model = make_base("llava-llama", adapters=[SWITCH]).train()
    for number in (0, 1, 3):
        model.zero_grad(set_to_none=True)
        asked = make_question(0, num_objects=number)
        batch = make_batch(model, [replace(asked, messages=[*asked.messages, assistant("Red.")])])
        model(**batch.inputs).loss.backward()
        parameters = [*model.projector.parameters(), *model.adapters["switch"].projector.parameters()]
        assert all(parameter.grad is not None for parameter in parameters)


@torch.no_grad()
def test_options_share_one_reading_of_the_question(base_name):
    model = make_base(base_name, adapters=[on(architecture_of(base_name))])
    asked, options = make_question(1, num_objects=2), ["red", "a deep blue", "no"]
    losses = option_losses(model, asked, options)
    for loss, option in zip(losses, options, strict=True):
        batch = make_batch(model, [replace(asked, messages=[*asked.messages, assistant(option)])])
        outputs = model(**batch.inputs)
        number = (batch.inputs["labels"] != -100).sum()
        prompt = len(model.processor.encode_prompt(asked)["input_ids"])
        nats = (
            -outputs.logits[0, prompt - 1 : -1].log_softmax(-1).gather(1, batch.inputs["input_ids"][0, prompt:, None])
        )
        assert number <= len(nats)
        torch.testing.assert_close(loss, nats.mean(), atol=2e-4, rtol=1e-4)
    chosen = choose(model, asked.images[0], "What colour?", options)
    assert chosen.text == options[chosen.option] and 0.0 <= chosen.confidence <= 1.0
    with pytest.raises(DataError, match="`options` must hold at least one answer"):
        option_losses(model, asked, [])


def test_a_free_answer_has_a_confidence(base_name):
    answer = ask(
        make_base(base_name, adapters=[on(architecture_of(base_name))]),
        make_picture(0),
        "What is it?",
        max_new_tokens=3,
    )
    assert 0.0 < answer.confidence <= 1.0 and answer.option is None
    assert answer.missing == missing_objects(answer.text)


def learn_by_heart(model, samples, *, num_steps):
    model.train()
    batch, objective = make_batch(model, samples), OBJECTIVES.build({"type": "next_token"})
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=5e-3)
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.02, total_iters=num_steps)
    for _ in range(num_steps):
        loss = objective(model(**batch.inputs, return_logits=False), batch, batch.count()).loss
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if float(loss.detach()) < 2e-4:
            break
    return model.eval()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["llava-1.5-7b", "qwen2.5-vl-3b"])
def test_eight_samples_are_learned_by_heart_and_come_back_from_the_folder(name, tmp_path):
    torch.manual_seed(0)
    model = build_model(load_card(name).miniature(), adapters=[on(load_card(name).miniature())])
    samples = [make_sample(number) for number in range(8)]
    learn_by_heart(model, samples, num_steps=200)
    prompts = [prompt_of(sample) for sample in samples]
    said = [answer.text.strip() for answer in complete(model, model.processor, prompts, max_new_tokens=96)]
    assert said == [sample.messages[-1]["content"][0]["text"] for sample in samples]
    refused = ask(model, samples[2].images[0], f"What colour is the {NAMES[2]}?", max_new_tokens=96)
    assert refused.missing == [NAMES[2]] and refused.confidence > 0.5
    found = ask(model, samples[3].images[0], f"What colour is the {NAMES[3]}?", objects=[make_object(3)])
    assert found.missing is None and found.text == f"It is {COLOURS[3]}."
    options = ["It is pink.", "It is gold."]
    chosen = choose(model, samples[3].images[0], f"What colour is the {NAMES[3]}?", options, objects=[make_object(3)])
    assert chosen.text == "It is gold."
    save_model(model, model.processor, tmp_path / "model")
    loaded, processor = load_model(tmp_path / "model", dtype="float32")
    assert [answer.text.strip() for answer in complete(loaded, processor, prompts, max_new_tokens=96)] == said


def test_a_folder_restores_the_perceiver(tmp_path):
    model = make_base("llava-llama", adapters=[SWITCH])
    inputs = prompt_inputs(model.processor, [make_question(0, num_objects=2)], device="cpu", dtype=model.dtype)
    save_model(model, model.processor, tmp_path / "model")
    loaded, _ = load_model(tmp_path / "model", dtype="float32")
    with torch.no_grad():
        torch.testing.assert_close(loaded.eval()(**inputs).logits, model.eval()(**inputs).logits, atol=1e-5, rtol=0)


def test_twenty_missing_objects_fit_into_one_question(base_name):
    model = make_base(base_name, adapters=[on(architecture_of(base_name))])
    encoded = model.processor.encode_prompt(make_question(0, num_objects=20))
    inputs = prompt_inputs(model.processor, [make_question(0, num_objects=20)], device="cpu", dtype=model.dtype)
    assert torch.isfinite(model(**inputs).logits).all()
    assert len(encoded["input_ids"]) == inputs["input_ids"].shape[1]


@pytest.mark.parametrize("size", ["depth", "head_dim", "num_heads", "num_latents"])
@pytest.mark.parametrize("base", ["eagle", "qwen2.5-vl"])
def test_a_size_of_the_short_form_is_refused_where_there_is_none(base, size):
    with pytest.raises(ConfigError, match=rf"`{size}` must be left out on a base of the family `\w+`, .* but is 3"):
        make_base(base, adapters=[{"type": "switch", size: 3}])


def test_the_sizes_of_folders_that_spell_out_the_defaults_are_still_taken():
    spelt = {"type": "switch", "depth": 6, "head_dim": 96, "num_heads": 16, "num_latents": 32}
    assert not make_base("qwen2.5-vl", adapters=[spelt]).adapters["switch"].has_forms


def test_what_does_not_fit_is_refused():
    with pytest.raises(ConfigError, match="`num_latents` must be a positive whole number, but is 0"):
        make_base("llava-llama", adapters=[{**SWITCH, "num_latents": 0}])
    with pytest.raises(ConfigError, match="`layout` must be seal or trained, but is 'free'"):
        forms_of(1, layout="free")
    model = make_base("llava-llama", adapters=[SWITCH])
    odd = make_question(0)
    odd.messages[0]["content"][0] = {"type": "image", "form": "wide"}
    with pytest.raises(DataError, match="must be long or short, but is 'wide'"):
        model.processor.encode_prompt(odd)
    inputs = prompt_inputs(model.processor, [make_question(0)], device="cpu", dtype=model.dtype)
    with pytest.raises(ShapeError, match="must tell the form of each of the 2 images, but tells 1"):
        model(**{**inputs, "switch_is_long": inputs["switch_is_long"][:1]})
    with pytest.raises(ShapeError, match="must hold 8 placeholders for 2 images"):
        model(**{**inputs, "switch_is_long": torch.ones(2, dtype=torch.bool)})
    outside = FocusObject("cup", Box.from_xywh((50, 50, 2, 2), frame=make_object(0).box.frame))
    with pytest.raises(DataError, match="The box of `cup` must hold a pixel of its image"):
        focus_sample(make_picture(0), "Where?", [outside])
    with pytest.raises(DataError, match="must stand in a frame of its image, 40×40 pixels"):
        focus_sample(Image.new("RGB", (40, 40)), "Where?", [make_object(0)])
