"""A Hub on loopback: what the real client asks for, with faults on demand."""

import json
import re
import struct
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import SHUT_RDWR, SO_LINGER, SOL_SOCKET, socket
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.vlmzoo.hub.fake_hub_pages import Pages
from tests.vlmzoo.hub.fake_hub_store import Blob, Fault, Refusal, Repo, is_lfs


class FakeHub:
    """The server's memory, what it has seen, and what shall go wrong.

    Tokens: ``hf_alice`` may write what is alice's, ``hf_reader`` may only read.
    """

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.store: dict[str, bytes] = {}
        self.owners = {"hf_alice": "alice", "hf_reader": "rita"}
        self.faults: list[Fault] = []
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.received: Counter[str] = Counter()
        self.connections: list[socket] = []
        self.lock = threading.RLock()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.server.daemon_threads = True
        self.server.handle_error = lambda request, client_address: None  # clients hang up in these tests
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    @property
    def cdn(self) -> str:
        """Another origin, as that of the Hub's storage is."""
        return f"http://localhost:{self.server.server_address[1]}"

    def start(self) -> "FakeHub":
        self.thread.start()
        return self

    def stop(self) -> None:
        """Close the port and all connections, so that the Hub cannot be reached any more."""
        if self.thread.is_alive():
            self.server.shutdown()
            self.thread.join()
        self.server.server_close()
        for connection in self.connections:
            with suppress(OSError):  # most are closed already
                connection.shutdown(SHUT_RDWR)

    def fail(self, method: str, path: str, **how: Any) -> Fault:
        """Have requests go wrong."""
        fault = Fault(method, path, **how)
        self.faults.append(fault)
        return fault

    def count(self, method: str, path: str) -> int:
        """How many requests fit."""
        return len(self.asked(method, path))

    def asked(self, method: str, path: str) -> list[dict[str, str]]:
        """The headers of the requests that fit."""
        return [headers for verb, place, headers in self.requests if verb == method and re.search(path, place)]

    def add(self, repo_id: str, files: Mapping[str, bytes], *, branch: str = "main", private: bool = False) -> str:
        """Put a commit there as if somebody had pushed it."""
        repo = self.repos.setdefault(repo_id, Repo(private))
        blobs = {name: Blob(content, is_lfs(name, len(content))) for name, content in files.items()}
        self.store.update({blob.sha256: blob.content for blob in blobs.values() if blob.is_lfs})
        return repo.commit(branch, blobs, "by hand")

    def files(self, repo_id: str, revision: str = "main") -> dict[str, bytes]:
        """What lies there now."""
        repo = self.repos[repo_id]
        sha = repo.find(revision)
        assert sha is not None
        return {name: blob.content for name, blob in repo.commits[sha].files.items()}

    def take_fault(self, method: str, path: str) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                if fault.times and fault.method == method and re.search(fault.path, path):
                    fault.times -= 1
                    return fault
        return None


def _handler(hub: FakeHub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def setup(self) -> None:
            super().setup()
            hub.connections.append(self.connection)

        def log_message(self, format: str, *args: Any) -> None:
            """Keep silent."""

        def do_GET(self) -> None:
            self.serve()

        def do_HEAD(self) -> None:
            self.serve()

        def do_POST(self) -> None:
            self.serve()

        def do_PUT(self) -> None:
            self.serve()

        def serve(self) -> None:
            path = urlsplit(self.path).path
            fault = hub.take_fault(self.command, path)
            with hub.lock:
                hub.requests.append((self.command, path, {k.lower(): v for k, v in self.headers.items()}))
            is_upload = self.command in ("PUT", "POST")
            if fault is not None and is_upload and fault.drop_after is not None:
                self.rfile.read(fault.drop_after)
                return self.cut(reset=True)
            body = b"".join(self.body())
            if fault is not None and fault.status is not None:
                return self.refuse(Refusal(fault.status, "Something went wrong"), headers=fault.headers)
            try:
                self.act(path, body, fault)
            except Refusal as refusal:
                self.refuse(refusal)
            return None

        def act(self, path: str, body: bytes, fault: Fault | None) -> None:
            file = re.fullmatch(r"/(.+?)/resolve/([^/]+)/(.+)", path)
            stored = re.fullmatch(r"/_cdn/([0-9a-f]{64})", path)
            if stored:
                return self.send_content(hub.store[stored[1]], {}, fault)
            if file:
                return self.resolve(*(unquote(part) for part in file.groups()), fault=fault)
            found = Pages(hub, self.token()).route(self.command, path)
            if found is None:
                raise Refusal(404, f"No such page: {path}")
            action, parts = found
            with hub.lock:
                answer = action(body, *parts)
            if fault is not None and fault.drop_answer:
                return self.cut(reset=True)
            return self.answer(200, json.dumps(answer).encode(), {"Content-Type": "application/json"})

        def token(self) -> str | None:
            return (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None

        def resolve(self, repo_id: str, revision: str, name: str, *, fault: Fault | None) -> None:
            repo, sha = Pages(hub, self.token()).found(repo_id, revision)
            blob = repo.commits[sha].files.get(name)
            if blob is None:
                raise Refusal(404, f"{name} does not exist", "EntryNotFound")
            headers = {"X-Repo-Commit": sha, "ETag": f'"{blob.etag}"'}
            if not blob.is_lfs:
                return self.send_content(blob.content, headers, fault)
            linked = {"X-Linked-Etag": f'"{blob.sha256}"', "X-Linked-Size": str(len(blob.content))}
            return self.answer(302, b"", {**headers, **linked, "Location": f"{hub.cdn}/_cdn/{blob.sha256}"})

        def send_content(self, content: bytes, headers: dict[str, str], fault: Fault | None) -> None:
            status, start = 200, 0
            asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            if asked:
                status, start = 206, int(asked[1])
                headers = {**headers, "Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
            body = content[start:]
            if fault is None or fault.drop_after is None:
                return self.answer(status, body, headers)
            self.head(status, len(body), headers)
            self.wfile.write(body[: fault.drop_after])
            return self.cut(reset=fault.reset)

        def refuse(self, refusal: Refusal, headers: Mapping[str, str] | None = None) -> None:
            told = {"X-Error-Message": refusal.message, **({"X-Error-Code": refusal.code} if refusal.code else {})}
            body = json.dumps({"error": refusal.message, **refusal.extra}).encode()
            self.answer(refusal.status, body, {"Content-Type": "application/json", **told, **(headers or {})})

        def answer(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
            self.head(status, len(body), headers)
            if self.command != "HEAD":
                self.wfile.write(body)

        def head(self, status: int, num_bytes: int, headers: Mapping[str, str]) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(num_bytes)}.items():
                self.send_header(name, value)
            self.end_headers()

        def cut(self, *, reset: bool) -> None:
            self.wfile.flush()
            if reset:
                self.connection.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
            self.close_connection = True

        def body(self) -> Iterator[bytes]:
            if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
                while size := int(self.rfile.readline().split(b";")[0], 16):
                    yield self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
            else:
                yield self.rfile.read(int(self.headers.get("Content-Length", 0)))

    return Handler
