"""Norms whose statistics belong to the channels, of CUDA tensors (…, channels): the passes of `kernels.columns`.

Sums are float32, taken by each program over the rows that it walks and then over the programs in a fixed order, so that
a result is the same from run to run.
"""

from typing import Any

import torch
from torch import Tensor

from normkit.kernels.triton.availability import WHY_NOT
from normkit.kernels.triton.launch import launch, multiprocessors
from normkit.kernels.triton.norms import sum_lines
from normkit.kernels.triton.tensors import refusal

if not WHY_NOT:
    from normkit.kernels.triton.programs import columns as programs

__all__ = ["WHY_NOT", "WIDEST_GROUP", "backward", "forward", "objection", "takes"]

WIDEST_GROUP = 8192
"""Channels of a group with a scale of its own: one tile holds them."""
_MOST_GROUPS = 65535
_BLOCK = 1024  # channels a program takes where nothing holds them together
_ELEMENTS = 4096  # of a tile
_PROGRAMS_A_PROCESSOR = 4


def objection(input: Tensor, group_num: int, *others: Any) -> str | None:
    """Why the kernels cannot do a call with these arguments; None if they can."""
    if torch.compiler.is_compiling():
        return "a compiler fuses the formula with what surrounds it"
    if group_num and input.ndim and input.shape[-1] // group_num > WIDEST_GROUP:
        return f"groups of more than {WIDEST_GROUP} channels do not fit a tile"
    if group_num > _MOST_GROUPS:
        return f"a launch has no more than {_MOST_GROUPS} groups of channels side by side"
    tensors = [each for each in others if not isinstance(each, Tensor) or each.is_floating_point()]
    return refusal(input, *tensors)


def takes(*tensors: Tensor | None) -> bool:
    """Whether the kernels can read these tensors."""
    return all(tensor is None or refusal(tensor) is None for tensor in tensors)


def forward(
    x: Tensor,
    gain: Tensor | None = None,
    shift: Tensor | None = None,
    *,
    groups: int = 0,
    eps: float = 0.0,
    scales: Tensor | None = None,
    left_out: Tensor | None = None,
    summed: bool = False,
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """u · gain + shift where there is a gain, the groups' scales, and where `summed` Σ u²: of rows in, of rows out."""
    x = x.contiguous()
    channels, device = x.shape[-1], x.device
    rows = x.numel() // channels
    y = None if gain is None else torch.empty_like(x)
    given = scales is not None
    if groups and scales is None:
        scales = torch.empty(*x.shape[:-1], groups, dtype=torch.float32, device=device)
    grid, how = _grid(rows, channels, groups, device, summed=summed)
    lines = torch.zeros(2, grid[0], channels, dtype=torch.float32, device=device) if summed else None
    squares, others = (None, None) if lines is None else (lines[0], None if left_out is None else lines[1])
    mask = None if left_out is None else left_out.contiguous().view(torch.uint8)
    width = channels // groups if groups else how["BLOCK"]
    tensors = (x, y, _dense(gain), _dense(shift), scales, mask, squares, others)
    launch(programs.forward, grid, device, *tensors, rows, channels, width, float(eps), GIVEN=given, **how)
    return y, scales, None if lines is None else _sums(lines)


def backward(
    x: Tensor,
    dy: Tensor,
    of_dy: Tensor | None = None,
    of_u: Tensor | None = None,
    *,
    scales: Tensor | None = None,
    summed: bool = False,
) -> tuple[Tensor | None, Tensor | None]:
    """The gradient for x of du = of_dy · dy − of_u · u, and where `summed` Σ dy u and Σ dy of each channel."""
    x, dy = x.contiguous(), dy.to(x.dtype).contiguous()
    channels, device = x.shape[-1], x.device
    rows, groups = x.numel() // channels, 0 if scales is None else scales.shape[-1]
    dx = None if of_dy is None else torch.empty_like(x)
    grid, how = _grid(rows, channels, groups, device, summed=summed)
    lines = torch.empty(2, grid[0], channels, dtype=torch.float32, device=device) if summed else None
    width = channels // groups if groups else how["BLOCK"]
    sums = (None, None) if lines is None else (lines[0], lines[1])
    tensors = (x, dy, dx, scales, _dense(of_dy), _dense(of_u), *sums)
    launch(programs.backward, grid, device, *tensors, rows, channels, width, **how)
    return dx, None if lines is None else _sums(lines)


def _grid(
    rows: int, channels: int, groups: int, device: torch.device, *, summed: bool
) -> tuple[tuple[int, int], dict[str, Any]]:
    """Programs over the rows and over the blocks of channels, and the constants of their tiles."""
    width = channels // groups if groups else min(channels, _BLOCK)
    block = max(16, 1 << (width - 1).bit_length())
    blocks = groups or -(-channels // block)
    together = max(1, min(_ELEMENTS // block, 64))
    tiles = -(-rows // together)
    number = min(tiles, max(1, _PROGRAMS_A_PROCESSOR * multiprocessors(device) // blocks)) if summed else tiles
    warps = min(32, max(1, together * block // 512))
    return (number, blocks), {"SCALED": bool(groups), "ROWS": together, "BLOCK": block, "num_warps": warps}


def _sums(lines: Tensor) -> Tensor:
    first, second = sum_lines(lines, (torch.float32, torch.float32))
    assert first is not None
    assert second is not None
    return torch.stack([first, second])


def _dense(numbers: Tensor | None) -> Tensor | None:
    return None if numbers is None else numbers.detach().contiguous()
