"""Pushing a model's folder to the Hub: checked first, sent at most once, and seen whole or not at all."""

import copy
import logging
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, ModelCard, constants, get_token
from huggingface_hub.errors import HTTPError

from vlmzoo import __version__
from vlmzoo.errors import CheckpointError, ConfigError, HubError, VlmzooError
from vlmzoo.hub.faults import check_repo_id, is_transient, retried, status_of, why
from vlmzoo.hub.files import CARD, check_whole, find_model_folder, replaceable_files
from vlmzoo.hub.model_card import is_generated, write_card

__all__ = ["push_model"]

logger = logging.getLogger(__name__)

_LARGE_BYTES = 2**20  # sent one by one before the commit; the others travel within it
_COMMIT = re.compile(r"[0-9a-f]{40}")


def push_model(
    folder_or_run: str | Path,
    repo_id: str,
    *,
    private: bool = True,
    revision: str | None = None,
    commit_message: str | None = None,
    card: str | ModelCard | None = None,
) -> str:
    """Push a model to the Hub, in one commit.

    The repository and the branch are made if they are not there. Large files are sent first, one by one, and those
    that the Hub has are not sent again; so after a failure the same call goes on where it stopped. The commit comes
    last, so nobody fetches half a model. Files of an earlier push that this folder does not have are removed in the
    same commit. HF_ENDPOINT, HF_HOME and HF_TOKEN are honoured.

    Args:
        folder_or_run: a folder that ``load_model`` reads, or that of a run, of which ``final/`` is taken.
        repo_id: ``owner/name``.
        private: whether a repository that is made here is seen by its owner only; one that is there stays as it is.
        revision: branch; None is the main branch.
        commit_message: its title.
        card: text of README.md; None writes one from what the folder and its run say. A README.md that a person wrote
            or edited, in the folder or on the Hub, is never replaced by a generated one.

    Returns:
        The address of the commit.

    Raises:
        CheckpointError: if the folder is no model folder, is half-written or damaged, or could not be loaded by others.
        ConfigError: if ``repo_id``, ``revision`` or ``card`` cannot be used.
        HubError: if the Hub cannot be reached or refuses; the message says what has arrived.
    """
    check_repo_id(repo_id, needs_owner=True)
    branch = revision or constants.DEFAULT_REVISION
    if _COMMIT.fullmatch(branch):
        raise ConfigError(f"`revision` must be a branch, but is the commit `{branch}` instead; give the branch a name.")
    folder = find_model_folder(folder_or_run)
    names = check_whole(folder)
    write_card(folder, repo_id=repo_id, card=card)
    push = _Push(folder, sorted({*names, CARD}), repo_id, branch)
    try:
        return push.run(private=private, message=commit_message or f"Push with vlmzoo {__version__}")
    except VlmzooError:
        raise
    except (HTTPError, OSError, RuntimeError, ValueError) as error:
        raise HubError(push.account(error)) from error


class _Push:
    """One push and how far it came.

    Args:
        folder: of a whole model.
        names: of its files.
        repo_id: ``owner/name``.
        branch: where the commit goes.
    """

    def __init__(self, folder: Path, names: Sequence[str], repo_id: str, branch: str) -> None:
        self.folder, self.repo_id, self.branch = folder, repo_id, branch
        self.api = HfApi(library_name="vlmzoo", library_version=__version__)
        # The client marks what it is given as sent; it is given copies, which share the hash once it is known.
        self.files = {name: CommitOperationAdd(path_in_repo=name, path_or_fileobj=folder / name) for name in names}
        self.large = [name for name, file in self.files.items() if file.upload_info.size >= _LARGE_BYTES]
        self.arrived: list[str] = []

    def run(self, *, private: bool, message: str) -> str:
        """Send everything and return the address of the commit.

        Raises:
            HubError: if the Hub may not be asked, or nobody is logged in.
        """
        if constants.is_offline_mode():
            raise HubError(f"`{self.repo_id}` was not pushed: HF_HUB_OFFLINE is set; unset it.")
        if get_token() is None:
            way_out = "log in with `hf auth login`, or set HF_TOKEN"
            raise HubError(f"`{self.repo_id}` was not pushed: no token was found; {way_out}.")
        retried(partial(self._ensure_repo, private=private), if_unreachable=False)
        retried(self._ensure_branch)
        retried(self._check_card)
        for name in self.large:
            retried(partial(self._send, name))
            self.arrived.append(name)
        return retried(partial(self._commit, message))

    def account(self, error: BaseException) -> str:
        """Say why the push failed, what has arrived, and how to go on."""
        reason = f"`{self.repo_id}` was not pushed: {why(error, self.repo_id, to='write')}"
        is_refused = status_of(error) is not None and not is_transient(error)
        if is_refused and not self.arrived:
            return reason
        missing = [f"`{name}`" for name in self.large if name not in self.arrived]
        num_small = len(self.files) - len(self.large)
        arrived = ", ".join(f"`{name}`" for name in self.arrived) or "nothing"
        awaited = ", ".join([*missing, f"{num_small} small files"])
        return (
            f"{reason} Arrived: {arrived}; not yet: {awaited}, and the commit. "
            "The same command goes on: what has arrived is not sent again."
        )

    def _ensure_repo(self, *, private: bool) -> None:
        try:
            is_private = self.api.model_info(self.repo_id, timeout=constants.HF_HUB_ETAG_TIMEOUT).private
        except HTTPError as error:
            if status_of(error) not in (401, 404):  # the Hub hides what a token may not see
                raise
            self.api.create_repo(self.repo_id, private=private, exist_ok=True)
            return
        if is_private is not None and is_private != private:
            seen = "private" if is_private else "public"
            logger.warning("`%s` is %s already, and stays so; the settings on the Hub change it.", self.repo_id, seen)

    def _ensure_branch(self) -> None:
        if self.branch == constants.DEFAULT_REVISION or self.branch.startswith("refs/"):
            return
        refs = self.api.list_repo_refs(self.repo_id)
        if any(tag.name == self.branch for tag in refs.tags):
            raise ConfigError(
                f"`revision` must be a branch, but `{self.branch}` is a tag of `{self.repo_id}` instead; "
                "give another name."
            )
        if all(branch.name != self.branch for branch in refs.branches):
            self.api.create_branch(self.repo_id, branch=self.branch, exist_ok=True)

    def _check_card(self) -> None:
        """Have the Hub look at the card's metadata now, as it would refuse the commit after hours of sending."""
        if CARD not in self.files:
            return
        try:
            ModelCard.load(self.folder / CARD).validate()
        except (ValueError, yaml.YAMLError) as error:
            raise CheckpointError(
                f"The metadata of `{self.folder / CARD}` is refused ({error}); repair the lines between the two `---`."
            ) from error

    def _send(self, name: str) -> None:
        """Send one large file, unless the Hub has it; the Hub compares SHA-256."""
        self.api.preupload_lfs_files(
            self.repo_id, [copy.copy(self.files[name])], revision=self.branch, free_memory=False
        )

    def _commit(self, message: str) -> str:
        """Make everything visible at once. Done twice, the second time finds nothing to change."""
        remote = self.api.list_repo_files(self.repo_id, revision=self.branch)
        added = [copy.copy(file) for name, file in self.files.items() if name != CARD or self._may_write_card(remote)]
        stale = [name for name in replaceable_files(remote) if name not in self.files]
        if stale:
            logger.info("Files of an earlier push are removed from `%s`: %s.", self.repo_id, ", ".join(stale))
        commit = self.api.create_commit(
            self.repo_id,
            [*added, *(CommitOperationDelete(path_in_repo=name) for name in stale)],
            commit_message=message,
            revision=self.branch,
        )
        return commit.commit_url

    def _may_write_card(self, remote: list[str]) -> bool:
        """Say whether the folder's card is a person's, or the Hub's is not."""
        if CARD not in remote or not is_generated((self.folder / CARD).read_text(encoding="utf-8")):
            return True
        with TemporaryDirectory() as aside:  # the cache is for models, not for one file of them
            path = self.api.hf_hub_download(self.repo_id, CARD, revision=self.branch, cache_dir=aside)
            return is_generated(Path(path).read_text(encoding="utf-8"))
