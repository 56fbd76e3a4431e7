"""Compiles what a launch would run, for a GPU that need not be there, and asks the assembler about it."""

import re
import subprocess
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import triton
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.compiler import compile as compile_source

from normkit.kernels.triton.launch import options

_POINTERS = {
    torch.float32: "*fp32",
    torch.bfloat16: "*bf16",
    torch.float16: "*fp16",
    torch.int64: "*i64",
    torch.uint8: "*u8",
}
_ASSEMBLER = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "ptxas-blackwell"


class Compiled(NamedTuple):
    """A program as the device would run it."""

    name: str
    spilled: int  # bytes of registers that went to memory
    wide_loads: int  # instructions that load 16 bytes


def collected(monkeypatch: pytest.MonkeyPatch, module: Any, architecture: int) -> list[Compiled]:
    """From now on launches of `module` are compiled instead of run; the list grows with each."""
    found: list[Compiled] = []

    def launch(
        program: Any, grid: tuple[int, ...], device: torch.device, *args: Any, num_warps: int, **constants: Any
    ) -> None:
        found.append(_compile(program, args, constants, options(num_warps), architecture))

    name = module.__name__.rpartition(".")[2]
    programs = import_module(f"normkit.kernels.triton.programs.{name}")
    monkeypatch.setattr(module, "programs", programs, raising=False)
    monkeypatch.setattr(module, "launch", launch)
    return found


def _compile(
    program: Any, args: tuple[Any, ...], constants: dict[str, Any], how: dict[str, Any], architecture: int
) -> Compiled:
    """Types and divisibility as Triton itself reads them off the arguments of a launch."""
    signature, values, attributes = dict.fromkeys(constants, "constexpr"), dict(constants), {}
    for index, (name, value) in enumerate(zip(program.arg_names, args, strict=False)):
        signature[name] = _type(value)
        if signature[name] == "constexpr":
            values[name] = value
        elif isinstance(value, Tensor) or (isinstance(value, int) and value % 16 == 0):
            attributes[index,] = [["tt.divisibility", 16]]
    ordered = {name: signature[name] for name in program.arg_names}
    source = ASTSource(program, ordered, values, attributes)
    ptx = compile_source(source, target=GPUTarget("cuda", architecture, 32), options=how).asm["ptx"]
    return Compiled(program.__name__, _spilled(ptx, architecture), len(re.findall(r"ld\.global[\w.:]*\.v4\.b32", ptx)))


def _type(value: Any) -> str:
    if isinstance(value, Tensor):
        return _POINTERS[value.dtype]
    if isinstance(value, float):
        return "fp32"
    return "constexpr" if value is None or value == 1 else "i32"


def _spilled(ptx: str, architecture: int) -> int:
    gpu = f"sm_{architecture}{'a' * (architecture == 90)}"
    command = [_ASSEMBLER, "-v", "--fmad=false", f"--gpu-name={gpu}", "-o", "/dev/null", "/dev/stdin"]
    report = subprocess.run(command, input=ptx, capture_output=True, text=True, check=True).stderr
    stores, loads = map(int, re.search(r"(\d+) bytes spill stores, (\d+) bytes spill loads", report).groups())
    return stores + loads
