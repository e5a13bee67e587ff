"""Every nightly test has its turn, and nothing is left out where tests are named."""

import os
import string
import subprocess
import sys

import pytest

from tests import forked, rotation

NODES = [f"tests/some/test_file.py::test_of_algorithms[{name}]" for name in string.ascii_lowercase]


def test_the_parts_are_all_and_each_is_some():
    parts = [{node for node in NODES if rotation.part(node) == which} for which in range(rotation.PARTS)]
    assert set().union(*parts) == set(NODES) and sum(map(len, parts)) == len(NODES)
    assert all(len(part) >= 2 for part in parts)


def test_commits_take_turns():
    turns = [rotation.turn("", f"{number:040x}") for number in range(60)]
    assert set(turns) == {*range(rotation.PARTS)} and rotation.turn("", "abc") == rotation.turn("turn", "abc")
    assert rotation.turn("all", "abc") is None and rotation.turn("1", "abc") == 1
    with pytest.raises(ValueError, match="allowed: all, turn, 0, 1, 2, 3, 4, 5"):
        rotation.turn("6", "abc")


def test_a_family_that_is_needed_at_once_takes_turns_too(monkeypatch):
    parts, letters = [], string.ascii_lowercase
    for which in range(rotation.PARTS):
        monkeypatch.setenv(rotation.VARIABLE, str(which))
        parts.append(rotation.in_turn(letters, "zero1"))
        assert parts[-1] != rotation.in_turn(letters, "zero2")
    assert sorted(name for part in parts for name in part) == list(letters) and all(parts)
    monkeypatch.setenv(rotation.VARIABLE, "all")
    assert rotation.in_turn("ab", "x") == ["a", "b"]


def collected(*words, env):
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *words]
    done = subprocess.run(command, cwd=env.pop("HERE"), env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return {line for line in done.stdout.splitlines() if "::" in line}


def test_the_whole_suite_leaves_out_what_has_its_turn_later_and_a_named_file_nothing(tmp_path):
    """A suite of its own, with this conftest."""
    folder = tmp_path / "tests"
    folder.mkdir()
    for name in ("__init__.py", "conftest.py", "rotation.py"):
        (folder / name).write_text((forked.ROOT / "tests" / name).read_text())
    (folder / "test_some.py").write_text(
        "import pytest\n\n@pytest.mark.nightly\n@pytest.mark.parametrize('i', range(30))\ndef test_a(i): pass\n"
        "def test_b(): pass\n"
    )
    (tmp_path / "pytest.ini").write_text("[pytest]\ntestpaths = tests\nmarkers = nightly\n")
    own = (rotation.VARIABLE, "PYTEST_ADDOPTS")
    base = {key: value for key, value in os.environ.items() if key not in own and "XDIST" not in key}
    base |= {"PYTHONPATH": f"{tmp_path}{os.pathsep}{forked.ROOT}", "HERE": str(tmp_path)}
    parts = [collected(env={**base, rotation.VARIABLE: str(which)}) for which in range(rotation.PARTS)]
    assert all("tests/test_some.py::test_b" in part and 2 < len(part) < 25 for part in parts)
    assert len(set().union(*parts)) == 31 and sum(map(len, parts)) == 30 + rotation.PARTS
    assert collected("tests/test_some.py", env={**base, rotation.VARIABLE: "turn"}) in parts
    assert len(collected(env={**base, rotation.VARIABLE: "all"})) == 31
    assert len(collected("tests/test_some.py", env=dict(base))) == 31
