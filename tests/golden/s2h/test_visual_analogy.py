"""Visual Analogy against the authors' own instances: every string and every panel to the byte."""

import hashlib

import numpy as np
from PIL import Image

from vlmzoo.data.synthetic import TASKS
from vlmzoo.data.synthetic._analogy import AnalogyInstance, Label, Line, Panel, Shape
from vlmzoo.data.synthetic._analogy_figures import PANEL_PX, paint_panel
from vlmzoo.data.synthetic._analogy_relations import labels_met
from vlmzoo.scoring import SCORES

GOLDEN = ("s2h", "visual_analogy_*.json")
TASK = TASKS.build({"type": "visual_analogy", "compat": "s2h"})
TOLERANCE = 2  # per channel
MARK = (slice(460, 522), slice(575, 622))  # rows and columns of the question mark, which another rasteriser drew


def make_object(content):
    if content["kind"] == "line":
        return Line(content["type"], content["color"])
    return Shape(content["type"], content["color"], content["size"], tuple(content["position"]))


def make_panel(content):
    return Panel(tuple(make_object(item) for item in content["objects"]))


def make_instance(content):
    params = content["params"]
    return AnalogyInstance(
        examples=tuple(tuple(map(make_panel, example)) for example in params["examples"]),
        example_labels=tuple(Label(label["domain"], label["relation"]) for label in params["example_labels"]),
        query=tuple(map(make_panel, params["query"])),
        options=tuple(make_panel(option["panel"]) for option in params["options"]),
        option_labels=tuple(Label(*option["label"]) for option in params["options"]),
        answer_index=params["answer_index"],
    )


def kind_of(key):
    kind = key.removesuffix("_nocot")
    return "conversion" if kind == "image2text" else kind


def flat(nested):
    return [leaf for item in nested for leaf in flat(item)] if isinstance(nested, list) else [nested]


def panel_digest(content):
    canvas = np.empty((PANEL_PX, PANEL_PX), np.uint8)
    paint_panel(make_panel(content), canvas)
    return hashlib.sha256(canvas.tobytes()).hexdigest()


def test_text_forms_are_the_authors(golden):
    assert TASK.text_form(make_instance(golden.content)) == golden.content["text_form"]


def test_text_forms_list_what_the_released_ones_list(golden):
    """Theirs have the values of a set in an order that changes from run to run."""
    released = golden.content.get("text_form_hashorder") or golden.content["text_form"]  # of some instances only
    ours = TASK.text_form(make_instance(golden.content))
    assert [sorted(line) for line in ours.splitlines()] == [sorted(line) for line in released.splitlines()]


def test_prompts_are_the_authors(golden):
    prompts, instance = golden.content["prompts"], make_instance(golden.content)
    assert {key: TASK.prompt(instance, kind_of(key)) for key in prompts} == prompts


def test_responses_are_the_authors(golden):
    responses, instance = golden.content["responses"], make_instance(golden.content)
    found = {key: TASK.response(instance, kind_of(key), cot=not key.endswith("_nocot")) for key in responses}
    assert found == responses


def test_chains_of_thought_are_the_authors(golden):
    content, instance = golden.content, make_instance(golden.content)
    for style, key in (("standard", "cot"), ("template", "cot_alt_template")):
        response = TASK.response(instance, "text", cot_style=style)
        assert response == f"{content[key]}\n\n{content['answer']}"


def test_our_other_chain_has_the_space_that_the_authors_lacks(golden):
    content, instance = golden.content, make_instance(golden.content)
    ours = TASKS.build({"type": "visual_analogy"}).response(instance, "text", cot_style="template")
    assert content["cot_alt_template"].count("panelsand") == 1
    assert ours == f"{content['cot_alt_template'].replace('panelsand', 'panels and')}\n\n{content['answer']}"


def test_answers_are_the_authors(golden):
    content, instance = golden.content, make_instance(golden.content)
    assert TASK.answer(instance) == content["answer"]
    assert instance.answer_index + 1 == content["answer_option"]


def test_the_authors_responses_score_one(golden):
    content = golden.content
    for name in ("analogy_exact_match", "analogy_partial_score"):
        score = SCORES.build({"type": name})
        for kind in ("text", "image", "image_via_text", "text_nocot"):
            assert score(content["responses"][kind], content["answer"]) == 1.0


def test_the_authors_panels_follow_their_labels(golden):
    """So the relations that our puzzles are drawn by are those of the authors' puzzles."""
    instance = make_instance(golden.content)
    for example, label in zip(instance.examples, instance.example_labels, strict=True):
        assert label in labels_met(*example)
    for option, label in zip(instance.options, instance.option_labels, strict=True):
        assert label in labels_met(*instance.query, option)


def test_panels_are_the_authors_to_the_byte(golden):
    params, digests = golden.content["params"], golden.content["panel_sha256"]
    panels = [*flat(params["examples"]), *params["query"], *(option["panel"] for option in params["options"])]
    expected = [*flat(digests["examples"]), *digests["query"], *digests["options"]]
    assert [panel_digest(panel) for panel in panels] == expected


def test_pictures_have_the_authors_size(golden):
    assert list(TASK.image(make_instance(golden.content)).size) == golden.content["image_size"]


def test_pictures_have_the_authors_colours_where_they_were_probed(golden):
    pixels = np.asarray(TASK.image(make_instance(golden.content))).astype(int)
    assert golden.content["pixel_probes"]
    for probe in golden.content["pixel_probes"]:
        assert np.abs(pixels[probe["y"], probe["x"]] - probe["rgb"]).max() <= TOLERANCE, probe


def test_whole_pictures_are_the_authors(golden):
    """Of some instances there are whole pictures: they differ in the question mark and the corners of frames alone."""
    path = golden.path.with_name(f"{golden.path.stem}_{golden.content['uid']}.png")
    if path.exists():
        theirs = np.asarray(Image.open(path).convert("RGB")).astype(int)
        difference = np.abs(np.asarray(TASK.image(make_instance(golden.content))) - theirs).max(axis=2)
        assert difference[MARK].mean() < 10
        difference[MARK] = 0
        assert difference.max() < 16
        assert (difference > TOLERANCE).sum() < 300  # of 720,000
