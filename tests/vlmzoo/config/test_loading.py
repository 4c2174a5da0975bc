import pytest
from pydantic import BaseModel

from vlmzoo.config import AlignmentConfig, AuditConfig, EvalConfig, MiaConfig, RunConfig, load_config
from vlmzoo.config.schema import ReferenceConfig
from vlmzoo.errors import ConfigError

RUN = """\
model: {architecture: {family: llava, encoder: {type: clip, image_size: 28}}}
experience: {type: supervised, source: {type: synthetic, levels: [simple, hard]}}
optim: {learning_rate: 1e-3, schedule: {type: linear, warmup: 0.1}}
num_steps: 20
output_dir: runs/test
"""


def make_file(folder, text=RUN, name="run.yaml"):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def fault_of(folder, text=RUN, overrides=(), schema=RunConfig):
    with pytest.raises(ConfigError) as caught:
        load_config(make_file(folder, text), overrides, schema=schema)
    return str(caught.value)


def test_a_file_becomes_a_checked_config(tmp_path):
    config = load_config(make_file(tmp_path))
    assert isinstance(config, RunConfig)
    assert config.num_steps == 20
    assert config.model.architecture["encoder"] == {"type": "clip", "image_size": 28}


@pytest.mark.parametrize("text", ["1e-4", "1E-4", "1.0e-4", ".0001", "'1e-4'", "1e-04"])
def test_every_spelling_of_a_number_is_a_number(tmp_path, text):
    config = load_config(make_file(tmp_path), [f"optim.learning_rate={text}"])
    assert config.optim.learning_rate == 1e-4
    assert load_config(make_file(tmp_path, RUN.replace("1e-3", text))).optim.learning_rate == 1e-4


def test_numbers_in_the_open_ends_are_numbers_too(tmp_path):
    config = load_config(make_file(tmp_path, RUN + "objective: {type: grpo, clip_eps: 2e-1, num: 3, keep: yes}\n"))
    assert config.objective == {"type": "grpo", "clip_eps": 0.2, "num": 3, "keep": True}


def test_overrides_are_laid_over_the_file_in_order(tmp_path):
    config = load_config(make_file(tmp_path), ["num_steps=3", "optim.schedule.warmup=0.5", "num_steps=4"])
    assert (config.num_steps, config.optim.schedule.warmup, config.optim.schedule.type) == (4, 0.5, "linear")


def test_a_command_line_is_a_config_and_its_overrides(tmp_path):
    path = make_file(tmp_path)
    config = load_config([str(path), "num_steps=3", "--local_rank=0"], ["seed=7"])
    assert (config.num_steps, config.seed) == (3, 7)


def test_an_empty_command_line_says_what_must_come_first():
    with pytest.raises(ConfigError, match="A config must come first"):
        load_config([])


def test_an_override_addresses_an_element_of_a_list_by_index(tmp_path):
    config = load_config(make_file(tmp_path), ["experience.source.levels.1=medium"])
    assert config.experience["source"]["levels"] == ["simple", "medium"]


def test_an_override_replaces_a_list_whole(tmp_path):
    config = load_config(make_file(tmp_path), ["experience.source.levels=[hard]", "report_to=[]"])
    assert config.experience["source"]["levels"] == ["hard"]
    assert config.report_to == []


def test_another_type_in_an_open_end_drops_the_arguments_of_the_first(tmp_path):
    config = load_config(make_file(tmp_path), ["experience.source.type=folder", "experience.source.path=x"])
    assert config.experience["source"] == {"type": "folder", "path": "x"}


def test_another_type_in_the_skeleton_keeps_its_neighbours(tmp_path):
    config = load_config(make_file(tmp_path), ["optim.schedule.type=cosine"])
    assert (config.optim.schedule.type, config.optim.schedule.warmup) == ("cosine", 0.1)


def test_a_config_starts_from_its_base(tmp_path):
    make_file(tmp_path, name="common.yaml")
    config = load_config(
        make_file(tmp_path, "base: common.yaml\noptim: {eps: 1e-6}\nnum_steps: 2\n", "stage/../own.yaml")
    )
    assert (config.num_steps, config.optim.eps, config.optim.learning_rate) == (2, 1e-6, 1e-3)


def test_a_base_may_be_a_packaged_name(tmp_path, monkeypatch):
    make_file(tmp_path, name="configs/tiny/common.yaml")
    monkeypatch.chdir(tmp_path)
    assert load_config(make_file(tmp_path, "base: tiny/common\nseed: 4\n", "elsewhere/own.yaml")).seed == 4


def test_a_base_of_a_base_is_refused(tmp_path):
    make_file(tmp_path, name="ground.yaml")
    make_file(tmp_path, "base: ground.yaml\n", name="middle.yaml")
    assert "must be a config without a `base` of its own" in fault_of(tmp_path, "base: middle.yaml\n")


@pytest.mark.parametrize("name", ["tiny/quick", "tiny/quick.yaml", "configs/tiny/quick", "configs/tiny/quick.yaml"])
def test_a_name_is_found_under_configs(tmp_path, monkeypatch, name):
    make_file(tmp_path, name="configs/tiny/quick.yaml")
    monkeypatch.chdir(tmp_path)
    assert load_config(name).num_steps == 20


def test_an_unknown_name_is_answered_with_the_nearest(tmp_path, monkeypatch):
    make_file(tmp_path, name="configs/tiny/quick.yaml")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"but is `tiny/quik` instead\. Did you mean `tiny/quick`\?"):
        load_config("tiny/quik")


def test_all_faults_are_reported_together(tmp_path):
    text = RUN.replace("learning_rate", "learning_rte").replace("num_steps: 20", "num_steps: many")
    message = fault_of(tmp_path, text, ["output_dir=3", "nonsense", "model={name: llava-1.5-7b, path: x}"])
    for sentence in (
        "has 6 faults:",
        "`nonsense` must be an override such as `optim.learning_rate=1e-4`, without dashes.",
        "`optim.learning_rte` is not a known name. Did you mean `learning_rate`?",
        "`optim.learning_rate` is required, but is missing.",
        "`num_steps` must be a valid integer, unable to parse string as an integer, but is 'many' instead.",
        "`output_dir` must be a valid string, but is 3 instead.",
        "give exactly one of `name`, `path` and `architecture`",
    ):
        assert sentence in message


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("num_stps=3", "`num_stps` is not a known name. Did you mean `num_steps`?"),
        ("optim.schedule.warmpu=0", "`optim.schedule.warmpu` is not a known name. Did you mean `warmup`?"),
        ("hub.repo=a/b", "`hub.repo` is not a known name. Did you mean `repo_id`?"),
        ("optim.schedule.type=cosin", "but is 'cosin' instead. Did you mean `cosine`?"),
        ("optim.schedule.warmup=2", "`optim.schedule.warmup` must be less than 1, but is 2 instead."),
        ("num_steps=0", "`num_steps` must be greater than or equal to 1, but is 0 instead."),
        ("num_steps=2.5", "`num_steps` must be a valid integer"),
        ("num_steps=true", "`num_steps` must be a number, but is True instead."),
        ("optim.betas=[yes, 0.9]", "`optim.betas.0` must be a number, but is True instead."),
        ("deepspeed=3", "`deepspeed` must be a valid string or a valid dictionary, but is 3 instead."),
        ("report_to=[wandbb]", "`report_to.0` must be"),
        ("optim.betas=[0.9]", "`optim.betas.1` is required, but is missing."),
        ("evaluation.hard=3", "`evaluation.hard` must be a valid dictionary, but is 3 instead."),
        ("experience=supervised", "`experience` must be a valid dictionary, but is 'supervised' instead."),
        ("experience.source.levels.5=x", "an index must be below 2, the length of the list, but is 5 instead."),
        ("objective.kl=${optim.eps}", "`objective.kl` must be spelt out, but is '${optim.eps}' instead"),
        ("output_dir=???", "`output_dir` must be given, but is left open (`???`) instead; add `output_dir=…`."),
        ("seed={a", "`seed={a` must have a YAML value, but cannot be read"),
        ("--seed=3", "`--seed=3` must be an override"),
        ("=3", "`=3` must be an override"),
    ],
)
def test_a_fault_is_one_sentence_with_path_value_and_way_out(tmp_path, override, sentence):
    assert sentence in fault_of(tmp_path, overrides=[override])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: {b: 1", "must be YAML, but cannot be read"),
        ("a: 1\na: 2", "found duplicate key a"),
        ("- 1", "must hold a mapping of names to values, but holds [1] instead."),
        ("just words", "`just words` is not a known name"),
        ("a: ${x", "must be YAML, but cannot be read"),
        ("base: 3", "`base` must be a file or a name, but is 3 instead."),
        ("", "is required, but is missing."),
    ],
)
def test_a_file_that_is_no_config_says_so(tmp_path, text, sentence):
    assert sentence in fault_of(tmp_path, text)


def test_a_file_that_is_not_text_says_so(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="must be YAML, but cannot be read"):
        load_config(path)


def test_long_values_are_shortened_in_messages(tmp_path):
    message = fault_of(tmp_path, overrides=["num_steps=" + "x" * 5000])
    assert len(message) < 500


def test_other_schemas_are_checked_the_same_way(tmp_path):
    class Small(BaseModel, extra="forbid"):
        size: int

    assert load_config(make_file(tmp_path, "size: 3\n"), schema=Small).size == 3
    text = "model: {path: runs/a}\nbenchmarks: {}\noutput_dir: x\n"
    assert "give `benchmarks`, `lmms_eval` or both" in fault_of(tmp_path, text, schema=EvalConfig)


def test_configs_load_without_torch(fresh_python):
    code = "import sys, vlmzoo.config; print([m for m in ('torch', 'transformers') if m in sys.modules])"
    assert fresh_python(code) == "[]"


def test_a_bare_string_is_a_model_of_the_zoo_or_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    file = make_file(tmp_path, RUN.replace(RUN.splitlines()[0] + "\n", "model: llava-1.5-7b\n"))
    assert load_config(file).model.name == "llava-1.5-7b"
    assert load_config(file, ["model=runs/a/final"]).model.path == "runs/a/final"
    assert load_config(file, ["model=mine"]).model.path == "mine"
    assert "`model` must be" in fault_of(tmp_path, overrides=["model=3"])


EVALUATION = "model: {path: PATH}\nbenchmarks: {one: {type: x}}\noutput_dir: x\n"


def test_a_model_named_on_the_command_line_replaces_the_files(tmp_path):
    path = make_file(tmp_path, EVALUATION)
    model = load_config(path, ["model.name=llava-1.5-7b", "model.pretrained=true"], schema=EvalConfig).model
    assert (model.name, model.path, model.pretrained) == ("llava-1.5-7b", None, True)
    again = load_config(path, ["model.name=llava-1.5-7b", "model.path=runs/a/final"], schema=EvalConfig).model
    assert (again.name, again.path) == (None, "runs/a/final")


@pytest.mark.parametrize(
    ("schema", "rest"),
    [
        (EvalConfig, "benchmarks: {one: {type: x}}"),
        (AuditConfig, "benchmark: {type: x}"),
        (AlignmentConfig, "simple: {type: x}\nhard: {type: y}"),
        (MiaConfig, "source: {type: x}\nlayouts: {grid: {2: 1}}"),
        (ReferenceConfig, "experience: {type: pairs}\noptim: {learning_rate: 1.0}\nnum_steps: 1"),
    ],
)
def test_random_weights_are_looked_at_only_where_they_are_asked_for(tmp_path, schema, rest):
    def text(model):
        folder = "output_dir: x\n" if "output_dir" in schema.model_fields else ""
        return f"model: {model}\n{rest}\n{folder}"

    for model in ("{name: llava-1.5-7b}", "llava-1.5-7b"):
        message = fault_of(tmp_path, text(model), schema=schema)
        assert "`{name: llava-1.5-7b, pretrained: true}` takes the published ones" in message
        assert "`pretrained: false` random ones" in message
    assert "say `pretrained: false`" in fault_of(tmp_path, text("{architecture: {family: llava}}"), schema=schema)
    for said in ("true", "false"):
        path = make_file(tmp_path, text(f"{{name: llava-1.5-7b, pretrained: {said}}}"))
        assert load_config(path, schema=schema).model.pretrained is (said == "true")
    assert load_config(make_file(tmp_path, text("{path: runs/a}")), schema=schema).model.path == "runs/a"
