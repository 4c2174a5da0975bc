"""The skeleton of a configuration; the open ends are ``{type: …}`` mappings that the registries check."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

__all__ = [
    "AuditConfig",
    "CheckpointConfig",
    "EvalConfig",
    "HubConfig",
    "LmmsEvalConfig",
    "MeasuredModel",
    "ModelConfig",
    "OptimConfig",
    "PartConfig",
    "ReferenceConfig",
    "RunConfig",
    "ScheduleConfig",
]

Spec = dict[str, Any]
"""A ``{type: name, **arguments}`` mapping, checked against a registry when it is built."""


def _refuse_bool(value: object) -> object:
    if isinstance(value, bool):  # Python would count with it
        raise PydanticCustomError("number_type", "Input should be a number")
    return value


def _without_empty(value: object) -> object:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        return value
    return {name: spec for name, spec in cast("Mapping[str, Any]", value).items() if spec is not None}


Count = Annotated[int, BeforeValidator(_refuse_bool)]
Number = Annotated[float, BeforeValidator(_refuse_bool)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class PartConfig(_Strict):
    """Where the weights of one part of a model lie; a bare string stands for a ``path``."""

    path: str
    """A folder of weights, such as a run's ``final``, or a Hub id."""
    revision: str | None = None
    """Branch, tag or commit on the Hub."""
    prefix: str | None = None
    """What the names of its tensors begin with there; None if they are called as here."""
    ignored: list[str] = Field(default_factory=list)
    """Patterns of names within the part that are left as they are, there or here, e.g. ``head.*``."""

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, values: Any) -> Any:
        return {"path": values} if isinstance(values, str) else values


class ModelConfig(_Strict):
    """Which model: a card of the zoo by ``name``, a folder or Hub id by ``path``, or an ``architecture`` spelt out.

    A bare string stands for a ``path`` if it is a folder or has a slash, and for a ``name`` otherwise.
    """

    name: str | None = None
    """A card of the zoo, e.g. ``llava-1.5-7b``."""
    path: str | None = None
    """A folder written by ``save_pretrained``, or a Hub id."""
    architecture: Spec | None = None
    """``{family, encoder, projector, language_model, processor}``; beside ``name`` it is laid over the card's,
    key by key; a block of another ``type`` is a new block."""
    pretrained: bool = False
    """Whether to load the card's weights, of whose ``architecture`` then only the ``processor`` may be changed, the
    tokenizer excepted; an architecture spelt out always starts from scratch."""
    revision: str | None = None
    """Branch, tag or commit on the Hub."""
    dtype: str = "auto"
    """``float32``, ``bfloat16``, ``float16``; ``auto`` is bfloat16 on an accelerator that has it, else float32."""
    parts: dict[str, PartConfig] = Field(default_factory=dict)
    """Weights for single modules, over what the model has otherwise, e.g. ``{encoders.0: runs/clip/final}``."""
    adapters: list[str | Spec] = Field(default_factory=lambda: list[str | Spec]())
    """What is bolted on: names, or ``{type: lora, rank: 8}``; ``name`` gives one a label of its own."""
    quantization: Literal["nf4", "int8"] | None = None
    """Load the base's linear layers in 4 or 8 bits (QLoRA); needs bitsandbytes and weights that already exist."""
    attn_implementation: str | None = None
    """``sdpa``, ``eager``, ``flash_attention_2``, ``flash_attention_3``, ``flex_attention``; None lets it choose."""

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, values: Any) -> Any:
        if not isinstance(values, str):
            return values
        return {"path" if "/" in values or Path(values).is_dir() else "name": values}

    def going_on(self, path: str) -> "ModelConfig":
        """Return the section of a model that an earlier run wrote: loaded with the same options, and whole in itself.

        Args:
            path: its folder, which holds base, adapters and what ``parts`` began with.
        """
        source = {"path": path, "name": None, "architecture": None, "pretrained": False, "revision": None}
        return self.model_copy(update={**source, "adapters": [], "parts": {}})

    @classmethod
    def displaced(cls, lower: Mapping[str, Any], upper: Mapping[str, Any]) -> set[str]:
        """Return what no longer holds of a section below where one above it names the model in another way.

        Args:
            lower: the section below.
            upper: the section above; what it says itself is never displaced.
        """
        gone: set[str] = set()
        if upper.get("path") is not None:
            gone |= {"name", "architecture", "pretrained"}
        if upper.get("name") is not None:
            gone |= {"path", "revision"} | ({"architecture"} if lower.get("name") is None else set())
        if upper.get("architecture") is not None:
            gone |= {"path", "revision"}
        return gone - upper.keys()

    @model_validator(mode="after")
    def _one_source(self) -> "ModelConfig":
        if (self.name is not None) + (self.path is not None) + (self.architecture is not None and not self.name) != 1:
            raise ValueError("give exactly one of `name`, `path` and `architecture`")
        return self


def _say_pretrained(model: ModelConfig) -> ModelConfig:
    if model.path is None and "pretrained" not in model.model_fields_set:
        if model.name is None:
            raise ValueError("an architecture spelt out has random weights; say `pretrained: false` if they are wanted")
        raise ValueError(
            f"it must be said which weights: `{{name: {model.name}, pretrained: true}}` takes the published ones, "
            "`pretrained: false` random ones, the baseline of chance"
        )
    return model


MeasuredModel = Annotated[ModelConfig, AfterValidator(_say_pretrained)]
"""A model that is looked at as it is, so that random weights must be asked for."""


class ScheduleConfig(_Strict):
    """How the learning rate moves over the run."""

    type: Literal["cosine", "linear", "constant"] = "cosine"
    """Shape after the warm-up."""
    warmup: Number = Field(default=0.03, ge=0.0, lt=1.0)
    """Linear warm-up, as a fraction of all steps (LLaVA: 0.03)."""
    final: Number = Field(default=0.0, ge=0.0, le=1.0)
    """Where it ends, as a fraction of the peak."""


class OptimConfig(_Strict):
    """AdamW and what it touches."""

    learning_rate: Number = Field(gt=0.0)
    """Peak learning rate."""
    betas: tuple[Number, Number] = (0.9, 0.999)
    """Decay of the running mean and of the running square."""
    eps: Number = Field(default=1e-8, gt=0.0)
    """Added to the root of the running square."""
    weight_decay: Number = Field(default=0.0, ge=0.0)
    """Decoupled; not applied to biases and norms (LLaVA: 0)."""
    max_grad_norm: Number = Field(default=1.0, ge=0.0)
    """Clip the global norm of the gradient at this; 0 leaves it."""
    part_learning_rates: dict[str, Number] = Field(default_factory=dict)
    """Peak learning rate of parts, or of modules within one, e.g. ``{projector: 1.0e-3, encoders.0: 1.0e-5}``."""
    layer_decay: dict[str, Annotated[Number, Field(gt=0.0, le=1.0)]] = Field(default_factory=dict)
    """From layer to layer towards the input, the rate is multiplied by this, e.g. ``{encoder: 0.9}``."""
    frozen: list[str] = Field(default_factory=list)
    """Parts, or modules within one, that do not learn, e.g. ``[encoder]``."""
    schedule: ScheduleConfig = ScheduleConfig()
    """How the learning rate moves."""


class CheckpointConfig(_Strict):
    """When a run is written down so that it can go on."""

    every: Count = Field(default=500, ge=0)
    """After every so many steps; 0 only when the run is asked to stop."""
    keep: Count = Field(default=2, ge=1)
    """The latest so many are kept."""
    model_only: bool = False
    """Write the model for `load_model` and nothing that a run could go on from; smaller."""


class HubConfig(_Strict):
    """Where to push the trained model."""

    repo_id: str
    """``owner/name``."""
    private: bool = True
    """Whether only the owner sees it."""


class LmmsEvalConfig(_Strict):
    """Tasks of lmms-eval, which asks them of the same model itself; its package must be installed."""

    tasks: list[str] = Field(min_length=1)
    """Names of tasks and groups, as lmms-eval lists them."""
    include_path: str | None = None
    """A folder with further tasks, e.g. ``eval/lmms_eval``."""
    limit: Annotated[Count, Field(ge=1)] | None = None
    """The first so many questions of each task; None for all."""
    max_new_tokens: Count = Field(default=1024, ge=1)
    """The limit of an answer, where a task names none."""
    num_frames: Count = Field(default=8, ge=1)
    """The pictures that a video becomes."""
    force_simple: bool = False
    """Whether pictures stand before the question whatever a task says; tasks that compare likelihoods need it."""


class EvalConfig(_Strict):
    """One evaluation: a model on some benchmarks."""

    model: MeasuredModel
    """What is measured."""
    benchmarks: dict[str, Spec] = Field(default_factory=dict)
    """``{label: {type: name, …}}``; the label names its folder and its row in the table."""
    lmms_eval: LmmsEvalConfig | None = None
    """Tasks that lmms-eval asks, after the benchmarks."""
    output_dir: str
    """Where ``generations.jsonl``, ``scores.json`` and the table go."""
    batch_size: Count = Field(default=16, ge=1)
    """Prompts answered at once."""
    seed: Count = 0
    """Of the bootstrap."""

    @model_validator(mode="after")
    def _something_to_ask(self) -> "EvalConfig":
        if not self.benchmarks and self.lmms_eval is None:
            raise ValueError("give `benchmarks`, `lmms_eval` or both; there is nothing to ask")
        return self


class AuditConfig(_Strict):
    """One audit: which pathways the answers of a model depend on."""

    model: MeasuredModel
    """Who answers."""
    benchmark: Spec
    """What is asked: ``{type: name, …}``; its main score is compared."""
    agent: Spec | None = None
    """How the model answers, e.g. ``{type: fast_slow, decide: slow, proposer: {type: vstar, model: PATH}}`` or ``{type:
    look_twice}``; None asks it at once. Evidence has pathways only where an agent shows some."""
    pathways: dict[str, Spec] = Field(default_factory=dict)
    """``{label: {type: encoder, number: 0}}``; none named stands for each encoder of a composed base, or for what the
    agent shows: ``crop``, ``box_text`` or ``roi_text``, and ``mask`` where it has a segmenter."""
    kinds: list[str] | None = None
    """Ways to disturb: ``blank``, ``swap``, ``shuffle``, ``noise``; None takes all that a pathway knows."""
    output_dir: str
    """Where ``audit.json`` goes."""
    batch_size: Count = Field(default=16, ge=2)
    """Questions asked at once, and swapped among."""
    seed: Count = 0
    """Of disturbances and bootstrap."""


class RunConfig(_Strict):
    """One training run."""

    model: ModelConfig
    """What learns."""
    experience: Spec
    """What it learns from, e.g. ``{type: supervised, source: …}``."""
    objective: Spec = Field(default_factory=lambda: {"type": "next_token"})
    """What it minimises."""
    optim: OptimConfig
    """How it moves."""
    num_steps: Count = Field(ge=1)
    """Optimisation steps."""
    micro_batch_size: Count = Field(default=1, ge=1)
    """Sequences in one forward pass on one rank."""
    accumulation_steps: Count = Field(default=1, ge=1)
    """Micro-batches in one step on one rank."""
    deepspeed: str | Spec = Field(default_factory=dict)
    """A DeepSpeed JSON (path or mapping); ``"auto"`` values are resolved from this config."""
    output_dir: str
    """The run's folder."""
    seed: Count = 0
    """Of weights, data and shuffling."""
    activation_checkpointing: list[str] = Field(default_factory=list)
    """Parts whose activations are computed again in the backward pass instead of being kept."""
    compile: bool = False
    """Whether torch.compile makes the model's kernels."""
    feature_cache: str | None = None
    """A folder that keeps what frozen encoders make of images: they run once an image, not once an epoch."""
    checkpoints: CheckpointConfig = CheckpointConfig()
    """When the run is written down."""
    overwrite: bool = False
    """Start anew, throwing away what another run left in the folder."""
    report_to: list[Literal["tensorboard", "wandb", "trackio"]] = Field(default_factory=lambda: ["tensorboard"])
    """Trackers beside the journal."""
    samples_every: Count = Field(default=0, ge=0)
    """Every so many steps, write what the model says to ``samples.jsonl``; 0 never."""
    evaluation: Annotated[dict[str, Spec], BeforeValidator(_without_empty)] = Field(default_factory=dict)
    """Benchmarks to run on the trained model, by label; null takes one away that a `base` has, or all of them."""
    evaluate_every: Count = Field(default=0, ge=0)
    """Every so many steps, ask all benchmarks along the way, too; 0 only at the end. Not under ZeRO-3."""
    eval_batch_size: Count = Field(default=16, ge=1)
    """Prompts answered at once in evaluation."""
    title: str | None = None
    """Heading of the report; None takes the folder's name."""
    notes: list[str] = Field(default_factory=list)
    """What a reader of the report must know to judge its figures, a sentence each."""
    hub: HubConfig | None = None
    """Where to push the result, if anywhere."""


class ReferenceConfig(RunConfig):
    """A training run whose starting model is asked about all pairs beforehand."""

    model: MeasuredModel
    """Who is asked, and what learns later."""
