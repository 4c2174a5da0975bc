"""Names and shapes of published LLaVA checkpoints against our models: nothing missing, nothing unexpected.

Each model of the 7B size is there as a composed base and as a native one, transformers' own class.
"""

import json

import pytest

from tests.golden.conftest import golden_folder, report_missing
from vlmzoo import build_model
from vlmzoo.hub.verify import verify_model
from vlmzoo.models.keys import compare_keys
from vlmzoo.models.llava.keys import CLIP
from vlmzoo.models.weights import shapes_of
from vlmzoo.zoo import load_card

CASES = {  # model and layout, and where the manifest of this pair is
    ("llava-1.5-7b", "llava"): "{repo}.json",
    ("llava-1.5-13b", "llava"): "{repo}.json",
    ("llava-1.5-7b", "llava_hf_4"): "llava-hf__*-7b-*__hub.json",
    ("llava-1.5-7b", "llava_hf_5"): "llava-hf__*-7b-*__transformers5.json",
    ("llava-1.5-7b-hf", "llava_hf_4"): "{repo}__hub.json",
    ("llava-1.5-7b-hf", "transformers_5"): "{repo}__transformers5.json",
}
AS_PUBLISHED = {"llava-1.5-7b": "{repo}.json", "llava-1.5-13b": "{repo}.json", "llava-1.5-7b-hf": "{repo}__hub.json"}
PARTS = ("embed_tokens", "layers.3.mlp.up_proj", "lm_head", "projector", "encoder.layers.23", "post_layernorm")


def find_manifest(pattern, name):
    pattern = pattern.format(repo=load_card(name).weights.repo.replace("/", "__"))
    found = sorted((golden_folder("fast") / "manifests").glob(pattern))
    if not found:
        report_missing(f"there is no manifest {pattern}")
    return found[0]


@pytest.fixture(scope="module")
def models():
    names = {name for name, _ in CASES}
    return {name: build_model(name, device="meta") for name in names | {sister_of(name) for name in names}}


def sister_of(name):
    """The same model of the other size."""
    return name.replace("7b", "13b") if "7b" in name else name.replace("13b", "7b")


@pytest.fixture(params=CASES, ids=lambda case: f"fast-manifests-{case[0]}-{case[1]}")
def case(request, models):
    """A model, its layout, and the path of the manifest."""
    name, layout = request.param
    return models[name], layout, find_manifest(CASES[request.param], name)


def test_the_manifest_is_the_model(case):
    model, layout, path = case
    content = json.loads(path.read_text(encoding="utf-8"))
    report = verify_model(model, path)
    assert report.layout == layout
    assert (report.missing, report.unexpected, report.mismatched) == ((), (), ())
    assert report.num_matched + len(report.dropped) == len(content["shapes"])
    assert sorted(report.dropped) == sorted(content.get("buffers", ()))


def test_only_the_padding_of_the_vocabulary_is_cut(case):
    """The native base has the padded rows, and so has nothing to cut."""
    model, layout, path = case
    cut = verify_model(model, path).cut
    assert len(cut) == (0 if layout == "llava" or model.family == "native" else 2)
    assert all(key.rsplit(".", 2)[-2] in ("embed_tokens", "lm_head") for key in cut)


@pytest.mark.parametrize("part", PARTS)
def test_any_change_of_the_manifest_is_named(case, part, tmp_path):
    model, _, path = case
    shapes = json.loads(path.read_text(encoding="utf-8"))["shapes"]
    key = next(key for key in shapes if part in key)
    renamed, extra = key.replace("weight", "wait").replace("bias", "buyers"), f"{key}.extra"

    def report_of(changed):
        manifest = tmp_path / "manifest.json"
        manifest.write_text(json.dumps({"shapes": changed}), encoding="utf-8")
        return verify_model(model, manifest)

    without = {other: shape for other, shape in shapes.items() if other != key}
    assert report_of(without).missing == (key,)
    report = report_of({**without, renamed: shapes[key]})
    assert (report.missing, report.unexpected) == ((key,), (renamed,))
    assert f"`{renamed}` Did you mean `{key}`?" in str(report)
    assert report_of({**shapes, extra: [1]}).unexpected == (extra,)
    longer = [shapes[key][0] + 1, *shapes[key][1:]]
    (mismatch,) = report_of({**shapes, key: longer}).mismatched
    assert (mismatch.key, mismatch.found) == (key, tuple(longer))


def test_the_manifest_of_another_size_does_not_fit(case, models):
    model, layout, path = case
    (name,) = [name for name in models if models[name] is model]
    report = verify_model(models[sister_of(name)], path, layout=layout)
    assert report.mismatched


def test_the_encoder_is_openai_clip(models):
    path = find_manifest("openai__clip-vit-large-patch14-336_vision.json", "llava-1.5-7b")
    content = json.loads(path.read_text(encoding="utf-8"))
    shapes = {key: tuple(shape) for key, shape in content["shapes"].items()}
    expected = {key: s for key, s in shapes_of(models["llava-1.5-7b"]).items() if key.startswith("encoder.")}
    assert compare_keys(expected, [(CLIP, shapes)]).is_clean


@pytest.mark.parametrize("name", AS_PUBLISHED)
def test_a_card_names_the_layout_of_its_published_files(name):
    report = verify_model(name, find_manifest(AS_PUBLISHED[name], name))
    assert (report.layout, report.is_clean) == (load_card(name).weights.layout, True)
