"""A synthetic archive of reviews with the files of the real download; the words of a review decide its ratings."""

from __future__ import annotations

import gzip
import io
import random
import tarfile
from pathlib import Path

from align_lab.tasks.movie_reviews.reviews import INNER, SNIPPETS, Review

GOOD = ["wonderful", "moving", "brilliant", "charming", "superb", "delightful"]
BAD = ["dreadful", "boring", "clumsy", "tedious", "awful", "lifeless"]
THINGS = ["film", "story", "cast", "script", "ending", "dialogue", "camera", "music", "plot", "hero", "villain"]


def sentence(rng: random.Random) -> tuple[str, list[int]]:
    """A review and its ratings: each good word is worth one point and a half, each bad one costs as much."""
    words = [rng.choice(GOOD + BAD) for _ in range(rng.randint(1, 3))]
    things = rng.sample(THINGS, len(words))
    text = "The " + ", and the ".join(f"{thing} is {word}" for thing, word in zip(things, words, strict=True)) + "."
    worth = 1.5 * sum(1 if word in GOOD else -1 for word in words)
    return text, [max(-4, min(4, round(worth + rng.gauss(0, 0.7)))) for _ in range(15)]


def synthetic_reviews(count: int, *, seed: int = 0) -> list[Review]:
    rng = random.Random(seed)
    return [Review(text, tuple(ratings)) for text, ratings in (sentence(rng) for _ in range(count))]


def write_archive(
    path: Path, reviews: list[Review], *, drop_rating: int | None = None, raw: dict[int, str] | None = None
) -> Path:
    """A .tar.gz at `path` with the inner .tar.gz and the two tables; `raw` replaces the text of some reviews."""
    rows = list(enumerate(reviews, start=1))
    truth = "".join(f"{i}\t{review.mean}\t{(raw or {}).get(i, review.text)}\r\n" for i, review in rows)
    people = "".join(f"{i}\t{review.mean}\t1.0\t{list(review.ratings)}\r\n" for i, review in rows if i != drop_rating)
    inner = _tar({f"{SNIPPETS}_GroundTruth.txt": truth.encode(), f"{SNIPPETS}_anonDataRatings.txt": people.encode()})
    path.write_bytes(_tar({INNER: inner}))
    return path


def _tar(files: dict[str, bytes]) -> bytes:
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return gzip.compress(plain.getvalue(), mtime=0)
