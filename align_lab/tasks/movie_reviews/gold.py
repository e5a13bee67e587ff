"""The gold judge: another kind of model than the reward, trained on other reviews and their ratings, never optimized.

    gold(text) = sentiment(text) - softplus(-naturalness(text)),  standardized on its own reviews

Sentiment is ridge regression on the mean of all ratings, over the *set* of words, word pairs and character n-grams: a
word that occurs twice counts once. Naturalness is the log-odds of a logistic regression that separates reviews from
corrupted ones (shuffled, or one word or phrase repeated), by repetition and by how often neighboring words occur
together. A policy that collapses to "best best best" has a high score from a sentiment model, and a low one from this
judge. Proxy and gold: Gao et al., arXiv 2210.10760.
"""

from __future__ import annotations

import json
import math
import random
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import scipy.sparse as sparse
from safetensors.numpy import load_file, save_file

from align_lab.base.errors import DataError
from align_lab.base.task import Example, Score
from align_lab.tasks.movie_reviews.agreement import pair_accuracy
from align_lab.tasks.movie_reviews.reviews import Review

SIZE = 1 << 17  # hashed features of each kind


def build_gold(folder: Path, reviews: Sequence[Review], held_out: Sequence[Review]) -> None:
    """Train on `reviews`; write `gold.safetensors`, `words.json` and `metrics.json` (accuracy on held-out pairs)."""
    arrays, words = train(reviews)
    save_file(arrays, folder / "gold.safetensors")
    (folder / "words.json").write_text(json.dumps(words), encoding="utf-8")
    scores = load_gold(folder).judge([review.text for review in held_out])
    means = np.array([review.mean for review in held_out])
    accuracy = {"accuracy": pair_accuracy(scores, means), "accuracy_1_apart": pair_accuracy(scores, means, gap=1.0)}
    (folder / "metrics.json").write_text(json.dumps(accuracy))


def load_gold(folder: Path) -> GoldJudge:
    """Read what `build_gold` wrote. Raises DataError when it is not there."""
    try:
        words = json.loads((folder / "words.json").read_text(encoding="utf-8"))
        return GoldJudge(
            arrays=load_file(folder / "gold.safetensors"),
            neighbors=Neighbors(
                Counter(words["single"]), Counter({tuple(k.split(" ")): n for k, n in words["pairs"].items()})
            ),
        )
    except (OSError, ValueError, KeyError) as error:
        raise DataError(
            f"{folder} does not hold the gold judge ({error}). Remove it, it will be built again: rm -r {folder}"
        ) from error


@dataclass(frozen=True, kw_only=True)
class GoldJudge:
    """A trained judge; a reward like any other, but nobody trains on it."""

    arrays: dict[str, np.ndarray]
    neighbors: Neighbors

    def score(self, examples: Sequence[Example], completions: Sequence[str]) -> Score:
        """Judge prompt and completion as one text; 0 is an average human review, 1 is one standard deviation better."""
        texts = [example.text + completion for example, completion in zip(examples, completions, strict=True)]
        return Score(total=self.judge(texts).tolist())

    def judge(self, texts: Sequence[str]) -> np.ndarray:
        """Scores of whole texts, [N]."""
        raw = self.sentiment(texts) - np.logaddexp(0, -self.naturalness(texts))
        mean, scale = self.arrays["calibration"]
        return (raw - mean) / scale

    def sentiment(self, texts: Sequence[str]) -> np.ndarray:
        """Predicted mean rating, in its standard deviations over the training reviews, [N]."""
        rows = bags(texts, self.arrays["idf"])
        return (rows @ self.arrays["weight"] - self.arrays["center"][0]) / self.arrays["center"][1]

    def naturalness(self, texts: Sequence[str]) -> np.ndarray:
        """Log-odds that a text is a review and not a corrupted one, [N]."""
        textures = np.array([texture(split(text), self.neighbors) for text in texts])
        return (textures - self.arrays["texture_mean"]) / self.arrays["texture_sd"] @ self.arrays[
            "texture_weight"
        ] + self.arrays["texture_bias"][0]


def split(text: str) -> list[str]:
    """Lower-case words and punctuation; one full stop for nothing at all."""
    return re.findall(r"[\w']+|[.,!?;:]", text.casefold()) or ["."]


@dataclass(frozen=True)
class Neighbors:
    """How often words, and words beside each other, occur."""

    single: Counter[str]
    pairs: Counter[tuple[str, str]]

    @classmethod
    def count(cls, texts: Iterable[Sequence[str]]) -> Neighbors:
        """Count words and pairs of adjacent words."""
        texts = list(texts)
        return cls(
            Counter(word for text in texts for word in text),
            Counter(pair for text in texts for pair in pairwise(text)),
        )

    def affinity(self, words: Sequence[str]) -> float:
        """Mean over neighbors of log P(b | a) / P(b), smoothed toward 0."""
        total, kinds = self.single.total(), len(self.single)
        sum_of_logs = 0.0
        for a, b in pairwise(words):
            alone = (self.single[b] + 0.5) / (total + 0.5 * kinds)
            sum_of_logs += math.log((self.pairs[a, b] + 4 * alone) / (self.single[a] + 4) / alone)
        return sum_of_logs / max(1, len(words) - 1)


def texture(words: Sequence[str], neighbors: Neighbors) -> list[float]:
    """Eight features of repetition and word order, which do not depend on the sentiment of the words."""
    count, pairs = len(words), list(pairwise(words))
    near = sum(word in words[max(0, i - 4) : i] for i, word in enumerate(words)) / count
    new, new_pairs = len(set(words)) / count, len(set(pairs)) / max(1, len(pairs))
    return [
        neighbors.affinity(words),
        1 - new,
        1 - new_pairs,
        near,
        max(Counter(words).values()) / count,
        math.log(count),
        (1 - new) * math.log(count),
        sum(neighbors.pairs[pair] > 0 for pair in pairs) / max(1, len(pairs)),
    ]


def corrupt(words: Sequence[str], rng: random.Random) -> list[str]:
    """The same words shuffled, looped, stuck or stuttering."""
    words, length = list(words), max(8, len(words))
    start, size = rng.randrange(len(words)), rng.randint(3, 6)
    kind = rng.randrange(6)
    if kind == 0:
        return rng.sample(words, len(words))
    if kind <= 3:  # one word, two words, or a phrase, again and again
        size = {1: 1, 2: 2, 3: size}[kind]
        start = min(start, max(0, len(words) - size))
        return (words[start : start + size] * length)[:length]
    if kind == 4:  # a beginning that gets stuck
        stuck = words[max(0, start - rng.randint(0, 2)) : start + 1]
        return words[: start + 1] + (stuck * length)[: max(4, length - start)]
    return [part for word in words for part in ([word, words[start]] if rng.random() < 0.5 else [word])]


def train(reviews: Sequence[Review]) -> tuple[dict[str, np.ndarray], dict[str, dict[str, int]]]:
    """Weights of both regressions, and the word counts that the second one reads."""
    texts, ratings = [review.text for review in reviews], np.array([review.mean for review in reviews])
    idf = inverse_frequency(texts)
    rows = bags(texts, idf)
    weight = ridge_weights(rows, ratings - ratings.mean())
    fitted = rows @ weight
    words = [split(text) for text in texts]
    neighbors = Neighbors.count(words)
    arrays = {
        "idf": idf,
        "weight": weight.astype(np.float32),
        "center": np.array([fitted.mean(), fitted.std()]),
        **train_naturalness([w for w in words if len(w) >= 4], random.Random(0)),
        "calibration": np.array([0.0, 1.0]),
    }
    raw = GoldJudge(arrays=arrays, neighbors=neighbors).judge(texts)
    arrays["calibration"] = np.array([raw.mean(), raw.std()])
    return arrays, {
        "single": dict(neighbors.single),
        "pairs": {" ".join(pair): n for pair, n in neighbors.pairs.items()},
    }


def train_naturalness(texts: Sequence[Sequence[str]], rng: random.Random) -> dict[str, np.ndarray]:
    """Logistic regression of reviews (1) against corrupted ones (0); each half is scored with the other's counts."""
    half = len(texts) // 2
    counts = (Neighbors.count(texts[half:]), Neighbors.count(texts[:half]))
    rows, labels = [], []
    for number, words in enumerate(texts):
        other = counts[number >= half]
        broken = corrupt(words, rng)
        rows += [texture(words, other)] + [texture(broken, other)] * (broken != list(words))
        labels += [1.0] + [0.0] * (broken != list(words))
    x, y = np.array(rows), np.array(labels)
    mean, sd = x.mean(0), x.std(0)
    fit = logistic_weights(np.c_[(x - mean) / sd, np.ones(len(x))], y)
    return {"texture_mean": mean, "texture_sd": sd, "texture_weight": fit[:-1].copy(), "texture_bias": fit[-1:].copy()}


def ridge_weights(x: sparse.csr_matrix, y: np.ndarray) -> np.ndarray:
    """Weights [D] that minimize ‖x w - y‖² + ‖w‖², for x [N D] and y [N]."""
    from sklearn.linear_model import Ridge  # only training needs it: half a second and 70 MB

    return Ridge(alpha=1.0, fit_intercept=False, solver="sparse_cg", tol=1e-10).fit(x, y).coef_


def logistic_weights(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Weights [D] of a logistic regression of labels y [N], 0 or 1, on x [N D], with the penalty ‖w‖² / 200."""
    from sklearn.linear_model import LogisticRegression

    fit = LogisticRegression(C=100.0, fit_intercept=False, solver="newton-cholesky", tol=1e-8).fit(x, y)
    return fit.coef_[0]


def grams(text: str) -> tuple[set[str], set[str]]:
    """The set of words and word pairs of a text, and that of its words' character 3- to 5-grams."""
    words = split(text)
    marked = [f"<{word}>" for word in words if word[0].isalnum()]
    return (
        {*words, *map(" ".join, pairwise(words))},
        {word[i : i + n] for word in marked for n in (3, 4, 5) for i in range(len(word) - n + 1)},
    )


def hashed(text: str) -> list[int]:
    """Columns of a text's grams: words in the first half of the table, characters in the second."""
    return sorted(
        {zlib.crc32(gram.encode()) % SIZE + kind * SIZE for kind, part in enumerate(grams(text)) for gram in part}
    )


def _presence(texts: Sequence[str]) -> sparse.csr_matrix:
    columns = [hashed(text) for text in texts]
    ends = np.cumsum([0, *map(len, columns)])
    return sparse.csr_matrix(
        (np.ones(ends[-1]), np.concatenate(columns).astype(int), ends), shape=(len(texts), 2 * SIZE)
    )


def inverse_frequency(texts: Sequence[str]) -> np.ndarray:
    """log((1+N)/(1+df)) + 1 of every feature; 0 for those never seen, [2·SIZE]."""
    seen = np.asarray(_presence(texts).sum(0)).ravel()
    return np.where(seen > 0, np.log((1 + len(texts)) / (1 + seen)) + 1, 0).astype(np.float32)


def bags(texts: Sequence[str], idf: np.ndarray) -> sparse.csr_matrix:
    """Presence times inverse frequency; words and characters have unit norm each, [N 2·SIZE]."""
    rows = _presence(texts) @ sparse.diags_array(idf)
    halves = []
    for part in map(sparse.csr_matrix, (rows[:, :SIZE], rows[:, SIZE:])):
        norm = np.sqrt(np.asarray(part.power(2).sum(1)).ravel())
        halves.append(sparse.diags_array(1 / np.maximum(norm, 1e-9)) @ part)
    return sparse.csr_matrix(sparse.hstack(halves))
