"""10,605 movie-review snippets with every individual human rating, split once into parts that share no text.

Source: C. J. Hutto, E. Gilbert, VADER, ICWSM 2014; the data lie in the source distribution of vaderSentiment (MIT).
"""

from __future__ import annotations

import html
import json
import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from align_lab.base.contracts import Data
from align_lab.base.download import SourceArchive, fetch, members
from align_lab.base.errors import ConfigError, DataError
from align_lab.base.registry import param, register
from align_lab.base.task import (
    DEVELOPMENT,
    TRAIN,
    DataSet,
    Demonstration,
    Example,
    PlacedPrompt,
    content_key,
)

VADER = SourceArchive(
    package="vaderSentiment", version="3.3.2", sha256="5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9"
)
INNER = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
SNIPPETS = "hutto_ICWSM_2014/movieReviewSnippets"
PARTS = ("proxy", "gold", "prompts", "evaluation", "development")
HELD_OUT = ("evaluation", "development", "prompts")  # seen by no reward model; no two have an opening in common
RUN = 8  # texts that share as many words in a row stay in one part
LONGEST_REVIEW = 51  # words
UNIT = "sd of human reviews"  # of scores that are standardized on reviews


@dataclass(frozen=True)
class Review:
    """One snippet; `ratings` are those of 15 to 29 people, from -4 (very negative) to +4 (very positive)."""

    text: str
    ratings: tuple[int, ...]

    @property
    def mean(self) -> float:
        """The mean rating."""
        return sum(self.ratings) / len(self.ratings)


@dataclass(frozen=True, kw_only=True)
class Reviews(DataSet):
    """Disjoint parts. `proxy` and `gold` train a reward model each; the others are seen by neither."""

    proxy: tuple[Review, ...]
    gold: tuple[Review, ...]
    prompts: tuple[Review, ...]
    evaluation: tuple[Review, ...]
    development: tuple[Review, ...]
    prompt_words: int

    def examples(self, split: str) -> list[Example]:
        """The openings of the reviews of `train`, `evaluation` or `development`, which the policy goes on from."""
        reviews = {TRAIN: self.prompts, DEVELOPMENT: self.development}.get(split, self.evaluation)
        copies: Counter[str] = Counter()  # two reviews have the same text, and each needs a key of its own
        examples = []
        for review in reviews:
            if opening := opening_of(review, self.prompt_words):
                number = [str(copies[review.text])] if copies[review.text] else []
                copies[review.text] += 1
                examples.append(Example(key=content_key(review.text, *number), prompt=opening))
        return examples

    def demonstrations(self, split: str) -> list[Demonstration]:
        """The texts of both halves, without their ratings; held out: those of the evaluation part."""
        reviews = (*self.proxy, *self.gold) if split == TRAIN else self.evaluation
        return [Demonstration(completion=review.text) for review in reviews]


@register("data", "movie_reviews")
@dataclass(frozen=True, kw_only=True)
class MovieReviews(Data):
    """Movie reviews with individual human ratings."""

    split_seed: int = param(0, "decides which review belongs to which part", low=0)
    prompts: int = param(1000, "reviews whose openings are the training prompts", low=1)
    evaluation: int = param(800, "held-out reviews: evaluation prompts and human pairs", low=2)
    development: int = param(
        200, "held-out reviews whose openings are prompts for tuning and the best checkpoint", low=0
    )
    prompt_words: int = param(3, "words of a review that make a prompt", low=1)
    instruction: str = param(
        "Write one sentence of a movie review. Begin with: {prompt}",
        "what a chat model is asked; its answer begins with the prompt",
    )
    chat_form: str = param(
        "continuation",
        "a chat model answers the prompt (answer), or its answer begins with the prompt's text (continuation)",
        choices=("answer", "continuation"),
    )

    version: ClassVar = 2

    def size(self, split: str) -> int:
        """Reviews of the part: those too short for an opening give no example."""
        return {TRAIN: self.prompts, DEVELOPMENT: self.development}.get(split, self.evaluation)

    def has_development(self) -> bool:
        """Unless it is set to 0."""
        return self.development > 0

    def has_demonstrations(self) -> bool:
        """The reviews themselves."""
        return True

    def longest_prompt(self) -> int:
        """Words of an opening."""
        return self.prompt_words

    def longer_prompts(self, least: int) -> tuple[PlacedPrompt, ...]:
        """None: openings have a few words."""
        return ()

    def longest_text(self) -> int:
        """Words of the longest review."""
        return LONGEST_REVIEW

    def build(self, folder: Path) -> None:
        """Fetch, split and write `reviews.jsonl`."""
        build_reviews(folder, self, parse(fetch(VADER)))

    def load(self, folder: Path) -> Reviews:
        """Read what `build` wrote. Raises DataError when it is not whole."""
        return load_reviews(folder)


NO_RATINGS = (
    "learns from people's ratings of movie reviews, which this data set does not have. "
    "Set data=movie_reviews, or choose another component"
)


def problem_of(data: Data, component: str) -> str:
    """Why a component of this task cannot be trained on `data`; empty where it can."""
    return "" if isinstance(data, MovieReviews) else f"{component} {NO_RATINGS}"


def reviews_of(data: DataSet, component: str) -> Reviews:
    """The data as movie reviews, for the components of this task. Raises ConfigError for any other data set."""
    if isinstance(data, Reviews):
        return data
    raise ConfigError(f"{component} {NO_RATINGS}")


def build_reviews(folder: Path, settings: MovieReviews, reviews: Sequence[Review]) -> None:
    """Split the reviews and write them into `folder`, one a line."""
    sizes = {part: getattr(settings, part) for part in HELD_OUT}
    parts = split(reviews, seed=settings.split_seed, sizes=sizes, prompt_words=settings.prompt_words)
    lines = [
        json.dumps({"part": part, "text": review.text, "ratings": list(review.ratings)}, ensure_ascii=False)
        for part in PARTS
        for review in parts[part]
    ]
    (folder / "reviews.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "settings.json").write_text(json.dumps({"prompt_words": settings.prompt_words}))


def load_reviews(folder: Path) -> Reviews:
    """Read what `build_reviews` wrote. Raises DataError when it is not whole."""
    parts: dict[str, list[Review]] = {part: [] for part in PARTS}
    try:
        for line in (folder / "reviews.jsonl").read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            parts[row["part"]].append(Review(row["text"], tuple(row["ratings"])))
        words = json.loads((folder / "settings.json").read_text())["prompt_words"]
    except (OSError, ValueError, KeyError) as error:
        raise DataError(
            f"{folder} does not hold the movie reviews ({error}). Remove it, it will be built again: rm -r {folder}"
        ) from error
    return Reviews(**{part: tuple(rows) for part, rows in parts.items()}, prompt_words=words)


def parse(path: Path) -> list[Review]:
    """The reviews in the source distribution at `path`. Raises DataError where text and ratings do not fit together."""
    inner = members(path.read_bytes(), [INNER], where=str(path))[INNER]
    names = [f"{SNIPPETS}_GroundTruth.txt", f"{SNIPPETS}_anonDataRatings.txt"]
    texts, ratings = (
        _table(content.decode("utf-8"), name, 3 + (name == names[1]))
        for name, content in members(inner, names, where=INNER).items()
    )
    if texts.keys() != ratings.keys():
        odd = next(iter(texts.keys() ^ ratings.keys()))
        raise DataError(f"{names[0]} and {names[1]} hold different reviews, for example number {odd}")
    return [Review(clean(row[2]), tuple(json.loads(ratings[key][3]))) for key, row in texts.items()]


def _table(content: str, name: str, columns: int) -> dict[str, list[str]]:
    rows = [line.rstrip("\r").split("\t") for line in content.split("\n") if line.strip()]
    for number, row in enumerate(rows, start=1):
        if len(row) != columns:
            raise DataError(f"{name}, line {number}: {len(row)} columns instead of {columns}")
    return {row[0]: row for row in rows}


def clean(text: str) -> str:
    """Undo the data set's escapes: entities, doubled apostrophes for quotes, runs of blanks where a dash was."""
    text = html.unescape(text).replace("''", '"').replace("’", "'").replace("–", "-")
    return re.sub(r"\s+", " ", text).strip()


def words(text: str) -> list[str]:
    """The words of a text, in lower case."""
    return re.findall(r"\w+", text.casefold())


def opening_of(review: Review, count: int) -> str:
    """The first `count` words of a review that goes on after them; empty for a shorter one."""
    parts = review.text.split()
    return " ".join(parts[:count]) if len(parts) > count else ""


def split(
    reviews: Sequence[Review], *, seed: int, sizes: Mapping[str, int], prompt_words: int
) -> dict[str, list[Review]]:
    """Related reviews stay together: the held-out parts of these sizes first, then equal halves.

    A review whose opening another held-out part has goes to a half. Raises DataError if a part cannot be filled, or few
    are left.
    """
    groups = related([review.text for review in reviews])
    random.Random(seed).shuffle(groups)
    parts: dict[str, list[Review]] = {part: [] for part in PARTS}
    owner: dict[str, str] = {}  # opening -> the held-out part that has it
    for group in groups:
        openings = {opening_of(reviews[i], prompt_words) for i in group}
        part = next((part for part in HELD_OUT if len(parts[part]) < sizes[part]), "")
        if part and "" not in openings and all(owner.get(opening, part) == part for opening in openings):
            owner |= dict.fromkeys(openings, part)
        else:
            part = min(("proxy", "gold"), key=lambda half: len(parts[half]))
        parts[part] += [reviews[i] for i in group]
    for part in HELD_OUT:
        if len(parts[part]) < sizes[part]:
            raise DataError(
                f"data.{part}={sizes[part]:,}: of {len(reviews):,} reviews, {len(parts[part]):,} are left for it, as "
                f"two parts have no opening in common and the judges are trained on the others. Set data.{part} smaller"
            )
    if min(len(parts["proxy"]), len(parts["gold"])) < 2:
        listed = ", ".join(f"data.{part}={sizes[part]}" for part in HELD_OUT)
        raise DataError(f"{listed} leave nothing of {len(reviews)} reviews to train reward models on. Set them smaller")
    return parts


def related(texts: Sequence[str]) -> list[list[int]]:
    """Indices grouped so that equal texts, and texts that share a run of eight words, are together."""
    group = list(range(len(texts)))
    seen: dict[tuple[str, ...], int] = {}

    def root(i: int) -> int:
        while group[i] != i:
            group[i] = i = group[group[i]]
        return i

    for i, text in enumerate(texts):
        parts = words(text)
        for start in range(max(1, len(parts) - RUN + 1)):
            first = seen.setdefault(tuple(parts[start : start + RUN]), i)
            group[root(i)] = root(first)
    together: dict[int, list[int]] = {}
    for i in range(len(texts)):
        together.setdefault(root(i), []).append(i)
    return list(together.values())
