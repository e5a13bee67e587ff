"""Rooms know only the rooms before them, and what must answer at once does not import torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import align_lab

PACKAGE = Path(align_lab.__file__).parent
TORCH_FREE = [
    "base.types",
    "base.errors",
    "base.registry",
    "config.groups",
    "config.root",
    "base.roles",
    "base.paths",
    "base.files",
    "base.lease",
    "stages.store",
    "config.schema",
    "config.composition",
    "config.validation",
    "preflight",
    "models.shape",
    "cli.commands",
    "cli.show",
    "stages.dependencies",
    "cli.hydra_app",
    "algos.ppo_max",
    "equations",
    "cli.compare",
    "compare.foreign.section",
    "boards.wandb_history",
    "config.study",
    "dispatch.launch",
    "cli.status",
    "dispatch.job",
    "cli.gc",
    "dispatch.hydra_launcher",
    "record.folder",
    "base.metrics",
    "boards.sinks",
    "boards.feed",
    "cli.wandb",
    "boards.push",
    "cli.wandb_push",
    "cli.wandb_dashboard",
    "dashboards.study_document",
]


def imported(module: str) -> set[str]:
    code = f"import sys, align_lab.{module}; print(' '.join(sys.modules))"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


@pytest.mark.parametrize("module", TORCH_FREE)
def test_it_answers_without_torch(module):
    assert not {"torch", "transformers", "tokenizers"} & imported(module)


@pytest.mark.parametrize(
    ("library", "owners"),
    [
        (
            "hydra",
            {
                "config/schema",
                "config/overrides",
                "config/composition",
                "config/study",
                "cli/hydra_app",
                "dispatch/hydra_launcher",
            },
        ),
        ("submitit", {"dispatch/submit"}),
        ("wandb", {"dashboards/server", "boards/wandb_key"}),
        (
            "wandb_workspaces",
            {f"dashboards/{file}" for file in ("panels", "filters", "workspace", "wandb_report", "server")},
        ),
        ("trackio", set()),
    ],
)
def test_only_its_owners_touch_a_library(library, owners):
    found = {
        str(file.relative_to(PACKAGE).with_suffix(""))
        for file in PACKAGE.rglob("*.py")
        for name in _imports(file)
        if name.split(".")[0] == library
    }
    assert found <= owners


def test_scanning_for_components_does_not_import_torch():
    code = "import sys; from align_lab.base import registry; registry.scan(); assert registry.names('algo'); print('torch' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
        == "False"
    )


def _imports(file: Path) -> list[str]:
    """Modules that a file imports when it is imported: not those inside functions or for type checkers."""
    found = []
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [
                f"{node.module}.{alias.name}" if node.module == "align_lab" else node.module for alias in node.names
            ]
    return found


def test_a_dispatched_job_imports_neither_hydra_nor_submitit_before_its_work():
    code = "import sys, align_lab.dispatch.job, align_lab.dispatch.snapshot, align_lab.base.registry as r; r.scan(); print(' '.join(sys.modules))"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    assert not {"hydra", "omegaconf", "submitit", "torch", "polars", "scipy"} & loaded
