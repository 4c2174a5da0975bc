"""lmms-eval: any model of this library under its command line.

    lmms-eval --model vlmzoo --model_args pretrained=FOLDER_OR_HUB_ID --tasks pope --batch_size 16

Tasks that put pictures among the words reach the model so. Tasks that compare likelihoods need ``--force_simple``:
lmms-eval builds them for its simple kind of model alone.
"""

import importlib
from collections.abc import Callable, Sequence
from functools import cache
from itertools import groupby
from typing import Any, ClassVar

from tqdm import tqdm

from vlmzoo.data.prompting import prompt_inputs
from vlmzoo.errors import ConfigError, MissingExtraError
from vlmzoo.integrations._asking import Decoding, Said, answer, load_for_harness
from vlmzoo.integrations._lmms_requests import Reading, blocks_of
from vlmzoo.models.option_scoring import option_ids, score_options
from vlmzoo.types import Sample

__all__ = ["ChatRequests", "SimpleRequests", "blocks_of", "manifest", "model_class"]


def manifest() -> Any:
    """Return what lmms-eval's entry point ``lmms_eval.models`` wants to know of us."""
    return _module("lmms_eval.models.registry_v2").ModelManifest(
        model_id="vlmzoo",
        simple_class_path=f"{__name__}.VlmzooSimple",
        chat_class_path=f"{__name__}.VlmzooChat",
    )


class _Requests:
    """What both kinds of model do: load, ask in batches, keep the order.

    Args:
        pretrained: a folder or a Hub id.
        name: a card of the zoo with published weights, in place of ``pretrained``.
        revision: branch, tag or commit on the Hub.
        device: None takes an accelerator if there is one.
        dtype: of the weights; ``auto`` is bfloat16 on an accelerator that has it, else float32.
        attn_implementation: attention by name; None lets transformers choose.
        batch_size: questions asked at once.
        max_batch_size: of lmms-eval's search for a batch size, which this model does not need.
        max_new_tokens: the limit of an answer, where the task names none.
        num_frames: the pictures that a video becomes.
        stop_at_blank_line: whether a blank line ends an answer where the task says so.
        system_prompt: what stands before every question.
        loaded: a model and its processor, in place of all that says which.

    Raises:
        ConfigError: if a value is out of range.
        CheckpointError: if the model cannot be loaded whole.
    """

    is_simple: ClassVar[bool]

    def __init__(
        self,
        pretrained: str | None = None,
        name: str | None = None,
        revision: str | None = None,
        device: str | None = None,
        dtype: str = "auto",
        attn_implementation: str | None = None,
        batch_size: int | str = 1,
        max_batch_size: int | None = None,
        max_new_tokens: int = 1024,
        num_frames: int = 8,
        stop_at_blank_line: bool = False,
        system_prompt: str | None = None,
        loaded: tuple[Any, Any] | None = None,
    ) -> None:
        super().__init__()
        if not str(batch_size).isdigit() or int(batch_size) < 1:
            raise ConfigError(f"`batch_size` must be a number of at least 1, but is {batch_size!r} instead.")
        if max_batch_size is not None:
            raise ConfigError("`max_batch_size` must be left out: no batch size is searched for; give `batch_size`.")
        self.model, self.processor = loaded or load_for_harness(
            path=pretrained,
            name=name,
            revision=revision,
            device=device,
            dtype=dtype,
            attn_implementation=attn_implementation,
        )
        self.batch_size = int(batch_size)
        self.reading = Reading(
            max_new_tokens=int(max_new_tokens),
            num_frames=int(num_frames),
            stop_at_blank_line=bool(stop_at_blank_line),
            system=system_prompt,
        )
        self.task_dict: dict[str, Any] = {}  # documents by task and split; lmms-eval fills it

    @property
    def device(self) -> Any:
        """Where the model is; lmms-eval counts requests there."""
        return self.model.device

    def generate_until(self, requests: Sequence[Any]) -> list[Any]:
        """Answer requests; those that are decoded alike share batches, in their order."""
        decodings = [self._decoding(request.args) for request in requests]
        said: dict[int, Said] = {}
        with tqdm(total=len(requests), desc="vlmzoo", disable=getattr(self, "rank", 0) != 0) as bar:
            for decoding in dict.fromkeys(decodings):
                places = [place for place, other in enumerate(decodings) if other == decoding]
                for start in range(0, len(places), self.batch_size):
                    batch = places[start : start + self.batch_size]
                    samples = [self._sample(requests[place].args) for place in batch]
                    said |= zip(batch, answer(self.model, self.processor, samples, decoding), strict=True)
                    bar.update(len(batch))
        return [_result(said[place]) for place in range(len(requests))]

    def loglikelihood(self, requests: Sequence[Any]) -> list[Any]:
        """Score answers: the mean negative log-probability of each in nats, and whether the model would say it.

        lmms-eval takes the answer with the least, whatever its interface is called. Answers to one question come one
        after the other, and share one reading of it. Each pair comes in lmms-eval's wrapper of an answer: of a bare
        pair it makes a text (0.7 to 0.7.3), and then fails on it.
        """
        told: list[Any] = []
        with tqdm(total=len(requests), desc="vlmzoo", disable=getattr(self, "rank", 0) != 0) as bar:
            for _, group in groupby((request.args for request in requests), key=lambda args: (args[0], *args[3:6])):
                rows = list(group)
                context, _, to_visual, *place = rows[0]
                document = self._document(*place)
                sample = self._simple(context, to_visual, place)
                inputs = prompt_inputs(self.processor, [sample], device=self.model.device, dtype=self.model.dtype)
                texts = [str(_called(row[1], document)) for row in rows]
                found = score_options(self.model, inputs, [option_ids(self.processor, sample, t) for t in texts])
                told += map(_wrapped, zip(found.nats.tolist(), found.is_greedy.tolist(), strict=True))
                bar.update(len(rows))
        return told

    def generate_until_multi_round(self, requests: Sequence[Any]) -> list[str]:
        """Refuse tasks of several rounds.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(f"Tasks of several rounds cannot be asked of this model, but {len(requests)} requests are.")

    def _decoding(self, args: tuple[Any, ...]) -> Decoding:
        """Return how a request is decoded."""
        raise NotImplementedError

    def _sample(self, args: tuple[Any, ...]) -> Sample:
        """Return the question of a request."""
        raise NotImplementedError

    def _document(self, number: int, task: str, split: str) -> Any:
        return self.task_dict[task][split][number]

    def _simple(self, text: str, to_visual: Any, place: Sequence[Any]) -> Sample:
        number, task, split = place
        id = f"{task}/{split}/{number}"
        visuals = _called(to_visual, self._document(number, task, split))
        return self.reading.sample(blocks_of(text, visuals, id=id), id=id)


class SimpleRequests(_Requests):
    """Requests with a text and what it is about: pictures at the marks ``<image>`` of the text, or before it."""

    is_simple = True

    def _decoding(self, args: tuple[Any, ...]) -> Decoding:
        return self.reading.decoding(args[1])

    def _sample(self, args: tuple[Any, ...]) -> Sample:
        text, _, to_visual, *place = args
        return self._simple(text, to_visual, place)


class ChatRequests(_Requests):
    """Requests with whole turns, in which pictures stand where the task puts them."""

    is_simple = False

    def _decoding(self, args: tuple[Any, ...]) -> Decoding:
        return self.reading.decoding(args[2])

    def _sample(self, args: tuple[Any, ...]) -> Sample:
        _, to_messages, _, number, task, split = args
        return self.reading.conversation(
            to_messages(self._document(number, task, split)), id=f"{task}/{split}/{number}"
        )


@cache
def model_class(*, is_simple: bool) -> Any:
    """Return the class that lmms-eval makes models of.

    Raises:
        MissingExtraError: if lmms-eval is not installed.
    """
    ours = SimpleRequests if is_simple else ChatRequests
    name = "VlmzooSimple" if is_simple else "VlmzooChat"
    return type(name, (ours, _module("lmms_eval.api.model").lmms), {"__module__": __name__, "__doc__": ours.__doc__})


def __getattr__(name: str) -> Any:
    """Make lmms-eval's classes when it asks for them by name; without it this module loads, too."""
    if name in ("VlmzooSimple", "VlmzooChat"):
        return model_class(is_simple=name == "VlmzooSimple")
    raise AttributeError(f"module `{__name__}` has no attribute `{name}`.")


def _called(value: Any, document: Any) -> Any:
    """Return what lmms-eval hands over as such, or as a function of the document."""
    function: Callable[[Any], Any] | None = value if callable(value) else None
    return value if function is None else function(document)


def _result(said: Said) -> Any:
    counts = _module("lmms_eval.api.instance").TokenCounts(
        input_tokens=said.num_prompt_tokens, output_tokens=said.num_completion_tokens
    )
    return _wrapped(said.text, counts)


def _wrapped(answer: Any, counts: Any = None) -> Any:
    return _module("lmms_eval.api.instance").GenerationResult(text=answer, token_counts=counts)


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingExtraError.for_package("lmms-eval", "eval") from error
