"""Configurations of studies: several runs that are compared, and analyses of finished ones."""

from pydantic import BaseModel, ConfigDict, Field

from vlmzoo.config.schema import Count, MeasuredModel, Number, Spec

__all__ = [
    "AgentStudyConfig",
    "AlignmentConfig",
    "ArmConfig",
    "MatchConfig",
    "MiaConfig",
    "StudyConfig",
    "SweepConfig",
]


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


class MatchConfig(_Strict):
    """Which score is compared where another is equal, along the steps at which arms are evaluated."""

    label: str
    """Of the evaluation; its benchmark tells scores that are ratios of sums, such as ``icon_captions``."""
    score: str
    """What is compared, e.g. ``chair_i``."""
    at: str
    """What is held equal, e.g. ``cover``."""


class StudyConfig(_Strict):
    """Several ways of training that begin with the same weights, each with the same seeds, compared in one table."""

    start: ArmConfig | None = None
    """Trained first with each seed; every arm begins where it ends. None: each arm begins as its run says."""
    pairs: ArmConfig | None = None
    """Pairs that the start answers and looks at, a :class:`MiaConfig`, made before the arms, which learn from them."""
    arms: dict[str, ArmConfig] = Field(min_length=1)
    """What is compared, by name, in the order of the table."""
    seeds: list[Count] = Field(default_factory=lambda: [0], min_length=1)
    """Each arm runs once with each."""
    comparisons: list[tuple[str, str]] = Field(default_factory=lambda: list[tuple[str, str]]())
    """Pairs of names whose difference is told question by question; ``start`` names the start."""
    matched: MatchConfig | None = None
    """Of each comparison of two arms, a score where coverage is equal; the arms need ``evaluate_every``."""
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

    model: MeasuredModel
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


class MiaConfig(_Strict):
    """Multi-image preference pairs after MIA-DPO: questions, a model's answers, and the selection of the wrong ones."""

    model: MeasuredModel
    """Who answers, and whose attention selects."""
    source: Spec
    """Single-image conversations, ``{type: name, …}``; it must have an end."""
    layouts: dict[str, dict[Count, Count]]
    """Questions by layout and number of images: ``{sequence: {2: 1200}, grid: {2: 4800}, pic_in_pic: {2: 4000}}``."""
    refusals: Count = Field(default=0, ge=0)
    """Further questions about an image that is not there."""
    companions: str = "folder"
    """Where other images come from: the ``folder`` of the asked one, or ``all``."""
    max_answer_chars: Count = Field(default=511, ge=1)
    """Conversations with longer answers are left out (the authors' 512)."""
    tile_px: Count = Field(default=448, ge=1)
    """Side of a grid's tile."""
    margin_px: Count = Field(default=40, ge=1)
    """Between tiles."""
    corruptions: dict[str, Spec] = Field(
        default_factory=lambda: {"grid": {"std": 225.0}, "pic_in_pic": {"std": 49.0, "region": "all"}}
    )
    """Noise on what the model is shown, by layout: ``{std, region}`` (the authors', clipped)."""
    thresholds: dict[str, Spec] | None = None
    """Largest attention ratios, ``{sequence: {rule: up_to, limits: {2: 0.8}}, …}``; None takes the authors'."""
    perplexity: tuple[Number, Number] = (1.1, 20.0)
    """Least and largest perplexity of an answer, both excluded (1.1 is the authors')."""
    max_length_ratio: Number = Field(default=4.0, ge=1.0)
    """Of the longer to the shorter answer."""
    min_edit_distance: Number = Field(default=0.1, ge=0.0, le=1.0)
    """Between the answers, over the longer one's length."""
    layer: Count | None = None
    """Whose attention counts, from 0; None takes the middle one (the authors' 16 of 32)."""
    region: str = "reference"
    """``reference`` takes the authors' blocks of tokens, ``exact`` follows padding."""
    include_prompt: bool = False
    """Whether the look that produced the first token counts, too."""
    write_dropped: bool = False
    """Whether what selection drops is written as pairs, too."""
    max_new_tokens: Count = Field(default=512, ge=1)
    """Limit of an answer."""
    batch_size: Count = Field(default=8, ge=1)
    """Questions asked at once."""
    shard_size: Count = Field(default=1000, ge=1)
    """Questions in one file."""
    seed: Count = 0
    """Of all draws."""


class AgentStudyConfig(_Strict):
    """Models trained stage by stage for a fast-and-slow agent, which is then measured on drawn rooms."""

    stages: dict[str, ArmConfig]
    """``switch``, which answers or refuses, and ``search``, which looks; each a run, trained in this order."""
    rooms: Spec = Field(default_factory=dict)
    """Options of the rooms that are asked about, see ``vlmzoo.data.hidden_glyphs.RoomRules``."""
    num_rooms: Count = Field(default=150, ge=2)
    """Rooms with a tiny target, and as many with a large one."""
    room_seed: Count = 1_000_003
    """Of the rooms; training takes another."""
    vstar: Spec = Field(default_factory=dict)
    """Options of the search, see ``vlmzoo.agents.proposers.vstar``."""
    with_random_order: bool = True
    """Whether tiny targets are searched for in random order, too, for comparison."""
    seeds: list[Count] = Field(default_factory=lambda: [0], min_length=1)
    """All stages run once with each, and are measured."""
    publish: str | None = None
    """A Markdown file that gets the finished table, with command, versions and date; pictures lie beside it."""
    output_dir: str
    """Gets a folder for each stage and seed, the answers, ``summary.json``, ``summary.md`` and pictures."""
    title: str | None = None
    """Heading of the table; None takes the folder's name."""
    notes: list[str] = Field(default_factory=lambda: list[str]())
    """What a reader must know to judge the figures, a sentence each."""
