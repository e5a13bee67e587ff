"""The import contracts of pyproject.toml hold, and commands that must answer at once do not import torch."""

import ast
import subprocess
import sys
from pathlib import Path

import grimp
import pytest
from importlinter import cli

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"
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
    "cli.doctor",
    "testing",
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
    """Names of all modules that are loaded once `align_lab.MODULE` is."""
    return set(_output(f"import sys, align_lab.{module}; print(' '.join(sys.modules))").split())


@pytest.mark.parametrize("module", TORCH_FREE)
def test_importing_it_does_not_import_torch(module):
    assert not {"torch", "transformers", "tokenizers"} & imported(module)


def test_the_import_contracts_hold(capsys):
    assert cli.lint_imports(config_filename=str(PYPROJECT), no_cache=True) == 0, capsys.readouterr().out


@pytest.mark.parametrize("package", ["equations", "algos"])
def test_the_mathematics_needs_torch_and_the_standard_library_alone(package):
    graph = grimp.build_graph("align_lab", include_external_packages=True, cache_dir=None)
    modules = {f"align_lab.{package}"} | graph.find_descendants(f"align_lab.{package}")
    imports = {name.split(".")[0] for module in modules for name in graph.find_modules_directly_imported_by(module)}
    assert {"align_lab", "torch"} <= imports <= {"align_lab", "torch", *sys.stdlib_module_names}


def test_scanning_for_components_does_not_import_torch():
    code = "import sys; from align_lab.base import registry; registry.scan(); assert registry.names('algo')"
    assert _output(f"{code}; print('torch' in sys.modules)") == "False"


def test_a_dispatched_job_imports_neither_hydra_nor_submitit_before_its_work():
    imports = "import sys, align_lab.dispatch.job, align_lab.dispatch.snapshot, align_lab.base.registry as registry"
    loaded = set(_output(f"{imports}; registry.scan(); print(' '.join(sys.modules))").split())
    assert not {"hydra", "omegaconf", "submitit", "torch", "polars", "scipy"} & loaded


def _output(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


RUN_FILES = (
    "status.json",
    "manifest.json",
    "metrics.jsonl",
    "metrics.parquet",
    "samples.jsonl",
    "config.yaml",
    "best.json",
)
RUN_FILES += ("error.log", "stacks.txt", "expected_runs.json", "checkpoints", ".dispatch")
NAME_THEM = {
    "record/layout",
    "train/checkpoint",  # below `record`: it owns what lies in a folder of checkpoints
    "compare/foreign/naming",  # files of other trainers
}


def test_one_module_names_the_files_of_a_run():
    """Sentences for readers and docstrings may name them: those hold spaces."""
    package = PYPROJECT.parent / "align_lab"
    naming = {
        f"{module}: {text}"
        for file in package.rglob("*.py")
        if (module := str(file.relative_to(package).with_suffix(""))) not in NAME_THEM
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(text := node.value, str) and " " not in text
        if any(part in RUN_FILES for part in text.strip().split("/"))
    }
    assert naming == set()


def test_the_layout_of_a_run_costs_nothing_to_import():
    loaded = imported("record.layout")
    assert not {"torch", "omegaconf", "rich", "polars", "json"} & (loaded - imported("base.paths"))
