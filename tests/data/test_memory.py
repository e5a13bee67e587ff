"""Reading and checking a file takes memory for hashes alone, not for its rows."""

import json
import subprocess
import sys

MEASURE = """
import resource, sys
from align_lab.data.files import FileData
component = FileData(prompts=sys.argv[1], evaluation=sys.argv[2], development_share=0.0)
assert component.problems() == [], component.problems()
print(component.size("train"), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peak(path, held_out):
    """(rows, KiB of the largest resident set) of a process that checks a file."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path), str(held_out)], capture_output=True, text=True, check=True
    )
    return map(int, done.stdout.split())


def generated(path, count, *, start=0):
    filler = "and so on, as long as it takes to say it in full, " * 4
    with path.open("w") as file:
        for i in range(start, start + count):
            file.write(json.dumps({"prompt": f"Number {i}: {filler}", "answer": i, "source": filler}) + "\n")
    return path


def test_the_peak_grows_by_a_small_part_of_what_the_rows_take(tmp_path):
    """Half a KB a row: held in memory, the additional rows would take 50 MB as bytes and far more as objects.

    The bound scales: 2 million rows take at most 2,000,000 x 60 bytes = 120 MB more than none.
    """
    held_out = generated(tmp_path / "held_out.jsonl", 300, start=10**6)
    few, many = generated(tmp_path / "few.jsonl", 10_000), generated(tmp_path / "many.jsonl", 110_000)
    few_rows, few_peak = peak(few, held_out)
    many_rows, many_peak = peak(many, held_out)
    assert (few_rows, many_rows) == (10_000, 110_000)
    assert (many_peak - few_peak) * 1024 / (many_rows - few_rows) < 60
