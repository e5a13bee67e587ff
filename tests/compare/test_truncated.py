"""A comparison says which arms were trained on samples of a truncated distribution."""

import pytest

from align_lab.compare.analysis import analyze
from tests.compare.folders import write_run

SAID = "completions were sampled from a truncated distribution, and log-probabilities are of the full one"


@pytest.mark.parametrize(
    ("nuclei", "named"),
    [
        ({"rloo": 1.0, "dpo": 1.0}, ""),
        ({"rloo": 0.9, "dpo": 0.9}, "rloo (0.9) and dpo (0.9)"),
        ({"rloo": 0.95, "dpo": 1.0}, "rloo (0.95)"),
    ],
)
def test_arms_that_sampled_from_a_nucleus_are_named(tmp_path, nuclei, named):
    for seed in range(3):
        for arm, score in (("rloo", 1.0), ("dpo", 0.5)):
            config = {"sampling.top_p": nuclei[arm]}
            write_run(tmp_path / "st", arm, seed, (0.0, 0.1 * seed, score + 0.1 * seed), config=config)
    notes = [note for note in analyze([tmp_path / "st"], allow=["sampling.top_p"])["notes"] if SAID in note]
    assert len(notes) == bool(named)
    assert all(note.startswith(f"sampling.top_p is below 1 in {named}: ") for note in notes)
