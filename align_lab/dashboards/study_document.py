"""What a dashboard is about: a study's comparison document, and how its runs are known to W&B."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import cycle
from pathlib import Path
from typing import Any

from align_lab.base.files import read_json, read_lines
from align_lab.compare.analysis import analyse
from align_lab.compare.document import SCORE, Document
from align_lab.compare.evaluations import ERROR, LAST
from align_lab.compare.report import MOST_ARMS, clean
from align_lab.compare.report.palette import COLOURS, LIGHT
from align_lab.record.layout import MANIFEST, RunLayout

FEWEST_SHOWN = 10  # runs of a panel, as W&B has it; a study with more shows them all
LONGEST_TITLE = 128  # W&B's limit
REFUSED = {"So", "Sk", "Sm", "Sc", "Cs"}  # kinds of characters that a workspace's name may not hold: symbols, emoji


@dataclass(frozen=True, kw_only=True)
class StudyDocument:
    """document: of compare, as it may be shown; arms: each of its arms -> what its runs have on W&B as `config.arm`."""

    name: str
    document: Document
    arms: Mapping[str, str]
    logged: frozenset[str]  # metrics that some arm has; none where no run has finished
    linked: Sequence[str]  # names of runs that another study logged
    runs: int  # finished, unfinished and missing

    @property
    def title(self) -> str:
        """The name of workspace and report: by it they are found again."""
        plain = "".join(letter for letter in self.name if unicodedata.category(letter) not in REFUSED)
        title = f"align_lab: {plain}"
        if plain == self.name and len(title) <= LONGEST_TITLE:
            return title
        return f"{title[: LONGEST_TITLE - 9]} {sha256(self.name.encode()).hexdigest()[:8]}"

    @property
    def refused(self) -> bool:
        """Are there runs that may not be compared?"""
        return bool(self.document["arms"]) and not self.document["comparability"]["fair"]

    @property
    def metric(self) -> str:
        """The one that decides."""
        return self.document["metric"]

    @property
    def judged(self) -> list[str]:
        """The scores: the one that decides, the one that is optimised, then those of other judges."""
        names = [name for name in self.document["metrics"] if name.startswith("eval/") and not name.endswith(ERROR)]
        return list(dict.fromkeys((self.metric, SCORE, *(name for name in names if name not in LAST))))

    @property
    def panel_runs(self) -> int:
        """How many runs a panel shows: every seed of every arm."""
        return max(FEWEST_SHOWN, self.runs)

    @property
    def colours(self) -> dict[str, str]:
        """`config.arm` -> its colour: that of report.html, where every arm has a name of its own."""
        palette = cycle(LIGHT[f"arm-{n}"] for n in range(COLOURS))
        return dict(zip(dict.fromkeys(self.arms.values()), palette, strict=False))

    @property
    def merged(self) -> dict[str, list[str]]:
        """Values of `config.arm` that several arms share, which W&B's charts therefore do not tell apart."""
        several = [name for name, n in Counter(self.arms.values()).items() if n > 1]
        return {name: [arm for arm, known in self.arms.items() if known == name] for name in several}


def read(folder: Path, *, allow: Sequence[str] = (), paired: bool = False) -> StudyDocument:
    """The study in this folder. Raises ConfigError for a folder without runs."""
    document = analyse([folder], allow=allow, paired=paired)
    firsts = {arm["name"]: folder / document["links"][arm["runs"][0]] for arm in document["arms"]}
    return StudyDocument(
        name=document["study"],
        document=presentable(document),
        arms={arm["name"]: _logged(firsts[arm["name"]]) or arm["algo"] for arm in document["arms"]},
        logged=frozenset(name for run in firsts.values() for row in read_lines(RunLayout(run).metrics) for name in row),
        linked=sorted(path.name for path in folder.iterdir() if path.is_symlink()),
        runs=_size(document),
    )


def presentable(document: Document) -> Document:
    """As the page shows it, without links: the run folders do not lie on W&B."""
    shown = clean.best(clean.ordered(clean.cleaned(document)), arms=MOST_ARMS).copy()
    shown["links"] = {}
    return shown


def recorded(folder: Path, field: str) -> str | None:
    """Where the study's runs were logged, `project` or `entity`: as W&B's record of a run says, else as its config does."""
    for run in sorted(path.parent for path in folder.glob(f"*/{MANIFEST}")):
        if value := read_json(run / "wandb.json").get(field) or _config(run).get(f"record.{field}"):
            return str(value)
    return None


def _logged(run: Path) -> str:
    """The name of its arm, where a sweep file gave it one."""
    return str(_config(run).get("arm") or "")


def _config(run: Path) -> Mapping[str, Any]:
    """Leaves of a run's config."""
    config = read_json(RunLayout(run).manifest).get("config")
    return config if isinstance(config, dict) else {}


def _size(document: Document) -> int:
    finished = sum(arm["n"] for arm in document["arms"])
    return finished + len(document["unfinished"]) + sum(len(row["seeds"]) for row in document["missing"])
