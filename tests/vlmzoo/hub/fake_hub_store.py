"""What a Hub on loopback remembers, what it refuses, and what shall go wrong with it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_LFS_SUFFIXES = (".safetensors", ".bin", ".model")
_LFS_BYTES = 10 * 2**20


@dataclass
class Fault:
    """What goes wrong with the next requests that fit.

    Args:
        method: of the request.
        path: regular expression, searched in the path.
        status: answered instead of the real answer.
        drop_after: bytes after which the connection is cut: of the upload's body, or of the download's.
        reset: whether the cut is a reset instead of an end.
        drop_answer: whether the request is carried out but its answer lost.
        times: how often.
        headers: of the answer.
    """

    method: str
    path: str
    status: int | None = None
    drop_after: int | None = None
    reset: bool = False
    drop_answer: bool = False
    times: int = 1
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Blob:
    """A file's content and how git names it."""

    content: bytes
    is_lfs: bool

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def git_sha1(self) -> str:
        size = len(self.content)
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {size}\n".encode()
        stored = pointer if self.is_lfs else self.content
        return hashlib.sha1(b"blob %d\0" % len(stored) + stored).hexdigest()

    @property
    def etag(self) -> str:
        return self.sha256 if self.is_lfs else self.git_sha1


@dataclass
class Commit:
    """The files of a repository at one moment."""

    files: dict[str, Blob]
    title: str
    parent: str | None

    @property
    def sha(self) -> str:
        told = [self.title, self.parent, sorted((name, blob.etag) for name, blob in self.files.items())]
        return hashlib.sha1(json.dumps(told).encode()).hexdigest()


@dataclass
class Repo:
    """One model's repository."""

    private: bool
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def commit(self, branch: str, files: dict[str, Blob], title: str) -> str:
        commit = Commit(files, title, self.branches.get(branch))
        self.commits[commit.sha] = commit
        self.branches[branch] = commit.sha
        return commit.sha

    def find(self, revision: str) -> str | None:
        return (
            self.branches.get(revision) or self.tags.get(revision) or (revision if revision in self.commits else None)
        )

    def history(self, branch: str = "main") -> list[str]:
        """Titles of the branch's commits, the first first."""
        titles, sha = [], self.branches.get(branch)
        while sha is not None:
            titles.insert(0, self.commits[sha].title)
            sha = self.commits[sha].parent
        return titles


class Refusal(Exception):  # noqa: N818
    """An answer that is an error."""

    def __init__(self, status: int, message: str, code: str = "", **extra: Any) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.extra = status, message, code, extra


def is_lfs(name: str, size: int) -> bool:
    return name.endswith(_LFS_SUFFIXES) or size > _LFS_BYTES
