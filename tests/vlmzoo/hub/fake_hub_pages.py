"""The pages of a Hub on loopback: those that the real client asks for."""

import base64
import hashlib
import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import yaml

from tests.vlmzoo.hub.fake_hub_store import Blob, Refusal, Repo, is_lfs

_RELATIONS = {None, "adapter", "finetune", "merge", "quantized"}
_LICENCES = {None, "apache-2.0", "mit", "llama2", "cc-by-4.0", "unknown", "other"}


class Pages:
    """What each endpoint does for one request.

    Args:
        hub: the ``FakeHub``.
        token: of the request; None if it bears none.
    """

    def __init__(self, hub: Any, token: str | None) -> None:
        self.hub, self.token = hub, token
        self.user = hub.owners.get(token or "")

    def route(self, method: str, path: str) -> tuple[Callable[..., Any], tuple[str, ...]] | None:
        id = r"([^/]+/[^/]+|[^/]+)"
        routes = [
            ("GET", r"/api/whoami-v2", self.whoami),
            ("POST", r"/api/repos/create", self.create_repo),
            ("POST", r"/api/validate-yaml", self.validate_yaml),
            ("GET", rf"/api/models/{id}/tree/([^/]+)", self.tree),
            ("GET", rf"/api/models/{id}/refs", self.refs),
            ("POST", rf"/api/models/{id}/branch/([^/]+)", self.create_branch),
            ("POST", rf"/api/models/{id}/preupload/([^/]+)", self.preupload),
            ("POST", rf"/api/models/{id}/commit/([^/]+)", self.commit),
            ("GET", rf"/api/models/{id}/revision/([^/]+)", self.info),
            ("GET", rf"/api/models/{id}", self.info),
            ("POST", rf"/{id}\.git/info/lfs/objects/batch", self.lfs_batch),
            ("PUT", r"/_lfs/([0-9a-f]{64})", self.lfs_put),
            ("POST", r"/_lfs/verify", self.lfs_verify),
        ]
        for verb, pattern, action in routes:
            found = re.fullmatch(pattern, path)
            if verb == method and found:
                return action, tuple(unquote(part) for part in found.groups())
        return None

    def readable(self, repo_id: str) -> Repo:
        repo = self.hub.repos.get(repo_id)
        if self.token is not None and self.user is None:
            raise Refusal(401, "Invalid credentials in Authorization header")
        if repo is None or (repo.private and self.user != repo_id.split("/")[0]):
            raise Refusal(401 if self.token is None else 404, "Repository not found", "RepoNotFound")
        return repo

    def writable(self, repo_id: str) -> Repo:
        self.may_write(repo_id.split("/")[0])
        return self.readable(repo_id)

    def may_write(self, owner: str | None) -> None:
        if self.user is None:
            raise Refusal(401, "Invalid credentials in Authorization header")
        if self.token == "hf_reader" or owner != self.user:
            raise Refusal(403, f"You don't have the rights to write to {owner}")

    def found(self, repo_id: str, revision: str) -> tuple[Repo, str]:
        repo = self.readable(repo_id)
        sha = repo.find(revision)
        if sha is None:
            raise Refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return repo, sha

    def whoami(self, body: bytes) -> Any:
        if self.user is None:
            raise Refusal(401, "Invalid credentials in Authorization header")
        return {"type": "user", "name": self.user, "auth": {"accessToken": {"role": "write"}}}

    def create_repo(self, body: bytes) -> Any:
        asked = json.loads(body)
        self.may_write(asked.get("organization"))
        repo_id = f"{asked['organization']}/{asked['name']}"
        url = f"{self.hub.endpoint}/{repo_id}"
        if repo_id in self.hub.repos:
            raise Refusal(409, "You already created this model repo", url=url)
        is_private = asked.get("private", asked.get("visibility") == "private")
        repo = self.hub.repos[repo_id] = Repo(is_private)
        repo.commit("main", {".gitattributes": Blob(b"*.safetensors filter=lfs\n", False)}, "initial commit")
        return {"url": url, "name": repo_id}

    def validate_yaml(self, body: bytes) -> Any:
        faults = check_card(json.loads(body)["content"])
        if faults:
            raise Refusal(400, "; ".join(faults), errors=[{"message": fault} for fault in faults])
        return {"warnings": [], "errors": []}

    def info(self, body: bytes, repo_id: str, revision: str = "main") -> Any:
        repo, sha = self.found(repo_id, revision)
        siblings = [{"rfilename": name} for name in repo.commits[sha].files]
        return {
            "id": repo_id,
            "modelId": repo_id,
            "sha": sha,
            "private": repo.private,
            "siblings": siblings,
            "tags": [],
        }

    def tree(self, body: bytes, repo_id: str, revision: str) -> Any:
        repo, sha = self.found(repo_id, revision)
        return [_entry(name, blob) for name, blob in sorted(repo.commits[sha].files.items())]

    def refs(self, body: bytes, repo_id: str) -> Any:
        repo = self.readable(repo_id)
        kinds = {"branches": ("heads", repo.branches), "tags": ("tags", repo.tags), "converts": ("converts", {})}
        return {
            kind: [{"name": name, "ref": f"refs/{place}/{name}", "targetCommit": sha} for name, sha in refs.items()]
            for kind, (place, refs) in kinds.items()
        }

    def create_branch(self, body: bytes, repo_id: str, branch: str) -> Any:
        repo = self.writable(repo_id)
        if branch in repo.branches:
            raise Refusal(409, "Reference already exists")
        start = json.loads(body or b"{}").get("startingPoint", "main")
        repo.branches[branch] = self.found(repo_id, start)[1]
        return {}

    def preupload(self, body: bytes, repo_id: str, revision: str) -> Any:
        self.writable(repo_id)
        repo, sha = self.found(repo_id, revision)
        answers = []
        for file in json.loads(body)["files"]:
            there = repo.commits[sha].files.get(file["path"])
            mode = "lfs" if is_lfs(file["path"], file["size"]) else "regular"
            known = {"oid": there.etag} if there else {}
            answers.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False, **known})
        return {"files": answers}

    def lfs_batch(self, body: bytes, repo_id: str) -> Any:
        self.writable(repo_id)
        verify = {"href": f"{self.hub.endpoint}/_lfs/verify"}
        objects = []
        for wanted in json.loads(body)["objects"]:
            entry = {"oid": wanted["oid"], "size": wanted["size"]}
            if wanted["oid"] not in self.hub.store:
                entry["actions"] = {"upload": {"href": f"{self.hub.cdn}/_lfs/{wanted['oid']}"}, "verify": verify}
            objects.append(entry)
        return {"transfer": "basic", "objects": objects}

    def lfs_put(self, body: bytes, sha256: str) -> Any:
        if hashlib.sha256(body).hexdigest() != sha256:
            raise Refusal(400, "The content is not what its name says")
        self.hub.store[sha256] = body
        self.hub.received[sha256] += 1
        return {}

    def lfs_verify(self, body: bytes) -> Any:
        asked = json.loads(body)
        if len(self.hub.store.get(asked["oid"], b"")) != asked["size"]:
            raise Refusal(404, "Not there")
        return {}

    def commit(self, body: bytes, repo_id: str, branch: str) -> Any:
        self.writable(repo_id)
        repo, sha = self.found(repo_id, branch)
        if branch not in repo.branches:
            raise Refusal(404, "Not a branch", "RevisionNotFound")
        files, title = dict(repo.commits[sha].files), ""
        for line in body.splitlines():
            item = json.loads(line)
            kind, value = item["key"], item["value"]
            if kind == "header":
                title = value["summary"]
            elif kind == "file":
                files[value["path"]] = Blob(base64.b64decode(value["content"]), False)
            elif kind == "lfsFile":
                if value["oid"] not in self.hub.store:
                    raise Refusal(400, f"LFS object {value['oid']} was never sent")
                files[value["path"]] = Blob(self.hub.store[value["oid"]], True)
            elif kind == "deletedFile":
                del files[value["path"]]
        for name, blob in files.items():
            faults = check_card(blob.content.decode()) if name == "README.md" else []
            if faults:
                raise Refusal(400, "; ".join(faults))
        sha = repo.commit(branch, files, title)
        return {"success": True, "commitOid": sha, "commitUrl": f"{self.hub.endpoint}/{repo_id}/commit/{sha}"}


def check_card(text: str) -> list[str]:
    """The Hub's rules for a card's metadata, as far as this library could break them."""
    found = re.match(r"---\n(.*?)\n---\n", text, flags=re.DOTALL)
    if not found:
        return []
    data = yaml.safe_load(found[1]) or {}
    bases = data.get("base_model") or []
    bases = [bases] if isinstance(bases, str) else bases
    faults = [f'"base_model" {id} is not a model id' for id in bases if not re.fullmatch(r"[\w.-]+/[\w.-]+", id)]
    if data.get("license") not in _LICENCES:
        faults.append('"license" must be one of [apache-2.0, mit, ...]')
    if data.get("base_model_relation") not in _RELATIONS:
        faults.append('"base_model_relation" must be one of [adapter, merge, quantized, finetune]')
    for entry in data.get("model-index", []):
        for result in entry["results"]:
            if not (result["task"]["type"] and result["dataset"]["type"] and result["dataset"]["name"]):
                faults.append('"model-index" lacks a type or a name')
            faults += ['"metrics" lacks a value' for metric in result["metrics"] if metric.get("value") is None]
    return faults


def _entry(name: str, blob: Blob) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": "file", "path": name, "size": len(blob.content), "oid": blob.git_sha1}
    if blob.is_lfs:
        entry["lfs"] = {"oid": blob.sha256, "size": len(blob.content), "pointerSize": 134}
    return entry
