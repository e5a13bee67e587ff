"""How a service is reached: its address, its key by the name of an environment variable, retries.

The key is read when it is sent. It is in no config, record, log or message.
"""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from align_lab.base.errors import RewardError
from align_lab.base.registry import checked, param


@checked
@dataclass(frozen=True, kw_only=True)
class Connection:
    """How a service is reached. None of these fields changes an answer, so a run may continue with other ones."""

    concurrency: int = param(16, "requests at the same time, of each process", low=1)
    timeout: float = param(60.0, "seconds to wait for an answer", above=0)
    retries: int = param(
        6, "further attempts after 408, 429, 500, 502, 503, 504, a timeout or a lost connection", low=0
    )
    longest_wait: float = param(
        60.0, "longest pause between two attempts in seconds, where the service asks for none (Retry-After)", above=0
    )
    allow_http: bool = param(False, "send the key over plain http to another machine, where others can read it")


@dataclass(frozen=True, kw_only=True)
class Address:
    """The URL of a service, and the name of the environment variable with its key; None: it needs no key."""

    url: str
    key_env: str | None

    @property
    def base(self) -> str:
        """The URL without a slash at its end."""
        return self.url.rstrip("/")

    @property
    def loopback(self) -> bool:
        """Is the service on this machine?"""
        return is_loopback(urlsplit(self.url).hostname or "")

    def headers(self) -> dict[str, str]:
        """The headers of a request, with the key. Raises RewardError if its environment variable is not set."""
        headers = {"Content-Type": "application/json"}
        if self.key_env:
            headers["Authorization"] = f"Bearer {self._key()}"
        return headers

    def hide(self, text: str) -> str:
        """The text of a service, which may repeat the key that it got, without the key."""
        key = os.environ.get(self.key_env or "", "").strip()
        return text.replace(key, "***") if key else text

    def problems(self, *, example: str, allow_http: bool) -> list[str]:
        """What is wrong with the address. `example`: a URL to show."""
        if not self.url:
            return [f"it needs the address of a service. Set url={example}"]
        parts = _split(self.url)
        if isinstance(parts, str):
            return [f"url={self.url} {parts}. Set for example url={example}"]
        messages: list[str] = []
        if parts.username or parts.password or parts.query or parts.fragment:  # the value may be a secret: not shown
            messages.append(
                "url has a user name, a query or a fragment, which records would show. Set the address alone, and "
                "name the environment variable with the key: key_env=NAME"
            )
        elif self.key_env and parts.scheme == "http" and not self.loopback and not allow_http:
            messages.append(
                f"url={self.url} would send the key in {self.key_env} over plain http, where others can read it. Use "
                "https, set key_env=null if the service needs no key, or connection.allow_http=true in a network that "
                "you trust"
            )
        if self.key_env and not os.environ.get(self.key_env, "").strip():
            messages.append(self._without_key())
        return messages

    def _key(self) -> str:
        key = os.environ.get(self.key_env or "", "").strip()
        if not key:
            raise RewardError(self._without_key())
        if not key.isascii() or not key.isprintable():
            raise RewardError(f"the environment variable {self.key_env} holds characters that no key has")
        return key

    def _without_key(self) -> str:
        return (
            f"the environment variable {self.key_env} is not set, and the key of {self.url} is read from it. Type "
            f"export {self.key_env}=..., name another variable with key_env=NAME, or set key_env=null for a service "
            "without a key"
        )


def _split(url: str) -> SplitResult | str:
    """The parts of a URL, or what is wrong with it."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        return f"is no address ({error})"
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return "is no address of the form https://HOST/PATH"
    if not url.isprintable() or " " in url:
        return "holds blanks or control characters"
    return parts


def is_loopback(host: str) -> bool:
    """Does this name or number of a host mean this machine?"""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
