"""`benchmarks.gpu` asks a GPU: here the cases that a pretended one can answer, and what it says of one that errs."""

from __future__ import annotations

import pytest
import torch

from benchmarks import gpu
from tests.cuda.pretended import pretended_cuda


def test_a_pretended_gpu_computes_what_the_processor_does(capsys, tmp_path):
    assert gpu.main(["--pretended", "equations", "numbers", "--write", str(tmp_path / "table.md")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5 and all(line.startswith("ok ") for line in lines)
    table = (tmp_path / "table.md").read_text(encoding="utf-8")
    assert table.startswith("On a pretended GPU") and table.count("| holds |") == 5


def test_a_gpu_that_errs_is_found(monkeypatch, capsys):
    exact = gpu.logps
    monkeypatch.setattr(gpu, "logps", lambda model, ids: exact(model, ids) + 0.01 * model.head.is_cuda)
    assert gpu.main(["--pretended", "numbers"]) == 1
    wrong = [line for line in capsys.readouterr().out.splitlines() if line.startswith("NO ")]
    assert len(wrong) == 2 and "in float32" in wrong[0] and "|mean Δ|" in wrong[1]


def test_a_case_that_fails_is_a_line_and_the_next_one_is_still_asked(monkeypatch, capsys):
    def broken():
        raise RuntimeError("no kernel image is available\nfor execution")
        yield

    monkeypatch.setitem(gpu.CASES, "equations", broken)
    monkeypatch.setitem(gpu.CASES, "launches", lambda: iter([gpu.bounded("launches of nothing", 0, 1)]))
    assert gpu.main(["--pretended", "equations", "launches"]) == 1
    first, second = capsys.readouterr().out.splitlines()
    assert "RuntimeError: no kernel image is available (" in first and second.startswith("ok  launches")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_a_gpu_it_says_what_can_be_done(capsys):
    assert gpu.main([]) == 2
    assert "--pretended" in capsys.readouterr().err
    with pytest.raises(SystemExit), pretended_cuda():
        gpu.main(["--pretended", "memory"])
    assert "allowed: equations, numbers, launches" in capsys.readouterr().err
