"""VLMEvalKit: any model of this library under its command line.

    python -m vlmzoo.integrations.vlmevalkit pretrained=FOLDER -- --data POPE --judge exact_matching

VLMEvalKit knows models by a table of names; ours is put into it, and then its own command line runs.
"""

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any

from vlmzoo.errors import ConfigError, DataError, MissingExtraError, VlmzooError
from vlmzoo.integrations._asking import Decoding, answer, load_for_harness
from vlmzoo.types import Content, Sample

__all__ = ["KitModel", "inject_model", "kit_class", "main", "sample_of_message"]

_NAME = "vlmzoo"
_LOADED_BY = ("pretrained", "name", "revision", "device", "dtype", "attn_implementation")
_TAKEN = (*_LOADED_BY, "max_new_tokens")


class KitModel:
    """A model as VLMEvalKit asks it: a message of texts and pictures in their order, one at a time, greedily.

    Args:
        pretrained: a folder or a Hub id.
        name: a card of the zoo with published weights, in place of ``pretrained``.
        max_new_tokens: the limit of an answer.
        options: ``revision``, ``device``, ``dtype`` and ``attn_implementation``, as for lmms-eval.

    Raises:
        ConfigError: if a value is out of range.
        CheckpointError: if the model cannot be loaded whole.
    """

    INTERLEAVE = True

    def __init__(
        self, pretrained: str | None = None, name: str | None = None, max_new_tokens: int | str = 1024, **options: Any
    ) -> None:
        super().__init__()
        self.decoding = Decoding(max_new_tokens=int(max_new_tokens))
        self.model, self.processor = load_for_harness(path=pretrained, name=name, **options)

    def generate_inner(self, message: Sequence[Mapping[str, str]], dataset: str | None = None) -> str:
        """Answer one message.

        Args:
            message: ``{type: text | image, value: …}``; a picture is the path of a file.
            dataset: name of the benchmark; prompts are its own.

        Raises:
            DataError: if the message holds something else, or a picture cannot be used.
        """
        (said,) = answer(self.model, self.processor, [sample_of_message(message, id=str(dataset))], self.decoding)
        return said.text


def sample_of_message(message: Sequence[Mapping[str, str]], *, id: str) -> Sample:
    """Make a question of a message of VLMEvalKit.

    Raises:
        DataError: if it holds anything but texts and pictures.
    """
    content: list[Content] = []
    images: list[str] = []
    for part in message:
        if part["type"] == "text":
            content.append({"type": "text", "text": part["value"]})
        elif part["type"] == "image":
            content.append({"type": "image"})
            images.append(part["value"])
        else:
            raise DataError(f"A message of `{id}` must be of texts and pictures, but has `{part['type']}`, too.")
    return Sample(messages=[{"role": "user", "content": content}], images=images, id=id)


@cache
def kit_class() -> Any:
    """Return the class that VLMEvalKit makes models of.

    Raises:
        MissingExtraError: if VLMEvalKit is not installed.
    """
    return type("Vlmzoo", (KitModel, _module("vlmeval.vlm.base").BaseModel), {"__module__": __name__})


def inject_model(options: Mapping[str, str], *, name: str = _NAME) -> Callable[[], Any]:
    """Put a model into VLMEvalKit's table of models.

    Args:
        options: which model, as ``KitModel`` takes it.
        name: in the table.

    Returns:
        What VLMEvalKit calls to make the model.

    Raises:
        ConfigError: if an option is unknown.
        MissingExtraError: if VLMEvalKit is not installed.
    """
    unknown = sorted(set(options) - set(_TAKEN))
    if unknown:
        raise ConfigError(f"`{unknown[0]}` is no option of a model here; there are {', '.join(_TAKEN)}.")
    build = partial(kit_class(), **options)
    _module("vlmeval.config").supported_VLM[name] = build
    return build


def main(arguments: Sequence[str] | None = None) -> None:
    """Run VLMEvalKit's command line on a model of ours: ``OPTION=VALUE … -- VLMEVALKIT'S ARGUMENTS``.

    Raises:
        ConfigError: if the two parts are not there.
        MissingExtraError: if VLMEvalKit is not installed.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    cut = given.index("--") if "--" in given else len(given)
    ours, theirs = given[:cut], given[cut + 1 :]
    if not ours or not theirs or not all("=" in one for one in ours):
        raise ConfigError(f"Say `pretrained=FOLDER -- --data POPE …`, not {' '.join(given)!r}.")
    inject_model(dict(one.split("=", 1) for one in ours))
    names_itself = {"--config", "--model"} & set(theirs)
    sys.argv = ["vlmevalkit", *theirs, *([] if names_itself else ["--model", _NAME])]
    _module("vlmeval.run").main()


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingExtraError(
            f"`vlmeval` is not installed ({error}); VLMEvalKit comes with `make .venv-vlmeval/.installed`, or from its "
            "repository."
        ) from error


if __name__ == "__main__":
    try:
        main()
    except VlmzooError as error:
        raise SystemExit(f"error: {error}") from error
