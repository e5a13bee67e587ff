"""The verbs and the help text. Each verb imports what it needs when it is called."""

from __future__ import annotations

import argparse
import importlib

from align_lab.base.errors import ConfigError, near
from align_lab.base.paths import cache_folder
from align_lab.config.groups import GROUPS, options, yaml_options

USAGE = """\
align_lab: alignment experiments, and comparisons between them that can be trusted

  python -m align_lab algo=reinforce_pp              train the tiny policy on real human ratings (CPU, minutes)
  python -m align_lab algo=ppo seed=3 train.lr=1e-4  any field of any group can be set
  python -m align_lab -m algo=rloo,dpo seed=1,2,3    every combination; parallel=2 runs two at a time
  python -m align_lab -m algo=rloo,dpo seed=1,2,3 hardware=slurm_gpu    the same as jobs of a Slurm cluster
  python -m align_lab sweeps=five_algorithms         the same from a file under sweeps/

Commands
  list [GROUP]              the options of every group, or of one
  show GROUP=NAME           a component's card: what it computes, its papers, its fields and defaults
  status STUDY              what its runs are doing, and why any failed (--watch, --json)
  cancel STUDY              cancel its queued and running jobs
  compare STUDY             are its runs comparable, and which arm did better, how surely; also as a page; other programs' runs too
  replay LOCK               make a comparison again from its comparison.lock, and check every hash
  export RUN DIR            write a run's policy as a Hugging Face folder
  gc                        what takes space; --older-than=30d --prune removes it
  chat RUN                  complete your own prompts with a run's policy, beside the policy it started from
  wandb push STUDY          send W&B what it lacks of a study, from our own metrics, checked by reading it back
  wandb dashboard STUDY     a comparison workspace and a report on W&B; --offline writes them to disk

Groups (GROUP=OPTION)
{groups}

Fields (see them all: python -m align_lab --cfg job)
  parallel=N wait=true dry_run=true                  how a sweep runs; dry_run prints its plan
  study=NAME                folder under runs/ for this run and those it is compared with
  seed=N                    seed of the policy's training
  train.steps=N train.lr=X train.group_size=N train.budget.episodes=N
  sampling.temperature=X sampling.max_new_tokens=N   evaluation.prompts=N

Files: runs/STUDY/ALGO-MODEL-sSEED-SIGNATURE/ (config, manifest, metrics, samples, checkpoints).
Run the same command again to continue an interrupted run. ALIGN_LAB_CACHE: data and artefacts (now {cache}).
Exit status: 0 done, 1 failed, 2 wrong command or config, 3 not comparable, 75 stopped and saved.
"""


def help_(args: list[str]) -> int:
    groups = "\n".join(f"  {group:<9} {', '.join(yaml_options(group))}" for group in GROUPS)
    print(USAGE.format(groups=groups, cache=cache_folder()), end="")
    return 0


def list_(args: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m align_lab list", description="The options of every group, or of one."
    )
    parser.add_argument("group", nargs="?", choices=[*GROUPS, "sweeps"], metavar="GROUP", help=", ".join(GROUPS))
    chosen = parser.parse_args(args).group
    from align_lab.base import registry

    registry.scan()
    for group in [chosen] if chosen else [*GROUPS, "sweeps"]:
        print(f"{group}")
        for name, headline in options(group).items():
            print(f"  {name:<22}{headline}".rstrip())
    return 0


VERBS = {  # where each verb lives; its module is imported when it is called
    "list": "align_lab.cli.commands:list_",
    "show": "align_lab.cli.show:show",
    "status": "align_lab.cli.status:status",
    "compare": "align_lab.cli.compare:compare",
    "replay": "align_lab.cli.replay:replay",
    "cancel": "align_lab.cli.status:cancel",
    "gc": "align_lab.cli.gc:gc",
    "export": "align_lab.cli.policies:export",
    "chat": "align_lab.cli.policies:chat",
    "wandb": "align_lab.cli.wandb:wandb",
    "help": "align_lab.cli.commands:help_",
}


def run(verb: str, args: list[str]) -> int:
    """Call one of VERBS. Returns its exit status."""
    module, _, function = VERBS[verb].partition(":")
    return getattr(importlib.import_module(module), function)(args)


def refuse_verb(word: str) -> None:
    raise ConfigError(
        f"{word!r} is not a command: {near(word, VERBS)}. A run is started with overrides, "
        "for example: python -m align_lab algo=rloo"
    )
