"""The columns of a design: what can be estimated from its cells, and what is mixed with what. Pure numpy.

Of each factor, a column for each level but the first: 1 where a cell has it. The model of main effects is least squares
over the means of cells, each with the same weight, so that a cell with more seeds does not shift an effect.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from align_lab.compare.statistics import Floats

ZERO = 1e-9
Pair = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Model:
    """levels: factor -> its levels, the first the one that others are compared with. cells: the levels of each cell."""

    levels: Mapping[str, Sequence[str]]
    cells: Sequence[tuple[str, ...]]

    @cached_property
    def blocks(self) -> Mapping[str, Floats]:
        """Factor -> columns [C, levels - 1]."""
        return {
            factor: np.array([[cell[place] == level for level in levels[1:]] for cell in self.cells], dtype=float)
            for place, (factor, levels) in enumerate(self.levels.items())
        }

    @cached_property
    def columns(self) -> Floats:
        """The mean and all main effects [C, 1 + Σ (levels - 1)]."""
        return np.hstack([np.ones((len(self.cells), 1)), *self.blocks.values()])

    @cached_property
    def inverse(self) -> Floats:
        """Least squares: the coefficients from the means of the cells."""
        return np.asarray(np.linalg.pinv(self.columns), dtype=float)

    def without(self, factor: str) -> Floats:
        """The mean and the main effects of the others."""
        others = [block for name, block in self.blocks.items() if name != factor]
        return np.hstack([np.ones((len(self.cells), 1)), *others])

    @property
    def is_estimable(self) -> bool:
        """Can these cells tell all main effects?"""
        return int(np.linalg.matrix_rank(self.columns)) == self.columns.shape[1]

    def row(self, factor: str, level: str) -> Floats:
        """The coefficient of a level: its effect against the first."""
        place = [(name, each) for name, levels in self.levels.items() for each in levels[1:]].index((factor, level))
        return np.eye(self.columns.shape[1])[1 + place]

    def weights(self, row: Floats) -> Floats | None:
        """Of the means of cells, for a combination of coefficients; None where these cells cannot give it."""
        found = row @ self.inverse
        return found if np.allclose(found @ self.columns, row, atol=1e-8) else None

    def main(self, factor: str) -> Floats:
        """The projector on what a factor does beyond all others [C, C]."""
        return projector(self.blocks[factor], self.without(factor))

    @cached_property
    def pairs(self) -> Mapping[Pair, Floats]:
        """Two factors -> the products of their columns."""
        return {
            (a, b): np.einsum("ci,cj->cij", self.blocks[a], self.blocks[b]).reshape(len(self.cells), -1)
            for a, b in itertools.combinations(self.levels, 2)
        }

    def interactions(self) -> dict[Pair, Floats]:
        """Two factors -> the projector on their interaction, of those that can be told from all other effects of one
        and of two factors.
        """
        found = {}
        for pair, block in self.pairs.items():
            others = [each for name, each in self.pairs.items() if name != pair]
            part = projector(block, np.hstack([self.columns, *others]))
            if round(float(np.trace(part))) == block.shape[1]:
                found[pair] = part
        return found

    def mixed_with(self, factor: str) -> list[Pair]:
        """Interactions of two other factors that shift an effect of this one."""
        return [pair for pair in self.pairs if factor not in pair and self._shifted(factor, pair)]

    def _shifted(self, factor: str, pair: Pair) -> bool:
        own = np.hstack([np.ones((len(self.cells), 1)), *(self.blocks[name] for name in pair)])
        pure = _beyond(self.pairs[pair], own)
        places = [place for place, name in enumerate(self._owners, 1) if name == factor]
        return bool(np.abs(self.inverse[places] @ pure).max(initial=0.0) > 1e-6)

    @property
    def _owners(self) -> Iterator[str]:
        """The factor of each column after the first."""
        return itertools.chain.from_iterable([name] * block.shape[1] for name, block in self.blocks.items())

    def rest(self, pairs: Collection[Pair]) -> Floats:
        """The projector on what main effects and these interactions leave between the cells."""
        explained = np.hstack([self.columns, *(self.pairs[pair] for pair in pairs)])
        return projector(np.eye(len(self.cells)), explained)


def projector(columns: Floats, others: Floats) -> Floats:
    """On the part of these columns that the others do not hold [C, C]."""
    left, size, _ = np.linalg.svd(_beyond(columns, others), full_matrices=False)
    basis = left[:, size > ZERO * max(1.0, float(size.max(initial=0.0)))]
    return basis @ basis.T


def _beyond(columns: Floats, others: Floats) -> Floats:
    return columns - others @ (np.linalg.pinv(others) @ columns)
