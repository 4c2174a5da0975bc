"""Native bases against transformers' own: the same logits, answers, ids and folders."""

import inspect

import pytest
import torch
import transformers
from PIL import Image

from vlmzoo import build_model, load_model
from vlmzoo.checkpoint import save_model
from vlmzoo.data.collation import Collator
from vlmzoo.data.conversations import with_images
from vlmzoo.errors import ConfigError, DataError
from vlmzoo.models.native.modeling import native_class
from vlmzoo.models.native.table import NATIVE
from vlmzoo.types import Sample, assistant, user
from vlmzoo.zoo import load_card

CARDS = ("qwen2-vl-2b", "qwen2.5-vl-3b", "qwen3-vl-4b", "llava-1.5-7b-hf", "internvl3.5-1b")


@pytest.fixture(scope="module", params=CARDS)
def model(request):
    torch.manual_seed(0)
    return build_model(load_card(request.param).miniature())


def make_sample(sizes=((40, 60),), *, question="What is it?", answer="A cat."):
    pictures = [Image.new("RGB", size, (40 * index % 256, 90, 30)) for index, size in enumerate(sizes)]
    return Sample(messages=[user(question, num_images=len(sizes)), assistant(answer)], images=pictures, id="one")


def make_batch(model, samples):
    return Collator(pad_token_id=model.processor.padding_id)([model.processor.encode(sample) for sample in samples])


def bare(model):
    """transformers' own model with the same weights."""
    reference = getattr(transformers, type(model).__name__)(model.config).eval()
    reference.load_state_dict(model.state_dict())
    assert type(reference) is not type(model)
    return reference


@torch.no_grad()
def test_logits_and_loss_are_those_of_transformers(model):
    inputs = dict(make_batch(model, [make_sample(), make_sample(((90, 30), (30, 30)), answer="Two dogs.")]).inputs)
    ours, theirs = model(**inputs), bare(model)(**inputs)
    assert torch.equal(ours.logits, theirs.logits)
    torch.testing.assert_close(ours.loss, theirs.loss, atol=1e-5, rtol=0)


def test_gradients_are_those_of_transformers(model):
    inputs = dict(make_batch(model, [make_sample(), make_sample(((90, 30),), answer="Two dogs.")]).inputs)
    reference = bare(model)
    model(**inputs, return_logits=False).loss.backward()
    reference(**inputs).loss.backward()
    for (name, ours), theirs in zip(model.named_parameters(), reference.parameters(), strict=True):
        if theirs.grad is not None:
            torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-5, rtol=1e-4, msg=name)
    model.zero_grad(set_to_none=True)


def test_greedy_answers_are_those_of_transformers(model):
    prompts = [with_images(Sample(messages=[user("Say.", num_images=1)], images=make_sample().images))] * 2
    inputs = model.processor.apply_chat_template(
        prompts,
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        processor_kwargs={"padding": True, "padding_side": "left"},
    )
    options = {"max_new_tokens": 6, "do_sample": False, "suppress_tokens": [model.config.image_token_id]}
    assert torch.equal(model.generate(**inputs, **options), bare(model).generate(**inputs, **options))


@pytest.mark.parametrize("sizes", [(), ((40, 60),), ((28, 28), (200, 50), (60, 61))])
def test_encoded_ids_are_those_of_the_processor_itself(model, sizes):
    sample = make_sample(sizes)
    encoded = model.processor.encode(sample)
    rendered = model.processor.apply_chat_template(
        with_images(sample), tokenize=True, return_dict=True, return_tensors="pt"
    )
    assert encoded["input_ids"] == rendered["input_ids"][0].tolist()
    if sizes:
        assert torch.equal(encoded["pixel_values"], rendered["pixel_values"])
    if "mm_token_type_ids" in rendered:
        assert encoded["mm_token_type_ids"] == rendered["mm_token_type_ids"][0].tolist()


def test_labels_are_what_the_assistant_says_and_its_end(model):
    encoded = model.processor.encode(make_sample(answer="A cat."))
    learned = [id for id in encoded["labels"] if id != -100]
    assert model.processor.tokenizer.decode(learned[:-1], skip_special_tokens=False).strip() == "A cat."
    assert learned[-1] == model.processor.tokenizer.eos_token_id


def test_the_last_token_of_a_prompt_is_not_the_end_of_sequence(model):
    prompt = [with_images(Sample(messages=[user("Say.")]))]
    ids = model.processor.apply_chat_template(
        prompt, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    )["input_ids"]
    assert ids[0, -1] != model.processor.tokenizer.eos_token_id


@pytest.mark.parametrize("size", [(28, 28), (60, 40), (300, 90)])
def test_visual_tokens_are_known_from_the_size_alone(model, size):
    with_picture = len(model.processor.encode(make_sample((size,)))["input_ids"])
    without = model.processor.apply_chat_template(make_sample((size,)).messages, tokenize=False)
    placeholders = len(model.processor.tokenizer(without, add_special_tokens=False)["input_ids"])
    bos = model.processor.tokenizer.bos_token
    placeholders += 0 if not bos or without.startswith(bos) else len(model.processor.tokenizer("")["input_ids"])
    counted = model.processor.count_image_tokens([(size[1], size[0])])
    assert with_picture - placeholders + 1 == counted[0]


def test_users_cannot_write_placeholders(model):
    token = model.processor.tokenizer.convert_ids_to_tokens(model.config.image_token_id)
    encoded = model.processor.encode(make_sample((), question=f"Look: {token}"))
    assert model.config.image_token_id not in encoded["input_ids"]


def test_a_folder_comes_back_whole(model, tmp_path):
    folder = save_model(model, model.processor, tmp_path / "model")
    loaded, processor = load_model(folder)
    assert type(loaded) is type(model) and type(processor) is type(model.processor)
    kept, restored = model.state_dict(), loaded.state_dict()
    assert kept.keys() == restored.keys() and all(torch.equal(kept[name], restored[name]) for name in kept)
    assert processor.encode(make_sample())["input_ids"] == model.processor.encode(make_sample())["input_ids"]
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 10e6


def test_the_forward_names_what_transformers_takes(model):
    theirs = set(inspect.signature(getattr(transformers, type(model).__name__).forward).parameters) - {"kwargs"}
    assert theirs <= set(inspect.signature(type(model).forward).parameters)


@pytest.mark.parametrize("name", CARDS)
def test_the_class_bears_the_name_that_everybody_has(name):
    entry = NATIVE[load_card(name).architecture.model_type]
    assert native_class(load_card(name).architecture.model_type).__name__ == entry.model


class TestBadInput:
    @pytest.mark.parametrize(
        ("pixels", "message"),
        [
            ({"min": 100}, "must be a whole number of at least 784"),
            ({"max": "many"}, "must be a whole number of at least 784"),
            ({"min": 10_000, "max": 5_000}, r"`processor.pixels.min` \(10000\) must not be above `max` \(5000\)"),
            ({"most": 1}, "`processor.pixels` takes no `most`"),
        ],
    )
    def test_pixel_budgets_that_make_no_sense(self, pixels, message):
        architecture = load_card("qwen2.5-vl-3b").miniature()
        architecture["processor"] = {**architecture["processor"], "pixels": pixels}
        with pytest.raises(ConfigError, match=message):
            _ = build_model(architecture).processor

    def test_an_unknown_architecture_or_field(self):
        processor = load_card("qwen2.5-vl-3b").miniature()["processor"]
        with pytest.raises(ConfigError, match="`qwen2_6_vl` is no native base. Did you mean `qwen2_5_vl`"):
            build_model({"family": "native", "model_type": "qwen2_6_vl", "processor": processor})
        with pytest.raises(ConfigError, match="takes no `vision_confg` in its `config`. Did you mean `vision_config`"):
            build_model(
                {"family": "native", "model_type": "qwen2_5_vl", "config": {"vision_confg": {}}, "processor": processor}
            )

    def test_a_sample_without_its_picture(self, model):
        with pytest.raises(DataError, match="has 1 image placeholders but 0 images"):
            model.processor.encode(Sample(messages=make_sample().messages, id="x"))
