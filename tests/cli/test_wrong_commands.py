"""More than two hundred wrong commands: each is refused with status 2 and words that help within two seconds of
processor time, which a busy machine does not lengthen, and writes nothing.

They are generated from the fields, the groups and the verbs, so that a new one is tried as well. Where a wrong command
would be accepted, `dry_run=true` keeps it from training. A run of the whole suite types a sixth of them in turn.
"""

import importlib
import random
import re
from collections.abc import Iterator

import pytest

from align_lab.cli.commands import VERBS
from align_lab.config import composition, study
from align_lab.config.groups import GROUPS, options
from tests import rotation
from tests.campaign import running
from tests.campaign.fields import Field, _beyond, fields, misspelled
from tests.campaign.running import Answer, Case

HELPS = re.compile(
    r"did you mean|allowed|must be|[Tt]ype |for example|align_lab [a-z-]|Write|Set |Add |Choose|Name|needs? "
    r"|\ba run |Install|Drop |Did you mean|are files in "
)
PLAN = "dry_run=true"
SECONDS = 2  # of processor time, in a process that has imported the command line: an answer that takes more is killed
FIELDS = 35  # fields of which each kind of mistake is made
WRONG = {int: ("abc", "1.5", "[1]"), float: ("abc", "[1]", "true"), bool: ("maybe", "7", "[true]"), list: ("7", "abc")}
COMPLETE = {  # verb -> arguments with which it could begin
    "init": ("new",),
    "show": ("algo=rloo",),
    "status": ("two",),
    "logs": ("two",),
    "cancel": ("two",),
    "compare": ("two",),
    "gate": ("two", "--arm", "a", "--against", "b"),
    "replay": ("runs/two/comparison.lock",),
    "evaluate": ("two",),
    "export": ("two", "new"),
    "chat": ("two",),
    "data": ("inspect",),
    "wandb": ("push", "two"),
}
RUNS = """
algo=rloo,dpo | seed=1,2 | seeds=[0,1] | tune={trials: 4} | claims=[a > b] | budget.episodes=100
-m algo= | =3 | --seed=3 | --algo rloo | algo:rloo | +algo.mine=1 | ~algo | algo=[rloo | algo={rloo
nothing.yaml | nothing.yml | sweeps=nothing | sweeps= | study=a/b | study=.. | study= | plugins=[no_such_module]
-m seed=range(3,0) | -m seed=interval(0,1) | -m study=a,b algo=rloo | -m parallel=1,2 | --cfg nothing | --cfg
--cfg job --package nothing.there | --cfg all --package trian
--resolve | --config-name x | --run -m | -x | algo=rloo algo.clip=0.1 | algo=RLOO2 | train.lr=1e-4, | seed=-1
seed=1.5 | seed=one | seed | train | train.steps | train.steps= | train.steps=ten | train.lr=fast | rloo | ppo
hardware=gpus | hardware.placement.minutes=1h | hang_minutes=5m | hang_minutes=-1 | train.budget.seconds=10s
train.budget.seconds=0 | train.budget.episodes=1.5 | wait=false | parallel=0 | parallel=two | evaluation.every=0
model=hf | reward=remote | reward=python | data=files | algo=rloo train.group_size=1 | train.learning_rate=1e-4
vary=[nothing] | evaluation.metric=eval/nothing | evaluation.judges.x.name=nothing | sampling.temperature=-1
sampling.top_p=2 | sampling.max_new_tokens=0 | train.minibatches=1000 | record=nothing | record.samples=-1
-m algo=[ppo,dpo] | model=[tiny] | hydra.run.dir=x | hydra.job.name=x | --foo=bar algo=ppo | --verison
"""
OTHERS = """
gc --older-than 30 | gc --older-than=30 | gc --older-than=1y | gc --older-than=-5d | gc --older-than= | gc --prune
gc --older-than=1m | gc --older-than=2M
gc --larger-than=5X | gc --larger-than=big | gc --only nothing | list nothing | list algo reward | list algo=rloo
show | show rloo | show algo | show algo=rlo | show nothing=rloo | show algo=rloo reward=vader | help nothing
status | status two three | compare two --paired=yes | compare --from | compare --from nothing x | compare two --allow
gate two | gate two --arm a | gate two --arm a --against b --margin 0 | gate two --arm a --against b --margin x
gate two --arm a --against b --confidence 95 | gate two --arm a --against b --store c | replay | replay nothing.lock
replay two --parallel two | evaluate | evaluate two step | evaluate two step=first | export | export two | chat
chat two --temperature warm | chat two --seed x | data | data look | data inspect --examples few | data inspect data=fil
data inspect data=files | doctor nothing | doctor algo=rlo | doctor seed=3 | doctor algo.kl_coef=0.1 | wandb
wandb pull | wandb push | wandb dashboard | serve reward=nothing | serve port=http | serve port=-1
serve port=99999 reward=vader
serve host=0.0.0.0 reward=vader | serve batch=0 reward=vader | serve reward=vader token_env=NOT_SET | init | init a b
logs | logs two -n few | cancel | studies two | statsu two | lst | comprae two | Status two | run | train | sweep | -h3
tune | report | resume | list algos | data inpsect | chat nothing | export nothing new
"""


def _case(*words: str, names: str = "") -> Case:
    return Case(kind="wrong", what=" ".join(words), words=words, names=names)


def _typed(block: str, *more: str) -> Iterator[Case]:
    for text in block.replace("\n", " | ").split(" | "):
        if text.strip():
            yield _case(*(text.split(" ") if "{" not in text and ">" not in text else [text]), *more)


def _of_fields(rng: random.Random) -> Iterator[Case]:
    """A misspelled key, a value of a wrong type, a value out of bounds."""
    pool = [one for one in fields() if one.declared and not one.key.endswith(".name")]
    for one in rng.sample(pool, FIELDS):
        section, _, last = one.key.rpartition(".")
        wrong = f"{section}{section and '.'}{misspelled(rng, last)}"
        yield _case(*one.choice, f"{wrong}=1", PLAN, names=wrong)
    for one in rng.sample([one for one in pool if type(one.default) in WRONG], FIELDS):
        yield _case(*one.choice, f"{one.key}={rng.choice(WRONG[type(one.default)])}", PLAN, names=_last(one))
    bounded = [(one, value) for one in pool for value in _beyond(one)]
    for one, value in rng.sample(bounded, FIELDS):
        yield _case(*one.choice, f"{one.key}={value.text}", PLAN, names=_last(one))


def _last(one: Field) -> str:
    return one.key.rpartition(".")[2]


def _of_groups(rng: random.Random) -> Iterator[Case]:
    """Every group with an option that is misspelled, and the group itself misspelled."""
    for group in GROUPS:
        option = rng.choice(sorted(options(group)))
        yield _case(f"{group}={misspelled(rng, option)}x", PLAN, names=f"{group}=")
        yield _case(f"{misspelled(rng, group)}={option}", PLAN)


def _of_verbs(rng: random.Random) -> Iterator[Case]:
    """Every verb misspelled, with a flag that it does not have, and without an argument that it needs."""
    for verb in sorted(set(VERBS) - {"help"}):
        words = COMPLETE.get(verb, ())
        yield _case(misspelled(rng, verb), *words)
        yield _case(verb, *words, "--no-such-flag", names="--no-such-flag")
        if words:
            yield _case(verb)
    for verb in set(COMPLETE) - {"init", "show", "data"}:
        yield _case(verb, *COMPLETE[verb])  # there is no such study, run or lock


def commands() -> list[Case]:
    rng = random.Random(11)
    listed = [*_of_fields(rng), *_of_groups(rng), *_of_verbs(rng), *_typed(RUNS, PLAN), *_typed(OTHERS)]
    return list({case.words: case for case in listed}.values())


@pytest.fixture(scope="module")
def answers() -> list[tuple[Case, Answer]]:
    for name in {target.partition(":")[0] for target in VERBS.values()} | {"align_lab.dispatch.launch"}:
        importlib.import_module(name)
    assert study.read(["algo=rloo"], multirun=False).runs  # composed once here: no fork begins with nothing
    by_name = {case.what: case for case in commands()}
    turn = [by_name[name] for name in rotation.in_turn([*by_name], "a wrong command")]
    return [(one.case, one.answer) for one in running.run(turn, seconds=SECONDS)]


def test_there_are_two_hundred_of_every_kind():
    composition.load_components()
    assert len(commands()) >= 200


def test_each_is_refused_with_status_2_and_without_a_traceback(answers):
    wrong = [
        (case.what, answer.status, (answer.trace or answer.errors or answer.output)[-300:])
        for case, answer in answers
        if answer.status != 2 or answer.trace or "Traceback" in answer.errors
    ]
    assert not wrong, "\n".join(map(str, wrong))


def test_each_says_what_was_found_and_what_to_type(answers):
    wrong = [
        (case.what, answer.errors)
        for case, answer in answers
        if not HELPS.search(answer.errors) or case.names not in answer.errors or not answer.errors.startswith("error: ")
    ]
    assert not wrong, "\n".join(map(str, wrong))


def test_none_writes_a_file_or_prints_to_standard_output(answers):
    wrong = [
        (case.what, answer.written, answer.output[:200]) for case, answer in answers if answer.written or answer.output
    ]
    assert not wrong, "\n".join(map(str, wrong))
