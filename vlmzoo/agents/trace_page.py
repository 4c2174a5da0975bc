"""A trace as one HTML page: what was asked and said, the strip of a search, boxes and masks over the image."""

import base64
import io
from collections.abc import Iterable
from html import escape

from PIL import Image, ImageDraw

from vlmzoo.agents.picture_strip import picture_strip
from vlmzoo.agents.trace import Evidence, Step, Trace
from vlmzoo.data.drawing import draw_masks

__all__ = ["marked_image", "trace_page"]

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1c2733}"
    "h1{font-size:1.3rem}h2{font-size:1rem;margin:1.4rem 0 .3rem}pre{white-space:pre-wrap;background:#f3f5f7;"
    "padding:.5rem .7rem;border-radius:4px;margin:.3rem 0}img{max-width:100%}.fault{color:#a12}"
    "table{border-collapse:collapse}td,th{padding:.15rem .7rem;text-align:left;border-bottom:1px solid #dde3e8}"
)
_TITLES = {
    "fast": "At a glance",
    "propose": "Looking for it",
    "segment": "Its pixels",
    "slow": "With the evidence",
    "retry": "Asked once more, without leave to refuse",
}
_FRAME = (0, 160, 0)
_LONGEST_PX = 640


def trace_page(trace: Trace, image: Image.Image | None) -> str:
    """Return the page; without an image it has no pictures."""
    parts = [f"<h1>{escape(trace.question)}</h1>"]
    parts += [f"<p>Options: {escape('; '.join(trace.options))}</p>"] if trace.options else []
    parts += [_picture(marked_image(image, trace.evidence), "the image with what was found")] if image else []
    parts += [_evidence(trace.evidence)] if trace.evidence else []
    searches = iter(trace.searches)
    for number, step in enumerate(trace.steps, start=1):
        parts.append(_step(step, number))
        if "search" in step.detail:
            result = next(searches)
            parts += [_picture(picture_strip(image, result), f"the search for {result.name}")] if image else []
    cost = trace.cost
    parts.append(
        f"<p>Stopped: {escape(trace.stopped_by)}. {cost.lm_tokens:.0f} tokens through language models, "
        f"{cost.images:.0f} images encoded, {cost.seconds:.2f} s.</p>"
    )
    title = escape(trace.question)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )


def marked_image(image: Image.Image, evidence: Iterable[Evidence]) -> Image.Image:
    """Return the image with masks, boxes and names of what was found over it."""
    found = [one for one in evidence if one.box is not None]
    shown = draw_masks(image.convert("RGB"), [one.mask for one in found if one.mask is not None])
    draw = ImageDraw.Draw(shown)
    width = max(1, round(max(shown.size) / 300))
    for one in found:
        assert one.box is not None
        x0, y0, x1, y1 = one.box.clipped().xyxy
        draw.rectangle((x0, y0, max(x1, x0 + 1), max(y1, y0 + 1)), outline=_FRAME, width=width)
        draw.text((x0 + 2, max(y0 - 12, 0)), one.name, fill=_FRAME)
    return shown


def _step(step: Step, number: int) -> str:
    heading = f"{number}. {_TITLES[step.kind]}" + (f": {step.name}" if step.name else "")
    parts = [f"<h2>{escape(heading)}</h2>"]
    parts += [f"<pre>{escape(step.prompt)}</pre>"] if step.prompt else []
    parts += [f"<pre>→ {escape(step.said)}</pre>"] if step.said else []
    parts += [f'<p class="fault">{escape(step.fault)}</p>'] if step.fault else []
    return "".join(parts)


def _evidence(evidence: Iterable[Evidence]) -> str:
    rows = []
    for one in evidence:
        place = "not found" if one.box is None else ", ".join(f"{edge:.0f}" for edge in one.box.xyxy)
        sure = "" if one.probability is None else f"{one.probability:.2f}"
        pixels = "" if one.mask is None else f"{one.mask.area} pixels"
        cells = (one.name, place, sure, pixels, one.fault)
        rows.append("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>")
    headings = ("object", "box", "probability", "mask", "remark")
    head = "".join(f"<th>{heading}</th>" for heading in headings)
    return f"<table><tr>{head}</tr>{''.join(rows)}</table>"


def _picture(picture: Image.Image, alt: str) -> str:
    scale = min(1.0, _LONGEST_PX / max(picture.size)) if picture.width < 2 * picture.height else 1.0
    shown = picture.resize((max(round(picture.width * scale), 1), max(round(picture.height * scale), 1)))
    held = io.BytesIO()
    shown.save(held, format="PNG")
    data = base64.b64encode(held.getvalue()).decode("ascii")
    return f'<p><img alt="{escape(alt)}" src="data:image/png;base64,{data}"></p>'
