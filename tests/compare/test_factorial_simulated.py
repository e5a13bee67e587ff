"""Do intervals and tests of factors keep their promise? Studies of a fraction are drawn, with seeds of known spread.

More studies than here were drawn for what the docstrings of `effects` state: 3,000 of each kind.
"""

from __future__ import annotations

import numpy as np
import pytest

from align_lab.base.design import fraction
from align_lab.compare.factorial import effects
from align_lab.compare.factorial.effects import Cells
from align_lab.compare.factorial.model import Model

STUDIES = 400
LEVELS = {name: tuple(map(str, range(count))) for name, count in zip("abcd", (4, 3, 4, 4), strict=True)}
CELLS = [tuple(map(str, cell)) for cell in fraction((4, 3, 4, 4)) or []]
MODEL = Model(levels=LEVELS, cells=CELLS)
WEIGHTS = [MODEL.weights(MODEL.row(name, level)) for name, levels in LEVELS.items() for level in levels[1:]]
PROJECTORS = [*(MODEL.main(name) for name in LEVELS), MODEL.rest([])]
SPREADS = {
    "equal": np.ones(16),
    "from 1 to 10": np.random.default_rng(0).permutation(np.geomspace(1, 10, 16)),
    "large in one level": np.array([10.0 if cell[2] == "0" else 1.0 for cell in CELLS]),
}


def drawn(spread, seeds):
    """Studies without any effect."""
    rng = np.random.default_rng(seeds)
    return [Cells.of(spread[:, None] * rng.normal(size=(16, seeds))) for _ in range(STUDIES)]


def at_most(share):
    """A share of the studies that chance may give, four standard errors above it."""
    return share + 4 * np.sqrt(share * (1 - share) / STUDIES)


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("name", SPREADS)
def test_intervals_cover_and_corrected_ones_hold_together(name, seeds):
    studies = drawn(SPREADS[name], seeds)
    alone = [[effects.contrast(one, weights, confidence=0.95).gap for weights in WEIGHTS] for one in studies]
    missed = np.mean([[gap.low > 0 or gap.high < 0 for gap in gaps] for gaps in alone])
    assert 0.02 < missed < 0.06, "eleven intervals a study: far more than four standard errors"
    corrected = [
        [effects.contrast(one, weights, confidence=1 - 0.05 / 11).p * 11 for weights in WEIGHTS] for one in studies
    ]
    assert np.mean([min(each) < 0.05 for each in corrected]) < at_most(0.05)


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("name", SPREADS)
def test_no_factor_is_said_to_matter_where_none_does(name, seeds):
    p = np.array([[effects.test(one, projector).p for projector in PROJECTORS] for one in drawn(SPREADS[name], seeds)])
    assert np.mean(p < 0.05) < at_most(0.05)
    assert np.mean(p.min(1) * len(PROJECTORS) < 0.05) < at_most(0.05)


def test_an_effect_is_seen_and_its_interval_holds_it():
    rng = np.random.default_rng(1)
    truth = np.array([float(cell[2] == "1") for cell in CELLS])
    studies = [Cells.of(truth[:, None] + 0.5 * rng.normal(size=(16, 5))) for _ in range(STUDIES)]
    weights = MODEL.weights(MODEL.row("c", "1"))
    assert weights is not None
    gaps = [effects.contrast(one, weights, confidence=0.95).gap for one in studies]
    assert 0.92 < np.mean([gap.low <= 1 <= gap.high for gap in gaps]) < 0.98
    assert np.mean([effects.test(one, PROJECTORS[2]).p < 0.01 for one in studies]) > 0.95
    share = 0.1875 / (0.1875 + 0.25)  # the variance of a quarter of the cells that are 1 higher, and that of seeds
    parts = [effects.shares(one, PROJECTORS)[2] for one in studies]
    assert np.mean([one.value for one in parts]) == pytest.approx(share, abs=0.02)
    assert np.mean([one.low <= share <= one.high for one in parts]) > 0.92


def test_the_usual_f_would_not_keep_its_promise_where_one_cell_varies_more():
    """What the test of cells that vary unequally is for."""
    spread = np.where(np.arange(16) == 3, 10.0, 1.0)
    studies = drawn(spread, 5)
    own = np.mean([effects.test(one, PROJECTORS[1]).p < 0.05 for one in studies])
    signals = np.array([one.means @ PROJECTORS[1] @ one.means / 2 / (one.within / 5) for one in studies])
    usual = np.mean(signals > 3.14)  # the 95 % point of F with 2 and 64 degrees of freedom, from a table
    assert own < 0.1 < usual
