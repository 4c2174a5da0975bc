"""Judge and renderer as small servers on this machine, in OpenAI's protocol, with a health check."""

import base64
import io
import json
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from vlmzoo.errors import ConfigError, VlmzooError
from vlmzoo.services.chat import CHAT_CLIENTS, ChatClient, ChatRequest
from vlmzoo.services.judges import JUDGES, Judge, JudgeItem
from vlmzoo.services.negative_images import NEGATIVE_IMAGES, NegativeImageSource, RenderItem

__all__ = ["ServiceServer", "images_server", "judge_server"]

_MAX_BYTES = 8 * 2**20
_LOOPBACK = ("127.0.0.1", "localhost", "::1")

Answer = Callable[[Mapping[str, Any]], Mapping[str, Any]]


class ServiceServer:
    """Serves one path; ``GET /health`` and ``GET /v1/models`` say that it lives.

    Args:
        path: that is posted to.
        answer: makes the answer of a request.
        name: of the model, as it is listed.
        host: on this machine only; whoever wants more puts a proxy with a key before it.
        port: 0 for any that is free.

    Raises:
        ConfigError: if the host is not this machine, or the port is taken.
    """

    def __init__(self, path: str, answer: Answer, *, name: str, host: str = "127.0.0.1", port: int = 8001) -> None:
        if host not in _LOOPBACK:
            raise ConfigError(f"`host` must be this machine, one of {', '.join(_LOOPBACK)}, but is {host!r} instead.")
        try:
            self._http = ThreadingHTTPServer((host, port), _handler(path, answer, name))
        except OSError as error:
            raise ConfigError(
                f"Port {port} of {host} cannot be served on ({error}); choose another `--port`."
            ) from error
        self._http.daemon_threads = True
        self.url = f"http://{host}:{self._http.server_address[1]}/v1"

    def serve(self) -> None:
        """Answer until it is closed."""
        self._http.serve_forever(poll_interval=0.1)

    def start(self) -> "ServiceServer":
        """Answer in a thread of its own."""
        threading.Thread(target=self.serve, daemon=True).start()
        return self

    def close(self) -> None:
        """Stop."""
        self._http.shutdown()
        self._http.server_close()


def judge_server(spec: Mapping[str, Any], *, host: str = "127.0.0.1", port: int = 8001) -> ServiceServer:
    """Return a server of chat completions.

    Args:
        spec: of a chat client, e.g. ``{type: transformers, path: …}``, or of a judge without a model, e.g. ``{type:
            object_f1}``, which answers the JSON form of ``judges/chat.py``.
        host: on this machine.
        port: 0 for any that is free.

    Raises:
        ConfigError: if it cannot be built.
        ServiceError: if its model cannot be loaded.
    """
    name = str(spec.get("model", spec.get("path", spec.get("type"))))
    kind = str(spec.get("type"))
    if kind in JUDGES and kind not in CHAT_CLIENTS:
        judge: Judge = JUDGES.build(spec)
        return ServiceServer("/v1/chat/completions", lambda body: _judged(judge, body), name=name, host=host, port=port)
    client: ChatClient = CHAT_CLIENTS.build(spec)
    client.check()
    return ServiceServer("/v1/chat/completions", lambda body: _said(client, body), name=name, host=host, port=port)


def images_server(spec: Mapping[str, Any], *, host: str = "127.0.0.1", port: int = 8002) -> ServiceServer:
    """Return a server of pictures.

    Args:
        spec: of a negative image source, e.g. ``{type: diffusers}`` or ``{type: icons, canvas_px: 64}``.
        host: on this machine.
        port: 0 for any that is free.

    Raises:
        ConfigError: if it cannot be built.
        ServiceError: if its model cannot be loaded.
    """
    source: NegativeImageSource = NEGATIVE_IMAGES.build(spec)
    source.check()
    name = str(spec.get("path", spec["type"]))
    path = "/v1/images/generations"
    return ServiceServer(path, lambda body: _pictured(source, body), name=name, host=host, port=port)


class _RefusedError(VlmzooError):
    """A request cannot be answered; the status goes with it."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


def _said(client: ChatClient, body: Mapping[str, Any]) -> dict[str, Any]:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise _RefusedError(400, "`messages` must be a list of turns, but is not.")
    wants_json = isinstance(body.get("response_format"), dict)
    request = ChatRequest(messages=messages, as_json=wants_json, seed=int(body.get("seed") or 0))
    reply = client.reply([request])[0]
    if reply.text is None:
        raise _RefusedError(500, reply.failure or "no answer")
    return _completion(reply.text, body, "length" if reply.is_cut else "stop")


def _judged(judge: Judge, body: Mapping[str, Any]) -> dict[str, Any]:
    try:
        told = json.loads(body["messages"][-1]["content"])
        item = JudgeItem(**{name: str(told[name]) for name in ("question", "response", "reference")})
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise _RefusedError(
            400, f"The last turn must be a JSON object with question, response and reference ({error!r})."
        ) from error
    verdict = judge.score([item])[0]
    return _completion(json.dumps({"score": verdict.score}), body, "stop")


def _completion(text: str, body: Mapping[str, Any], reason: str) -> dict[str, Any]:
    return {
        "id": "vlmzoo",
        "object": "chat.completion",
        "created": 0,
        "model": str(body.get("model", "")),
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": reason}],
    }


def _pictured(source: NegativeImageSource, body: Mapping[str, Any]) -> dict[str, Any]:
    prompt = body.get("prompt")
    if not isinstance(prompt, str) or not prompt.strip():
        raise _RefusedError(400, "`prompt` must be a description, but is not.")
    if body.get("n", 1) != 1:
        raise _RefusedError(400, f"`n` must be 1, but is {body['n']!r}.")
    found = source.render([RenderItem(description=prompt, seed=int(body.get("seed") or 0))])[0]
    if found.image is None:
        raise _RefusedError(422, found.reason or "no picture")
    buffer = io.BytesIO()
    found.image.save(buffer, format="PNG")
    return {"created": 0, "data": [{"b64_json": base64.b64encode(buffer.getvalue()).decode("ascii")}]}


def _handler(path: str, answer: Answer, name: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/health":
                self._send(200, {"status": "ok"})
            elif self.path == "/v1/models":
                self._send(200, {"object": "list", "data": [{"id": name, "object": "model", "created": 0}]})
            else:
                self._send(404, {"error": {"message": f"There is no {self.path}."}})

        def do_POST(self) -> None:
            if self.path != path:
                self._send(404, {"error": {"message": f"There is no {self.path}; post to {path}."}})
                return
            try:
                length = int(self.headers.get("Content-Length", 0))
                if not 0 < length <= _MAX_BYTES:
                    raise _RefusedError(413, f"A request must have 1 to {_MAX_BYTES} bytes, but has {length}.")
                body = json.loads(self.rfile.read(length))
                if not isinstance(body, dict):
                    raise _RefusedError(400, "A request must be a JSON object, but is not.")
                found, status = dict(answer(body)), 200
            except _RefusedError as error:
                found, status = {"error": {"message": str(error)}}, error.status
            except ValueError as error:
                found, status = {"error": {"message": f"A request must be a JSON object ({error})."}}, 400
            except Exception as error:  # a server outlives what one request does to it
                found, status = {"error": {"message": repr(error)}}, 500
            self._send(status, found)

        def _send(self, status: int, body: Mapping[str, Any]) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            """Stay silent: what people ask is theirs."""

    return Handler
