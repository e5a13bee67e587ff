"""One run, from config to finished record: stages, then the loop, then what it means."""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from align_lab import preflight
from align_lab.base.errors import AlignLabError, ConfigError, DataError, Stopped
from align_lab.base.files import is_full
from align_lab.base.lease import lease
from align_lab.base.metrics import of_task
from align_lab.base.paths import cache_folder, runs_folder
from align_lab.base.record import Record
from align_lab.base.run_config import RunConfig
from align_lab.base.signals import StopRequest, stop_requests
from align_lab.base.world import World, joined, lost
from align_lab.boards.sinks import show_finished
from align_lab.preflight import Memory
from align_lab.record import differences, manifest
from align_lab.record.console import Screen
from align_lab.record.folder import RunFolder
from align_lab.record.layout import RunLayout
from align_lab.record.summary import Summary
from align_lab.run import allocator, assembly, device, processes
from align_lab.run.inherit import inherit
from align_lab.run.journal import Follower, Journal
from align_lab.run.watchdog import watched
from align_lab.stages.dependencies import stages
from align_lab.stages.store import Artefact, Stage, shared
from align_lab.train.evaluate import Evaluator
from align_lab.train.loop import Loop


def run(cfg: RunConfig, *, wait_for_others: bool = False) -> int:
    """Run to the end, or continue. Returns 0; raises AlignLabError with the exit status of what went wrong.

    Of several processes that were started together, the first keeps the record. A run that another process is at is
    refused, or waited for.
    """
    path = runs_folder() / cfg["study"] / cfg.name
    if (count := processes.to_start(cfg["hardware"]["placement"])) > 1:
        return processes.run(partial(run, wait_for_others=wait_for_others), cfg, path, count=count)
    computing = device.use(cfg["hardware"]["numerics"], tiny=cfg.model.tiny)
    record = cfg.record
    with stop_requests() as stop, joined() as world:
        stop.patient = world.size > 1  # alone no process may leave: they stop together, in the loop
        if world.rank:
            _follow(cfg, RunFolder(path), stop, world)
            return 0
        with Screen(live=record.progress) as screen, _owned(path, screen, wait=wait_for_others):
            folder = RunFolder.create(path, cfg.values)
            of = f" x {world.size} processes" if world.size > 1 else ""
            screen.notice(
                f"{cfg.choices['algo']} on {cfg.choices['model']}, seed {cfg['seed']}, {computing}{of}: {path}"
            )
            RunLayout(path).errors.unlink(missing_ok=True)
            if world.broadcast(folder.status()["state"] != "done"):
                _guarded(cfg, folder, record, screen, stop, world)
            else:
                since = differences.differences(path, cfg.values)
                screen.notice(f"this run is finished{since or '. To run it again, remove its folder'}")
                show_finished(record, path, screen.notice)
            _conclude(folder, cfg, screen)
    return 0


@contextmanager
def _owned(path: Path, screen: Screen, *, wait: bool) -> Iterator[None]:
    """Hold the run's lease."""

    def busy(owner: str) -> None:
        if not wait:
            raise ConfigError(f"{path} is being run by {owner}. Wait for it, or stop it first")
        screen.notice(f"waiting: {path} is being run by {owner}")

    while True:
        with lease(RunLayout(path).lease, on_wait=busy) as mine:
            if mine:
                yield
                return


def _follow(cfg: RunConfig, folder: RunFolder, stop: StopRequest, world: World) -> None:
    """What the other processes of a run do: the same loop, without a record."""
    if not world.broadcast(None):
        return
    try:
        _train(cfg, folder, Follower(folder), Screen(console=Console(quiet=True)), stop, world)
    except Stopped:
        pass  # the first process says so, when it has saved
    except BaseException as error:
        if not lost(error):
            folder.blame(_said(error, world), traceback.format_exc())
        raise


def _guarded(
    cfg: RunConfig, folder: RunFolder, record: Record, screen: Screen, stop: StopRequest, world: World
) -> None:
    """Train; whatever happens, the run's status says so."""
    journal = Journal(folder, record, screen, steps=cfg.train.steps, metric=cfg.evaluation.metric)
    try:
        with watched(folder.at.stacks, minutes=cfg["hang_minutes"]) as watch:
            journal.watch = watch
            _train(cfg, folder, journal, screen, stop, world)
    except BaseException as error:
        away = lost(error)
        cause = (away and _cause(folder)) or _said(error, world)
        with suppress(OSError):  # a full disk takes no status either
            state = "stopped" if isinstance(error, Stopped | KeyboardInterrupt) else "failed"
            folder.set_status(state, **journal.where, error=cause)
        if is_full(error, folder.path) or is_full(error, cache_folder()):
            raise AlignLabError(
                f"no space is left on the disk of {folder.path} or {cache_folder()}. Nothing was left half-written: free "
                "some space and run the same command again, it goes on from the last checkpoint"
            ) from error
        if isinstance(error, AlignLabError | KeyboardInterrupt):
            raise
        if not away:
            folder.blame(cause, traceback.format_exc())
        log = folder.at.errors
        raise AlignLabError(
            f"the run failed: {cause}" + (f". Its traceback is in {log}" if log.exists() else "")
        ) from error
    finally:
        journal.sink.close()


def _said(error: BaseException, world: World) -> str:
    who = f"process {world.rank} of {world.size}: " if world.size > 1 else ""
    what = "" if type(error) is AlignLabError else f"{type(error).__name__}: "  # whose text says it all
    return f"{who}{what}{error}"


def _cause(folder: RunFolder) -> str:
    """What another process wrote down before it went; a shared file system may show it a little later."""
    end = time.monotonic() + 2.0
    while not (cause := folder.cause()) and time.monotonic() < end:
        time.sleep(0.1)
    return cause or "another process of the run ended without a word"


def _train(
    cfg: RunConfig, folder: RunFolder, journal: Journal, screen: Screen, stop: StopRequest, world: World
) -> None:
    journal.phase("stages")
    memory = _preflight(cfg, folder, screen, world)
    needed = stages(cfg)
    if world.rank:
        world.broadcast(None)  # the first process has built them all
    built = build(needed, screen)
    if not world.rank:
        world.broadcast(None)
    if world.broadcast(memory.estimate is None):  # a model may only tell its shape once it is here
        memory = _preflight(cfg, folder, screen, world)
    allocator.hand_back()  # what building the stages took
    manifest.forget_peak()
    loop = assembly.assemble(
        memory.apply_to(cfg), built, journal=journal, should_stop=lambda: bool(world.max(int(stop.asked))), world=world
    )
    _restore(loop, cfg, journal, screen, world, hashes=made_of(cfg, built, loop))
    journal.manifest(lambda: describe(cfg, built, loop, memory, journal.checkpoints.best()))
    stop.patient = True
    if world.max(int(stop.asked)):
        raise Stopped("stopped before training began. Run the same command again to continue")
    screen.start(step=loop.progress.step, steps=cfg["train"]["steps"])
    journal.phase("training")
    with closing(loop):
        loop.run()
    screen.stop()
    screen.notice(memory.end_message(manifest.peak_memory()))
    journal.manifest(lambda: describe(cfg, built, loop, memory, journal.checkpoints.best()))
    journal.done()


def _preflight(cfg: RunConfig, folder: RunFolder, screen: Screen, world: World) -> Memory:
    """What the run will need and in which micro-batches, said. Raises ConfigError where it does not fit."""
    on_gpu = torch.get_default_device().type == "cuda"
    memory = preflight.check_memory(cfg, world, gpu=on_gpu, previous=folder.micro_batch())
    screen.notice(memory.start_message())
    return memory


def _restore(
    loop: Loop, cfg: RunConfig, journal: Journal, screen: Screen, world: World, *, hashes: Mapping[str, Any]
) -> None:
    """Bring loop and record to the newest checkpoint that is whole; without one the run begins anew."""
    folder, found = journal.folder, None
    if not world.rank:
        if not journal.checkpoints.steps() and (start := inherit(folder, cfg, hashes)):
            screen.notice(f"the first {start.step} steps are those of {start.path.name}, which had fewer")
        found = journal.checkpoints.latest(screen.notice)
        folder.rewind(found[0]) if found else folder.forget()
    step = world.broadcast(found and found[0])
    if step is None:
        return
    loop.load_state_dict(found[1] if found else journal.checkpoints.load(step))
    loop.start_rows = [row for row in folder.samples() if row["step"] == 0]
    if [row["step"] for row in folder.metrics()] != list(range(step + 1)) or not loop.start_rows:
        raise DataError(
            f"the record in {folder.path} is not whole: rows before step {step} are gone. Remove it to start again"
        )
    if step:
        screen.notice(f"continuing after step {step}")


def build(needed: Mapping[str, Stage], screen: Screen) -> dict[str, Artefact]:
    """Every stage's artefact, built where it is missing."""
    store = shared(screen)
    return {name: store.get(stage) for name, stage in needed.items()}


def describe(
    cfg: RunConfig, built: Mapping[str, Artefact], loop: Loop, memory: Memory, best_step: int | None
) -> dict[str, Any]:
    """The manifest: everything that a comparison, or a reader in a year, needs to know."""
    from align_lab.base import run_config

    now = loop.progress
    return {
        "signature": cfg.signature,
        "seed": cfg["seed"],
        "choices": dict(cfg.choices),
        "config": dict(run_config.leaves(cfg.values)),
        "metrics": {name: asdict(metric) for name, metric in of_task(cfg.values).items()},
        "hashes": made_of(cfg, built, loop),
        "artefacts": {name: f"{a.kind}-{a.key}" for name, a in built.items()},
        "code": manifest.code(),
        "versions": manifest.versions(),
        "machine": manifest.machine(),
        "spent": {
            "episodes": now.episode,
            "tokens": now.tokens,
            "labels": now.episode,
            "device_seconds": round(now.seconds, 3),
            "flops": now.flops,
            "peak_memory_gib": manifest.peak_memory(),
        },
        "memory": memory.record(manifest.peak_memory(), loop.plan.micro_batch),
        "best_step": best_step,
        "written": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def made_of(cfg: RunConfig, built: Mapping[str, Artefact], loop: Loop) -> dict[str, str]:
    """Hashes of what a run really used, which its config cannot know."""
    return {name: artefact.content for name, artefact in built.items() if name != "pairs"} | {
        "evaluation_prompts": manifest.texts_hash(_judged_prompts(loop.evaluate)),
        **differences.now(cfg.values),
        "device": str(torch.get_default_device().type),
        "torch": torch.__version__,
        "sampler": loop.evaluate.sampler.name,
    }


def _judged_prompts(evaluate: Evaluator) -> Iterator[str]:
    """The texts of the prompts that are judged, set by set."""
    for name, prompts in evaluate.sets.items():
        yield from (example.text for example in prompts.examples[: evaluate.prompt_count(name)])


def _conclude(folder: RunFolder, cfg: RunConfig, screen: Screen) -> None:
    """Start against end, a few completions before and after, and what to type next."""
    record, verdict = cfg.record, Summary(folder.declared, decides=cfg.evaluation.metric, judges=list(cfg.judges))
    rows = [row for row in folder.metrics() if "eval/score" in row]
    if not rows:
        raise DataError(f"{folder.at.metrics} holds no evaluation any more. Remove the folder to run again")
    screen.result(rows[0], rows[-1], verdict)
    samples = folder.samples()
    before = [row for row in samples if row["step"] == rows[0]["step"]][: record.samples]
    after = [row for row in samples if row["step"] == rows[-1]["step"]][: record.samples]
    screen.samples(before[: len(after)], after[: len(before)], verdict)
    study = folder.path.parent
    screen.console.print(f"\nEverything about this run: {folder.path}")
    screen.console.print(
        f"Compare with other algorithms: python -m align_lab study={study.name} algo=..., then "
        f"python -m align_lab compare {study.name}"
    )
