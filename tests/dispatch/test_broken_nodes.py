"""Where a job failed before its program began is a broken node once the same job has begun elsewhere."""

import pytest

from align_lab.dispatch.broken_nodes import begun, failures
from align_lab.record.layout import StudyLayout


@pytest.mark.parametrize(
    ("tries", "broken"),
    [("node1\n\nnode2\n", {"node1": 2, "node2": 1}), ("\n\n", {"node1": 1}), (None, {"node1": 1})],
)
def test_the_nodes_of_earlier_tries_are_named_once_the_program_begins(tmp_path, tries, broken):
    """A line without a name is a try that no node is to blame for."""
    logs = StudyLayout(tmp_path).dispatch / "logs"
    logs.mkdir(parents=True)
    StudyLayout(tmp_path).broken_nodes.write_text("node1\n")
    if tries is not None:
        (logs / "0a1b2c3d.12.tries").write_text(tries)
    for _ in range(2):
        begun(logs / "0a1b2c3d.12.3.began")
    assert failures(tmp_path) == broken and not list(logs.glob("*.tries"))
