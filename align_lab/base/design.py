"""Designs of studies with several factors: which combinations of levels are run. Whole numbers alone.

`full` is every combination. `fraction` is the smallest orthogonal array that holds the factors (Rao 1947; Hedayat,
Sloane and Stufken 1999, Orthogonal Arrays, chapter 3). At strength 2, every pair of levels of any two factors occurs in
equally many cells, so that no choice of one factor goes with that of another. At strength 4, so does every choice of
any four, which keeps two-way interactions apart as well (resolution V).

Its cells are the points x of GF(p)^k, and a factor reads some of the linear forms on them as the digits of its level:
factors whose forms are independent together are balanced. L4(2^3), L8(2^7), L9(3^4), L16(4^5) and L25(5^6) are of this
kind. A factor with fewer levels than its forms give counts on from its first level, which then has more cells; each of
its levels still meets every level of another factor in the same proportion.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

Cell = tuple[int, ...]  # the place of the level of each factor
Form = tuple[int, ...]  # coefficients of a linear form on GF(p)^k

MOST_CELLS = 128
PRIMES = (2, 3, 5, 7)
MOST_TRIES = 2000  # subspaces that are tried for an array before the next larger one is


@dataclass(frozen=True, kw_only=True)
class Design:
    """levels: factor -> its levels; the first is what the others are compared with. cells: arm -> its level of each
    factor, in the order of `levels`: all that were planned, whether or not they have run.
    """

    levels: Mapping[str, tuple[str, ...]]
    cells: Mapping[str, tuple[str, ...]]

    @property
    def combinations(self) -> int:
        """How many cells every combination of levels would be."""
        return math.prod(map(len, self.levels.values()))

    @property
    def is_full(self) -> bool:
        """Is every combination of levels a cell?"""
        return len(self.cells) == self.combinations

    @property
    def words(self) -> str:
        """`16 of 192 combinations of kl (4 levels), normalization (3), baseline (4) and aggregation (4)`."""
        first, *others = ((name, len(levels)) for name, levels in self.levels.items())
        factors = [f"{first[0]} ({first[1]} levels)", *(f"{name} ({count})" for name, count in others)]
        share = f"all {self.combinations}" if self.is_full else f"{len(self.cells)} of {self.combinations:,}"
        return f"{share} combinations of {', '.join(factors[:-1])} and {factors[-1]}"


def full(counts: Sequence[int]) -> list[Cell]:
    """Every combination; counts: how many levels each factor has."""
    return list(itertools.product(*map(range, counts)))


def fraction(counts: Sequence[int], *, strength: int = 2) -> list[Cell] | None:
    """The smallest orthogonal array of that strength with fewer cells than `full`; None where there is none."""
    most = min(MOST_CELLS, math.prod(counts) - 1)
    sizes = ((p**k, p, k) for p in PRIMES for k in range(2, 8) if p**k <= most)
    for _, p, k in sorted(sizes):
        if chosen := _subspaces(counts, strength, p, k):
            points = itertools.product(range(p), repeat=k)
            return sorted(_cell(point, chosen, counts, p) for point in points)
    return None


def _cell(point: Form, chosen: Sequence[Subspace], counts: Sequence[int], p: int) -> Cell:
    digits = (sum(_at(form, point, p) * p**i for i, form in enumerate(one.basis)) for one in chosen)
    return tuple(value % count for value, count in zip(digits, counts, strict=True))


def _at(form: Form, point: Form, p: int) -> int:
    return sum(a * x for a, x in zip(form, point, strict=True)) % p


@dataclass(frozen=True)
class Subspace:
    """Linear forms that are independent, and the lines of all that they span, each as its first form."""

    basis: tuple[Form, ...]
    lines: frozenset[Form]


def _subspaces(counts: Sequence[int], strength: int, p: int, k: int) -> list[Subspace] | None:
    """For each factor as many forms as its levels need, those of any `strength` factors independent together."""
    dimensions = [next(a for a in itertools.count(1) if p**a >= count) for count in counts]
    room = (p**k - 1) - sum(p**a - 1 for a in dimensions)
    if room < 0 or sum(sorted(dimensions)[-strength:]) > k:
        return None
    order = sorted(range(len(counts)), key=lambda factor: -dimensions[factor])
    search = _Search(p, k, strength, tuple(dimensions[factor] for factor in order), itertools.count())
    found = search.completed([])
    return found and [found[order.index(factor)] for factor in range(len(counts))]


@dataclass(frozen=True)
class _Search:
    p: int
    k: int
    strength: int
    dimensions: tuple[int, ...]
    tries: Iterator[int]

    def completed(self, chosen: list[Subspace]) -> list[Subspace] | None:
        """`chosen` and a subspace for each further factor; first those that keep main effects clear of interactions."""
        if len(chosen) == len(self.dimensions):
            return chosen
        taken = frozenset[Form]().union(*self._spans(chosen, self.strength - 1))
        pairs = self._spans(chosen, 2)
        free = [one for one in _all_subspaces(self.p, self.k, self.dimensions[len(chosen)]) if not one.lines & taken]
        for one in sorted(free, key=lambda one: sum(bool(one.lines & span) for span in pairs)):
            if next(self.tries) > MOST_TRIES:
                return None
            if found := self.completed([*chosen, one]):
                return found
        return None

    def _spans(self, chosen: Sequence[Subspace], number: int) -> list[frozenset[Form]]:
        """What so many of the chosen ones span together, for each choice of them."""
        groups = itertools.combinations(chosen, min(number, len(chosen)))
        return [_span(tuple(itertools.chain.from_iterable(one.basis for one in group)), self.p) for group in groups]


@cache
def _all_subspaces(p: int, k: int, dimension: int) -> tuple[Subspace, ...]:
    """Every subspace of that dimension, once."""
    lines = [form for form in itertools.product(range(p), repeat=k) if any(form) and form == _first(form, p)]
    if dimension == 1:
        return tuple(Subspace((line,), frozenset({line})) for line in lines)
    known: dict[frozenset[Form], Subspace] = {}
    for smaller in _all_subspaces(p, k, dimension - 1):
        for line in lines:
            if line not in smaller.lines:
                basis = (*smaller.basis, line)
                span = _span(basis, p)
                known.setdefault(span, Subspace(basis, span))
    return tuple(known.values())


@cache
def _span(basis: tuple[Form, ...], p: int) -> frozenset[Form]:
    """The lines of all combinations of these forms but 0."""
    weights = itertools.product(range(p), repeat=len(basis))
    columns = list(zip(*basis, strict=True))
    forms = (tuple(sum(w * x for w, x in zip(by, column, strict=True)) % p for column in columns) for by in weights)
    return frozenset(_first(form, p) for form in forms if any(form))


def _first(form: Form, p: int) -> Form:
    """The multiple of a form whose first coefficient that is not 0 is 1."""
    inverse = pow(next(x for x in form if x), -1, p)
    return tuple(x * inverse % p for x in form)
