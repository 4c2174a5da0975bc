"""Pathways disturb one way from the picture to the answer, and leave all others, and the model, as they were."""

import copy

import pytest
import torch
from PIL import Image

from vlmzoo.data.images import load_image
from vlmzoo.errors import ConfigError, DataError
from vlmzoo.evaluation.pathways import KINDS, PATHWAYS
from vlmzoo.evaluation.pathways.encoder import encoders_of
from vlmzoo.models.assembler import assemble_model
from vlmzoo.types import Sample, user

EYE = {"type": "clip", "image_size": 28, "patch_size": 14, "hidden_size": 16, "intermediate_size": 32}
EYE |= {"num_layers": 1, "num_heads": 2}
TEXT = {"type": "causal_lm", "model_type": "llama", "hidden_size": 16, "intermediate_size": 32}
TEXT |= {"num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 2}


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return assemble_model(
        {
            "family": "eagle",
            "encoders": [EYE, EYE],
            "projector": {"type": "linear"},
            "language_model": TEXT,
            "processor": {
                "image": {"size": 28, "aspect": "square"},
                "tokenizer": {"type": "byte_bpe", "corpus": [], "vocab_size": 300},
            },
        },
        dtype="float32",
    )


def maps(model, pixels):
    with torch.no_grad():
        return model.feature_maps(pixels)


@pytest.fixture
def pixels():
    return torch.randn(3, 3, 28, 28, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("number", [0, 1])
def test_only_the_named_encoder_is_disturbed_and_only_inside_the_context(model, pixels, kind, number):
    pathway = PATHWAYS.build({"type": "encoder", "number": number}, subject=model)
    before = maps(model, pixels)
    samples = [Sample(messages=[user("?")], id="s")]
    with pathway.disturbed(kind, samples, seed=3) as given:
        inside = maps(model, pixels)
    with pathway.disturbed(kind, samples, seed=3):
        again = maps(model, pixels)
    assert given is samples
    assert not torch.allclose(inside[number], before[number])
    assert torch.equal(inside[1 - number], before[1 - number])
    assert torch.equal(inside[number], again[number])
    assert all(torch.equal(one, other) for one, other in zip(maps(model, pixels), before, strict=True))


def test_each_kind_does_what_it_says(model, pixels):
    pathway = PATHWAYS.build({"type": "encoder", "number": 0}, subject=model)
    before = maps(model, pixels)[0]

    def inside(kind):
        with pathway.disturbed(kind, [], seed=5):
            return maps(model, pixels)[0]

    blank = inside("blank")
    assert torch.allclose(blank[0], blank[1]) and torch.allclose(blank, maps(model, torch.zeros_like(pixels))[0])
    swapped = inside("swap")
    sources = [next(k for k in range(3) if torch.allclose(row, before[k], atol=1e-6)) for row in swapped]
    assert sorted(sources) == [0, 1, 2] and all(source != place for place, source in enumerate(sources))
    shuffled = inside("shuffle")
    for row, whole in zip(shuffled.flatten(2), before.flatten(2), strict=True):
        assert torch.equal(row.sort(dim=1).values, whole.sort(dim=1).values)
    assert not torch.allclose(inside("noise")[0], inside("noise")[1])


def test_the_hook_is_gone_after_a_fault(model, pixels):
    pathway = PATHWAYS.build({"type": "encoder", "number": 0}, subject=model)
    before = maps(model, pixels)[0]
    with pytest.raises(DataError, match="A single picture cannot be swapped"), pathway.disturbed("swap", [], seed=0):
        maps(model, pixels[:1])
    assert torch.equal(maps(model, pixels)[0], before)


def test_encoders_that_are_not_there_are_refused(model):
    with pytest.raises(ConfigError, match="`number` must be that of an encoder, 0 to 1, but is 2"):
        PATHWAYS.build({"type": "encoder", "number": 2}, subject=model)
    with pytest.raises(ConfigError, match="needs a composed base, but the subject is a Linear"):
        encoders_of(torch.nn.Linear(1, 1))
    assert len(encoders_of(model)) == 2


def questions(num=4, num_images=1, size=(9, 7)):
    draw = torch.Generator().manual_seed(2)
    colours = torch.randint(0, 256, (num * num_images, size[1], size[0], 3), generator=draw, dtype=torch.uint8)
    pictures = [Image.fromarray(pixels.numpy()) for pixels in colours]
    return [
        Sample(
            messages=[user("?", num_images=num_images)],
            images=pictures[n * num_images : (n + 1) * num_images],
            id=str(n),
        )
        for n in range(num)
    ]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(9, 7), (16, 32), (2, 1)])
def test_a_picture_is_replaced_by_one_of_its_size(kind, size):
    samples = questions(size=size)
    pathway = PATHWAYS.build({"type": "image"}, subject=None)
    with pathway.disturbed(kind, samples, seed=0) as given:
        assert [s.id for s in given] == [s.id for s in samples]
        for before, after in zip(samples, given, strict=True):
            assert load_image(after.images[0]).size == size
            if size != (2, 1):
                assert load_image(after.images[0]).tobytes() != load_image(before.images[0]).tobytes()


def test_shuffled_pieces_are_those_of_the_picture():
    samples = questions(size=(16, 16))
    with PATHWAYS.build({"type": "image"}, subject=None).disturbed("shuffle", samples, seed=0) as given:
        for before, after in zip(samples, given, strict=True):
            assert sorted(load_image(after.images[0]).getdata()) == sorted(load_image(before.images[0]).getdata())


def test_pictures_of_unequal_number_cannot_be_swapped():
    pathway = PATHWAYS.build({"type": "image"}, subject=None)
    for samples in (questions(1), [*questions(1), *questions(1, num_images=2)]):
        with (
            pytest.raises(DataError, match="Pictures can be swapped among several questions"),
            pathway.disturbed("swap", samples, seed=0),
        ):
            pass


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no accelerator")
@pytest.mark.parametrize("kind", KINDS)
def test_an_encoder_is_disturbed_on_the_accelerator_too(model, pixels, kind):
    moved = copy.deepcopy(model).to("cuda", torch.bfloat16)
    there = pixels.to("cuda", torch.bfloat16)
    before = maps(moved, there)
    with PATHWAYS.build({"type": "encoder", "number": 0}, subject=moved).disturbed(kind, [], seed=3):
        inside = maps(moved, there)
    assert not torch.allclose(inside[0], before[0])
    assert torch.equal(inside[1], before[1])
