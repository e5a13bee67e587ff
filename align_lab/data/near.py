"""Near duplicates: prompts that share most runs of five words with a prompt of an evaluation set.

Each prompt is reduced to its smallest hashes of such runs; the share of them that two prompts have in common estimates
the Jaccard similarity of the prompts' runs (bottom-k sketch: E. Cohen, H. Kaplan, PODC 2007).
"""

from __future__ import annotations

import heapq
import re
import zlib
from collections import Counter, defaultdict
from dataclasses import dataclass, field

RUN = 5  # words
KEPT = 32  # hashes of a prompt
LONGEST = 4000  # words of a prompt that are looked at
SIMILAR = 0.5  # share of the runs in common from which two prompts count as near duplicates
INDEXED = 10_000  # most evaluation prompts in an index
COMMON = 64  # a run in more evaluation prompts than this belongs to their form and distinguishes none
MASK = (1 << 64) - 1
FACTORS = (  # odd and random: the hash of a run is the sum of its words' codes times these, modulo 2^64
    0x9E3779B97F4A7C15,
    0xBF58476D1CE4E5B9,
    0x94D049BB133111EB,
    0xD6E8FEB86659FD93,
    0xA0761D6478BD642F,
)
WORD = re.compile(r"\w+")


def sketch(text: str) -> frozenset[int]:
    """The smallest hashes of the runs of five words; of a shorter text, of all its words together."""
    codes = [zlib.crc32(word.encode()) for word in WORD.findall(text[: 20 * LONGEST].casefold())[:LONGEST]]
    if len(codes) < RUN:
        codes = [*codes, *[0] * (RUN - len(codes))] if codes else []
    a, b, c, d, e = FACTORS
    runs = zip(codes, codes[1:], codes[2:], codes[3:], codes[4:], strict=False)
    return frozenset(heapq.nsmallest(KEPT, {(a * u + b * v + c * w + d * x + e * y) & MASK for u, v, w, x, y in runs}))


def similarity(first: frozenset[int], second: frozenset[int]) -> float:
    """The estimated share of runs that two texts have in common."""
    smallest = heapq.nsmallest(KEPT, first | second)
    return sum(one in first and one in second for one in smallest) / len(smallest) if smallest else 0.0


@dataclass
class NearIndex:
    """Sketches of evaluation prompts, the first 10,000 of them, each with the place that it comes from."""

    sketches: list[frozenset[int]] = field(default_factory=list[frozenset[int]])
    places: list[str] = field(default_factory=list[str])
    owners: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))

    def add(self, text: str, place: str) -> bool:
        """Put an evaluation prompt into the index. False if the index is full."""
        if len(self.sketches) >= INDEXED:
            return False
        hashes = sketch(text)
        for one in hashes:
            self.owners[one].append(len(self.sketches))
        self.sketches.append(hashes)
        self.places.append(place)
        return True

    def find(self, text: str) -> str | None:
        """The place of the evaluation prompt that is most similar to a text; None if none is similar."""
        if not self.sketches:
            return None
        hashes = sketch(text)
        shared = Counter(
            owner for one in hashes if len(owners := self.owners.get(one, ())) <= COMMON for owner in owners
        )
        best = max(
            ((similarity(hashes, self.sketches[owner]), owner) for owner, _ in shared.most_common(8)), default=(0.0, -1)
        )
        return self.places[best[1]] if best[0] >= SIMILAR else None
