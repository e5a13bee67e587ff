"""Files that a user writes: sweep files, options of groups, prompts; broken, or with values that are wrong."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any

import yaml

from align_lab.config.root import StudySettings
from tests.campaign.running import Case
from tests.campaign.values import ESCAPE, HUGE

PLAN = "dry_run=true"
STUDY: dict[str, Any] = {
    "study": "mine",
    "question": "Do larger groups help?",
    "control": "small",
    "arms": {
        "small": ["algo=rloo", "train.group_size=2", "train.prompts_per_step=32"],
        "large": ["algo=rloo", "train.group_size=8", "train.prompts_per_step=8"],
    },
    "seeds": [0, 1],
    "budget": {"episodes": 640},
    "train": {"steps": 10},
    "parallel": 2,
    "claims": ["large > small"],
}
OPTION: dict[str, Any] = {"defaults": ["/schema/algo/rloo@_here_"], "kl_coef": 0.1}
HEAD = b"# @package _global_\n"
ODD: tuple[Any, ...] = (
    None,
    "",
    "abc",
    "???",
    "${nothing}",
    "${seed}",
    0,
    -1,
    1.5,
    float("inf"),
    float("nan"),
    int(HUGE),
    True,
    [],
    [None],
    [[1]],
    [1, "a"],
    {},
    {"a": 1},
    {"a": {"b": []}},
    {1: 2},
    {"": []},
    {"a": None},
    {"a": "algo=rloo"},
    {"a": ["algo=rloo", 3]},
    {"a": ["algo"]},
    {"a": ["algo=nothing"]},
    {"a": ["algo=rloo,dpo"]},
    {"a": [f"train.lr={HUGE}"]},
    {"a b": ["algo=rloo"]},
    {ESCAPE: ["algo=rloo"]},
    {"a.b": ["algo=rloo"]},
    {"first": 3, "most": 2},
    {"first": "x"},
    {"trials": 0},
    {"trials": 2, "space": {"nothing": {"algo.kl_coef": "log(1,2)"}}},
    {"trials": 2, "space": {"small": {"algo.nothing": "log(1,2)"}}},
    {"trials": 2, "space": {"small": {"algo.kl_coef": "log(2,1)"}}},
    {"trials": 2, "space": {"small": "log(1,2)"}},
    {"trials": 2, "seeds": [0]},
    [0, 0, 0],
    [-1],
    [1.5],
    ["0"],
    [int(HUGE)],
    "1,2",
    "range(0,3)",
    ["a > b"],
    ["small > small"],
    [1],
    ESCAPE,
)
BROKEN = {
    "empty": b"",
    "only a comment": b"# nothing\n",
    "only the package": HEAD,
    "null": HEAD + b"null\n",
    "a list": HEAD + b"- 1\n- 2\n",
    "a text": HEAD + b"just words\n",
    "a number": HEAD + b"3\n",
    "a mapping that does not end": HEAD + b"arms: {a: [algo=rloo\n",
    "a tab": HEAD + b"arms:\n\ta: [algo=rloo]\n",
    "a key twice": HEAD + b"study: mine\nstudy: other\narms: {a: [algo=rloo]}\nseeds: [0]\n",
    "an arm twice": HEAD + b"study: mine\narms:\n  a: [algo=rloo]\n  a: [algo=dpo]\nseeds: [0]\n",
    "not UTF-8": HEAD + b"study: mine\nquestion: \xff\xfe\narms: {a: [algo=rloo]}\n",
    "UTF-16": "study: mine\n".encode("utf-16"),
    "zero bytes": b"\x00" * 64,
    "a byte order mark": b"\xef\xbb\xbf" + HEAD + b"study: mine\narms: {a: [algo=rloo]}\nseeds: [0]\n",
    "two documents": HEAD + b"study: mine\n---\nstudy: other\n",
    "an object of Python": HEAD + b"study: !!python/object/apply:os.system ['touch executed']\n",
    "an unknown tag": HEAD + b"study: !mine x\n",
    "an alias of nothing": HEAD + b"arms: {a: *nothing}\n",
    "an alias of itself": HEAD + b"arms: &a {a: *a}\n",
    "deep": HEAD + b"arms: " + b"[" * 3000 + b"]" * 3000 + b"\n",
    "an unknown default": HEAD + b"defaults: [nothing]\nstudy: mine\n",
    "defaults of another form": HEAD + b"defaults: {a: 1}\nstudy: mine\n",
    "defaults of a number": HEAD + b"defaults: 3\nstudy: mine\n",
    "its own default": HEAD + b"defaults: [mine]\nstudy: mine\n",
    "an unknown package": b"# @package no.such\nstudy: mine\n",
    "an option that there is not": HEAD + b"defaults: [{override /algo: nothing}]\nstudy: mine\n",
    "a hydra field that there is not": HEAD + b"study: mine\nhydra: {nothing: 1}\narms: {a: [algo=rloo]}\n",
    "swept by hydra, wrongly": HEAD + b"study: mine\nhydra: {sweeper: {params: 3}}\n",
    "swept by hydra, an interval": HEAD + b"study: mine\nhydra: {sweeper: {params: {seed: 'interval(0,1)'}}}\n",
}
FINE = HEAD + b"# A fine study\n" + yaml.safe_dump(STUDY | {"study": "fine"}).encode()


def cases() -> Iterator[Case]:
    """Broken files, each asked for itself, and beside one that is right, which has to work as before."""
    for what, content in BROKEN.items():
        sweep = {"sweeps/mine.yaml": content}
        wrong = what not in ("a byte order mark",)
        yield _sweep(f"{what}: sweeps=mine", ("sweeps=mine", PLAN), sweep, wrong=wrong)
        beside = sweep | {"sweeps/fine.yaml": FINE}
        for words in (("sweeps=fine", PLAN), ("list",), ("list", "sweeps"), ("algo=rloo", PLAN), ("show", "algo=rloo")):
            yield _beside(f"{what}: beside it {' '.join(words)}", words, beside)
        option = {"conf/algo/mine.yaml": content.replace(b"# @package _global_\n", b"")}
        yield _sweep(f"{what}: algo=mine", ("algo=mine", PLAN), option, wrong=wrong and what != "a byte order mark")
        for words in (("algo=rloo", PLAN), ("list",), ("show", "algo=rloo"), ("--help",)):
            yield _beside(f"{what}: beside it {' '.join(words)}", words, option)
    for key in (
        *StudySettings.__dataclass_fields__,
        "study",
        "seed",
        "vary",
        "plugins",
        "hang_minutes",
        "train",
        "algo",
    ):
        for odd in ODD:
            yield _study(f"{key}: {str(odd)[:60]}", STUDY | {key: odd}, key)
    for key in STUDY:
        yield _study(f"without {key}", {name: value for name, value in STUDY.items() if name != key}, "")
    for key in ("kl_coef", "defaults", "name", "nothing", "0", "a.b"):
        for odd in ODD:
            files = {"conf/algo/mine.yaml": yaml.dump(OPTION | {key: odd}).encode()}
            words = ("algo=mine", PLAN)
            yield Case(kind="an option's file", what=f"{key}: {str(odd)[:60]}", words=words, files=files)


def torn(rng: random.Random, count: int) -> Iterator[Case]:
    """Right files with bytes or words that are wrong."""
    for _ in range(count):
        content = copy.deepcopy(STUDY)
        if rng.random() < 0.5:
            content[rng.choice(list(content))] = rng.choice(ODD)
            content["arms"] = rng.choice([STUDY["arms"], {"a": rng.choice(ODD)}, rng.choice(ODD)])
        data = bytearray(HEAD + yaml.dump(content, sort_keys=False, allow_unicode=True).encode("utf-8", "replace"))
        for _ in range(rng.randint(0, 3)):
            at = rng.randrange(len(data))
            change = rng.randrange(4)
            if change == 0:
                data[at] = rng.randrange(256)
            elif change == 1:
                del data[at : at + rng.randint(1, 20)]
            elif change == 2:
                data[at:at] = rng.choice(
                    [b"{", b"]", b":", b"'", b'"', b"\t", b"\n", b"&a ", b"*a", b"${", b"!!x ", b"- "]
                )
            else:
                del data[at:]
            if not data:
                break
        yield _sweep("a torn file", ("sweeps=mine", PLAN), {"sweeps/mine.yaml": bytes(data)}, wrong=False)


def _study(what: str, content: dict[str, Any], key: str) -> Case:
    data = HEAD + yaml.dump(content, sort_keys=False, allow_unicode=True).encode("utf-8", "replace")
    return _sweep(what, ("sweeps=mine", PLAN), {"sweeps/mine.yaml": data}, wrong=False)


def _sweep(what: str, words: tuple[str, ...], files: dict[str, bytes], *, wrong: bool) -> Case:
    return Case(kind="a sweep file", what=what, words=words, files=files, meaningless=wrong)


def _beside(what: str, words: tuple[str, ...], files: dict[str, bytes]) -> Case:
    """The other file is no reason to refuse this: what is refused is unclear."""
    return Case(kind="beside a broken file", what=what, words=words, files=files, names="\0no refusal is right")
