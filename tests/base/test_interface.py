"""gloo is told an interface where the host's own name leads to itself alone."""

import socket
import sys

import pytest

from align_lab.base import interface
from align_lab.base.interface import gloo_interface, interfaces

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="interfaces are asked for as Linux names them")
TWO_NODES = {"WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.1.1"}


def named(monkeypatch, address):
    """The host's name has this address."""
    monkeypatch.setattr(socket, "gethostbyname", lambda name: address)


def test_the_interfaces_of_this_machine_have_addresses():
    assert dict(interfaces())["lo"] == "127.0.0.1"


def test_a_name_that_others_can_reach_needs_nothing(monkeypatch):
    named(monkeypatch, "10.1.2.3")
    assert gloo_interface(TWO_NODES) is None


def test_what_the_user_has_set_stays(monkeypatch):
    named(monkeypatch, "127.0.1.1")
    assert gloo_interface({**TWO_NODES, "GLOO_SOCKET_IFNAME": "ib0"}) is None


@pytest.mark.parametrize("env", [{}, {"WORLD_SIZE": "2"}, {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}])
def test_processes_of_one_machine_talk_over_its_loopback(monkeypatch, env):
    named(monkeypatch, "127.0.1.1")
    assert gloo_interface(env) == "lo"


@pytest.mark.parametrize("env", [TWO_NODES, {"WORLD_SIZE": "2", "SLURM_NNODES": "2", "MASTER_ADDR": "127.0.1.1"}])
def test_nodes_talk_over_the_interface_that_leads_elsewhere_also_on_the_masters_own(monkeypatch, env):
    named(monkeypatch, "127.0.1.1")
    monkeypatch.setattr(interface, "interfaces", lambda: iter([("lo", "127.0.0.1"), ("ib0", "10.1.2.3")]))
    assert gloo_interface(env) == "ib0"
    routes = {"node0": "10.9.9.9", interface.ELSEWHERE: "10.1.2.3"}
    monkeypatch.setattr(interface, "_source", lambda target: routes.get(target, "127.0.0.1"))
    both = [("eth0", "10.1.2.3"), ("ib0", "10.9.9.9")]
    monkeypatch.setattr(interface, "interfaces", lambda: iter(both))
    assert gloo_interface({**env, "MASTER_ADDR": "node0"}) == "ib0"
    assert gloo_interface(env) == "eth0"


def test_a_host_without_an_address_is_as_one_that_leads_to_itself(monkeypatch):
    def unknown(name):
        raise OSError

    monkeypatch.setattr(socket, "gethostbyname", unknown)
    assert gloo_interface({}) == "lo"
