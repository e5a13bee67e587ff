"""The verbs and the help text. The module of a verb is imported when the verb is called."""

from __future__ import annotations

import importlib
import textwrap

from align_lab import __version__
from align_lab.base import answer
from align_lab.base.errors import ConfigError, near
from align_lab.base.paths import cache_folder
from align_lab.config.groups import GROUPS, yaml_options

USAGE = """\
align_lab: alignment experiments, and comparisons between them that can be trusted

  align_lab algo=reinforce_pp              train the tiny policy on real human ratings (CPU, minutes)
  align_lab algo=ppo seed=3 train.lr=1e-4  override any field of any group
  align_lab -m algo=rloo,dpo seed=1,2,3    every combination; parallel=2 runs two at a time
  align_lab -m algo=rloo,dpo seed=1,2,3 hardware=slurm_gpu    the same as jobs on a Slurm cluster
  align_lab my_study.yaml                  a study from one file of your own, from any folder
  align_lab sweeps=five_algorithms_quick   a study from a file under sweeps/

Commands (COMMAND --help has the options of each)
  init FOLDER               write a small project: prompts, a reward function, a study of three algorithms
  list [GROUP]              the options of every group, or of one
  show GROUP=OPTION         what an option computes, its papers, its fields and their defaults
  studies                   every study under runs/: its question, its runs by state, and the last verdict
  status STUDY              the state of every run, and the reason of every failure; --watch
  logs RUN                  what its job has printed; -f also what it prints, until it ends
  cancel STUDY              cancel its queued and running jobs
  compare STUDY             are its runs comparable, and which arm is better, with what confidence? Writes report.html
  gate STUDY --arm A ...    is an arm at most a margin worse than a baseline? Ends with a status, for CI
  replay LOCK               check every run of a comparison.lock by its hashes; --fresh computes all of them again
  evaluate RUN [KEY=VALUE]  evaluate a checkpoint again without training: other decoding, samples, sets, judges
  export RUN DIR            write a run's policy as a Hugging Face folder
  chat RUN                  complete your own prompts with a run's policy, beside the policy it started from
  data inspect data=OPTION ...  counts, lengths, splits, duplicates, and examples as the model will see them
  serve reward=OPTION       score completions for other machines over HTTP (reward=remote); port=8000 host=127.0.0.1
  doctor [GROUP=OPTION ...] do the components keep their contracts, and what can this machine do?
  gc                        disk space of checkpoints, snapshots and artefacts; --older-than=30d --prune removes them
  wandb push STUDY          upload to W&B the rows of a study that it lacks, and verify them
  wandb dashboard STUDY     a comparison workspace and a report on W&B; --offline writes them to disk

Groups (GROUP=OPTION)
{groups}

Fields (all of them: align_lab --cfg job)
  study=NAME                folder under runs/ for this run and those it is compared with
  seed=N                    seed of the policy's training
  train.steps=N train.lr=X train.group_size=N train.budget.episodes=N
  sampling.temperature=X sampling.max_new_tokens=N   evaluation.prompts=N
  parallel=N wait=true dry_run=true                  how a study runs; dry_run prints the plan and submits nothing
  plugins=[MODULE]          import components from your own modules; list and show take it too

--json, with any command: one JSON document on standard output, also for an error; all else goes to standard error.
Files: runs/STUDY/ALGO-MODEL-sSEED-SIGNATURE/ (config, manifest, metrics, samples, checkpoints).
The same command again continues an interrupted run.
ALIGN_LAB_CACHE: where data and artefacts are kept, now {cache}
Exit status: 0 done, 1 failed, 2 wrong command or config, 3 not comparable, 4 inconclusive (gate),
75 stopped and saved.
"""

BEGINNING = """\
align_lab {version}: train, sweep and compare alignment algorithms, with intervals and a proof that it is fair

To begin, on any laptop (the data is fetched, and everything runs on the processor; the first takes a few minutes):
  align_lab algo=reinforce_pp                             train a tiny model on real human ratings
  align_lab -m algo=rloo,dpo 'seeds=[0,1,2]' study=first  a study of two algorithms, three seeds each
  align_lab compare first                                 which is better, and with what confidence?

With your own task:  align_lab init my_project            prompts, a reward function, and a study of them
Everything else:     align_lab --help
"""

VERBS = {  # verb -> module:function
    "init": "align_lab.cli.init:init",
    "list": "align_lab.cli.list_options:list_options",
    "show": "align_lab.cli.show:show",
    "studies": "align_lab.cli.studies:studies",
    "status": "align_lab.cli.status:status",
    "logs": "align_lab.cli.logs:logs",
    "cancel": "align_lab.cli.cancel:cancel",
    "compare": "align_lab.cli.compare:compare",
    "gate": "align_lab.cli.gate:gate",
    "replay": "align_lab.cli.replay:replay",
    "evaluate": "align_lab.cli.evaluate:evaluate",
    "export": "align_lab.cli.export:export",
    "chat": "align_lab.cli.chat:chat",
    "data": "align_lab.cli.data:data",
    "serve": "align_lab.cli.serve:serve",
    "doctor": "align_lab.cli.doctor:doctor",
    "gc": "align_lab.cli.gc:gc",
    "wandb": "align_lab.cli.wandb:wandb",
    "help": "align_lab.cli.commands:print_help",
}


MEANT = {  # what other programs call it -> what does it here
    "train": "A run is started with overrides: align_lab algo=rloo",
    "run": "A run is started with overrides: align_lab algo=rloo",
    "launch": "A run is started with overrides: align_lab algo=rloo",
    "resume": "The same command that started a run or a study goes on with it",
    "sweep": "A study is started with align_lab -m algo=rloo,dpo seed=1,2,3, or from a file: align_lab my_study.yaml",
    "study": "A study is started from a file, align_lab my_study.yaml; align_lab studies lists those that there are",
    "tune": "A study with tune.trials=12 tunes its arms first: align_lab my_study.yaml tune.trials=12",
    "report": "align_lab compare STUDY writes the page runs/STUDY/report.html",
    "results": "align_lab compare STUDY shows them",
    "plot": "align_lab compare STUDY draws the figures of the page runs/STUDY/report.html",
    "analyze": "align_lab compare STUDY does",
    "stop": "align_lab cancel STUDY does",
    "kill": "align_lab cancel STUDY does",
    "ls": "align_lab studies lists the studies, align_lab list the options",
    "generate": "align_lab chat RUN completes prompts with the policy of a run",
    "sample": "align_lab chat RUN completes prompts with the policy of a run",
    "config": "align_lab algo=rloo --cfg job prints the config of a run",
    "version": "align_lab --version",
}


def run(verb: str, args: list[str]) -> int:
    """Call one of VERBS. Returns its exit status."""
    module, _, function = VERBS[verb].partition(":")
    return getattr(importlib.import_module(module), function)(args)


def print_beginning() -> int:
    """What the program is, and the commands to begin with."""
    answer.give({"version": __version__, "commands": list(VERBS)})
    print(BEGINNING.format(version=__version__), end="")
    return 0


def print_help(args: list[str]) -> int:
    """`help` and `--help`: how to use the program; `help VERB`: how to use one verb."""
    if args and args[0] not in (*VERBS, "-h", "--help"):
        refuse_unknown_verb(args[0])
    if args and args[0] in VERBS and args[0] != "help":
        return run(args[0], ["--help"])
    groups = "\n".join(_wrapped(f"  {group:<9} {', '.join(yaml_options(group))}") for group in GROUPS)
    text = USAGE.format(groups=groups, cache=cache_folder())
    answer.give({"help": text})
    print(text, end="")
    return 0


def _wrapped(line: str) -> str:
    return textwrap.fill(line, width=118, subsequent_indent=" " * 12, break_on_hyphens=False)


def options_named(word: str) -> list[str]:
    """GROUP=OPTION of every option with this name, whatever its case."""
    return [f"{group}={name}" for group in GROUPS for name in yaml_options(group) if name == word.lower()]


def refuse_unknown_verb(word: str) -> None:
    """Raises ConfigError with the option that has this name, or the nearest verb."""
    if options := options_named(word):
        raise ConfigError(f"{word!r} is not a command. Did you mean {options[0]}?")
    if meant := MEANT.get(word.lower()):
        raise ConfigError(f"{word!r} is not a command. {meant}")
    raise ConfigError(
        f"{word!r} is not a command: {near(word, VERBS)}. A run is started with overrides, "
        "for example: align_lab algo=rloo"
    )


def shown(error: Exception) -> str:
    """The message of an error, which may name what a record or a lock of somebody else holds."""
    from align_lab.record.terminal import visible

    return visible(str(error))
