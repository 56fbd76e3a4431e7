"""Instructions per element of the CPU kernels, counted by callgrind, against `instructions.json`.

    python benchmarks/count_instructions.py DRIVER [--write]

DRIVER is `kernel_calls` of the CMake build (`make instructions` builds it). Counts do not depend on how busy the
machine is, but on the compiler: the table names the one that made it, and where another one is used the counts are
printed and nothing is judged. valgrind knows no AVX-512, so the AVX2 kernels are counted.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

TABLE = Path(__file__).with_name("instructions.json")
TOLERANCE = 0.03
FEW, MANY = 2, 6
CASES = (
    *(("softmax_short", 64, dim) for dim in (16, 64, 512)),
    *(
        (f"softmax_{path}", 1, 4096)
        for path in ("reload", "scratch", "two_pass", "two_pass_paper", "three_pass_reload")
    ),
    *((name, 1, 4096) for name in ("log_softmax", "logsumexp", "softmax_backward", "log_softmax_backward")),
    *((name, 16, 1024) for name in ("layer_norm", "rms_norm", "crms_norm")),
)
BARS = {"softmax_reload 1x4096": 3.5}  # the most that is accepted, whatever the table says


def counted(driver: Path, *words: object) -> int:
    """Instructions of one run of the driver."""
    with tempfile.TemporaryDirectory() as folder:
        out = f"--callgrind-out-file={folder}/callgrind.out"
        command = ["valgrind", "--tool=callgrind", out, str(driver), *map(str, words)]
        environment = {**os.environ, "NORMKIT_ISA": "avx2", "OMP_NUM_THREADS": "1"}
        found = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    said = re.search(r"Collected : (\d+)", found.stderr)
    if found.returncode or not said:
        raise SystemExit(f"{' '.join(command)} failed:\n{found.stdout}{found.stderr}")
    return int(said[1])


def per_element(driver: Path, name: str, rows: int, dim: int) -> float:
    """What one more call costs, over its elements: what the driver does once is not in it."""
    more = counted(driver, name, rows, dim, MANY) - counted(driver, name, rows, dim, FEW)
    return round(more / ((MANY - FEW) * rows * dim), 3)


def compiler(driver: Path) -> str:
    """The compiler that the driver says it was built by."""
    said = subprocess.run([str(driver)], capture_output=True, text=True, check=False).stdout
    return said.rpartition("compiler: ")[2].strip()


def complaint(key: str, count: float, wanted: float | None) -> str:
    """What is wrong with a count; empty if nothing is."""
    if count > BARS.get(key, count):
        return f"more than {BARS[key]}"
    if wanted is None:
        return "not in the table: run with --write"
    return f"{count / wanted - 1:+.1%} from the table" if abs(count / wanted - 1) > TOLERANCE else ""


def main() -> int:
    """Count, print, compare; exit status 1 where a count moved by more than 3 % or a bar is missed."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("driver", type=Path)
    arguments.add_argument("--write", action="store_true", help="make these counts the committed table")
    given = arguments.parse_args()
    table = json.loads(TABLE.read_text(encoding="utf-8")) if TABLE.exists() else {"compiler": "", "per_element": {}}
    built_by = compiler(given.driver)
    found = {f"{name} {rows}x{dim}": per_element(given.driver, name, rows, dim) for name, rows, dim in CASES}
    if given.write:
        table = {"isa": "avx2", "compiler": built_by, "per_element": found}
        TABLE.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    same = table["compiler"] == built_by
    failed = False
    for key, count in found.items():
        wrong = complaint(key, count, table["per_element"].get(key))
        failed |= bool(wrong) and same
        print(f"{key:<34}{count:>8.3f}  {wrong}".rstrip())
    if not same:
        print(f"nothing was judged: the table was made by {table['compiler']}, this build by {built_by}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
