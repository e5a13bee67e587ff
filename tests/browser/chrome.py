"""A real Chromium, spoken to over its DevTools pipe: no port, no driver, no library.

Chromium reads commands from its file 3 and writes answers and events to its file 4, as JSON texts that end with a zero
byte.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --hide-scrollbars --remote-debugging-pipe "
    "--no-first-run --disable-background-networking --disable-component-update --disable-sync --mute-audio"
)
DRAWN = "document.documentElement.dataset.drawn === 'true'"  # all charts of the page are there
OPEN = "document.querySelectorAll('details.part').forEach((part) => { part.open = true; })"
ALL_DRAWN = "[...document.querySelectorAll('figure[data-chart]')].every((figure) => figure.dataset.drawn === 'true')"
PATIENCE = 300.0  # seconds for any one answer


def find() -> str | None:
    """The program, or None where there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """One process; commands in, answers and events out."""

    def __init__(self, process: subprocess.Popen[bytes], *, to: int, out: int) -> None:
        self._process, self._to, self._out = process, to, out
        self._rest, self._number = b"", 0
        self.events: list[dict[str, Any]] = []

    def call(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        """Send one command and wait for its answer; events that come between are kept."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params} | ({"sessionId": session} if session else {})
        sent = json.dumps(message).encode() + b"\0"
        while sent:
            sent = sent[os.write(self._to, sent) :]
        until = time.monotonic() + PATIENCE
        while (answer := self._read(until)).get("id") != self._number:
            self.events.append(answer)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def _read(self, until: float) -> dict[str, Any]:
        while b"\0" not in self._rest:
            if not select.select([self._out], [], [], max(0.0, until - time.monotonic()))[0]:
                raise TimeoutError(f"Chromium did not answer within {PATIENCE:g} s")
            read = os.read(self._out, 1 << 20)
            if not read:
                raise ConnectionError(f"Chromium ended with status {self._process.wait()}")
            self._rest += read
        text, _, self._rest = self._rest.partition(b"\0")
        return json.loads(text)

    @contextmanager
    def page(self, *, width: int = 1200, height: int = 900, media: dict[str, str] | None = None) -> Iterator[Page]:
        """An empty tab of that size, as a reader with those preferences has it; closed at the end."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, session)
        for domain in ("Page", "Runtime", "Network", "Log"):
            page.call(f"{domain}.enable")
        page.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        page.prefer(**(media or {}))
        try:
            yield page
        finally:
            self.call("Target.closeTarget", targetId=target)


class Page:
    """One tab."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser, self._session = browser, session

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        return self._browser.call(method, self._session, **params)

    def prefer(self, *, media: str = "", **features: str) -> None:
        """Media type ('print') and features: `color_scheme="dark"` stands for prefers-color-scheme."""
        named = [{"name": f"prefers-{key.replace('_', '-')}", "value": value} for key, value in features.items()]
        self.call("Emulation.setEmulatedMedia", media=media, features=named)

    def open(self, file: Path, *, ready: str = "true") -> None:
        """Load a file from disk and wait until the JavaScript expression `ready` holds."""
        self.call("Page.navigate", url=file.as_uri())
        self.wait(f"location.href === {json.dumps(file.as_uri())} && document.readyState === 'complete' && ({ready})")

    def unfold(self) -> None:
        """Open every part of the page and wait for its charts."""
        self.js(OPEN)
        self.wait(ALL_DRAWN)

    def wait(self, expression: str) -> None:
        until = time.monotonic() + PATIENCE
        while not self.js(f"Boolean({expression})"):
            if time.monotonic() > until:
                raise TimeoutError(f"never came true: {expression}; {self.errors()}")
            time.sleep(0.02)

    def js(self, expression: str) -> Any:
        """The JSON-able value of an expression; a promise is waited for."""
        got = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in got:
            raise RuntimeError(f"{expression}: {json.dumps(got['exceptionDetails'])[:800]}")
        return got["result"].get("value")

    def marks(self, chart: str) -> int:
        """Shapes that the data drew: points, lines, bars, cells; not axes."""
        drawn = f'figure[data-chart="{chart}"] .role-mark'
        return self.js(
            f"document.querySelectorAll('{drawn} > path, {drawn} > line, {drawn} > text, {drawn} > g > path').length"
        )

    def shown(self, selector: str) -> list[str]:
        """Texts of the elements that a reader sees."""
        return self.js(
            f"[...document.querySelectorAll('{selector}')].filter(e => e.checkVisibility()).map(e => "
            "e.innerText.trim())"
        )

    def click(self, selector: str) -> None:
        self.js(f"document.querySelector('{selector}').click()")

    def choose(self, chooser: str, value: str) -> None:
        self.js(
            f"{{const s = document.getElementById('{chooser}'); s.value = '{value}'; "
            "s.dispatchEvent(new Event('change'))}"
        )

    def press(self, key: str, *, code: int, text: str = "") -> None:
        """A key that a person presses: real events, so that focus moves and controls react."""
        named = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", type="keyDown", **named, **({"text": text} if text else {}))
        self.call("Input.dispatchKeyEvent", type="keyUp", **named)

    def hover(self, selector: str) -> None:
        """Move the pointer onto the middle of an element."""
        box = f"document.querySelector('{selector}')"
        self.js(f"{box}.scrollIntoView({{block: 'center', behavior: 'instant'}})")
        x, y = self.js(f"(r => [r.x + r.width / 2, r.y + r.height / 2])({box}.getBoundingClientRect())")
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x - 1, y=y)
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def screenshot(self, file: Path, *, whole: bool = False) -> None:
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
        file.write_bytes(base64.b64decode(data))

    def pdf(self, file: Path) -> None:
        file.write_bytes(base64.b64decode(self.call("Page.printToPDF", printBackground=False)["data"]))

    def events(self, method: str) -> list[dict[str, Any]]:
        """What this tab has reported under that name so far."""
        mine = [e for e in self._browser.events if e.get("sessionId") == self._session]
        return [event["params"] for event in mine if event["method"] == method]

    def requests(self) -> list[str]:
        """Addresses that the tab has asked for."""
        return [event["request"]["url"] for event in self.events("Network.requestWillBeSent")]

    def errors(self) -> list[str]:
        """Exceptions, and warnings and errors of the console and the browser."""
        thrown = [str(e["exceptionDetails"]) for e in self.events("Runtime.exceptionThrown")]
        said = [str(e["args"]) for e in self.events("Runtime.consoleAPICalled") if e["type"] in ("error", "warning")]
        logged = [e["entry"] for e in self.events("Log.entryAdded")]
        return thrown + said + [str(e) for e in logged if e["level"] in ("error", "warning")]


@contextmanager
def running(program: str, profile: Path) -> Iterator[Browser]:
    """Start Chromium with a profile folder of its own; it ends with the block."""
    (read_to, to), (out, write_out) = os.pipe(), os.pipe()
    start = (
        f"exec {shlex.quote(program)} {FLAGS} --user-data-dir={shlex.quote(str(profile))} 3<&{read_to} 4>&{write_out}"
    )
    process = subprocess.Popen(
        ["bash", "-c", start], pass_fds=(read_to, write_out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    os.close(read_to)
    os.close(write_out)
    try:
        browser = Browser(process, to=to, out=out)
        yield browser
        browser.call("Browser.close")
    finally:
        os.close(to)
        os.close(out)
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
