"""Small servers that speak as llama.cpp's, vLLM, SGLang, LM Studio and Ollama do, after their published schemas, with faults on order.

`Fake(kind, script)` answers the ids of `script(prompt ids)`; a resumed request, prompt and ids so far, gets what is left of them.
"""

import json
import re
import threading
import time
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MODELS = {
    "llama.cpp": {"data": [{"id": "voice.gguf", "owned_by": "llamacpp", "meta": {"n_vocab": 7436}}]},
    "vllm": {"data": [{"id": "voice", "owned_by": "vllm", "root": "voice", "parent": None}]},
    "sglang": {"data": [{"id": "voice", "owned_by": "sglang", "root": "voice"}]},
    "lm-studio": {
        "data": [
            {"id": "orpheus-3b-0.1-ft", "owned_by": "organization_owner"},
            {"id": "nomic-embed", "owned_by": "organization_owner"},
        ]
    },
    "ollama": {"data": [{"id": "orpheus:latest", "owned_by": "library"}]},
    "text": {"data": [{"id": "voice", "owned_by": "somebody"}]},
}
_JSON = ("Content-Type", "application/json")
PATHS = {
    "llama.cpp": "/completion",
    "vllm": "/v1/completions",
    "sglang": "/generate",
    "lm-studio": "/v1/completions",
    "ollama": "/api/generate",
    "text": "/v1/completions",
}


class Fake:
    """url, and what was asked: `requests` (path, body), `hung_up` (how many events each stream had sent when it was left)."""

    def __init__(self, kind, script, base, models=None, pages=None):
        self.kind, self.script, self.base = kind, script, base
        self.models, self.pages = MODELS[kind] if models is None else models, pages or {}
        self.requests, self.headers, self.hung_up, self.faults = [], [], [], []
        self.pause, self.key, self.running, self.most = 0.0, None, 0, 0
        self.lock = threading.Lock()

    # --- one schema each ---

    def prompt_of(self, body):
        if self.kind in ("llama.cpp", "vllm"):
            return body["prompt"]
        return body["input_ids"] if self.kind == "sglang" else body["prompt"]

    def left_of(self, body):
        for key in ("n_predict", "max_tokens"):
            if key in body:
                return body[key]
        return (body.get("sampling_params") or {}).get("max_new_tokens") or body["options"]["num_predict"]

    def events(self, body):
        """The events of an answer as JSON values."""
        prompt = self.prompt_of(body)
        if isinstance(prompt, str):
            done = [int(n) for n in re.findall(r"<custom_token_(\d+)>", prompt.split("<custom_token_1>")[-1])]
            asked = prompt
        else:
            asked, done = self.split(prompt)
        ids = self.script(asked)
        ids = ids[len(done) :][: self.left_of(body)]
        for count, index in enumerate(ids, 1):
            last = index == self.base + 2
            if self.kind == "llama.cpp":
                if last:
                    yield {"index": 0, "content": "", "tokens": [], "stop": True, "stop_type": "eos"}
                else:
                    yield {"index": 0, "content": "", "tokens": [index], "stop": False}
            elif self.kind == "vllm":
                choice = {"index": 0, "text": "", "token_ids": [index], "finish_reason": "stop" if last else None}
                yield {"object": "text_completion", "choices": [choice | {"stop_reason": index if last else None}]}
            elif self.kind == "sglang":
                reason = {"type": "stop", "matched": index} if last else None
                meta = {"completion_tokens": count, "finish_reason": reason}
                yield {"text": "", "output_ids": ids[:count], "meta_info": meta}
            else:
                yield self.text_event(f"<custom_token_{index - self.base}>", "stop" if last else None)
        if not ids or ids[-1] != self.base + 2:
            yield self.at_limit(ids)

    def split(self, prompt):
        ends = [place for place, index in enumerate(prompt) if index == self.base + 1]
        return prompt[: ends[-1] + 1], prompt[ends[-1] + 1 :]

    def text_event(self, text, end):
        if self.kind == "ollama":
            return {"response": text, "done": end is not None} | ({"done_reason": end} if end else {})
        return {"object": "text_completion", "choices": [{"index": 0, "text": text, "finish_reason": end}]}

    def at_limit(self, ids):
        if self.kind == "llama.cpp":
            return {"index": 0, "content": "", "tokens": [], "stop": True, "stop_type": "limit"}
        if self.kind == "vllm":
            return {
                "choices": [{"index": 0, "text": "", "token_ids": [], "finish_reason": "length", "stop_reason": None}]
            }
        if self.kind == "sglang":
            meta = {"completion_tokens": len(ids), "finish_reason": {"type": "length", "length": len(ids)}}
            return {"text": "", "output_ids": ids, "meta_info": meta}
        return self.text_event("", "length")


def _handler(fake):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments):
            pass

        def answer(self, status, body, headers=()):
            body = body if isinstance(body, bytes) else json.dumps(body).encode()
            headers = headers if any(name == "Content-Type" for name, _ in headers) else (*headers, _JSON)
            self.send_response(status)
            for name, value in (*headers, ("Content-Length", str(len(body)))):
                self.send_header(name, value)
            self.end_headers()
            with suppress(BrokenPipeError, ConnectionResetError):
                self.wfile.write(body)

        def do_GET(self):
            if fake.key and self.headers.get("Authorization") != f"Bearer {fake.key}":
                return self.answer(401, {"error": {"message": f"Invalid key {self.headers.get('Authorization')}"}})
            if self.path == "/v1/models" and fake.models:
                return self.answer(200, fake.models)
            if self.path in fake.pages:
                return self.answer(200, fake.pages[self.path])
            self.answer(404, {"error": "not found"})

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with fake.lock:
                fake.requests.append((self.path, body))
                fake.headers.append(dict(self.headers))
                fault = fake.faults.pop(0) if fake.faults else None
                fake.running += 1
                fake.most = max(fake.most, fake.running)
            self.counted = True
            try:
                self.speak(body, fault)
            finally:
                self.count_out()

        def count_out(self):
            with fake.lock:
                fake.running -= self.counted
            self.counted = False

        def speak(self, body, fault):
            if self.path != PATHS[fake.kind]:
                return self.answer(404, {"error": "File Not Found"})
            if isinstance(fault, tuple):  # (status, body, headers)
                return self.answer(*fault)
            lines = fake.kind == "ollama"
            self.send_response(200)
            self.send_header("Content-Type", "application/x-ndjson" if lines else "text/event-stream")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            sent = 0
            try:
                events = fake.events(body)
                event = next(events)
                while event is not None:
                    after = next(events, None)
                    if after is None:  # the client may leave at once and send its next request
                        self.count_out()
                    if isinstance(fault, int) and sent == fault:  # hangs up after so many events, in the middle of one
                        self.send(b'data: {"tok')
                        self.connection.shutdown(2)
                        return
                    if callable(fault):
                        event = fault(sent, event, self)
                    text = event if isinstance(event, bytes) else json.dumps(event).encode()
                    self.send(text + b"\n" if lines else b"data: " + text + b"\n\n")
                    sent, event = sent + 1, after
                    time.sleep(fake.pause)
                if not lines:
                    self.send(b"data: [DONE]\n\n")
                self.wfile.write(b"0\r\n\r\n")
            except (BrokenPipeError, ConnectionResetError):
                fake.hung_up.append(sent)

        def send(self, data):
            for part in (data[:7], data[7:]) if len(data) > 7 else (data,):  # cut anywhere
                self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))

    return Handler


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, address):
        """Clients hang up when they have what they want."""


@contextmanager
def serving(fake, port=0):
    """The fake at a free port of this machine, `fake.url`."""
    server = _Server(("127.0.0.1", port), _handler(fake))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    fake.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
