"""A node on which jobs of a study could not begin is shown, and avoided by what the study submits later."""

import json
import re

from align_lab.cli.cancel import cancel
from tests.slurm.test_hostile import HELD, site

__all__ = ["site"]  # fixture


def excluded(site, study, **place):
    """The nodes that a job which is submitted now may not use, by Slurm."""
    job = study.submit(**{"sbatch": HELD, **place}).job_id
    (nodes,) = re.findall(r"ExcNodeList=(\S*)", site.cluster("scontrol", "-o", "show", "job", job))
    site.cluster("scancel", job)
    return nodes


def test_later_submissions_avoid_a_broken_node_until_it_is_to_be_used_again(site, lab):
    study = site.study("avoids")
    assert excluded(site, study) == "(null)" and "failed before" not in lab("status", study.folder.name).stdout
    broken = study.ledger.folder / "broken_nodes"  # as jobs write it, see test_hostile.py
    broken.write_text("node1\nnode1\n")
    said = " ".join(lab("status", study.folder.name).stdout.split())
    assert "failed before their program began, as it did elsewhere: node1 (2). Later submissions of this study" in said
    assert json.loads(lab("status", study.folder.name, "--json").stdout)["broken_nodes"] == {"node1": 2}
    assert excluded(site, study) == "node1"
    assert excluded(site, study, exclude=["node2"]) == "node[1-2]"
    assert excluded(site, study, sbatch=[*HELD, "--exclude=node2"]) == "node[1-2]"
    assert (
        excluded(site, study, sbatch=[*HELD, "--exclude=node2"], exclude=["node3"]) == "node[2-3]"
    )  # no other is left
    assert excluded(site, study, exclude=["node[2-3]"]) == "node[2-3]"
    assert excluded(site, study, nodes=3) == "(null)"
    assert excluded(site, study, sbatch=[*HELD, "--nodelist=node1"]) == "(null)"
    (command,) = re.findall(r"To use them again: (rm \S+)", said)
    site.cluster("bash", "-c", command)
    assert excluded(site, study) == "(null)"
    cancel([str(study.folder)])
