"""What a user gets: every module imports with the core dependencies alone, and the metadata tell the truth."""

import ast
import re
import sys
import tomllib

import pytest

import vlmzoo


@pytest.fixture(scope="module")
def project(repository):
    return tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))


def optional_modules(project):
    [contract] = [c for c in project["tool"]["importlinter"]["contracts"] if c["name"].startswith("Optional packages")]
    return contract["forbidden_modules"]


def test_every_module_imports_without_the_optional_packages(fresh_python, project):
    code = f"""
import importlib, pkgutil, sys
sys.modules.update(dict.fromkeys({optional_modules(project)!r}))  # None: as if not installed
import vlmzoo
def fail(name): raise
for module in pkgutil.walk_packages(vlmzoo.__path__, "vlmzoo.", onerror=fail):
    importlib.import_module(module.name)
print("all")
"""
    assert fresh_python(code) == "all"


def test_every_import_of_the_package_is_a_declared_dependency(repository, project):
    declared = {re.split(r"[^\w-]", name)[0].replace("-", "_").lower() for name in project["project"]["dependencies"]}
    declared |= {"pil", "yaml", "tokenizers", "pydantic_core"} | set(optional_modules(project))  # by another name
    declared |= {"huggingface_hub", "vlmzoo"} | set(sys.stdlib_module_names)
    for path in (repository / "vlmzoo").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            for name in names:
                assert name.split(".")[0].lower() in declared, f"{path}: {name}"


def test_every_package_folder_is_a_package(repository):
    folders = {path.parent for path in (repository / "vlmzoo").rglob("*.py")}
    assert [folder for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_the_version_stands_in_one_place(project):
    assert re.fullmatch(r"\d+\.\d+\.\d+", vlmzoo.__version__)
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["hatch"]["version"]["path"] == "vlmzoo/__init__.py"


def test_what_the_wheel_brings_along_is_there(repository, project):
    for folder in project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]:
        assert (repository / folder).is_dir()
    assert (repository / "vlmzoo" / "py.typed").is_file()


def test_the_licence_is_the_whole_apache_licence(repository):
    text = (repository / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text
