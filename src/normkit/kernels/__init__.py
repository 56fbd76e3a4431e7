"""Who computes an operation: eager references, fused kernels, and the one rule that chooses between them.

`available()` lists what is usable on this machine, `disabled("native")` switches kernels off in a block.
"""

from normkit.kernels.dispatch import KernelError, Op, available, disabled, operations

__all__ = ["KernelError", "Op", "available", "disabled", "operations"]
