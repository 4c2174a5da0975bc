"""The fenced commands of the documentation: found, split, and rehearsed without their cost."""

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from typer.testing import CliRunner

from vlmzoo.cli import app
from vlmzoo.config import AlignmentConfig, AuditConfig, EvalConfig, load_config

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    path
    for path in [*ROOT.glob("*.md"), *ROOT.glob("*/README.md"), *(ROOT / "docs").rglob("*.md")]
    if path.name != "CHANGELOG.md"
)
SHELLS = ("bash", "sh", "shell", "console")
MARKS = ("gpu", "network")
SCRIPTS = {
    "eval/evaluate.py": EvalConfig,
    "eval/audit.py": AuditConfig,
    "eval/gradient_alignment.py": AlignmentConfig,
}


class Fence(NamedTuple):
    """A fenced block: the page, the words after its fence, and what stands in it."""

    page: str
    words: tuple[str, ...]
    text: str


def fences() -> list[Fence]:
    """Every fenced block of the documentation."""
    found = []
    for path in PAGES:
        for head, text in re.findall(r"^```([^\n`]*)\n(.*?)^```", path.read_text(encoding="utf-8"), re.M | re.S):
            found.append(Fence(path.relative_to(ROOT).as_posix(), tuple(head.split()), text))
    return found


def commands() -> Iterator[tuple[str, str]]:
    """The page and the text of every command that is not marked as needing a GPU or the network."""
    for fence in fences():
        if fence.words[:1] and fence.words[0] in SHELLS and not set(fence.words) & set(MARKS):
            joined = fence.text.replace("\\\n", " ")
            for line in joined.splitlines():
                command = re.sub(r"(^|\s+)#.*", "", line).strip()
                if command:
                    yield fence.page, command


def rehearse(command: str) -> bool:
    """Check a command for all but its cost; return False for one of another kind.

    A ``make`` target is expanded, a ``vlmzoo`` command with a config is run with ``--dry-run``, a script's config is
    loaded with its overrides.

    Raises:
        AssertionError: if it could not run.
    """
    words = shlex.split(command)
    program = Path(words[0]).name
    if program == "make":
        done = subprocess.run(["make", "-n", *words[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        for config in re.findall(r"NAME=([\w.-]+)", command):
            assert (ROOT / "configs" / "reproduce" / f"{config}.yaml").is_file(), config
        return True
    if program == "vlmzoo" and words[1] in ("train", "eval", "sweep", "study"):
        result = CliRunner().invoke(app, [*words[1:], *([] if "--dry-run" in words else ["--dry-run"])])
        assert result.exit_code == 0, result.output
        return True
    if program == "python" and words[1] == "training/train.py":
        return rehearse(shlex.join(["vlmzoo", "train", *words[2:]]))
    if program == "python" and words[1] in SCRIPTS:
        load_config(words[2:], schema=SCRIPTS[words[1]])
        return True
    if program == "python" and words[1].startswith("benchmarks"):
        names = [word for word in words[2:] if not word.startswith("-")]
        files = [words[1], *(f"benchmarks/{name}.py" for name in names)]
        assert all((ROOT / file).exists() for file in files), files
        return True
    return False
