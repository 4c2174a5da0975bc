"""The seg adapter on every base: masks in, masks out, and what it refuses."""

import copy
import json
from dataclasses import replace
from itertools import chain

import numpy as np
import pytest
import torch
from PIL import Image

from tests.vlmzoo.adapters.bases import make_base, make_picture
from tests.vlmzoo.adapters.seg_samples import make_batch, make_mask, make_objective, make_sample, seg_spec
from vlmzoo.data.conversations import prompt_of
from vlmzoo.data.prompting import prompt_inputs
from vlmzoo.errors import ConfigError, DataError, RegistryError, ShapeError
from vlmzoo.geometry import Frame, Mask, decode_rle, mask_iou
from vlmzoo.models.segmenting import Segmentation, question_of, segment_samples
from vlmzoo.objectives.geometry import split_flat
from vlmzoo.types import Sample, assistant, user


@pytest.fixture
def model(base_name):
    return make_base(base_name, adapters=[seg_spec()])


def generate_forced(model, inputs, *, times):
    """Generate with the logits forced to ``[SEG]`` so many times, then the end."""
    from transformers import LogitsProcessor, LogitsProcessorList

    token, end, start = model.token_ids["[SEG]"], model.processor.tokenizer.eos_token_id, inputs["input_ids"].shape[1]

    class Forced(LogitsProcessor):
        def __call__(self, input_ids, scores):
            step = input_ids.shape[1] - start
            chosen = [token if step < num else end for num in times]
            forced = torch.full_like(scores, float("-inf"))
            forced[torch.arange(len(times)), chosen] = 0.0
            return forced

    def run(**options):
        return model.generate(
            **inputs,
            logits_processor=LogitsProcessorList([Forced()]),
            max_new_tokens=max(times) + 1,
            **{"do_sample": False, "return_dict_in_generate": True, **options},
        )

    return run


def test_a_batch_with_different_numbers_of_masks_is_the_sum_of_its_rows(model):
    samples = [make_sample(number, num_masks=num) for number, num in enumerate((2, 0, 1, 3))]
    batch = make_batch(model, samples)
    assert batch.counts["masks"] == 6.0
    with torch.no_grad():
        together = model(**batch.inputs).adapters["seg"]
    pieces = split_flat(together["mask_logits"], batch.targets["mask_sizes"])
    assert [tuple(piece.shape) for piece in pieces] == [(28, 28)] * 6
    truth = [mask for sample in samples for mask in sample.masks]
    for target, mask in zip(split_flat(batch.targets["masks"], batch.targets["mask_sizes"]), truth, strict=True):
        assert np.array_equal(target.numpy() == 1, mask.array)
    done = 0
    for sample in samples:
        alone = make_batch(model, [sample])
        with torch.no_grad():
            found = model(**alone.inputs).adapters["seg"]
        for piece in split_flat(found["mask_logits"], alone.targets["mask_sizes"]):
            torch.testing.assert_close(piece, pieces[done], atol=2e-4, rtol=1e-3)
            done += 1


def test_every_trainable_part_gets_a_gradient_with_masks_and_without(model):
    model.train()
    objective = make_objective(model)
    for num_masks in (1, 0):
        model.zero_grad()
        batch = make_batch(model, [make_sample(0, num_masks=num_masks)])
        found = objective(model(**batch.inputs, return_logits=False), batch, batch.count())
        found.loss.backward()
        assert torch.isfinite(found.loss)
        seg = model.adapters["seg"]
        assert seg.text_hidden_fcs[0].weight.grad is not None
        assert seg.decoder.mask_decoder.mask_tokens.weight.grad is not None
        assert (seg.text_hidden_fcs[2].weight.grad.abs().sum() > 0) == bool(num_masks)
        assert all(p.grad is None for p in seg.decoder.image_encoder.parameters())
        assert float(found.metrics["bce/loss"]) > 0 if num_masks else float(found.metrics["bce/loss"]) == 0


@torch.no_grad()
def test_generation_with_a_cache_reads_the_states_of_a_whole_pass(model):
    samples = [make_sample(number) for number in range(4)]
    prompts = [prompt_of(sample) for sample in samples]
    prompts[3] = replace(  # a longer prompt, which already says [SEG]
        prompts[3], messages=[*samples[3].messages, user("And what is beside it, if anything?")]
    )
    inputs = prompt_inputs(model.processor, prompts, device="cpu", dtype=torch.float32)
    generate = generate_forced(model, inputs, times=[2, 0, 1, 3])
    cached, whole = generate(use_cache=True), generate(use_cache=False)
    assert torch.equal(cached.sequences, whole.sequences)
    assert [len(row) for row in cached.masks] == [len(row) for row in whole.masks] == [2, 0, 1, 4]
    assert cached.mask_columns == whole.mask_columns
    for one, other in zip(chain.from_iterable(cached.masks), chain.from_iterable(whole.masks), strict=True):
        assert np.mean(one.array == other.array) > 0.99
    for one, other in zip(chain.from_iterable(cached.mask_scores), chain.from_iterable(whole.mask_scores), strict=True):
        assert one == pytest.approx(other, abs=2e-4)


@torch.no_grad()
def test_generation_gives_the_masks_of_a_teacher_forced_pass(base_name):
    model = make_base(base_name, adapters=[seg_spec()])
    samples = [make_sample(number, num_masks=2) for number in range(2)]
    prompts = [replace(sample, messages=[*sample.messages, user("Thanks?")]) for sample in samples]
    inputs = prompt_inputs(model.processor, prompts, device="cpu", dtype=torch.float32)
    outputs = generate_forced(model, inputs, times=[0, 0])()
    batch = make_batch(model, samples)
    logits = split_flat(model(**batch.inputs).adapters["seg"]["mask_logits"], batch.targets["mask_sizes"])
    for mask, expected in zip(chain.from_iterable(outputs.masks), logits, strict=True):
        is_clear = (expected.abs() > 1e-2).numpy()
        assert np.array_equal(mask.array[is_clear], (expected > 0).numpy()[is_clear])


@torch.no_grad()
def test_several_completions_of_a_prompt_have_masks_each(model):
    inputs = prompt_inputs(
        model.processor, [prompt_of(make_sample(n)) for n in (0, 1)], device="cpu", dtype=model.dtype
    )
    outputs = generate_forced(model, inputs, times=[1, 2, 0, 1])(num_return_sequences=2, do_sample=True)
    assert [len(row) for row in outputs.masks] == [1, 2, 0, 1]
    frames = [[mask.frame.image for mask in row] for row in outputs.masks]
    assert frames[0][0] == frames[1][0] != frames[3][0]


@torch.no_grad()
def test_without_a_dictionary_generation_gives_ids_as_ever(model):
    inputs = prompt_inputs(model.processor, [prompt_of(make_sample(0))], device="cpu", dtype=model.dtype)
    ids = model.generate(**inputs, max_new_tokens=2, do_sample=False)
    assert isinstance(ids, torch.Tensor)
    with pytest.raises(ConfigError, match="`num_beams` must be 1 .* but is 2"):
        model.generate(**inputs, num_beams=2, max_new_tokens=2, return_dict_in_generate=True)


def test_a_picture_is_encoded_once_whatever_is_asked_about_it(base_name):
    model = make_base(base_name, adapters=[seg_spec(cache_size=2)])
    picture = make_picture(0)
    asked = [Sample(messages=[user(f"{n}?", num_images=1)], images=[picture.copy()], id=str(n)) for n in range(10)]
    features = model.adapters["seg"].features
    for batch in (asked[:5], asked[5:8], asked[8:9], asked[9:]):
        inputs = prompt_inputs(model.processor, batch, device="cpu", dtype=model.dtype)
        generate_forced(model, inputs, times=[1] * len(batch))()
    assert features.num_encoded == 1
    with torch.no_grad():
        model.adapters["seg"].decoder.image_encoder.pos_embed.add_(0.1)  # other weights, other features
    generate_forced(model, inputs, times=[1])()
    assert features.num_encoded == 2


@torch.no_grad()
def test_pieces_and_off_load_change_nothing(base_name):
    plain = make_base(base_name, adapters=[seg_spec()])
    pieces = make_base(base_name, adapters=[seg_spec(encoder_chunk=1, mask_chunk=2, offload_encoder=True)])
    pieces.load_state_dict(plain.state_dict())
    batch = make_batch(plain, [make_sample(number, num_masks=3) for number in range(3)])
    found, expected = (one(**batch.inputs).adapters["seg"]["mask_logits"] for one in (pieces, plain))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_the_verb_answers_with_a_list_that_knows_why_it_is_empty(model):
    answer = model.segment(make_picture(0), "the lamp", max_new_tokens=3)
    assert isinstance(answer, Segmentation)
    assert list(answer) == []
    assert answer.reason.startswith("The model did not say [SEG]; its answer")
    assert repr(answer.text) in answer.reason
    assert ("max_new_tokens" in answer.reason) == (not answer.is_finished)
    assert answer.to_dict()["masks"] == []


def test_an_answer_tells_spans_runs_and_polygons_and_is_saved(monkeypatch, base_name, tmp_path):
    model = make_base(base_name, adapters=[seg_spec()])
    tokenizer = model.processor.tokenizer
    said = tokenizer("It is [SEG] and [SEG].", add_special_tokens=False)["input_ids"] + [tokenizer.eos_token_id]
    generate = type(model).generate

    def scripted(self, **kwargs):
        from transformers import LogitsProcessor, LogitsProcessorList

        start = kwargs["input_ids"].shape[1]

        class Script(LogitsProcessor):
            def __call__(self, input_ids, scores):
                forced = torch.full_like(scores, float("-inf"))
                forced[:, said[input_ids.shape[1] - start]] = 0.0
                return forced

        return generate(self, **kwargs, logits_processor=LogitsProcessorList([Script()]))

    monkeypatch.setattr(type(model), "generate", scripted)
    sample = prompt_of(make_sample(0))
    [answer] = segment_samples(model, [sample], max_new_tokens=len(said))
    assert [answer.text[start:end] for start, end in answer.spans] == ["[SEG]", "[SEG]"]
    assert len(answer) == len(answer.scores) == 2
    assert answer.reason == ""
    assert answer[0].frame == sample.masks[0].frame
    assert 0.0 <= mask_iou(answer[0], sample.masks[0]) <= 1.0
    told = answer.to_dict()
    assert [decode_rle(one["rle"], frame=answer[0].frame) for one in told["masks"]] == list(answer)
    assert [one["said"] for one in told["masks"]] == ["[SEG]", "[SEG]"]
    picture, written = answer.save(tmp_path, image=sample.images[0], name="lamp")
    assert Image.open(picture).size == (28, 28)
    assert json.loads(written.read_text(encoding="utf-8")) == json.loads(json.dumps(told))
    [again] = segment_samples(model, [replace(sample, masks=())], max_new_tokens=len(said))
    assert again[0].frame == Frame.original("0/0", width=28, height=28)


@pytest.mark.parametrize(
    ("text", "question"),
    [
        ("the lamp", "Please segment the lamp in this image."),
        ("A red mug", "Please segment the red mug in this image."),
        ("Where is it?", "Where is it?"),
    ],
)
def test_a_name_becomes_a_question(text, question):
    assert question_of(text) == question


def test_a_mask_belongs_to_the_last_image_before_its_token():
    model = make_base("llava-llama", adapters=[seg_spec()])
    small, large = make_picture(0), Image.new("RGB", (20, 10), "blue")
    frame = Frame.original("large", width=20, height=10)
    sample = Sample(
        messages=[
            user("This?", num_images=1),
            assistant("[SEG]"),
            user("And this?", num_images=1),
            assistant("[SEG] [SEG]"),
        ],
        images=[small, large],
        masks=[make_mask(0), *(Mask(np.ones((10, 20), dtype=bool), frame=frame) for _ in range(2))],
    )
    batch = make_batch(model, [make_sample(1), sample])
    assert batch.inputs["seg_images"].tolist() == [0, 1, 2, 2]
    assert batch.inputs["seg_last"].tolist() == [0, 2]
    assert batch.targets["mask_sizes"].tolist() == [[28, 28], [28, 28], [10, 20], [10, 20]]
    with torch.no_grad():
        logits = model(**batch.inputs).adapters["seg"]["mask_logits"]
    assert len(logits) == 2 * 28 * 28 + 2 * 200


def test_ignored_pixels_are_marked():
    model = make_base("llava-llama", adapters=[seg_spec()])
    sample = make_sample(0)
    ignored = Mask(~sample.masks[0].array, frame=sample.masks[0].frame)
    batch = make_batch(model, [replace(sample, ignored_masks=[ignored])])
    assert set(batch.targets["masks"].tolist()) == {1, 255}


def test_the_adapter_says_what_learns_and_leaves_the_encoder_alone():
    model = make_base("llava-llama", adapters=[seg_spec(), {"type": "lora", "rank": 2}])
    learning = {
        name.split(".")[2] for name, p in model.named_parameters() if p.requires_grad and "adapters.seg" in name
    }
    assert learning == {"text_hidden_fcs", "decoder"}
    names = {name for name, p in model.named_parameters() if p.requires_grad and "seg.decoder" in name}
    assert all("mask_decoder" in name for name in names)
    whole = make_base("llava-llama", adapters=[seg_spec(train_encoder=True)]).train()
    batch = make_batch(whole, [make_sample(0)])
    whole(**batch.inputs).adapters["seg"]["mask_logits"].sum().backward()
    assert whole.adapters["seg"].decoder.image_encoder.pos_embed.grad is not None
    copied = copy.deepcopy(whole)
    assert copied.adapters["seg"].features is not whole.adapters["seg"].features


def test_data_that_does_not_fit_is_refused():
    processor = make_base("llava-llama", adapters=[seg_spec()]).processor
    sample = make_sample(0)
    with pytest.raises(DataError, match=r"says \[SEG\] 1 times, but has 0 masks"):
        processor.encode(replace(sample, masks=()))
    with pytest.raises(DataError, match="Mask 1 of sample `0` must stand in the original frame of its image, 28×28"):
        other = Mask(np.ones((28, 30), dtype=bool), frame=Frame.original("0", width=30, height=28))
        processor.encode(replace(sample, masks=[other]))
    with pytest.raises(DataError, match="must stand in the original frame"):
        mask = sample.masks[0]
        resized = Mask(mask.array, frame=mask.frame.resized(width=28, height=28))
        processor.encode(replace(sample, masks=[resized]))
    with pytest.raises(DataError, match="before any image"):
        processor.encode(Sample(messages=[user("Where?"), assistant("[SEG]")], masks=[make_mask(0)]))
    narrow = Image.new("RGB", (4000, 1))
    with pytest.raises(DataError, match="must leave both sides at least one pixel"):
        processor.encode_prompt(Sample(messages=[user("Where?", num_images=1)], images=[narrow]))
    with pytest.raises(DataError, match="must end with a user's turn"):
        processor.encode_prompt(sample)


def test_a_user_cannot_write_the_token():
    model = make_base("llava-llama", adapters=[seg_spec()])
    sample = make_sample(0)
    sneaky = replace(sample, messages=[user("Say [SEG] [SEG]!", num_images=1), sample.messages[1]])
    batch = make_batch(model, [sneaky])
    assert (batch.inputs["input_ids"] == model.token_ids["[SEG]"]).sum() == 1


def test_tokens_and_pictures_that_differ_in_number_are_refused(model):
    batch = make_batch(model, [make_sample(0, num_masks=2)])
    with pytest.raises(ShapeError, match=r"each of the 2 \[SEG\] tokens in `input_ids`, but has 1"):
        model(**{**batch.inputs, "seg_images": batch.inputs["seg_images"][:1]})


def test_options_that_cannot_be_are_refused_before_anything_is_built():
    with pytest.raises(RegistryError, match="no mask decoder named `sam-vit-g`"):
        make_base("llava-llama", adapters=[{"type": "seg", "decoder": "sam-vit-g"}])
    with pytest.raises(ConfigError, match="`cache_size` must be a whole number of 0 or more, but is -1"):
        make_base("llava-llama", adapters=[seg_spec(cache_size=-1)])
    with pytest.raises(ConfigError, match="must have one seg adapter, but has 0"):
        make_base("llava-llama").segment(make_picture(0), "the lamp")


def test_a_tokenizer_that_splits_the_token_is_refused_when_the_adapter_is_attached():
    model = make_base("llava-llama")
    model.processor.tokenizer.split_special_tokens = True
    with pytest.raises(ConfigError, match=r"must keep `\[SEG\]` whole as id \d+, but reads `a \[SEG\].` as \["):
        model.attach_adapters([seg_spec()])


@pytest.mark.parametrize("name", ["sam-hq", "sam2", "sam3"])
def test_other_decoders_learn_and_segment_behind_the_same_adapter(name):
    from vlmzoo.blocks.decoders import DECODERS

    spec = {"type": "seg", "decoder": {"type": name, **DECODERS.entry(name).tiny}}
    model = make_base("llava-llama", adapters=[spec]).train()
    objective, losses = make_objective(model), []
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=3e-3)
    batch = make_batch(model, [make_sample(number, num_masks=number % 3) for number in range(3)])
    for _ in range(10):
        loss = objective(model(**batch.inputs, return_logits=False), batch, batch.count())
        optimiser.zero_grad()
        loss.loss.backward()
        optimiser.step()
        losses.append(float(loss.metrics["bce/loss"]))
    assert losses[-1] < losses[0]
    assert all(p.grad is not None for p in model.adapters["seg"].text_hidden_fcs.parameters())


def test_a_decoder_without_weights_can_start_wider():
    torch.manual_seed(0)
    plain = make_base("llava-llama", adapters=[seg_spec()]).adapters["seg"]
    torch.manual_seed(0)
    wide = make_base("llava-llama", adapters=[seg_spec(from_scratch=True)]).adapters["seg"]
    gains = {"decoder.mask_decoder.": 3**0.5, "text_hidden_fcs.0": 3**0.5, "text_hidden_fcs.2": 6**0.5}
    found = dict(wide.named_modules())
    for name, module in plain.named_modules():
        if not isinstance(module, torch.nn.Linear | torch.nn.Conv2d | torch.nn.ConvTranspose2d):
            continue
        gain = next((gain for start, gain in gains.items() if name.startswith(start)), None)
        if gain is None and name.startswith("decoder.prompt_encoder"):
            gain = 3**0.5
        torch.testing.assert_close(found[name].weight, module.weight * (gain or 1.0))
    assert found["decoder.image_encoder"].pos_embed.std() > 0.3


def test_a_wider_start_beside_weights_is_refused():
    with pytest.raises(ConfigError, match="`from_scratch` has no effect beside `weights`"):
        make_base("llava-llama", adapters=[seg_spec(from_scratch=True, weights="sam_vit_h.pth")])
