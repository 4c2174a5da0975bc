"""Completions drawn from the policy itself: what they are, and that training sees them as sampling did."""

import dataclasses
from types import SimpleNamespace

import pytest
import torch

from tests.vlmzoo.adapters.bases import BASES, make_base, make_samples
from vlmzoo.data.collation import Collator
from vlmzoo.data.conversations import prompt_of
from vlmzoo.data.prompting import end_ids
from vlmzoo.errors import ConfigError
from vlmzoo.services.rollout import ROLLOUT_ENGINES, Prompt, Sampling
from vlmzoo.services.rollout._drawing import draw_tokens, uniforms
from vlmzoo.types import user


@pytest.fixture(scope="module", params=BASES)
def model(request):
    return make_base(request.param).eval()


def make_engine(model, batch_size=64, **sampling):
    given = {"policy": SimpleNamespace(module=model), "processor": model.processor}
    spec = {"type": "in_process", "batch_size": batch_size}
    return ROLLOUT_ENGINES.build(spec, sampling=Sampling(**{"max_new_tokens": 10, **sampling}), **given)


def make_prompts(processor, num_rollouts=3):
    """Prompts of unequal length, some with an image and one with two, one without."""
    with_image = [prompt_of(sample) for sample in make_samples(3)]
    two = dataclasses.replace(
        with_image[0],
        messages=[user("Which of the two?", num_images=2)],
        images=[*with_image[1].images, *with_image[2].images],
    )
    without = dataclasses.replace(with_image[0], messages=[user("How many are there?")], images=[])
    return [
        Prompt(
            sample=sample,
            encoded=processor.encode_prompt(sample),
            seeds=[100 * place + number for number in range(num_rollouts)],
        )
        for place, sample in enumerate([*with_image, without, two])
    ]


def training_row(prompt, rollout):
    row, num = dict(prompt.encoded), len(rollout.ids)
    row["labels"] = [-100] * len(row["input_ids"]) + list(rollout.ids)
    row["input_ids"] = [*row["input_ids"], *rollout.ids]
    if "mm_token_type_ids" in row:
        row["mm_token_type_ids"] = [*row["mm_token_type_ids"], *[0] * num]
    return row


@torch.no_grad()
def training_logprobs(model, prompts, groups, temperature):
    rows = [training_row(p, rollout) for p, group in zip(prompts, groups, strict=True) for rollout in group]
    batch = Collator(pad_token_id=model.processor.padding_id)(rows)
    found = model(**batch.inputs, return_logits=False, temperature=temperature).logprobs
    return found[batch.inputs["labels"] != -100]


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_training_gives_a_completion_the_logprobs_that_it_was_drawn_with(model, temperature):
    prompts = make_prompts(model.processor)
    groups = make_engine(model, temperature=temperature).complete(prompts)
    drawn = torch.tensor([nats for group in groups for rollout in group for nats in rollout.logprobs])
    torch.testing.assert_close(training_logprobs(model, prompts, groups, temperature), drawn, rtol=0, atol=1e-4)


def test_a_completion_does_not_depend_on_what_else_is_written(model):
    prompts = make_prompts(model.processor)
    together = make_engine(model).complete(prompts)
    apart = make_engine(model, batch_size=1).complete(prompts)
    lone = make_engine(model).complete([dataclasses.replace(prompts[4], seeds=prompts[4].seeds[1:2])])
    assert [[one.ids for one in group] for group in together] == [[one.ids for one in group] for group in apart]
    assert lone[0][0].ids == together[4][1].ids
    assert len({one.ids for group in together for one in group}) == 15


def test_greedy_completions_are_those_of_generate(model):
    """With one prompt there is no padding, so that generate's own path can be taken as the truth."""
    for prompt in make_prompts(model.processor, num_rollouts=1):
        ((found,),) = make_engine(model, temperature=0.0).complete([prompt])
        inputs = {k: v for k, v in Collator(pad_token_id=0)([{**prompt.encoded, "labels": []}]).inputs.items()}
        inputs.pop("labels")
        ids = model.generate(**inputs, max_new_tokens=10, do_sample=False, temperature=None, top_p=None, top_k=None)
        expected = ids[0, inputs["input_ids"].shape[1] :].tolist()
        assert list(found.ids) == expected[: len(found.ids)]
        assert len(found.ids) == 10 or found.is_finished


def test_the_prompt_ends_where_the_model_begins_to_speak(model):
    for prompt in make_prompts(model.processor):
        ids = prompt.encoded["input_ids"]
        assert ids[-1] not in end_ids(model, model.processor)
        if not prompt.sample.images:
            rendered = model.processor.apply_chat_template(prompt.sample.messages, add_generation_prompt=True)
            plain = rendered[0] if isinstance(rendered, list) else rendered
            assert model.processor.tokenizer.decode(ids).endswith(plain[-10:])


def test_a_model_s_own_generation_settings_do_not_leak_in(model):
    """Qwen2-VL ships top_k 1, which would make all completions of a prompt the same."""
    before = model.generation_config.top_k
    model.generation_config.top_k = 1
    try:
        (group,) = make_engine(model).complete(make_prompts(model.processor, num_rollouts=6)[:1])
    finally:
        model.generation_config.top_k = before
    assert len({rollout.ids for rollout in group}) == 6


def test_the_prompt_and_its_images_are_read_once(model, monkeypatch):
    widths, pictures = [], []
    forward = type(model).forward

    def counted(self, *args, **kwargs):
        widths.append((kwargs["input_ids"].shape[1] > 1) * kwargs["input_ids"].shape[0])
        pictures.append(0 if kwargs.get("pixel_values") is None else 1)
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(type(model), "forward", counted)
    make_engine(model).complete(make_prompts(model.processor, num_rollouts=8))
    assert (sum(widths), sum(pictures)) == (5, 1)


def test_every_id_of_the_list_ends_a_completion_and_is_part_of_it(model):
    before = model.generation_config.eos_token_id
    plain = [rollout for group in make_engine(model).complete(make_prompts(model.processor)) for rollout in group]
    ends = [plain[0].ids[4], plain[5].ids[2]]
    model.generation_config.eos_token_id = ends
    try:
        found = [rollout for group in make_engine(model).complete(make_prompts(model.processor)) for rollout in group]
    finally:
        model.generation_config.eos_token_id = before
    for rollout, long in zip(found, plain, strict=True):
        place = next((i for i, id in enumerate(long.ids) if id in ends), len(long.ids) - 1)
        assert rollout.ids == long.ids[: place + 1]
        assert rollout.is_finished == (long.ids[place] in ends or long.is_finished)
    assert sum(rollout.is_finished for rollout in found) >= 2


def test_placeholders_and_special_tokens_are_never_said(model):
    head = model.get_output_embeddings()
    processor = model.processor
    special = [id for id in {processor.image_token_id, *processor.tokenizer.all_special_ids} if id < len(head.weight)]
    special = [id for id in special if id not in end_ids(model, processor)]
    hook = head.register_forward_hook(lambda module, args, logits: logits.index_fill(-1, torch.tensor(special), 50.0))
    try:
        groups = make_engine(model).complete(make_prompts(processor))
    finally:
        hook.remove()
    assert special
    assert not {id for group in groups for rollout in group for id in rollout.ids} & set(special)


@pytest.mark.gpu
def test_on_an_accelerator_training_sees_what_sampling_saw():
    model = make_base("qwen2.5-vl").eval().to("cuda")
    prompts = make_prompts(model.processor)
    groups = make_engine(model).complete(prompts)
    rows = [training_row(p, rollout) for p, group in zip(prompts, groups, strict=True) for rollout in group]
    batch = Collator(pad_token_id=model.processor.padding_id)(rows).to("cuda")
    with torch.no_grad():
        found = model(**batch.inputs, return_logits=False).logprobs[batch.inputs["labels"] != -100]
    drawn = torch.tensor([nats for group in groups for rollout in group for nats in rollout.logprobs])
    torch.testing.assert_close(found.cpu(), drawn, rtol=0, atol=1e-4)


def test_numbers_belong_to_the_seed():
    assert torch.equal(uniforms([3, 5, 7], 4)[1], uniforms([5], 4)[0])
    assert uniforms(range(200), 50).mean() == pytest.approx(0.5, abs=0.01)


def test_tokens_are_drawn_as_often_as_they_are_probable():
    logits = torch.tensor([[2.0, 1.0, 0.0, -1.0, 3.0]])
    excluded = torch.tensor([False, False, False, False, True])
    numbers = torch.linspace(0, 1, 20_001, dtype=torch.float64)[:-1]
    ids, nats = draw_tokens(logits.expand(20_000, -1), numbers, Sampling(max_new_tokens=1), excluded)
    expected = logits[0, :4].softmax(0)
    torch.testing.assert_close(ids.bincount(minlength=4) / 20_000, expected, atol=1e-3, rtol=0)
    torch.testing.assert_close(nats, logits[0].log_softmax(0)[ids])  # over the whole vocabulary


@pytest.mark.parametrize(("options", "kept"), [({"top_k": 2}, {0, 1}), ({"top_p": 0.7}, {0, 1}), ({"top_p": 0.6}, {0})])
def test_only_the_most_probable_tokens_are_drawn_where_that_is_asked(options, kept):
    logits = torch.tensor([[2.0, 1.0, 0.0, -1.0]]).expand(1000, -1)  # 0.64, 0.24, 0.09, 0.03
    numbers = torch.linspace(0, 1, 1001, dtype=torch.float64)[:-1]
    ids, _ = draw_tokens(logits, numbers, Sampling(max_new_tokens=1, **options), torch.zeros(4, dtype=torch.bool))
    assert set(ids.tolist()) == kept


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"max_new_tokens": 0}, "`max_new_tokens` must be positive, but is 0"),
        ({"temperature": -1.0}, "`temperature` must be zero or more, but is -1.0"),
        ({"top_k": -1}, "`top_k` must be zero \\(all tokens\\) or more, but is -1"),
        ({"top_p": 0.0}, "`top_p` must be above 0 and at most 1, but is 0.0"),
    ],
)
def test_bad_sampling_is_refused(options, sentence):
    with pytest.raises(ConfigError, match=sentence):
        Sampling(**{"max_new_tokens": 4, **options})
