"""Fetching a model's folder from the Hub: what a model needs and no more, whole, and kept in the cache."""

import hashlib
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from glob import escape
from pathlib import Path

from huggingface_hub import HfApi, constants, get_cached_repo_tree, hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    CachedRepoTreeNotFoundError,
    HTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RevisionNotFoundError,
)

from vlmzoo import __version__
from vlmzoo.errors import CheckpointError, HubError
from vlmzoo.hub.faults import check_repo_id, is_out_of_reach, is_transient, retried, why
from vlmzoo.hub.files import CONFIG, MANIFEST, has_base_weights, is_model_folder, model_files
from vlmzoo.registry import nearest_hint

__all__ = ["fetch_model"]

logger = logging.getLogger(__name__)

_HASHED_BYTES = 2**25  # larger files are checked by their length: a hash would take longer than loading


def fetch_model(repo_id: str, *, revision: str | None = None, cache_dir: str | Path | None = None) -> Path:
    """Return the folder of a model of the Hub, after fetching what the cache does not hold.

    Files that arrived are kept, so the same call goes on where a broken one stopped; within one call a transfer that
    breaks goes on after the last 10 MB that arrived. Lengths are compared with the Hub's, of small text files the
    contents too, and what is damaged is fetched again; ``hf cache verify`` compares all contents. If the Hub cannot be
    reached, the cached folder is used, with a warning. HF_ENDPOINT, HF_HOME, HF_TOKEN and HF_HUB_OFFLINE are honoured.

    Args:
        repo_id: ``owner/name``.
        revision: branch, tag or commit; None is the main branch.
        cache_dir: where fetched files are kept; None is the place that HF_HOME or HF_HUB_CACHE name.

    Returns:
        A folder of the cache; treat it as read-only.

    Raises:
        ConfigError: if ``repo_id`` is no name of a model.
        HubError: if the model or the revision does not exist or may not be read, or if it is not whole in the cache
            and the Hub cannot be reached.
        CheckpointError: if it is no model folder, or is damaged and cannot be fetched again.
    """
    check_repo_id(repo_id)
    cache = Path(cache_dir if cache_dir is not None else constants.HF_HUB_CACHE).expanduser()
    source = _Source(repo_id, revision or constants.DEFAULT_REVISION, cache)
    try:
        names = retried(source.remote_names, if_unreachable=False)
    except RevisionNotFoundError as error:
        raise HubError(f"`{repo_id}` has no revision `{source.revision}`; {source.known_revisions()}") from error
    except (HTTPError, OSError) as error:
        if is_out_of_reach(error):
            return source.from_cache(error)
        raise HubError(f"`{repo_id}` cannot be fetched: {why(error, repo_id, to='read')}") from error
    return source.from_hub(names)


@dataclass(frozen=True)
class _Source:
    """One model at one revision, on the Hub and in the cache."""

    repo_id: str
    revision: str
    cache: Path

    def remote_names(self) -> list[str]:
        """Ask the Hub for the names of all files."""
        info = HfApi(library_name="vlmzoo", library_version=__version__).model_info(
            self.repo_id, revision=self.revision, timeout=constants.HF_HUB_ETAG_TIMEOUT
        )
        return [file.rfilename for file in info.siblings or ()]

    def from_hub(self, names: Sequence[str]) -> Path:
        """Fetch what is missing, and again what is damaged.

        Raises:
            CheckpointError: if it is no model, or stays damaged.
            HubError: if it cannot be fetched.
        """
        self._check_model(names)
        wanted = model_files(names)
        try:
            folder = retried(lambda: self._snapshot(wanted))
            for name in self._damaged(folder):
                logger.warning("`%s` of `%s` is damaged in the cache; fetching it again.", name, self.repo_id)
                retried(lambda name=name: self._replace(name, commit=folder.name))
        except (HTTPError, OSError) as error:
            kept = " What has arrived is kept: the same call goes on." if is_transient(error) else ""
            raise HubError(
                f"`{self.repo_id}` cannot be fetched: {why(error, self.repo_id, to='read')}{kept}"
            ) from error
        self._check_undamaged(folder)
        return folder

    def from_cache(self, error: BaseException) -> Path:
        """Use what an earlier call fetched.

        Args:
            error: why the Hub is not asked.

        Raises:
            CheckpointError: if it is no model, or is damaged.
            HubError: if no earlier call fetched all of it.
        """
        known = self._cached_names()
        try:
            folder = self._snapshot(model_files(known), local_files_only=True)
        except LocalEntryNotFoundError as missing:
            raise HubError(self._not_cached(error, is_partial=bool(known))) from missing
        names = [path.relative_to(folder).as_posix() for path in folder.rglob("*")]
        if not known and not has_base_weights(names) and MANIFEST not in names:  # single files, for another purpose
            raise HubError(self._not_cached(error, is_partial=True)) from error
        self._check_model(names)
        self._check_undamaged(folder)
        if not isinstance(error, OfflineModeIsEnabled):
            reason = why(error, self.repo_id, to="read")
            logger.warning("`%s` is taken from the cache (commit %s): %s", self.repo_id, folder.name[:12], reason)
        return folder

    def known_revisions(self) -> str:
        """Say which revisions exist, as part of a sentence."""
        try:
            refs = HfApi().list_repo_refs(self.repo_id)
        except (HTTPError, OSError):
            return "look at its branches on the Hub."
        branches, tags = [ref.name for ref in refs.branches], [ref.name for ref in refs.tags]
        known = [f"{kind} {_listed(names)}" for kind, names in (("branches", branches), ("tags", tags)) if names]
        return f"it has the {', and the '.join(known)}.{nearest_hint(self.revision, branches + tags)}"

    def _snapshot(self, wanted: Sequence[str], *, local_files_only: bool = False) -> Path:
        folder = snapshot_download(
            self.repo_id,
            revision=self.revision,
            cache_dir=self.cache,
            allow_patterns=[escape(name) for name in wanted] or None,
            local_files_only=local_files_only,
            library_name="vlmzoo",
            library_version=__version__,
        )
        return Path(folder)

    def _replace(self, name: str, *, commit: str) -> None:
        hf_hub_download(self.repo_id, name, revision=commit, cache_dir=self.cache, force_download=True)

    def _damaged(self, folder: Path) -> list[str]:
        """Return the files whose length, or of small ones whose content, is not the Hub's."""
        try:
            tree = get_cached_repo_tree(self.repo_id, revision=folder.name, cache_dir=self.cache)
        except CachedRepoTreeNotFoundError:  # fetched by an older client
            return []
        wanted = set(model_files(file.path for file in tree))
        return [
            file.path
            for file in tree
            if file.path in wanted and _is_damaged(folder / file.path, file.size, file.blob_id)
        ]

    def _check_undamaged(self, folder: Path) -> None:
        damaged = self._damaged(folder)
        if damaged:
            raise CheckpointError(
                f"`{folder / damaged[0]}` is damaged: it is not what the Hub has of `{self.repo_id}`; "
                "delete it, and fetch the model again while the Hub can be reached."
            )

    def _check_model(self, names: Iterable[str]) -> None:
        if not is_model_folder(names):
            raise CheckpointError(
                f"`{self.repo_id}` at `{self.revision}` holds neither {CONFIG} nor {MANIFEST}, "
                "so it is no model folder; give the id of a model, or another revision."
            )

    def _cached_names(self) -> list[str]:
        """Return the names of all files, as far as an earlier call has left them."""
        try:
            tree = get_cached_repo_tree(self.repo_id, revision=self.revision, cache_dir=self.cache)
        except CachedRepoTreeNotFoundError:
            return []
        return [file.path for file in tree]

    def _not_cached(self, error: BaseException, *, is_partial: bool) -> str:
        return (
            f"`{self.repo_id}` at `{self.revision}` is not {'whole ' if is_partial else ''}in the cache `{self.cache}` "
            f"({self._cached()}), and {why(error, self.repo_id, to='read')}"
        )

    def _cached(self) -> str:
        """Say what the cache holds, as part of a sentence."""
        refs = self.cache / f"models--{self.repo_id.replace('/', '--')}" / "refs"
        revisions = sorted(path.relative_to(refs).as_posix() for path in refs.rglob("*") if path.is_file())
        if revisions:
            return f"of it there is {_listed(revisions)}"
        folders = sorted(self.cache.glob("models--*")) if self.cache.is_dir() else []
        models = [folder.name.removeprefix("models--").replace("--", "/") for folder in folders]
        return f"there are {_listed(models)}" if models else "it is empty"


def _is_damaged(path: Path, num_bytes: int, git_sha1: str) -> bool:
    """Compare a cached file with what the Hub said of it.

    Args:
        path: of the file; the cache names what it links to by the Hub's ETag.
        num_bytes: its length on the Hub.
        git_sha1: of its content, unless it lies in the large-file storage.
    """
    if not path.exists() or path.stat().st_size != num_bytes:
        return True
    is_named_by_sha1 = path.is_symlink() and path.readlink().name == git_sha1
    if not is_named_by_sha1 or num_bytes > _HASHED_BYTES:
        return False
    return hashlib.sha1(b"blob %d\0" % num_bytes + path.read_bytes()).hexdigest() != git_sha1


def _listed(names: Sequence[str], *, most: int = 5) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
