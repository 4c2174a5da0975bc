"""Features on disk: the same numbers, made once, and never those of other pixels or other weights."""

import pytest
import torch

from tests.vlmzoo.models.conftest import TINY_ENCODERS, make_architecture, make_eagle_architecture
from vlmzoo.config.schema import OptimConfig
from vlmzoo.errors import ConfigError
from vlmzoo.models.assembler import assemble_model
from vlmzoo.models.feature_cache import FeatureCache
from vlmzoo.runs.efficiency import keep_features
from vlmzoo.runs.optim import parameter_groups


def make_model(family, seed=0, **changes):
    torch.manual_seed(seed)
    architecture = make_eagle_architecture() if family == "eagle" else make_architecture()
    model = assemble_model(architecture | changes, dtype="float32").train()
    parameter_groups(model, OptimConfig(learning_rate=1.0, frozen=["encoder", "language_model"]))
    return model


def pixels_of(model, num, seed=0):
    side = 64 if model.family == "eagle" else 28
    return torch.randn(num, 3, side, side, generator=torch.Generator().manual_seed(seed))


def files_in(folder):
    return sorted(folder.rglob("*.safetensors"))


@pytest.fixture(params=["llava", "eagle"])
def family(request):
    return request.param


def test_features_are_the_same_and_made_once(family, tmp_path):
    model = make_model(family)
    pixels = pixels_of(model, 3)
    expected = model.image_features(pixels)
    keep_features(model, str(tmp_path))
    calls = []
    for encoder in model.feature_cache.encoders:
        next(encoder.modules()).register_forward_hook(lambda *_: calls.append(1))
        for inner in encoder.children():
            inner.register_forward_hook(lambda *_: calls.append(1))
    torch.testing.assert_close(model.image_features(pixels), expected)
    num_calls = len(calls)
    assert num_calls
    torch.testing.assert_close(model.image_features(pixels), expected)
    torch.testing.assert_close(model.image_features(pixels.flip(0)), expected.flip(0))
    assert len(calls) == num_calls
    assert (model.feature_cache.num_made, model.feature_cache.num_found) == (3, 6)
    assert len(files_in(tmp_path)) == 3


def test_gradients_reach_the_projector_as_without_a_cache(family, tmp_path):
    model = make_model(family)
    pixels = pixels_of(model, 2)

    def gradients():
        model.zero_grad()
        model.image_features(pixels).square().sum().backward()
        return [parameter.grad.clone() for parameter in model.projector.parameters()]

    expected = gradients()
    keep_features(model, str(tmp_path))
    for _ in range(2):
        for found, wanted in zip(gradients(), expected, strict=True):
            torch.testing.assert_close(found, wanted)


def test_only_new_images_go_through_the_encoders(tmp_path):
    model = make_model("eagle")
    keep_features(model, str(tmp_path))
    model.image_features(pixels_of(model, 2))
    both = torch.cat([pixels_of(model, 2), pixels_of(model, 1, seed=1)])
    found = model.image_features(both)
    assert (model.feature_cache.num_made, model.feature_cache.num_found) == (3, 2)
    model.feature_cache = None
    torch.testing.assert_close(found, model.image_features(both))


def test_other_weights_other_sizes_and_other_specs_have_other_features(tmp_path):
    folders = []
    for changes in ({}, {"seed": 1}, {"encoders": TINY_ENCODERS[::-1]}, {"encoders": TINY_ENCODERS[:1]}):
        model = make_model("eagle", **changes)
        keep_features(model, str(tmp_path))
        folders.append(model.feature_cache.folder)
    same = make_model("eagle")
    keep_features(same, str(tmp_path))
    assert len(set(folders)) == 4
    assert same.feature_cache.folder == folders[0]
    with torch.no_grad():
        next(same.encoders.parameters()).view(-1)[0] += 1e-6
    keep_features(same, str(tmp_path))
    assert same.feature_cache.folder not in folders


def test_what_is_cut_off_is_made_anew(tmp_path, caplog):
    model = make_model("llava")
    keep_features(model, str(tmp_path))
    expected = model.image_features(pixels_of(model, 1))
    (file,) = files_in(tmp_path)
    file.write_bytes(file.read_bytes()[:40])
    torch.testing.assert_close(model.image_features(pixels_of(model, 1)), expected)
    assert "cannot be read and are made anew" in caplog.text
    assert model.feature_cache.num_made == 2
    model.image_features(pixels_of(model, 1))
    assert model.feature_cache.num_made == 2


def test_features_are_those_of_evaluation_and_only_training_keeps_them(tmp_path):
    options = {"type": "timm", "model_name": "vit_tiny_patch16_224", "image_size": 28}
    options["options"] = {"patch_size": 14, "embed_dim": 24, "depth": 2, "num_heads": 2, "proj_drop_rate": 0.5}
    model = make_model("llava", encoder=options)
    pixels = pixels_of(model, 1)
    expected = model.eval().image_features(pixels)
    keep_features(model, str(tmp_path))
    model.image_features(pixels)
    assert not files_in(tmp_path)
    torch.testing.assert_close(model.train().image_features(pixels), expected)
    assert len(files_in(tmp_path)) == 1


def test_encoders_that_learn_and_bases_that_are_not_ours_are_refused(tmp_path):
    model = make_model("eagle")
    model.encoders[1].requires_grad_(True)
    with pytest.raises(ConfigError, match="needs encoders that do not learn, but `1.vision.* does; freeze them"):
        keep_features(model, str(tmp_path))
    with pytest.raises(ConfigError, match="needs a composed base"):
        keep_features(torch.nn.Linear(1, 1), str(tmp_path))
    keep_features(torch.nn.Linear(1, 1), None)


def test_a_rank_that_has_all_features_runs_the_encoders_along_with_one_that_lacks_some(tmp_path, monkeypatch):
    model = make_model("eagle")
    pixels = pixels_of(model, 2)
    cache = FeatureCache(tmp_path, [model.encoders])
    cache.maps(pixels, model.feature_maps)
    sizes = []

    def encode(images):
        sizes.append(len(images))
        return model.feature_maps(images)

    monkeypatch.setattr("vlmzoo.models.feature_cache.max_over_ranks", lambda number: 5)  # another rank lacks five
    found = cache.maps(pixels, encode, together=True)
    assert sizes == [1]
    for one, other in zip(found, model.feature_maps(pixels), strict=True):
        torch.testing.assert_close(one, other)
    monkeypatch.setattr("vlmzoo.models.feature_cache.max_over_ranks", lambda number: number)
    cache.maps(pixels, encode, together=True)
    assert sizes == [1]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no accelerator")
def test_features_kept_on_disk_come_back_to_the_accelerator(tmp_path):
    model = make_model("eagle").to("cuda", torch.bfloat16)
    pixels = pixels_of(model, 2).to("cuda", torch.bfloat16)
    expected = model.image_features(pixels)
    keep_features(model, str(tmp_path))
    for _ in range(2):
        found = model.image_features(pixels)
        assert (found.device, found.dtype) == (expected.device, expected.dtype)
        torch.testing.assert_close(found, expected)
    assert model.feature_cache.num_made == 2
