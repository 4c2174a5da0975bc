"""The parts of the report's page: each turns values into a piece of HTML, with every text escaped."""

import base64
import io
import re
from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Scores", "curves_part", "details_part", "figures_part", "gallery_card", "notes_part", "page", "scores_part"]

Scores = Mapping[str, Mapping[str, Mapping[str, float]]]
"""``{benchmark: {score: {mean, low, high, num}}}``."""

_CODE = re.compile("`([^`]+)`")
_MAX_SIDE_PX = 1000  # of an embedded picture


def page(title: str, subtitle: str, parts: Sequence[tuple[str, str]]) -> str:
    """Return the whole document.

    Args:
        title: its heading.
        subtitle: the line below.
        parts: heading and HTML of each section; those without HTML are left out.
    """
    style = resources.files("vlmzoo.runs").joinpath("report.css").read_text(encoding="utf-8")
    sections = "\n".join(f"<section>\n<h2>{escape(name)}</h2>\n{html}\n</section>" for name, html in parts if html)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n"
        f"<header>\n<h1>{escape(title)}</h1>\n<p>{escape(subtitle)}</p>\n</header>\n{sections}\n</main>\n</body>\n</html>\n"
    )


def figures_part(summary: Mapping[str, Any]) -> str:
    """Return the figures that a reader wants first, as tiles."""
    tiles = "\n".join(
        f'<div class="sheet"><dt>{escape(name.replace("_", " "))}</dt><dd>{escape(_figure(value))}</dd></div>'
        for name, value in summary.items()
    )
    return f'<dl class="figures">\n{tiles}\n</dl>' if summary else ""


def scores_part(results: Scores) -> str:
    """Return the table of scores, each with its interval drawn."""
    rows = "\n".join(
        _score_row(label if place == 0 else "", name, interval)
        for label, scores in results.items()
        for place, (name, interval) in enumerate(scores.items())
    )
    if not rows:
        return ""
    heads = '<th scope="col">benchmark</th><th scope="col">score</th><th scope="col" class="number">mean</th>'
    heads += '<th scope="col">95 % interval</th><th scope="col" class="range">0 to 1</th>'
    heads += '<th scope="col" class="number">questions</th>'
    hint = "The mark is the mean, the band its 95 % interval by percentile bootstrap over the questions."
    return (
        f'<div class="sheet scroll"><table>\n<thead><tr>{heads}</tr></thead>\n'
        f'<tbody>\n{rows}\n</tbody>\n</table></div>\n<p class="hint">{hint}</p>'
    )


def curves_part(curves: Mapping[str, tuple[Path, Path]]) -> str:
    """Return the curves.

    Args:
        curves: the files for a light and for a dark page, by name of the curve.
    """
    figures = "\n".join(
        f'<figure class="sheet"><picture><source media="(prefers-color-scheme: dark)" srcset="{_png_uri(dark)}">'
        f'<img src="{_png_uri(light)}" alt="{escape(name)} over the steps"></picture></figure>'
        for name, (light, dark) in curves.items()
    )
    return f'<div class="curves">\n{figures}\n</div>' if curves else ""


def gallery_card(
    image: "Image | None", *, prompt: str, completion: str, reference: str, is_correct: bool, label: str = ""
) -> str:
    """Return one question with the model's answer beside the right one."""
    mark = '<span class="mark right">✓ right</span>' if is_correct else '<span class="mark wrong">✗ wrong</span>'
    picture = "" if image is None else f'<img src="{_image_uri(image)}" alt="the picture of the question">\n'
    texts = "\n".join(
        f"<h4>{name}</h4>\n<pre>{escape(text)}</pre>"
        for name, text in (("prompt", prompt.strip("\n")), ("answer", completion), ("reference", reference))
    )
    return f'<article class="sheet">\n{picture}<div>\n<h3>{mark} {escape(label)}</h3>\n{texts}\n</div>\n</article>'


def notes_part(notes: Sequence[str]) -> str:
    """Return the notes as a list; what stands between back-quotes is code."""
    marked = [_CODE.sub(r"<code>\1</code>", escape(note)) for note in notes]
    items = "\n".join(f"<li>{note}</li>" for note in marked)
    return f'<ul class="sheet notes">\n{items}\n</ul>' if notes else ""


def details_part(sections: Mapping[str, Any]) -> str:
    """Return values as YAML that opens on a click; those that are empty are left out."""
    return "\n".join(
        f'<details class="sheet"><summary>{escape(name)}</summary><pre>'
        f"{escape(yaml.safe_dump(value, sort_keys=False, allow_unicode=True))}</pre></details>"
        for name, value in sections.items()
        if value
    )


def _score_row(label: str, name: str, interval: Mapping[str, float]) -> str:
    mean, low, high = interval["mean"], interval["low"], interval["high"]
    track = ""
    if 0 <= low <= high <= 1:
        track = f'<span class="track"><i style="left:{low:.2%};width:{high - low:.2%}"></i>'
        track += f'<b style="left:{mean:.2%}"></b></span>'
    return (
        f'<tr><th scope="row">{escape(label)}</th><td>{escape(name)}</td><td class="number">{mean:.3f}</td>'
        f'<td>{low:.3f} to {high:.3f}</td><td class="range">{track}</td>'
        f'<td class="number">{interval["num"]:,}</td></tr>'
    )


def _figure(value: Any) -> str:
    """Return a value as a reader wants it: few digits, thousands apart."""
    if value is None:
        return "not measured"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3f}" if abs(value) < 10 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _png_uri(path: Path) -> str:
    return _uri(path.read_bytes())


def _image_uri(image: "Image") -> str:
    """Return a picture as PNG in the page, at most 1000 pixels wide and high."""
    small = image.copy()
    if max(small.size) > _MAX_SIDE_PX:
        small = small.convert("RGB")
        small.thumbnail((_MAX_SIDE_PX, _MAX_SIDE_PX))
    buffer = io.BytesIO()
    small.save(buffer, format="PNG", optimize=True)
    return _uri(buffer.getvalue())


def _uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"
