"""`sampling.top_p` below 1 biases gradient and KL: the run says so at its start."""

from __future__ import annotations

import pytest

from align_lab.base.settings import Sampling
from align_lab.run import experiment
from tests.wiring.conftest import REWARD, configured


@pytest.mark.parametrize(("algo", "top_p", "said"), [("rloo", 0.9, True), ("rloo", 1.0, False), ("dpo", 0.9, False)])
def test_a_run_that_samples_from_a_nucleus_says_what_that_biases(
    algo, top_p, said, tmp_path, monkeypatch, store, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ALIGN_LAB_CACHE", str(store.root.parent))
    cfg = configured(
        (f"algo={algo}", f"sampling.top_p={top_p}", "train.steps=1", "record.progress=false"), reward=REWARD
    )
    assert experiment.run(cfg) == 0
    shown = " ".join("".join(capsys.readouterr()).split())
    assert ("sampling.top_p=0.9: completions are sampled from a truncated distribution" in shown) == said


def test_the_caution_names_the_value_and_what_to_type():
    assert Sampling().caution == "" == Sampling(top_p=1.0).caution
    caution = Sampling(top_p=0.95).caution
    assert "sampling.top_p=0.95" in caution and "gradient and the KL are biased" in caution and "top_p=1 " in caution
