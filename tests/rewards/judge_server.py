"""An endpoint that speaks OpenAI's chat completions over real HTTP, with answers of a rule or of a language model.

As a program it is a server that dies after so many requests with a word: python -m tests.rewards.judge_server PORT
DIES_AFTER WORD
"""

from __future__ import annotations

import json
import os
import re
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY = "sk-a-key-of-a-test"


class Fault:
    """One response that is not an answer. status=0: the connection is closed; `seconds`: it hangs before."""

    def __init__(self, status=200, text="", *, seconds=0.0, headers=None):
        self.status, self.text, self.seconds, self.headers = status, text, seconds, headers or {}


class JudgeServer(ThreadingHTTPServer):
    """Answers each request with `answer(message)`; `faults` come first, one a request."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, answer, *, port=0, key=KEY, structured=True):
        self.answer, self.key, self.structured = answer, key, structured
        self.faults, self.requests, self.headers = [], [], []
        self.paths = {"/v1/chat/completions"}
        self.lock = threading.Lock()
        super().__init__(("127.0.0.1", port), Handler)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    @property
    def messages(self):
        return [body["messages"][-1]["content"] for body in self.requests]

    def handle_error(self, request, client_address):
        """A client that went away is no error of the server."""

    def respond(self, body):
        """(status, headers, text) of a request."""
        with self.lock:
            self.requests.append(body)
            fault = self.faults.pop(0) if self.faults else None
        if fault is not None:
            time.sleep(fault.seconds)
            return fault.status, fault.headers, fault.text
        if "response_format" in body and not self.structured:
            return 400, {}, json.dumps({"error": {"message": "response_format is not supported"}})
        message = body["messages"][-1]["content"]
        response = {
            "object": "chat.completion",
            "model": body["model"],
            "choices": [{"index": 0, "message": {"role": "assistant", "content": self.answer(message)}}],
            "usage": {"prompt_tokens": 100, "completion_tokens": 10},
        }
        return 200, {}, json.dumps(response)


class Handler(BaseHTTPRequestHandler):
    """POST to a known path."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.headers.append(dict(self.headers))
        if self.path not in self.server.paths:
            return self.send(404, {}, '{"error": "no such path"}')
        if self.server.key and self.headers.get("Authorization") != f"Bearer {self.server.key}":
            return self.send(401, {}, '{"error": "wrong key: ' + str(self.headers.get("Authorization")) + '"}')
        return self.send(*self.server.respond(body))

    def send(self, status, headers, text):
        if status == 0:
            self.close_connection = True
            return
        content = text.encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": len(content), **headers}.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args):
        """Silence."""


@contextmanager
def judge_server(answer, **settings):
    server = JudgeServer(answer, **settings)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def block(message, name):
    """The text between the tags of this name."""
    return re.search(rf"<{name}>\n(.*)\n</{name}>", message, re.DOTALL)[1]


def by_length(message):
    """A rule instead of a model: a longer completion is better, up to 10."""
    return json.dumps({"score": min(10, 1 + len(block(message, "completion")))})


def prefers_longer(message):
    first, second = len(block(message, "first")), len(block(message, "second"))
    return json.dumps({"winner": "tie" if first == second else "first" if first > second else "second"})


def main():
    port, dies_after, word = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]

    def answer(message):
        if dies_after and sum(word in earlier for earlier in server.messages) > dies_after:
            os._exit(1)
        return by_length(message)

    server = JudgeServer(answer, port=port)
    print("ready", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
