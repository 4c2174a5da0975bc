"""A server on this machine that answers as it is told: for judges and renderers that fail in every way."""

import base64
import io
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from PIL import Image


class Loopback:
    """Answers chat completions and pictures.

    ``say(request)`` returns the judge's words; ``faults`` are taken one for each request: a status, "slow", "drop",
    "garbage" or "schema"; after them all is well, unless ``always`` names one for ever.
    """

    def __init__(self, say=lambda request: '{"score": 7}', *, port=0, delay_s=0.0):
        self.say, self.faults, self.always, self.delay_s = say, [], None, delay_s
        self.asked, self.headers = [], []
        self.picture = Image.linear_gradient("L").convert("RGB").resize((16, 16))
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.answer(200, {"object": "list", "data": []})

            def do_POST(self):
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                owner.asked.append((self.path, request))
                owner.headers.append({name.lower(): value for name, value in self.headers.items()})
                fault = owner.always or (owner.faults.pop(0) if owner.faults else None)
                time.sleep(owner.delay_s)
                if fault == "slow":
                    time.sleep(1.0)
                elif fault == "drop":
                    self.connection.close()
                    return
                elif fault == "garbage":
                    self.send(200, b"<html>no JSON</html>")
                    return
                elif fault == "schema":
                    self.answer(200, {"object": "chat.completion", "choices": [], "data": [{"path": "/tmp/x.png"}]})
                    return
                elif fault is not None:
                    self.answer(fault, {"error": {"message": f"status {fault}"}})
                    return
                self.answer(200, owner.made(self.path, request))

            def answer(self, status, body):
                self.send(status, json.dumps(body).encode())

            def send(self, status, data):
                try:
                    self.send_response(status)
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(data)))
                    self.end_headers()
                    self.wfile.write(data)
                except OSError:
                    pass  # who asked has gone

            def log_message(self, *args):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.http.daemon_threads = True
        self.port = self.http.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def made(self, path, request):
        if path.endswith("/images/generations"):
            buffer = io.BytesIO()
            self.picture.save(buffer, format="PNG")
            return {"created": 0, "data": [{"b64_json": base64.b64encode(buffer.getvalue()).decode()}]}
        message = {"role": "assistant", "content": self.say(request)}
        usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return {"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": usage}

    def close(self):
        self.http.shutdown()
        self.http.server_close()
