"""The demo's page: what it asks and shows, and how it looks in a browser."""

import importlib.util
import shutil
from pathlib import Path

import pytest
from PIL import Image

from vlmzoo.errors import ConfigError
from vlmzoo.integrations.gradio import launch_page
from vlmzoo.runs.demo import demo_page, example_question, responder, tiny_model

HAS_GRADIO = importlib.util.find_spec("gradio") is not None
HAS_PLAYWRIGHT = importlib.util.find_spec("playwright") is not None
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SCREENSHOT = Path(__file__).resolve().parents[3] / "docs" / "pictures" / "demo.png"


@pytest.fixture(scope="module")
def respond():
    model = tiny_model(num_steps=0)
    return responder(model, max_new_tokens=4, proposer={"type": "vstar", "smallest_size": 128, "max_new_tokens": 8})


def test_an_answer_has_all_that_the_page_shows(respond):
    image, question, options = example_question()
    answer = respond(image, question, options, "slow")
    assert answer.text in options
    assert answer.marked.size == image.size and answer.strip is not None
    assert "<html" in answer.page and ("slow" in answer.mode or "in doubt" in answer.mode)
    quick = respond(image, question, (), "fast")
    assert quick.strip is None and quick.mode.startswith("fast")


@pytest.mark.slow
def test_the_miniature_refuses_looks_and_answers():
    image, question, _ = example_question()
    vstar = {"type": "vstar", "smallest_size": 128, "max_new_tokens": 32}
    answer = tiny_model().answer(image, question, proposer=vstar, max_new_tokens=32)
    kinds = [step.kind for step in answer.trace.steps]
    assert kinds[:3] == ["fast", "propose", "segment"] and kinds[-1] in ("slow", "retry")
    assert answer.evidence[0].is_found and answer.text


def test_only_this_machine_is_served():
    with pytest.raises(
        ConfigError, match="`host` must be this machine, one of 127.0.0.1, localhost, ::1, but is '0.0.0.0'"
    ):
        launch_page(object(), host="0.0.0.0")


@pytest.mark.skipif(not HAS_GRADIO, reason="gradio is not installed")
def test_the_page_is_built_with_the_miniature():
    page = demo_page()
    assert page.title == "Thinking fast and slow"


@pytest.mark.slow
@pytest.mark.skipif(not HAS_GRADIO, reason="gradio is not installed")
@pytest.mark.skipif(not (HAS_PLAYWRIGHT and CHROMIUM), reason="playwright or a Chromium is not installed")
def test_a_browser_shows_mode_strip_and_boxes(tmp_path):
    from playwright.sync_api import sync_playwright

    page = demo_page()
    address = launch_page(page, port=0, is_blocking=False)
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            view = browser.new_page(viewport={"width": 1100, "height": 1250})
            view.goto(address, timeout=120_000)
            view.get_by_label("slow").check(timeout=120_000)
            view.locator("#answer").click()
            view.wait_for_function("document.querySelector('#mode textarea')?.value.length > 0", timeout=240_000)
            view.locator("#strip img").wait_for(timeout=120_000)
            mode = view.locator("#mode textarea").input_value()
            assert "positions" in mode
            assert view.locator("#text textarea").input_value()
            assert view.locator("#marked img").count() >= 1
            picture = tmp_path / "demo.png"
            view.screenshot(path=str(picture))
            browser.close()
    finally:
        page.close()
    assert Image.open(picture).width == 1100
    assert SCREENSHOT.is_file()  # kept for readers; `cp` the new one over it when the page changes
