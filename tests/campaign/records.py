"""Records that are torn, edited or of another form, and the commands that read them."""

from __future__ import annotations

import copy
import functools
import json
import os
import random
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.campaign import running
from tests.campaign.running import Case
from tests.campaign.values import ESCAPE, HUGE
from tests.run.test_runs import SMALL

STUDY = (*SMALL, "-m", "algo=rloo,reinforce_pp", "seed=0,1", "study=real", "train.steps=2")
BASELINE, LOCK = "baseline.json", "runs/real/comparison.lock"
TOLD = re.compile(
    r"damaged|cannot be read|changed|missing|is not a|no JSON|has no|not known|must be|no checkpoint|not as|left out|"
    r"there is no|is no yaml|is not in the cache|not started|holds nothing|contradict|no finished|names no"
)
READERS = {  # a file of the study -> the commands that read it; RUN is its first run
    "runs/real/RUN/status.json": ("status real", "status real --json", "compare real --no-page", "gc", "PLAN"),
    "runs/real/RUN/manifest.json": ("compare real --no-page", "chat RUN", "export RUN out", "PLAN", "evaluate RUN"),
    "runs/real/RUN/config.yaml": ("chat RUN", "evaluate RUN", "status real", "export RUN out"),
    "runs/real/RUN/metrics.jsonl": ("compare real --no-page", "gate real --arm rloo --store x.json", "PLAN"),
    "runs/real/RUN/metrics.parquet": ("compare real --no-page", "compare real"),
    "runs/real/RUN/samples.jsonl": ("compare real --no-page", "compare real"),
    "runs/real/RUN/checkpoints/best.json": ("chat RUN", "chat RUN --checkpoint best", "gc", "export RUN out"),
    "runs/real/RUN/checkpoints/step-000002/card.json": ("chat RUN", "export RUN out"),
    "runs/real/RUN/checkpoints/step-000002/state.pt": ("chat RUN", "export RUN out"),
    "runs/real/RUN/evaluations/again.json": ("compare real --no-page", "compare real --evaluation again"),
    "runs/real/.RUN.lease": ("status real", "PLAN", "gc", "cancel real"),
    "runs/real/.dispatch/expected_runs.json": ("status real", "compare real --no-page", "PLAN"),
    "runs/real/.dispatch/aaaaaaaa.submission.json": ("status real", "cancel real", "PLAN", "gc"),
    "runs/real/.dispatch/cancelled.json": ("status real", "cancel real"),
    "runs/real/.dispatch/seed_plan.json": ("status real", "compare real --no-page"),
    "runs/real/.dispatch/tuning.json": ("compare real --no-page", "status real"),
    "runs/real/.compare/runs.parquet": ("compare real --no-page",),
    LOCK: ("replay LOCK --dry-run",),
    BASELINE: ("gate real --arm rloo --baseline baseline.json --margin 0.1",),
    "cache/artefacts/POLICY/artefact.json": ("chat RUN", "gc", "PLAN"),
    "cache/artefacts/POLICY/model.safetensors": ("chat RUN", "export RUN out"),
    "cache/artefacts/DATA/artefact.json": ("chat RUN", "PLAN"),
}
SEALED = ("manifest.json", "metrics.jsonl", "metrics.parquet", "samples.jsonl")
BYTES = {
    "empty": b"",
    "a line end": b"\n",
    "no text": b"\xff\xfe\x00\x01",
    "zero bytes": b"\x00" * 512,
    "words": b"just words",
    "null": b"null",
    "a list": b"[]",
    "a list of null": b"[null]",
    "a text": b'"x"',
    "a number": b"3",
    "nan": b"NaN",
    "a huge number": HUGE.encode(),
    "too long a number": b"9" * 5000,
    "an empty mapping": b"{}",
    "deep": b"[" * 100_000,
    "yaml that does not end": b"a: [b\n",
    "a yaml list": b"- 1\n",
}
VALUES: tuple[Any, ...] = (
    None, "", "x", ESCAPE, "a\nb", "../../x", 0, -1, 1.5, float("nan"), int(HUGE), True, [], [[]], {}, {"a": 1},
    "???", "${a}",
)  # fmt: skip


@functools.cache
def original() -> Path:
    """A folder with a finished study, its comparison, a baseline, and the cache that it used."""
    place = Path(tempfile.mkdtemp(prefix="campaign-records-"))
    known = os.environ.get("CAMPAIGN_CACHE", "")
    (place / "cache").mkdir()
    if known and (Path(known) / "downloads").is_dir():
        (place / "cache" / "downloads").symlink_to(Path(known) / "downloads")
    for words in (
        STUDY,
        ("compare", "real"),
        ("evaluate", "RUN", "evaluation.prompts=8", "name=again"),
        ("gate", "real", "--arm", "rloo", "--store", BASELINE),
    ):
        case = Case(kind="", what="", words=tuple(_typed(word, place) for word in words), prepare=_enter(place))
        (answer,) = running._forked([case], seconds=600)
        if answer.status:
            raise RuntimeError(f"{words}: {answer}")
    submission = {
        "token": "aaaaaaaa",
        "study": "real",
        "executor": "local",
        "kind": "run",
        "names": [_run(place)],
        "needs": [],
        "snapshot": "/nowhere",
        "snapshot_hash": "x",
        "written": 1.0,
        "job_id": "1",
    }
    dispatch = place / "runs" / "real" / ".dispatch"
    (dispatch / "aaaaaaaa.submission.json").write_text(json.dumps(submission))
    (dispatch / "cancelled.json").write_text('["1"]')
    lease = {"host": "there", "where": "there pid:[1]", "pid": 12, "began": "1"}
    (place / "runs" / "real" / f".{_run(place)}.lease").write_text(json.dumps(lease))
    return place


def cases(rng: random.Random, count: int) -> Iterator[Case]:
    """So many damages, evenly over the files, each with one of the commands that read the file."""
    names = list(READERS)
    for number in range(count):
        name = names[number % len(names)]
        yield _case(rng, name, rng.choice(READERS[name]))


def _case(rng: random.Random, name: str, command: str) -> Case:
    place = original()
    file = place / _typed(name, place)
    what, content = _damaged(rng, file)
    words = (*STUDY, "dry_run=true") if command == "PLAN" else tuple(_typed(w, place) for w in command.split())

    def prepare(case_place: Path) -> None:
        for folder in ("runs", "cache"):
            shutil.copytree(place / folder, case_place / folder, copy_function=os.link, symlinks=True)
        shutil.copy(place / BASELINE, case_place)
        damaged = case_place / file.relative_to(place)
        damaged.parent.mkdir(parents=True, exist_ok=True)
        damaged.unlink(missing_ok=True)
        if content is ...:
            damaged.mkdir()
        elif content is not None:
            damaged.write_bytes(content)
        _enter(case_place)(case_place)

    there = content is not None  # what is gone was not changed: where another file has the same rows, nothing is missed
    told = file.name in SEALED and command.startswith("compare") and there
    seen = (lambda text: bool(TOLD.search(text))) if told else None
    return Case(
        kind=f"a record: {Path(name).name}",
        what=f"{name}: {what}: {command}",
        words=words,
        statuses=(1, 3, 4),
        prepare=prepare,
        seen=seen,
    )


def _damaged(rng: random.Random, file: Path) -> tuple[str, Any]:
    """(what was done, the content): None where the file is gone, ... where a folder is in its place."""
    change = rng.randrange(10)
    data = file.read_bytes() if file.is_file() else b"{}"
    if change == 0:
        return rng.choice([("gone", None), ("a folder", ...)])
    if change in (1, 2):
        what = rng.choice(list(BYTES))
        return what, BYTES[what]
    if change == 3 or file.suffix in (".pt", ".parquet", ".safetensors"):
        at = rng.randrange(len(data) + 1)
        return "cut off", data[:at] if at < len(data) else data[:-1]
    if change == 4:
        at = rng.randrange(len(data))
        return "another byte", data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :]
    return _edited(rng, file, data)


def _edited(rng: random.Random, file: Path, data: bytes) -> tuple[str, Any]:
    """A field that is gone, or another value of it."""
    lines = data.splitlines() if file.suffix == ".jsonl" else [data]
    number = rng.randrange(len(lines))
    try:
        content = json.loads(lines[number])
    except ValueError:
        return _line(rng, data)
    holder, key = _place(rng, content)
    before = copy.deepcopy(holder[key]) if holder else None
    if not holder:
        content, what = rng.choice(VALUES), "all of it"
    elif rng.random() < 0.4:
        what = f"without {key}"
        del holder[key]
    else:
        holder[key] = value = rng.choice([one for one in VALUES if repr(one) != repr(before)])
        what = f"{key} is {str(value)[:20]!r}"
    lines[number] = json.dumps(content).encode()
    return what, b"\n".join(lines) + b"\n"


def _line(rng: random.Random, data: bytes) -> tuple[str, Any]:
    """A line of yaml that is gone, or another value in it."""
    lines = data.splitlines()
    number = rng.randrange(len(lines))
    key, colon, _ = lines[number].partition(b":")
    new = key + colon + b" " + json.dumps(rng.choice(VALUES)).encode()
    changed = [] if rng.random() < 0.4 else [new]
    text = lines[number].decode(errors="replace").strip()
    return f"{'without' if not changed else new.decode()[:40]!r} {text[:40]}", b"\n".join(
        [*lines[:number], *changed, *lines[number + 1 :]]
    )


def _place(rng: random.Random, content: Any) -> tuple[Any, Any]:
    """A random container inside, and a key of it; (None, None) where there is none."""
    holder, key = None, None
    while isinstance(content, dict | list) and content:
        holder, key = content, rng.choice(list(content) if isinstance(content, dict) else range(len(content)))
        content = holder[key]
        if rng.random() < 0.35:
            break
    return holder, key


def _enter(place: Path) -> Any:
    def enter(folder: Path) -> None:
        os.environ["ALIGN_LAB_CACHE"] = str(place / "cache")
        os.chdir(place)

    return enter


def _run(place: Path) -> str:
    return sorted(path.name for path in (place / "runs" / "real").glob("rloo-*"))[0]


def _typed(word: str, place: Path) -> str:
    """The word with the names of the run, the lock and the artefacts."""
    if "RUN" in word:
        word = word.replace("RUN", _run(place))
    for name, kind in (("POLICY", "sft-*"), ("DATA", "data-*")):
        if name in word:
            word = word.replace(name, next((place / "cache" / "artefacts").glob(f"{kind}[0-9a-f]")).name)
    return LOCK if word == "LOCK" else word
