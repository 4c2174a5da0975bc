"""Configurations of studies: several runs that are compared, and analyses of finished ones."""

from pydantic import BaseModel, ConfigDict, Field

from vlmzoo.config.schema import Count, ModelConfig, Spec

__all__ = ["AlignmentConfig", "ArmConfig", "StudyConfig", "SweepConfig"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class SweepConfig(_Strict):
    """Several supervisions of one curriculum, at several budgets and seeds, compared in one table."""

    run: str
    """The run that all of them vary: a file beside this one or a name, with an experience of type ``curriculum``."""
    supervisions: list[str] = Field(min_length=1)
    """What is compared, in the order of the table."""
    budgets: list[Count] = Field(min_length=1)
    """Presentations that each of them gets."""
    seeds: list[Count] = Field(default_factory=lambda: [0], min_length=1)
    """Each supervision and budget runs once with each."""
    baseline: str | None = None
    """The supervision that the others are compared with, question by question; None compares nothing."""
    overrides: list[str] = Field(default_factory=lambda: list[str]())
    """Dotted overrides of every run, e.g. ``optim.learning_rate=1e-4``."""
    launch: list[str] = Field(default_factory=lambda: list[str]())
    """What starts a run in processes of its own, e.g. ``[deepspeed, training/train.py]``; none: in this one."""
    processes: Count = Field(default=1, ge=1)
    """How many processes ``launch`` starts in all; batches grow with it."""
    main: str = "hard_image"
    """The label of the run's evaluation that the curves and differences are about."""
    publish: str | None = None
    """A Markdown file that gets the finished table, with command, versions and date; None writes none."""
    output_dir: str
    """Gets a folder for each run, ``summary.json``, ``summary.md`` and ``accuracy.png``."""
    title: str | None = None
    """Heading of the table; None takes the folder's name."""


class ArmConfig(_Strict):
    """One way of training that a study compares."""

    run: str
    """Its run: a file or a name, as `load_config` takes it."""
    overrides: list[str] = Field(default_factory=lambda: list[str]())
    """Dotted overrides of that run, e.g. ``objective.kl_coef=0``."""


class StudyConfig(_Strict):
    """Several ways of training that begin with the same weights, each with the same seeds, compared in one table."""

    start: ArmConfig | None = None
    """Trained first with each seed; every arm begins where it ends. None: each arm begins as its run says."""
    arms: dict[str, ArmConfig] = Field(min_length=1)
    """What is compared, by name, in the order of the table."""
    seeds: list[Count] = Field(default_factory=lambda: [0], min_length=1)
    """Each arm runs once with each."""
    comparisons: list[tuple[str, str]] = Field(default_factory=lambda: list[tuple[str, str]]())
    """Pairs of names whose difference is told question by question; ``start`` names the start."""
    journal: list[str] = Field(default_factory=lambda: list[str]())
    """Columns of the journal that are told, as means over the first and over the last tenth of the steps."""
    publish: str | None = None
    """A Markdown file that gets the finished table, with command, versions and date; None writes none."""
    output_dir: str
    """Gets a folder for each run, ``summary.json`` and ``summary.md``."""
    title: str | None = None
    """Heading of the table; None takes the folder's name."""
    notes: list[str] = Field(default_factory=lambda: list[str]())
    """What a reader must know to judge the figures, a sentence each."""


class AlignmentConfig(_Strict):
    """Gradient alignment and loss parts of one model, on SIMPLE and HARD images."""

    model: ModelConfig
    """What is looked at."""
    simple: Spec
    """The task of the SIMPLE examples, ``{type: name, …}``."""
    hard: Spec
    """The task of the HARD examples."""
    num_examples: Count = Field(default=64, ge=2)
    """Of each level."""
    seed: Count = 0
    """Of the examples; one that training does not use."""
    parameters: list[str] = Field(default_factory=lambda: ["*"], min_length=1)
    """Shell patterns of names; the gradient is taken of the parameters that match one."""
    sketch_dim: Count | None = Field(default=None, ge=1)
    """Buckets of a sketch, for models whose gradients do not fit into memory a few times; None is exact."""
    sketch_seed: Count = 0
    """Of the sketch."""
    output_dir: str
    """Gets ``alignment.json``."""
