"""`doctor` on a cluster that answers."""

import json


def test_doctor_names_the_partitions_of_the_cluster(lab):
    document = json.loads(lab("doctor", "train=default", "--json").stdout)
    (slurm,) = [line for line in document["machine"] if line["name"] == "slurm"]
    names = {
        row.split("=")[1].split()[0] for row in lab.cluster("scontrol", "--oneliner", "show", "partition").splitlines()
    }
    assert slurm["state"] == "ok"
    assert names and all(name in slurm["text"] for name in names)
