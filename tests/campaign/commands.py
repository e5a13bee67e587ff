"""Command lines: Hydra's flags and sweeps, plug-ins, and every verb with arguments that are wrong."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from functools import cache

from align_lab.cli import commands
from tests.campaign import running
from tests.campaign.fields import misspelled
from tests.campaign.running import Case
from tests.campaign.values import ESCAPE, HUGE

PLAN = "dry_run=true"
FLAGS = {  # a flag of Hydra and its value -> is it meaningless?
    ("--resolve",): True,
    ("--resolve", "--cfg", "job"): False,
    ("--cfg",): True,
    ("--cfg", "nothing"): True,
    ("--cfg", "job", "--package", "nothing.there"): True,
    ("--cfg", "job", "-p", "algo"): False,
    ("--package", "algo"): True,
    ("--cfg", "all"): False,
    ("--cfg", "hydra"): False,
    ("--info",): False,
    ("--info", "defaults"): False,
    ("--info", "nothing"): True,
    ("--info", "searchpath"): False,
    ("--shell-completion",): True,
    ("-sc", "query=bash"): False,
    ("-sc", "install=nothing"): True,
    ("-sc", "query=nothing"): True,
    ("--hydra-help",): False,
    ("--version",): False,
    ("--config-name", "nothing"): True,
    ("-cn", "config"): False,
    ("--config-dir", "/nowhere"): True,
    ("--config-path", "/nowhere"): True,
    ("--experimental-rerun", "x.pickle"): True,
    ("--run",): False,
    ("--multirun", "--run"): True,
    ("--cfg", "job", "-m"): False,
    ("--no-such-flag",): True,
    ("-x",): True,
    ("--",): False,
}
SWEEPS = {  # a value in a sweep -> is it meaningless?
    "interval(0,1)": True,
    "interval(0.0,inf)": True,
    "glob(*)": True,
    "glob([a*,b*],exclude=c)": True,
    "choice()": True,
    "choice(1)": False,
    "choice(1,choice(2,3))": True,
    "range(0,3)": False,
    "range(3,0)": True,
    "range(0,3,0)": True,
    "range(0,1,0.3)": True,
    "range(0,1000000000)": True,
    f"range(0,{HUGE})": True,
    "shuffle(1,2,3)": False,
    "sort(3,1,2)": False,
    "sort(a,1)": True,
    "shuffle(range(0,2))": False,
    "tag(x,interval(0,1))": True,
    "int(1.5)": False,
    "int(x)": True,
    "json_str({a:1})": True,
    "extend_list(1,2)": True,
    "float(1)": True,
    "bool(maybe)": True,
    "no_such_function(1)": True,
    "1,2,": True,
    ",": True,
    "1,1,1": False,
    "1,x": True,
    "1,nan": True,
    "1,-1": True,
    "null,1": True,
    "???,1": True,
    "${seed},1": True,
    "[1,2]": True,
    "{a:1},{b:2}": True,
}
PLUGINS = (
    "[../x]",
    "[./x]",
    "[.x]",
    "[..]",
    "[x.]",
    "[a..b]",
    "[/abs/x]",
    "[a-b]",
    "['']",
    "[' ']",
    "[1]",
    "[null]",
    "[[x]]",
    "[{a: 1}]",
    "x",
    "{a: 1}",
    "1",
    "null",
    "'???'",
    "${nothing}",
    "[no_such_module]",
    "[no.such.module]",
    "['x y']",
    "['x\\ny']",
    "['" + "x" * 5000 + "']",
    "[é]",
    "[raises]",
    "[leaves]",
    "[broken]",
    "[binary]",
    "[recurses]",
    "[interrupted]",
    "[same_name]",
    "[no_contract]",
    "[bad_field]",
    "[no_default]",
    "[odd_type]",
    "[prints,raises]",
    "glob(*)",
    "[folder]",
)
COMPONENT = """
from dataclasses import dataclass

from align_lab.base.contracts import Algorithm, Reward
from align_lab.base.registry import register


class Constant(Reward):
    def score(self, examples, completions):
        return None

    def load(self, folder):
        return self


@register("{kind}", "{name}")
@dataclass(frozen=True, kw_only=True)
class Mine{contract}:
    {line}
"""
MODULES = {
    "raises.py": b"raise RuntimeError('on purpose')\n",
    "leaves.py": b"import sys\nsys.exit(0)\n",
    "broken.py": b"def f(:\n",
    "binary.py": b"\xff\xfe\x00\x01",
    "recurses.py": b"def f():\n    f()\nf()\n",
    "interrupted.py": b"raise BaseException('odd')\n",
    "prints.py": b"print('x')\n",
    "folder/data.txt": b"",
    **{
        f"{name}.py": COMPONENT.format(kind=kind, name=option, contract=contract, line=line).encode()
        for name, kind, option, contract, line in (
            ("same_name", "algo", "rloo", "(Algorithm)", "pass"),
            ("no_contract", "algo", "mine", "", "x: int = 1"),
            ("bad_field", "reward", "mine", "(Constant)", "x: int = 'text'"),
            ("no_default", "reward", "mine", "(Constant)", "x: int"),
            ("odd_type", "reward", "mine", "(Constant)", "x: set[bytes] = frozenset()"),
        )
    },
}
ODD = (
    "",
    "nothing",
    "../..",
    "/",
    "-",
    "--",
    "x" * 300,
    ESCAPE,
    "a\nb",
    HUGE,
    "-1",
    "nan",
    "1e999",
    "é",
    "*",
    "\udc80",
    "0",
)
FOREIGN = (("wandb", "."), ("trl", "nowhere"), ("trl", "."), ("nothing", "x"), ("trl",), ("verl", ".", "arm="))
QUIET = ("serve", "doctor", "help")  # of which a right command line goes on for ever, or long


def hydra() -> Iterator[Case]:
    """Each flag, and each kind of sweep."""
    for words, wrong in FLAGS.items():
        yield Case(kind="a flag", what=" ".join(words), words=(*words, "algo=rloo", PLAN), meaningless=wrong)
        yield Case(kind="a flag", what=f"{words} alone", words=(*words, PLAN), meaningless=wrong)
    for text, wrong in SWEEPS.items():
        for key in ("seed", "train.lr", "algo"):
            bad = True if key == "algo" else wrong
            if key == "train.lr" and text in ("1,-1", "range(0,1,0.3)", "range(0,3)", "shuffle(range(0,2))", "null,1"):
                continue
            if key != "seed" and text in ("int(1.5)", "int(1)"):
                continue
            wrong_here = bad and text not in ("float(1)", "${seed},1")
            yield Case(
                kind="a sweep on the command line",
                what=f"-m {key}={text[:60]}",
                words=("-m", f"{key}={text}", PLAN, *(() if key == "algo" else ("algo=rloo",))),
                meaningless=wrong_here,
            )
    for key in ("study", "arms", "seeds", "tune", "parallel", "wait", "claims", "control", "question", "vary"):
        for text in (*SWEEPS, "???", "${x}", HUGE, "nan", "inf", "abc", "[x]", "{x: 1}", "null", "-1", "0"):
            yield Case(kind="a field of a study", what=f"-m {key}={text[:60]}", words=("-m", f"{key}={text}", PLAN))


def plugins() -> Iterator[Case]:
    """Names of modules that cannot be, and modules that cannot be imported."""
    for text in PLUGINS:
        fine = text in ("null", "['???']")
        for words in (("algo=rloo", PLAN), ("-m", "seed=1,2", PLAN), ("list",), ("show",), ("--cfg", "job")):
            words = ("show", "algo=rloo") if words == ("show",) else words
            yield Case(
                kind="plug-ins",
                what=f"{' '.join(words)} plugins={text[:60]}",
                words=(*words, f"plugins={text}"),
                meaningless=not fine,
                names="" if fine or text.strip("[]") + ".py" in MODULES else "plugins",
                files=MODULES,
            )


@cache
def flags_of(verb: str) -> tuple[str, ...]:
    """The flags that its help names."""
    (answer,) = running._forked([Case(kind="", what="", words=(verb, "--help"))])
    return tuple(dict.fromkeys(re.findall(r"(?<![\w-])--[a-z][a-z-]*", answer.output)))


def verbs() -> Iterator[Case]:
    """Every verb without arguments, with one that is wrong, and with each of its flags wrongly used."""
    for verb in commands.VERBS:
        if verb in ("help", "init"):
            continue
        if verb not in QUIET:
            yield Case(kind="a verb", what=verb, words=(verb,), statuses=(1,))
        yield Case(kind="a verb", what=f"{verb} --nothing", words=(verb, "--nothing"), meaningless=True)
        for odd in ODD:
            if verb in ("doctor", "gc", "serve") and odd in ("-", "--", ""):
                continue
            yield Case(
                kind="a verb", what=f"{verb} {odd[:40]!r}", words=(verb, odd), meaningless=odd not in ("", "-", "--")
            )
        yield from _flags(verb)
    for words in FOREIGN:
        yield Case(kind="a verb", what=f"compare --from {words}", words=("compare", "--from", *words), meaningless=True)
    for odd in ODD[1:]:
        for verb, key in (("show", "algo"), ("data inspect", "data"), ("doctor", "reward"), ("evaluate x", "step")):
            if odd not in ("-", "--"):
                what = f"{verb} {key}={odd[:40]!r}"
                yield Case(kind="a verb", what=what, words=(*verb.split(), f"{key}={odd}"), meaningless=True)
        yield Case(
            kind="a verb", what=f"serve {odd!r}", words=("serve", "reward=vader", f"port={odd}x"), meaningless=True
        )


def _flags(verb: str) -> Iterator[Case]:
    """The flags of a verb, each with a word that is wrong."""
    for flag in flags_of(verb):
        for odd in ("", *ODD[1:]):
            if flag != "--help" and not (verb in QUIET and odd in ("", "-", "--")):
                yield Case(kind="a verb", what=f"{verb} {flag} {odd[:40]!r}", words=(verb, flag, odd))
                yield Case(kind="a verb", what=f"{verb} x {flag}={odd[:40]!r}", words=(verb, "x", f"{flag}={odd}"))


LINES = (
    "algo=rloo seed=3 train.lr=1e-4",
    "-m algo=rloo,dpo seed=1,2 study=two parallel=2",
    "algo=ppo model=tiny reward=length hardware=cpu data=movie_reviews record=local",
    "-m algo=rloo seed=1,2 hardware=slurm_cpu hardware.placement.minutes=20",
    "sweeps=five_algorithms_quick seeds=[0]",
    "--cfg job algo=dpo",
    "show algo=ppo_max",
    "list algo",
    "compare five --json",
    "gc --older-than=30d --only checkpoints",
    "status five --json",
    "replay runs/five/comparison.lock --dry-run",
    "evaluate RUN evaluation.temperature=0",
)


def misspelled_lines(rng: random.Random, count: int) -> Iterator[Case]:
    """Right command lines with a letter or a word that is wrong."""
    for _ in range(count):
        words = rng.choice(LINES).split()
        for _ in range(rng.randint(1, 3)):
            at = rng.randrange(len(words))
            change = rng.randrange(6)
            if change < 3 and words[at]:
                words[at] = misspelled(rng, words[at])
            elif change == 3:
                words.insert(at, rng.choice(words))
            elif change == 4 and len(words) > 1:
                del words[at]
            else:
                words[at] = words[at].partition("=")[0] + "=" + rng.choice(ODD)
        if words[0] not in commands.VERBS:
            words.append(PLAN)
        if words[0] not in ("serve", "doctor"):
            yield Case(kind="a misspelled line", what=" ".join(words)[:200], words=tuple(words), statuses=(1,))
