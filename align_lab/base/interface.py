"""The network interface over which the processes of a run reach each other."""

from __future__ import annotations

import fcntl
import socket
import struct
from collections.abc import Iterator, Mapping
from contextlib import suppress

SIOCGIFADDR = 0x8915  # of Linux: the IPv4 address of an interface
ELSEWHERE = "192.0.2.1"  # an address of no machine (RFC 5737); its route is asked for, and nothing is sent


def gloo_interface(env: Mapping[str, str]) -> str | None:
    """The interface that gloo must be told (GLOO_SOCKET_IFNAME); None where it finds the right one, or is told already.

    gloo takes the address of the host's own name, which Debian maps to 127.0.1.1: other nodes cannot reach that.
    """
    if "GLOO_SOCKET_IFNAME" in env or not _is_loopback(_own_address()):
        return None
    names = {address: name for name, address in interfaces()}
    if not _spans_nodes(env):
        return names.get("127.0.0.1")
    towards = (_source(env.get("MASTER_ADDR", "")), _source(ELSEWHERE))  # on the master's own node the first is a loop
    reachable = [names[one] for one in (*towards, *names) if one in names and not _is_loopback(one)]
    return next(iter(reachable), None)


def interfaces() -> Iterator[tuple[str, str]]:
    """(name, IPv4 address) of the interfaces of this machine that have one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        for _, name in socket.if_nameindex():
            with suppress(OSError):
                reply = fcntl.ioctl(asked.fileno(), SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
                yield name, socket.inet_ntoa(reply[20:24])


def _spans_nodes(env: Mapping[str, str]) -> bool:
    """Does the run have processes on several machines?"""
    world = int(env.get("WORLD_SIZE", 1))
    return int(env.get("SLURM_NNODES", 1)) > 1 or int(env.get("LOCAL_WORLD_SIZE", world)) < world


def _source(target: str) -> str:
    """The address of this machine from which packets to `target` would be sent; "" if there is no route."""
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unused:
        unused.connect((target, 9))
        return unused.getsockname()[0]
    return ""


def _own_address() -> str:
    """The address of this host's name; "" if it has none."""
    with suppress(OSError):
        return socket.gethostbyname(socket.gethostname())
    return ""


def _is_loopback(address: str) -> bool:
    return not address or address.startswith("127.")
