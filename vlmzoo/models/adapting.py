"""What every base has in common: adapters, new tokens, a processor, and the way from hidden states to outputs.

Letters: B sequences, T text positions, V vocabulary, D width of a token.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.utils.hub import cached_file

from vlmzoo import __version__
from vlmzoo.adapters import ADAPTERS, Adapter, AdapterContext, Host
from vlmzoo.adapters.tokens import TokenRows
from vlmzoo.blocks.language.causal_lm import apply_head, logprobs_of_logits, target_logprobs
from vlmzoo.data.encoding import SampleEncoding
from vlmzoo.data.packing import Segments
from vlmzoo.distributed import world_size
from vlmzoo.errors import ConfigError
from vlmzoo.models.layout import LORA, MANIFEST, PARTS, Manifest, restore_adapters, split_state, write_adapters
from vlmzoo.models.packed import split_context
from vlmzoo.outputs import IGNORED_LABEL, VlmOutput

__all__ = ["AdapterMixin", "adapter_specs", "check_adapters"]

Spec = Mapping[str, Any]

if TYPE_CHECKING:
    _Model = PreTrainedModel
else:
    _Model = object  # the model's class stands behind the mixin


def adapter_specs(adapters: Sequence[str | Spec]) -> dict[str, dict[str, Any]]:
    """Return the specs of adapters by label: their ``name``, or their ``type`` if they give none.

    Raises:
        ConfigError: if two have the same label.
    """
    specs: dict[str, dict[str, Any]] = {}
    for adapter in adapters:
        spec = {"type": adapter} if isinstance(adapter, str) else dict(adapter)
        label = str(spec.pop("name", spec.get("type")))
        if label in specs:
            raise ConfigError(f"Two adapters are called `{label}`; give one of them a `name` of its own.")
        specs[label] = spec
    return specs


def check_adapters(adapters: Sequence[str | Spec], host: Host) -> None:
    """Check adapters against a base, before any weight is read.

    Raises:
        ConfigError: if a spec is faulty, or the base cannot hold an adapter.
        RegistryError: if a name is unknown.
    """
    for spec in adapter_specs(adapters).values():
        build: Any = ADAPTERS.check(spec, runtime=("host",)).build
        if inspect.isclass(build) and issubclass(build, Adapter):
            build.check_host(host, **{name: value for name, value in spec.items() if name != "type"})


class AdapterMixin(_Model):
    """Makes a base of a transformers model: stands before the model's class among the parents.

    A base says in ``family`` and ``part_prefixes`` how it is put together.
    """

    family: str = "native"
    """Folder under ``vlmzoo.models`` that composes the base."""
    part_prefixes: Mapping[str, tuple[str, ...]] = {}
    """Names of the parts, and what the names of their parameters begin with; the longest beginning decides."""
    accepts_loss_kwargs = True
    always_look: bool = False
    """Whether the encoder runs in every micro-batch of training; ZeRO-3 sets it, which keeps the gradient of the step
    before where the first micro-batch of a step gives none."""

    config: PreTrainedConfig
    adapters: nn.ModuleDict
    token_rows: TokenRows | None

    def __init__(self, config: PreTrainedConfig, *args: Any, **kwargs: Any) -> None:
        super().__init__(config, *args, **kwargs)
        self.adapters = nn.ModuleDict()
        self.token_rows = None
        self.adapter_specs: dict[str, dict[str, Any]] = {}
        self.token_ids: dict[str, int] = {}
        self._blank: Mapping[str, Tensor] | None = None
        self._processor: SampleEncoding | Callable[[], SampleEncoding] | None = None

    @property
    def attached(self) -> dict[str, Adapter]:
        """The adapters by label, in the order in which they were attached."""
        return cast("dict[str, Adapter]", dict(self.adapters.items()))

    @classmethod
    def host_of(cls, config: PreTrainedConfig) -> Host:
        """Return what adapters are told of a base with this configuration."""
        text = config.get_text_config()
        return Host(
            family=cls.family,
            model_type=config.model_type,
            hidden_size=text.hidden_size,
            num_layers=text.num_hidden_layers,
            prefixes=cls.part_prefixes,
        )

    @property
    def processor(self) -> Any:
        """The processor that belongs to this model.

        Raises:
            ConfigError: if none was attached, as after transformers' own ``from_pretrained``.
        """
        if self._processor is None:
            raise ConfigError("This model has no processor attached; load both with `vlmzoo.load_model(path)`.")
        if not isinstance(self._processor, SampleEncoding):
            self._processor = self._processor()
            self._introduce()
        return self._processor

    def attach_processor(self, processor: Any) -> None:
        """Attach a processor, or what builds it when it is first wanted."""
        self._processor = processor
        self._introduce()

    def _introduce(self) -> None:
        """Tell the processor of the adapters: the tokens that may be said, and what makes their inputs."""
        if not isinstance(self._processor, SampleEncoding):
            return
        _add_special_tokens(self._processor.tokenizer, self.token_ids)
        self._processor.allow_tokens(tuple(self.token_ids))
        made = {label: adapter.make_inputs() for label, adapter in self.attached.items()}
        self._processor.adapter_inputs = {label: inputs for label, inputs in made.items() if inputs is not None}

    def attach_adapters(
        self,
        adapters: Sequence[str | Spec],
        *,
        token_ids: Mapping[str, int] | None = None,
        new_tokens: Sequence[str] = (),
    ) -> None:
        """Attach adapters, in order, to this model and to its processor.

        Args:
            adapters: names or ``{type: …}`` specs; ``name`` gives one a label of its own.
            token_ids: ids of their tokens, when a folder knows them already; None asks the tokenizer.
            new_tokens: which of those have rows beside the base's tables.

        Raises:
            ConfigError: if one cannot be attached, two have the same label, or two add the same token.
            RegistryError: if a name is unknown.
        """
        host = self.host_of(self.config)
        check_adapters(adapters, host)
        specs = adapter_specs(adapters)
        taken = sorted(set(specs) & set(self.adapter_specs))
        if taken:
            raise ConfigError(f"This model already has an adapter called `{taken[0]}`; give the new one a `name`.")
        reference: Tensor = next(self.parameters())
        with torch.device(reference.device):
            built = {label: ADAPTERS.build(spec, host=host) for label, spec in specs.items()}
        _check_tokens({**self.attached, **built})
        self._add_tokens(
            [token for adapter in built.values() for token in adapter.special_tokens], token_ids, new_tokens
        )
        for label, adapter in built.items():
            self.adapters[label] = adapter.to(reference.dtype)
            adapter.attach(self)
        self.adapter_specs |= specs
        self._introduce()
        self._choose_what_learns()
        self.adapters.train(self.training)

    def _add_tokens(self, wanted: Sequence[str], token_ids: Mapping[str, int] | None, new: Sequence[str]) -> None:
        """Give rows to the tokens that the base does not know."""
        if not wanted:
            return
        if token_ids is None:
            tokenizer = self.processor.tokenizer
            known = tokenizer.get_vocab()
            new = [token for token in wanted if token not in known]
            _add_special_tokens(tokenizer, new)
            token_ids = {token: tokenizer.convert_tokens_to_ids(token) for token in wanted}
        rows = {token: token_ids[token] for token in new}
        if rows and self.token_rows is not None:
            raise ConfigError(
                f"This model already has new tokens ({', '.join(self.token_rows.names)}), so `{next(iter(rows))}` "
                "cannot be added later; attach all adapters that add tokens at once."
            )
        if rows:
            self.add_token_rows(rows)
        self.token_ids |= {token: token_ids[token] for token in wanted}

    def add_token_rows(self, token_ids: Mapping[str, int]) -> None:
        """Add rows for new tokens beside the base's tables.

        Args:
            token_ids: ids that the tokenizer gave them.
        """
        embedding: Any = self.get_input_embeddings()
        head: Any = self.get_output_embeddings()
        is_tied = embedding.weight is head.weight
        with torch.device(embedding.weight.device):
            rows = TokenRows(token_ids, width=embedding.weight.shape[1], is_tied=is_tied)
        rows.initialise(embedding, head)
        self.token_rows = rows.to(embedding.weight.dtype)
        rows.install(embedding, head)

    def save_pretrained(
        self,
        save_directory: str | Path,
        is_main_process: bool = True,
        state_dict: Mapping[str, Tensor] | None = None,
        *args: Any,
        base: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        """Write the model's folder: the base in transformers' own layout, the adapters beside it.

        Args:
            save_directory: where to.
            is_main_process: whether this process writes.
            state_dict: the weights, if the model does not hold them itself (ZeRO-3).
            args: transformers' further arguments.
            base: ``path`` and ``revision`` of the base, to name it in place of writing its weights.
            kwargs: transformers' further arguments.
        """
        state = self.state_dict() if state_dict is None else state_dict
        whole, parts, lora = split_state(self, state)
        folder = Path(save_directory)
        if base is None:
            super().save_pretrained(folder, is_main_process, whole, *args, **kwargs)
        elif is_main_process:
            folder.mkdir(parents=True, exist_ok=True)
            self.config.architectures = [type(self).__name__]
            self.config.save_pretrained(folder)
        if not is_main_process:
            return
        write_adapters(self, folder, parts=parts, lora=lora)
        if not (self.adapter_specs or base):
            (folder / MANIFEST).unlink(missing_ok=True)  # of a model that was saved here before
            return
        Manifest(
            model_type=self.config.model_type,
            vlmzoo_version=__version__,
            base=base,
            adapters=self.adapter_specs,
            token_ids=self.token_ids,
            new_tokens=self.token_rows.names if self.token_rows is not None else (),
        ).write(folder)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *args: Any, **kwargs: Any) -> Any:
        """Load as transformers does, then restore the adapters of the folder, or fail.

        Args:
            pretrained_model_name_or_path: a folder or a Hub id.
            args: transformers' further arguments.
            kwargs: likewise; ``base_folder`` says where the base lies, in place of what the manifest names.

        Raises:
            CheckpointError: if an adapter of the folder is not whole.
        """
        place, base_folder = pretrained_model_name_or_path, kwargs.pop("base_folder", None)
        found = _find(place, MANIFEST, kwargs)
        manifest = None if found is None else Manifest.read(found)
        if manifest is not None and manifest.base is not None:
            own = {**kwargs, "revision": manifest.base.get("revision", "main")}
            loaded = super().from_pretrained(base_folder or manifest.base["path"], *args, **own)
        else:
            loaded = super().from_pretrained(place, *args, **kwargs)
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        if manifest is not None and manifest.adapters:
            lora = _find(place, f"{LORA}/adapter_model.safetensors", kwargs)
            restore_adapters(model, manifest, parts=_find(place, PARTS, kwargs), lora=lora)
        return loaded

    def _choose_what_learns(self) -> None:
        """Set what learns by default: the base unless an adapter freezes it, and what the adapters declare."""
        attached = self.attached
        is_frozen = any(adapter.freezes_base for adapter in attached.values())
        for name, parameter in self.named_parameters():
            part = self.part_of(name)
            if name.startswith("adapters."):
                inner = name.removeprefix(f"adapters.{part}.")
                learns = any(inner.startswith(start) for start in attached[part].trainable)
            else:
                learns = part in ("lora", "token_rows") or not is_frozen
            parameter.requires_grad_(learns)

    @property
    def part_names(self) -> list[str]:
        """Names of the parts that a run may freeze, or teach at their own rate."""
        names = list(self.part_prefixes)
        names += [label for label, adapter in self.attached.items() if next(adapter.parameters(), None) is not None]
        if self.token_rows is not None:
            names.append("token_rows")
        if any(".lora_" in name for name, _ in self.named_parameters()):
            names.append("lora")
        return names

    def part_of(self, parameter_name: str) -> str:
        """Return the part that a parameter belongs to.

        Args:
            parameter_name: as ``named_parameters`` gives it.
        """
        if parameter_name.startswith("adapters."):
            return parameter_name.split(".")[1]
        if parameter_name.startswith("token_rows."):
            return "token_rows"
        if ".lora_" in parameter_name:
            return "lora"
        fitting = [
            (len(prefix), part)
            for part, prefixes in self.part_prefixes.items()
            for prefix in prefixes
            if parameter_name.startswith(prefix)
        ]
        return max(fitting)[1] if fitting else "rest"

    def count_parameters(self) -> dict[str, int]:
        """Return the number of parameters of each part; what two parts share counts once."""
        counts = dict.fromkeys(self.part_names, 0)
        for name, parameter in self.named_parameters():
            part = self.part_of(name)
            counts[part] = counts.get(part, 0) + parameter.numel()
        return counts

    @contextmanager
    def without_lora(self) -> Iterator[None]:
        """Switch LoRA off for a while: the model is its own reference."""
        from peft.tuners.tuners_utils import BaseTunerLayer

        layers = [m for m in self.modules() if isinstance(m, BaseTunerLayer)]
        for layer in layers:
            layer.enable_adapters(enabled=False)
        try:
            yield
        finally:
            for layer in layers:
                layer.enable_adapters(enabled=True)

    @property
    def adapter_input_names(self) -> set[str]:
        """Names of the extra arguments that the adapters take."""
        return {name for adapter in self.attached.values() for name in adapter.input_names}

    def _take_adapter_inputs(self, kwargs: dict[str, Any]) -> dict[str, Tensor]:
        """Take the adapters' arguments out of ``kwargs``, and ask for the hidden states that they read."""
        taken = {name: kwargs.pop(name) for name in self.adapter_input_names & kwargs.keys()}
        if any(layer != -1 for adapter in self.attached.values() for layer in adapter.hidden_layers):
            kwargs["output_hidden_states"] = True
        return {name: value for name, value in taken.items() if value is not None}

    def _conclude(
        self,
        outputs: Any,
        *,
        labels: Tensor | None,
        return_logits: bool,
        logits_to_keep: int | Tensor,
        num_items_in_batch: int | Tensor | None,
        context: Mapping[str, Any],
        adapter_inputs: Mapping[str, Tensor],
        language_model: Any,
        segments: Segments | None = None,
    ) -> VlmOutput:
        """Go from the decoder's hidden states to logits, log-probabilities, loss and the adapters' outputs."""
        hidden = outputs.last_hidden_state
        result = VlmOutput(
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )
        if return_logits:
            kept = hidden[:, -logits_to_keep:] if isinstance(logits_to_keep, int) else hidden[:, logits_to_keep]
            result.logits = apply_head(language_model, kept)
        if labels is not None:
            if result.logits is not None and result.logits.shape[:2] == labels.shape:  # the head has run already
                result.logprobs = logprobs_of_logits(result.logits, labels)
            else:
                result.logprobs = target_logprobs(language_model, hidden, labels)
            if num_items_in_batch is None:
                num_items_in_batch = (labels[:, 1:] != IGNORED_LABEL).sum().clamp(min=1)
            result.loss = -result.logprobs.sum() / num_items_in_batch
        found = self._run_adapters(
            hidden, outputs.hidden_states, {**context, "labels": labels}, adapter_inputs, segments
        )
        result.adapters = found or None
        return result

    @property
    def _must_look(self) -> bool:
        """Whether the encoder must run even without an image: in training, beside other ranks or under ZeRO-3."""
        return self.training and (self.always_look or world_size() > 1)

    def _look_at_nothing(self) -> Tensor:
        """Run the encoder on a blank picture and return zero, as a number that its parameters have a part in.

        Ranks exchange gradients, and under ZeRO-3 weights, part by part and in one order; one that has no image in its
        batch must use the encoder all the same, in its place before the decoder, or the others wait for ever.
        """
        pictures = self.processor.blank_picture() if self._blank is None else self._blank
        self._blank = pictures
        blank = {name: value.to(self.device) for name, value in pictures.items()}
        blank["pixel_values"] = blank["pixel_values"].to(self.dtype)
        return 0.0 * torch.stack([features.sum() for features in self._features_of(blank)]).sum()

    def _features_of(self, pictures: Mapping[str, Tensor]) -> Sequence[Tensor]:
        """Return the features of pictures as the processor prepares them, one tensor for each."""
        inner: Any = self.model
        return list(inner.get_image_features(**pictures, return_dict=True).pooler_output)

    def _run_adapters(
        self,
        last: Tensor,
        hidden_states: Sequence[Tensor] | None,
        context: Mapping[str, Any],
        adapter_inputs: Mapping[str, Tensor],
        segments: Segments | None,
    ) -> dict[str, dict[str, Tensor]]:
        """Run the adapters; they see the rows of a packed batch as lines of a padded one."""
        found: dict[str, dict[str, Tensor]] = {}
        if segments is not None and self.attached:
            context = split_context(segments, context, last.device)
        for label, adapter in self.attached.items():
            own = {name: adapter_inputs[name] for name in adapter.input_names if name in adapter_inputs}
            if adapter.input_names and not own:
                continue
            states = {layer: last if layer == -1 else (hidden_states or ())[layer] for layer in adapter.hidden_layers}
            if segments is not None:
                states = {layer: segments.split(state) for layer, state in states.items()}
            ids = {token: self.token_ids[token] for token in adapter.special_tokens}
            made = adapter(AdapterContext(hidden_states=states, inputs=own, token_ids=ids, **context))
            if made:
                found[label] = made
        return found


def _check_tokens(adapters: Mapping[str, Adapter]) -> None:
    owners: dict[str, str] = {}
    for label, adapter in adapters.items():
        for token in adapter.special_tokens:
            if token in owners:
                raise ConfigError(
                    f"The adapters `{owners[token]}` and `{label}` both add the token `{token}`; a token has one "
                    "meaning: leave one of them out, or give it another token."
                )
            owners[token] = label


def _add_special_tokens(tokenizer: Any, tokens: Iterable[str]) -> None:
    """Add tokens that the tokenizer does not know, in their order."""
    known = tokenizer.get_vocab()
    new = [token for token in tokens if token not in known]
    if new:
        tokenizer.add_special_tokens({"extra_special_tokens": new}, replace_extra_special_tokens=False)


def _find(place: Any, name: str, options: Mapping[str, Any]) -> Path | None:
    """Return a file of a folder or of a repository on the Hub, or None if there is none."""
    passed = ("revision", "token", "cache_dir", "local_files_only", "subfolder")
    given = {key: options[key] for key in passed if options.get(key) is not None}
    path = cached_file(place, name, **given, _raise_exceptions_for_missing_entries=False)
    return None if path is None else Path(path)
