"""Components by name: what a class or a plug-in that is not as it should be is told."""

from dataclasses import dataclass

import pytest

from align_lab.base import registry
from align_lab.base.contracts import Reward
from align_lab.base.errors import ConfigError
from align_lab.base.registry import param


@dataclass(frozen=True, kw_only=True)
class Half(Reward):
    """A reward without a scorer."""


@registry.checked
@dataclass(frozen=True, kw_only=True)
class Bounded:
    """Fields with bounds."""

    share: float = param(0.5, "a share", above=0, high=1)
    free: float = param(0.0, "any number")


def test_a_component_that_lacks_a_method_of_its_contract_is_named_with_the_method():
    with pytest.raises(ConfigError, match="Half does not define load, which the contract of its kind asks for"):
        registry.construct(Half, {})


def test_a_plugin_that_raises_when_it_is_imported_is_named_with_its_error_and_line(tmp_path, monkeypatch):
    (tmp_path / "broken_plugin_lab.py").write_text("x = 1\ny = x / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=r"ZeroDivisionError: division by zero \(broken_plugin_lab.py, line 2\)"):
        registry.scan(("broken_plugin_lab",))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"share": 0.0}, r"share must be > 0 and <= 1 \(got 0.0\)"),
        ({"share": 1.5}, r"share must be > 0 and <= 1 \(got 1.5\)"),
        ({"share": float("nan")}, r"share must be > 0 and <= 1 \(got nan\)"),
        ({"free": float("nan")}, r"free must be a number \(got nan\)"),
    ],
)
def test_a_value_outside_its_bounds_is_refused_with_what_is_allowed(fields, message):
    with pytest.raises(ConfigError, match=message):
        Bounded(**fields)


def test_values_at_the_allowed_ends_are_accepted():
    assert Bounded(share=1.0, free=-1e9).share == 1.0
