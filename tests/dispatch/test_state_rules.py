"""The table of rules specifies a task's state: each rule decides even where every later rule applies too."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from align_lab.dispatch.job_info import JobInfo
from align_lab.dispatch.state_rules import RULES, classify, first_match

NOTHING = {  # of a run that no rule but the last knows
    "finished": False,
    "job": JobInfo(state="FAILED", live=False, exit_code="1:0"),
    "process_alive": False,
    "slurm_not_asked": False,
    "record": {},
    "failed_stage": None,
    "unmet_dependency": None,
    "damage": "",
    "awaited": "stages",
    "stack_traces": None,
    "cancelled_before_start": False,
    "unknown": False,
    "upcoming": False,
    "waits_for_room": False,
    "last_log_line": "RuntimeError: no such device",
}
CANCELLED = JobInfo(state="CANCELLED", live=False)
CASES = [  # rule, the evidence for it, state, reason
    ("finished", {"finished": True}, "done", ""),
    (
        "pending on a dependency",
        {"job": JobInfo(state="PENDING", live=True, reason="Dependency")},
        "waiting",
        "for its stages",
    ),
    ("pending", {"job": JobInfo(state="PENDING", live=True, reason="Priority")}, "queued", "Priority"),
    ("running on Slurm", {"job": JobInfo(state="RUNNING", live=True, reason="None")}, "running", ""),
    ("running on this machine", {"process_alive": True}, "running", ""),
    (
        "Slurm was not asked",
        {"slurm_not_asked": True, "record": {"state": "running"}},
        "queued",
        "submitted; Slurm cannot be asked here",
    ),
    (
        "waits for room",
        {"waits_for_room": True},
        "queued",
        "waits for room in the queue; a job of the study that ends submits it",
    ),
    (
        "its status is damaged",
        {"damage": "status.json is damaged: step is 'x'"},
        "failed",
        "status.json is damaged: step is 'x'. The same command goes on from the last checkpoint",
    ),
    ("a stage failed", {"failed_stage": ("sft-00", "no space")}, "failed", "its stage sft-00 failed: no space"),
    (
        "a stage was cancelled",
        {"job": CANCELLED, "unmet_dependency": ("sft-00", True)},
        "cancelled",
        "its stage sft-00 was cancelled",
    ),
    (
        "a stage was not built",
        {"job": CANCELLED, "unmet_dependency": ("sft-00", False)},
        "failed",
        "its stage sft-00 was not built",
    ),
    (
        "hung",
        {"record": {"state": "running", "phase": "training"}, "stack_traces": Path("stacks.txt")},
        "failed",
        "hung: no progress in the phase training; stack traces in stacks.txt",
    ),
    ("cancelled before it started", {"cancelled_before_start": True, "job": None}, "cancelled", "cancelled"),
    ("a command will start it", {"unknown": True, "upcoming": True}, "queued", "not started yet"),
    ("never started", {"unknown": True}, "missing", ""),
    ("cancelled", {"job": CANCELLED}, "cancelled", "cancelled"),
    ("ended by Slurm", {"job": JobInfo(state="NODE_FAIL", live=False)}, "failed", "its node failed"),
    ("stopped and saved", {"record": {"state": "stopped", "error": "signal"}}, "stopped", "signal"),
    ("recorded its failure", {"record": {"state": "failed", "error": "loss is nan"}}, "failed", "loss is nan"),
    (
        "ended without a record",
        {},
        "failed",
        "its process ended without an error message (exit status 1:0); the last line of its log: "
        "RuntimeError: no such device",
    ),
]


@pytest.mark.parametrize(("rule", "evidence", "state", "why"), CASES, ids=[case[0] for case in CASES])
def test_each_rule_gives_its_state_and_its_reason(rule, evidence, state, why):
    task = SimpleNamespace(**{**NOTHING, **evidence})
    assert first_match(task).name == rule
    assert classify(task) == (state, why)


def test_every_rule_has_a_case_in_the_order_of_the_table():
    assert [rule.name for rule in RULES] == [case[0] for case in CASES]


@pytest.mark.parametrize("earlier", range(len(CASES) - 1), ids=[case[0] for case in CASES[:-1]])
def test_an_earlier_rule_wins_over_every_later_one(earlier):
    """The evidence of both rules together; where both use the same field, the earlier rule's value counts."""
    for _, later, _, _ in CASES[earlier + 1 :]:
        task = SimpleNamespace(**{**NOTHING, **later, **CASES[earlier][1]})
        assert first_match(task).name == CASES[earlier][0]


@pytest.mark.parametrize("state", ["failed", "stopped"])
def test_what_a_run_recorded_itself_counts_more_than_that_slurm_was_not_asked(state):
    task = SimpleNamespace(
        **{**NOTHING, "job": None, "slurm_not_asked": True, "record": {"state": state, "error": "x"}}
    )
    assert classify(task) == (state, "x")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("0:9", "killed by SIGKILL (often for want of memory: hardware.placement.mem_gb)"),
        ("137:0", "killed by SIGKILL"),
        ("0:11", "killed by SIGSEGV (a fault in a library"),
        ("139:0", "killed by SIGSEGV"),
        ("1:0", "ended without an error message (exit status 1:0)"),
        ("", "ended without an error message"),
    ],
)
def test_a_process_that_was_killed_is_described_by_its_signal(code, reason):
    task = SimpleNamespace(
        **{**NOTHING, "job": JobInfo(state="FAILED", live=False, exit_code=code), "last_log_line": ""}
    )
    assert reason in classify(task)[1]


def test_a_suspended_job_says_so():
    job = JobInfo(state="SUSPENDED", live=True, reason="None")
    assert classify(SimpleNamespace(**{**NOTHING, "job": job})) == ("running", "Slurm has suspended it")


def test_a_dependency_that_nothing_can_fulfil_says_so():
    job = JobInfo(state="PENDING", live=True, reason="DependencyNeverSatisfied", id="5")
    assert "will not start" in classify(SimpleNamespace(**{**NOTHING, "job": job}))[1]
