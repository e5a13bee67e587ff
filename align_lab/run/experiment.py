"""One run, from its config to its finished record: build the stages, train, print the outcome."""

from __future__ import annotations

import time
import traceback
from collections.abc import Generator, Mapping
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch

from align_lab import preflight
from align_lab.base.errors import AlignLabError, ConfigError, DataError, LostError, Stopped
from align_lab.base.files import is_full, read_json
from align_lab.base.lease import lease
from align_lab.base.paths import cache_folder, runs_folder
from align_lab.base.progress import NoticesOnly, listening
from align_lab.base.run_config import RunConfig
from align_lab.base.signals import StopRequest, stop_requests
from align_lab.base.world import World, joined, lost
from align_lab.boards.sinks import show_finished
from align_lab.config import trust
from align_lab.preflight import Memory
from align_lab.record import differences, manifest
from align_lab.record.console import Screen
from align_lab.record.folder import RunFolder
from align_lab.record.layout import RunLayout
from align_lab.record.terminal import Terminal
from align_lab.run import allocator, assembly, device, memory_limit, processes
from align_lab.run.description import UNTIL, content_hashes, describe, earlier_hashes
from align_lab.run.inherit import inherit
from align_lab.run.journal import Follower, Journal
from align_lab.run.outcome import print_outcome
from align_lab.run.stopping import before_training
from align_lab.run.watchdog import watched
from align_lab.stages.dependencies import stages
from align_lab.stages.store import Artefact, Stage, shared
from align_lab.train.loop import Loop

LOST = "another process of the run exited without an error message"


def run(cfg: RunConfig, *, wait_for_others: bool = False) -> int:
    """Train a run to its end, or resume it. Returns 0; raises AlignLabError, which holds the exit status.

    If the run has several processes, the first one writes the record. A run that another command is training is an
    error, or, with `wait_for_others`, is waited for.
    """
    path = runs_folder() / cfg.study / cfg.name
    if (count := processes.to_start(cfg.hardware.placement)) > 1:
        return processes.run(partial(run, wait_for_others=wait_for_others), cfg, path, count=count)
    device_name = device.use(cfg.hardware.numerics, tiny=cfg.model.tiny)
    gpu_minutes = cfg.hardware.placement.collective_minutes or 2 * cfg.hang_minutes
    with stop_requests() as stop, joined(gpu_minutes=gpu_minutes) as world:
        stop.patient = world.size > 1  # no process may exit alone: all of them stop together, in the loop
        if world.rank:
            _follow(cfg, RunFolder(path), stop, world)
            return 0
        with Screen(live=cfg.record.progress) as screen, _leased(path, screen, wait=wait_for_others):
            folder = RunFolder.create(path, cfg.values)
            folder.sweep()
            trust.remember(cfg.values)
            processes_of_run = f" x {world.size} processes" if world.size > 1 else ""
            screen.notice(
                f"{cfg.choices['algo']} on {cfg.choices['model']}, seed {cfg.seed}, "
                f"{device_name}{processes_of_run}: {path}"
            )
            for caution in cfg.cautions:
                screen.notice(caution)
            RunLayout(path).errors.unlink(missing_ok=True)
            if world.broadcast(folder.status()["state"] != "done"):
                _train_and_record(cfg, folder, screen, stop, world)
            else:
                changes = differences.differences(path, cfg.values)
                screen.notice(f"this run is finished{changes or '. To run it again, remove its folder'}")
                show_finished(cfg.record, path, screen.notice)
            print_outcome(folder, cfg, screen)
    return 0


@contextmanager
def _leased(path: Path, screen: Screen, *, wait: bool) -> Generator[None]:
    """Hold the lease of the run."""

    def busy(owner: str) -> None:
        if not wait:
            raise ConfigError(f"{path} is being run by {owner}. Wait for it, or stop it first")
        screen.notice(f"waiting: {path} is being run by {owner}")

    while True:
        with lease(RunLayout(path).lease, on_wait=busy) as acquired:
            if acquired:
                yield
                return


def _follow(cfg: RunConfig, folder: RunFolder, stop: StopRequest, world: World) -> None:
    """The work of every process but the first: the same training, without writing a record."""
    if not world.broadcast(None):
        return
    try:
        _train(cfg, folder, Follower(folder, cfg.record, world), Screen(console=Terminal(quiet=True)), stop, world)
    except Stopped:
        pass  # the first process reports it, after saving
    except BaseException as error:
        if not lost(error):
            folder.blame(_message(error, world), traceback.format_exc())
        elif not _cause(folder) and folder.status()["state"] not in ("failed", "stopped"):
            raise LostError(LOST) from error
        raise


def _train_and_record(cfg: RunConfig, folder: RunFolder, screen: Screen, stop: StopRequest, world: World) -> None:
    """Train, and write the outcome into the status of the run, also when training fails."""
    journal = Journal(folder, cfg.record, screen, plan=cfg.train, metric=cfg.evaluation.metric, world=world)
    try:
        with watched(folder.at.stacks, minutes=cfg.hang_minutes) as watch:
            journal.watch = watch
            _train(cfg, folder, journal, screen, stop, world)
    except BaseException as raised:
        error = _stopped(raised, journal)
        other_failed = lost(error)
        cause = (_cause(folder) or LOST) if other_failed else _message(error, world)
        with suppress(OSError):  # a full disk takes no status either
            state = "stopped" if isinstance(error, Stopped | KeyboardInterrupt) else "failed"
            folder.set_status(state, **journal.where, error=cause)
        if is_full(error, folder.path) or is_full(error, cache_folder()):
            raise AlignLabError(
                f"no space is left on the disk of {folder.path} or {cache_folder()}. No file was left incomplete: free "
                "some space and run the same command again, it continues from the last checkpoint"
            ) from error
        if error is not raised:
            raise error from raised
        if isinstance(error, AlignLabError | KeyboardInterrupt):
            raise
        if not other_failed:
            folder.blame(cause, traceback.format_exc())
        if cause == LOST:
            raise LostError(f"the run failed: {cause}") from error
        log = folder.at.errors
        raise AlignLabError(
            f"the run failed: {cause}" + (f". Its traceback is in {log}" if log.exists() else "")
        ) from error
    finally:
        journal.sink.close()


def _stopped(raised: BaseException, journal: Journal) -> BaseException:
    """The error, or, of a run that was stopped before it trained, what is saved of it."""
    if not isinstance(raised, Stopped) or journal.training:
        return raised
    journal.where["step"] = max(journal.checkpoints.steps(), default=0)
    return before_training(journal.checkpoints)


def _message(error: BaseException, world: World) -> str:
    process = f"process {world.rank} of {world.size}: " if world.size > 1 else ""
    plain = type(error) in (AlignLabError, Stopped)  # these names add no information
    name = "" if plain else f"{type(error).__name__}: "
    return f"{process}{name}{error}{'' if isinstance(error, AlignLabError) else memory_limit.advice()}"


def _cause(folder: RunFolder) -> str:
    """The cause that another process recorded before it exited, if any; a shared file system may show it later."""
    end = time.monotonic() + 2.0
    while not (cause := folder.cause()) and time.monotonic() < end:
        time.sleep(0.1)
    return cause


def _train(
    cfg: RunConfig, folder: RunFolder, journal: Journal, screen: Screen, stop: StopRequest, world: World
) -> None:
    journal.phase("stages")
    memory = _check_memory(cfg, folder, screen, world)
    built = _build_stages(cfg, screen, world)
    if world.broadcast(memory.estimate is None):  # the shape of some models is known only after the download
        memory = _check_memory(cfg, folder, screen, world)
    if memory.background:
        journal.saver.go_on()
    allocator.release_free_memory()  # of building the stages
    manifest.reset_peak_memory()
    with listening(NoticesOnly(screen.notice)):
        loop = assembly.assemble(
            memory.apply_to(cfg),
            built,
            journal=journal,
            should_stop=lambda: bool(world.max(int(stop.asked))),
            world=world,
            evaluation_batch=memory.evaluation_batch,
        )
    hashes = content_hashes(cfg, built, loop)
    _restore(loop, cfg, journal, screen, world, hashes=hashes)
    earlier = _earlier(loop, folder, screen, hashes)

    def manifest_now() -> Mapping[str, Any]:
        return describe(cfg, built, loop, memory, best_step=journal.checkpoints.best(), earlier=earlier)

    journal.manifest(manifest_now)
    stop.patient = True
    if world.max(int(stop.asked)):
        raise before_training(journal.checkpoints)
    screen.start(step=loop.progress.step, steps=cfg.train.planned_steps)
    journal.phase("training")
    with closing(loop), journal.settled():
        loop.run()
    screen.stop()
    screen.notice(memory.end_message(manifest.peak_memory()))
    journal.manifest(manifest_now)
    journal.done()


def _build_stages(cfg: RunConfig, screen: Screen, world: World) -> Mapping[str, Artefact]:
    """The artefacts of the run's stages, which the first process builds while the others wait. Raises ConfigError when
    the training of one cannot fit."""
    required, gpu = stages(cfg), torch.get_default_device().type == "cuda"
    if world.rank:
        world.broadcast(None)  # wait until the first process has built all artefacts
    if required["policy"].kind == "sft" and not shared().has(required["policy"].name):
        preflight.check_fine_tuning(cfg, gpu=gpu)
    for name in (name for name, stage in required.items() if not shared().has(stage.name)):
        preflight.check_reward_training(cfg, name, gpu=gpu)
    with device.stage_threads(cfg.hardware.numerics, cfg.model):
        built = build(required, screen)
    if not world.rank:
        world.broadcast(None)
    return built


def _earlier(loop: Loop, folder: RunFolder, screen: Screen, hashes: Mapping[str, str]) -> dict[str, str]:
    """The hashes of files and plug-in code that a continued run used before they were changed, for its manifest."""
    if loop.saved_step < 0:
        return {}
    earlier = earlier_hashes(read_json(folder.at.manifest).get("hashes", {}), hashes, loop.progress.step)
    if changed := [name for name in earlier if name.endswith(f"{UNTIL}{loop.progress.step}")]:
        screen.notice(
            f"changed since the steps before: {', '.join(name.partition(UNTIL)[0] for name in changed)}. The manifest "
            "names both versions, and so does compare; for a run under one setting, remove its folder first"
        )
    return earlier


def _check_memory(cfg: RunConfig, folder: RunFolder, screen: Screen, world: World) -> Memory:
    """Print the memory estimate and the micro-batch size. Raises ConfigError when the run cannot fit."""
    on_gpu = torch.get_default_device().type == "cuda"
    memory = preflight.check_memory(cfg, world, gpu=on_gpu, previous=folder.batches())
    screen.notice(memory.start_message())
    return memory


def _restore(
    loop: Loop, cfg: RunConfig, journal: Journal, screen: Screen, world: World, *, hashes: Mapping[str, Any]
) -> None:
    """Restore the loop and the record from the newest intact checkpoint; without one the run starts at step 0."""
    folder = journal.folder
    if not world.rank and not journal.checkpoints.steps() and (start := inherit(folder, cfg, hashes)):
        screen.notice(f"the first {start.step} steps are those of {start.path.name}, an equal run with fewer steps")
    newest = journal.checkpoints.latest(screen.notice, world)
    if not world.rank:
        _rewind(folder, newest)
    world.broadcast(None)  # the others read the record as it is now
    if newest is None:
        return
    step, state = newest
    loop.load_state_dict(state)
    loop.start_rows = [row for row in folder.samples() if row["step"] == 0]
    logged = step + 1 if loop.unlogged is None else step
    if [row["step"] for row in folder.metrics()] != list(range(logged)) or not loop.start_rows:
        raise DataError(
            f"the record in {folder.path} is incomplete: rows before step {step} are missing. Remove it to start again"
        )
    if not world.rank:
        journal.recall(loop.best_by, loop.progress.best_score)
    if step:
        screen.notice(f"continuing after step {step}")


def _rewind(folder: RunFolder, newest: tuple[int, dict[str, Any]] | None) -> None:
    """Drop what the record has from after the checkpoint (step, state), or all of it."""
    if newest is None:
        folder.forget()
        return
    step, state = newest
    folder.rewind(step if state.get("unlogged") is None else step - 1)  # the row of such a step is not final


def build(required: Mapping[str, Stage], screen: Screen) -> dict[str, Artefact]:
    """The artefact of every stage; missing ones are built."""
    store = shared(screen)
    return {name: store.get(stage) for name, stage in required.items()}
