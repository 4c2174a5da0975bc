"""The agent that a configuration describes, and asking it the questions of a benchmark."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from vlmzoo.agents.fast_slow import FastSlow, FastSlowOptions, Request
from vlmzoo.agents.look_twice import LookTwice
from vlmzoo.errors import ConfigError, DataError
from vlmzoo.models.further import further_model
from vlmzoo.registry import nearest_hint
from vlmzoo.types import Sample

__all__ = ["agent_of", "ask_agent", "evidence_pathways"]

_TYPES = ("fast_slow", "look_twice")


def agent_of(spec: Mapping[str, Any], model: Any) -> FastSlow | LookTwice:
    """Build an agent.

    Args:
        spec: ``{type: fast_slow}`` with ``proposer`` and ``segmenter``, which may name models of their own by folder or
            Hub id, and the options of ``FastSlowOptions``; or ``{type: look_twice}``.
        model: that answers.

    Raises:
        ConfigError: if there is no such agent, or an option is wrong.
        CheckpointError: if a further model cannot be loaded whole.
    """
    options = dict(spec)
    kind = options.pop("type", None)
    if kind not in _TYPES:
        raise ConfigError(
            f"`agent.type` must be one of {', '.join(_TYPES)}, but is {kind!r}.{nearest_hint(str(kind), _TYPES)}"
        )
    try:
        if kind == "look_twice":
            return LookTwice(model, **options)
        proposer, segmenter = options.pop("proposer", None), options.pop("segmenter", None)
        if isinstance(proposer, Mapping) and isinstance(proposer.get("model"), str):
            proposer = {**proposer, "model": further_model(proposer["model"], beside=model)}
        segmenter = None if segmenter is None else further_model(segmenter, beside=model)
        return FastSlow(model, proposer=proposer, segmenter=segmenter, options=FastSlowOptions(**options))
    except TypeError as error:
        raise ConfigError(f"`agent`: {error}.") from error


def ask_agent(agent: FastSlow | LookTwice) -> Callable[[Sequence[Sample]], list[str]]:
    """Return what asks an agent the questions of samples: the last user's words about the last image.

    A sample that has ``options`` in its ``meta`` is answered with the likeliest of them, where the agent can choose.
    """

    def ask(samples: Sequence[Sample]) -> list[str]:
        asked = [(_image_of(sample), _question_of(sample)) for sample in samples]
        if isinstance(agent, LookTwice):
            return agent.answer_all(asked)
        requests = [
            Request(image, question, tuple(sample.meta.get("options", ())))
            for (image, question), sample in zip(asked, samples, strict=True)
        ]
        return [answer.text for answer in agent.answer_all(requests)]

    return ask


def evidence_pathways(agent: FastSlow | LookTwice) -> dict[str, dict[str, Any]]:
    """Return the pathways of all that an agent shows."""
    if isinstance(agent, LookTwice):
        return {name: {"type": name} for name in ("crop", "roi_text")}
    names = ["crop", "box_text", *(["mask"] if agent.refiner is not None else [])]
    return {name: {"type": name} for name in names}


def _question_of(sample: Sample) -> str:
    """Return the words of the last turn."""
    content = sample.messages[-1]["content"]
    if isinstance(content, str):
        return content.strip()
    return "".join(str(block["text"]) for block in content if block["type"] == "text").strip()


def _image_of(sample: Sample) -> Any:
    if not sample.images:
        raise DataError(f"An agent is asked about an image, but sample `{sample.id}` has none.")
    return sample.images[-1]
