"""A reward server of this package in a thread of the test, around any scorer."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager

import uvicorn

from align_lab.rewards.score_queue import ScoreQueue
from align_lab.rewards.score_server import Gate, app_of


class Running:
    """A running server: its address, its queue and its log."""

    def __init__(self, url, log, queues):
        self.url, self.log, self._queues = url, log, queues

    @property
    def queue(self):
        return self._queues[0]


@contextmanager
def score_server(scorer, *, token=None, most=1024, batch=64, largest=1 << 20, hosts=None):
    log, queues = [], []

    def make_queue():
        queues.append(ScoreQueue(scorer, most=most, batch=batch))
        return queues[0]

    gate = Gate(token=token, largest=largest, hosts=hosts, log=log.append)
    app = app_of(make_queue, about={"reward": "mine", "parts": []}, gate=gate)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, log_level="error", loop="asyncio", lifespan="on"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.005)
        try:
            yield Running(f"http://127.0.0.1:{listener.getsockname()[1]}", log, queues)
        finally:
            server.should_exit = True
            thread.join()
