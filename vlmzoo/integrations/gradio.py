"""A page to try an agent on: an image and a question in, the answer and its way out."""

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from PIL import Image

from vlmzoo.errors import ConfigError, MissingExtraError, VlmzooError

__all__ = ["DemoAnswer", "Respond", "build_page", "launch_page"]

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_DECISIONS = ("auto", "fast", "slow")


@dataclass(frozen=True, kw_only=True)
class DemoAnswer:
    """What the page shows of an answer.

    Args:
        text: the answer.
        mode: how it came about, in words.
        marked: the image with boxes and masks over it.
        strip: the patches that were looked at; None if nothing was searched for.
        page: the trace as HTML.
    """

    text: str
    mode: str
    marked: Image.Image
    strip: Image.Image | None
    page: str


Respond: TypeAlias = Callable[[Image.Image, str, Sequence[str], str], DemoAnswer]
"""Answers a question about an image: with options or freely, deciding ``auto``, ``fast`` or ``slow``."""


def build_page(
    respond: Respond, *, title: str, remark: str, example: tuple[Image.Image, str, Sequence[str]] | None = None
) -> Any:
    """Build the page; nothing is served yet.

    Args:
        respond: answers.
        title: of the page.
        remark: what a visitor must know of the model.
        example: image, question and options that stand there at first.

    Raises:
        MissingExtraError: if gradio is not installed.
    """
    gradio = _gradio()

    def answer(image: Any, question: str, options: str, decide: str) -> tuple[Any, ...]:
        if image is None or not question.strip():
            raise gradio.Error("Give an image and a question.")
        try:
            found = respond(image, question, [one.strip() for one in options.split(",") if one.strip()], decide)
        except VlmzooError as error:
            raise gradio.Error(str(error)) from error
        return found.text, found.mode, found.marked, found.strip, found.page

    image, question, options = example or (None, "", ())
    with gradio.Blocks(title=title, analytics_enabled=False) as page:
        gradio.Markdown(f"# {title}\n\n{remark}")
        with gradio.Row():
            with gradio.Column():
                shown = gradio.Image(value=image, type="pil", label="Image", height=320)
                asked = gradio.Textbox(value=question, label="Question", elem_id="question")
                choices = gradio.Textbox(value=", ".join(options), label="Options, with commas; none answers freely")
                decide = gradio.Radio(list(_DECISIONS), value="auto", label="Look for what is missing")
                button = gradio.Button("Answer", variant="primary", elem_id="answer")
            with gradio.Column():
                text = gradio.Textbox(label="Answer", elem_id="text")
                mode = gradio.Textbox(label="How", elem_id="mode")
                marked = gradio.Image(label="Boxes and masks", height=320, elem_id="marked")
        strip = gradio.Image(label="Patches that were looked at", elem_id="strip")
        with gradio.Accordion("Trace", open=False):
            trace = gradio.HTML()
        button.click(
            answer,
            inputs=[shown, asked, choices, decide],
            outputs=[text, mode, marked, strip, trace],
            api_name="answer",
        )
    return page


def launch_page(page: Any, *, host: str = "127.0.0.1", port: int = 7860, is_blocking: bool = True) -> str:
    """Serve a page on this machine, and return its address.

    Args:
        page: of ``build_page``.
        host: this machine; whoever wants more puts a proxy with a key before it.
        port: 0 for any that is free.
        is_blocking: whether to wait until it is stopped.

    Raises:
        ConfigError: if the host is not this machine, or the port is taken.
    """
    if host not in _LOOPBACK:
        raise ConfigError(f"`host` must be this machine, one of {', '.join(_LOOPBACK)}, but is {host!r} instead.")
    try:
        _, address, _ = page.launch(
            server_name=host,
            server_port=port or None,
            prevent_thread_lock=True,
            share=False,
            quiet=True,
            inbrowser=False,
        )
    except OSError as error:
        raise ConfigError(f"Port {port} of {host} cannot be served on ({error}); choose another `--port`.") from error
    if is_blocking:
        page.block_thread()
    return str(address)


def _gradio() -> Any:
    try:
        return importlib.import_module("gradio")
    except ImportError as error:
        raise MissingExtraError.for_package("gradio", "demo") from error
