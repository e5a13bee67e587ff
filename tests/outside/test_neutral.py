"""Only the modules of a task know that task."""

import re
from pathlib import Path

import align_lab

ROOT = Path(align_lab.__file__).parent
WORDS = re.compile(r"gold|vader|review", re.IGNORECASE)
KINDS = {".py", ".html", ".js", ".css", ".yaml"}


def test_no_module_outside_the_tasks_mentions_the_default_task():
    files = [file for file in ROOT.rglob("*") if file.suffix in KINDS and "tasks" not in file.relative_to(ROOT).parts]
    assert len(files) > 150
    mentions = [
        f"{file.relative_to(ROOT)}:{number}: {line.strip()}"
        for file in files
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1)
        if WORDS.search(line)
    ]
    assert not mentions, "\n".join(mentions)
