import inspect
import statistics

import pytest

import vlmzoo


def test_the_public_names_are_these():
    assert vlmzoo.__all__ == [
        "__version__",
        "build_model",
        "build_processor",
        "list_models",
        "load_config",
        "load_model",
        "model_info",
        "push_model",
        "register",
        "verify_model",
    ]


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("build_model", ["model", "pretrained", "adapters", "dtype", "device", "attn_implementation", "quantization"]),
        ("build_processor", ["model"]),
        ("list_models", ["pattern"]),
        ("load_config", ["source", "overrides", "schema"]),
        ("load_model", ["path", "revision", "device", "dtype", "attn_implementation", "adapters", "quantization"]),
        ("model_info", ["name", "image_size"]),
        ("push_model", ["folder_or_run", "repo_id", "private", "revision", "commit_message", "card"]),
        ("verify_model", ["model", "source", "layout"]),
        ("register", ["kind", "name", "source", "tiny"]),
    ],
)
def test_a_public_signature_changes_only_on_purpose(name, parameters):
    assert list(inspect.signature(getattr(vlmzoo, name)).parameters) == parameters


def test_every_public_name_can_be_fetched_and_explains_itself():
    for name in vlmzoo.__all__:
        value = getattr(vlmzoo, name)
        assert isinstance(value, str) or value.__doc__


def test_an_unknown_name_is_an_attribute_error_that_lists_the_known():
    with pytest.raises(AttributeError, match=r"has no attribute `bild_model`; it offers .*build_model"):
        vlmzoo.bild_model  # noqa: B018
    assert not hasattr(vlmzoo, "pull_model")


def test_names_are_listed_before_they_are_fetched(fresh_python):
    assert fresh_python("import vlmzoo; print('build_model' in dir(vlmzoo))") == "True"


def test_importing_vlmzoo_loads_nothing_heavy(fresh_python):
    heavy = ("torch", "transformers", "numpy", "pydantic", "omegaconf", "PIL", "yaml", "rich", "typer")
    code = f"import sys, vlmzoo; print([name for name in {heavy} if name in sys.modules])"
    assert fresh_python(code) == "[]"


def test_importing_vlmzoo_takes_at_most_150_ms(fresh_python):
    code = "import time; start = time.perf_counter(); import vlmzoo; print(time.perf_counter() - start)"
    assert statistics.median(float(fresh_python(code)) for _ in range(5)) <= 0.15


@pytest.mark.parametrize("module", ["errors", "registry", "types", "config", "zoo", "plugins", "geometry", "scoring"])
def test_the_lower_floors_load_without_torch(fresh_python, module):
    code = f"import sys, vlmzoo.{module}; print([m for m in ('torch', 'transformers') if m in sys.modules])"
    assert fresh_python(code) == "[]"
