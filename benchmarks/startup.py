"""Start-up time of commands, relative to importing hydra, omegaconf and submitit.

    python benchmarks/startup.py --rounds 9

Medians of whole processes in one interleaved run, and their ratio to the imports.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

IMPORTS = [sys.executable, "-c", "import hydra, omegaconf, submitit"]
COMMANDS = {
    "--help": ["--help"],
    "list": ["list"],
    "show algo=ppo_max": ["show", "algo=ppo_max"],
    "--cfg job": ["--cfg", "job"],
}


def seconds(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=9)
    contenders = {
        "imports": IMPORTS,
        **{name: [sys.executable, "-m", "align_lab", *args] for name, args in COMMANDS.items()},
    }
    rounds = [
        {name: seconds(command) for name, command in contenders.items()} for _ in range(parser.parse_args().rounds + 1)
    ][1:]
    medians = {name: statistics.median(one[name] for one in rounds) for name in contenders}
    for name, value in medians.items():
        print(f"{name:<20}{value:6.3f} s  {value / medians['imports']:5.2f} x imports")


if __name__ == "__main__":
    main()
