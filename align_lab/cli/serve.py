"""`align_lab serve reward=...`: a reward behind HTTP, for `reward=remote` of other runs and machines."""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from align_lab.base import answer
from align_lab.base.errors import ConfigError
from align_lab.cli.arguments import Arguments
from align_lab.rewards.connection import is_loopback

if TYPE_CHECKING:
    from align_lab.base.run_config import RunConfig
    from align_lab.base.task import Scorer
    from align_lab.rewards.score_queue import ScoreQueue

ABOUT = """\
Serve a reward over HTTP: POST /v1/score for reward=remote, GET /health. A trained reward is built first, as for a run.

Other words are those of a run: reward=..., reward.FIELD=..., data=..., model=..., hardware=..., plugins=[...].
"""
OPTIONS = {  # word -> (default, meaning)
    "host": ("127.0.0.1", "address to listen on; another one than this machine's own needs token_env"),
    "port": ("8000", "port; 0: any free one, which is printed"),
    "token_env": ("", "environment variable with the token that clients must send (their reward.key_env)"),
    "queue": ("1024", "completions that may wait; beyond it requests are answered 503 with Retry-After"),
    "batch": ("64", "completions of several requests that are scored together"),
    "request_mb": ("16", "largest request in MiB"),
}
EXAMPLES = """\
examples:
  align_lab serve reward=human_ratings
  SCORES=secret align_lab serve reward=python reward.file=my_reward.py host=0.0.0.0 token_env=SCORES
  align_lab reward=remote reward.url=http://127.0.0.1:8000         a run that uses it
"""
GRACE = 30  # seconds that requests in progress have once the server is asked to stop


@dataclass(frozen=True, kw_only=True)
class Serving:
    """How a reward is served."""

    host: str
    port: int
    token_env: str
    queue: int
    batch: int
    request_mb: int

    @property
    def loopback(self) -> bool:
        """Can only this machine reach it?"""
        return is_loopback(self.host)

    def token(self) -> str | None:
        """Raises ConfigError where a token is needed or named, and there is none."""
        token = os.environ.get(self.token_env, "").strip() if self.token_env else ""
        if self.token_env and not token:
            raise ConfigError(
                f"the environment variable {self.token_env} is not set: type export {self.token_env}=..., a long secret"
            )
        if not token and not self.loopback:
            raise ConfigError(
                f"host={self.host} can be reached from other machines, so a token is needed: type export "
                "SCORES_TOKEN=..., a long secret, and token_env=SCORES_TOKEN. Or leave out host= to serve this machine"
            )
        return token or None

    def listen(self) -> socket.socket:
        """The socket. Raises ConfigError where it cannot be opened."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        try:
            return socket.create_server((self.host, self.port), family=family)
        except (OSError, OverflowError) as error:
            raise ConfigError(
                f"host={self.host} port={self.port} cannot be listened on ({error}). Choose another port, or port=0"
            ) from None


def serve(args: Sequence[str]) -> int:
    """Serve until SIGTERM or Ctrl-C; requests in progress are answered first."""
    words = _parser().parse_args(args).words
    serving = _serving([word for word in words if word.partition("=")[0] in OPTIONS])
    token = serving.token()
    for package in ("fastapi", "uvicorn", "pydantic"):
        _require(package)
    from align_lab.config import composition

    cfg = composition.compose([word for word in words if word.partition("=")[0] not in OPTIONS])
    with serving.listen() as listener:
        return _serve(cfg, serving, token, listener)


def _parser() -> Arguments:
    listed = "\n".join(f"  {f'{word}={default}':<16}  {text}" for word, (default, text) in OPTIONS.items())
    parser = Arguments(
        prog="align_lab serve",
        description=f"{ABOUT}\nfields of the server:\n{listed}",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("words", nargs="*", metavar="FIELD=VALUE", help="fields of the server and of a run")
    return parser


def _serving(words: Sequence[str]) -> Serving:
    """Raises ConfigError for a field that is not a whole number."""
    values: dict[str, Any] = {word: default for word, (default, _) in OPTIONS.items()}
    values |= {word.partition("=")[0]: word.partition("=")[2] for word in words}
    for name, least in {"port": 0, "queue": 1, "batch": 1, "request_mb": 1}.items():
        if not str(values[name]).isdecimal() or int(values[name]) < least:
            raise ConfigError(
                f"{name}={values[name]} must be a whole number from {least}, for example {name}={OPTIONS[name][0]}"
            )
        values[name] = int(values[name])
    return Serving(**values)


def _require(package: str) -> None:
    from align_lab.base import registry

    if not registry.installed(package):
        raise ConfigError(f"serve needs the package {package}, which is not installed: pip install 'align_lab[serve]'")


def _serve(cfg: RunConfig, serving: Serving, token: str | None, listener: socket.socket) -> int:
    from align_lab.rewards.score_queue import ScoreQueue
    from align_lab.rewards.score_server import Gate, app_of
    from align_lab.run import device

    scorer = _load(cfg)
    queues: list[ScoreQueue] = []

    def make_queue() -> ScoreQueue:
        def prepare() -> object:
            return device.use(cfg.hardware.numerics, tiny=cfg.model.tiny)

        queues.append(ScoreQueue(scorer, most=serving.queue, batch=serving.batch, prepare=prepare))
        return queues[0]

    hosts = frozenset({"localhost", "127.0.0.1", "[::1]", serving.host}) if serving.loopback else None
    gate = Gate(token=token, largest=serving.request_mb << 20, hosts=hosts, log=_log)
    about = {"reward": cfg.values["reward"]["name"], "parts": list(cfg.reward.parts())}
    host = f"[{serving.host}]" if ":" in serving.host else serving.host
    _log(f"serving reward={about['reward']} at http://{host}:{listener.getsockname()[1]}")
    answer.give({**about, "address": f"http://{host}:{listener.getsockname()[1]}"})
    _run_server(app_of(make_queue, about=about, gate=gate), listener)
    if queues and queues[0].busy:  # its thread would keep the process for as long as the reward takes
        _log("stopped; completions that were still being scored are abandoned")
        sys.stdout.flush()
        os._exit(0)
    _log("stopped")
    return 0


def _load(cfg: RunConfig) -> Scorer:
    """The scorer; what it is trained on is built or loaded as for a run."""
    from align_lab.record.console import Screen
    from align_lab.run import device, experiment
    from align_lab.stages.dependencies import data_stage, reward_stages

    device.use(cfg.hardware.numerics, tiny=cfg.model.tiny)
    required = reward_stages(
        cfg.values["reward"], data_stage(cfg.values["data"]), cfg.values["model"], form=cfg.data.prompt_form
    )
    with Screen(live=False) as screen:
        built = experiment.build(required, screen)
    return cfg.reward.load_from({name: artefact.path for name, artefact in built.items()})


def _run_server(app: Any, listener: socket.socket) -> None:
    import uvicorn

    class Server(uvicorn.Server):
        """Ends with status 0 on SIGTERM and Ctrl-C; uvicorn's own raises the signal again."""

        @contextmanager
        def capture_signals(self) -> Generator[None]:
            previous = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGTERM, signal.SIGINT)}
            try:
                yield
            finally:
                for number, handler in previous.items():
                    signal.signal(number, handler)

    config = uvicorn.Config(
        app,
        loop="asyncio",
        lifespan="on",
        log_config=None,
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=GRACE,
    )
    Server(config).run(sockets=[listener])


def _log(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)
