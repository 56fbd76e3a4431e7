"""Keep the value of a buffer that is about to move, for a backward pass in compiled code.

A compiler may save a buffer itself and compute what was made of it again in the backward pass, when the buffer has
moved. An operator of our own is not computed twice.
"""

import torch
from torch import Tensor

from normkit.kernels.dispatch import exporting

__all__ = ["held"]

_LIBRARY = torch.library.Library("normkit", "FRAGMENT")  # kept alive by the module: the operator vanishes with it
_LIBRARY.define("held(Tensor input) -> Tensor", tags=(torch.Tag.pt2_compliant_tag,))
_LIBRARY.impl("held", torch.clone, "CompositeExplicitAutograd")
torch.library.register_fake("normkit::held", torch.empty_like, lib=_LIBRARY)
_held = torch.ops.normkit.held.default


def held(buffer: Tensor) -> Tensor:
    """A copy of `buffer`, without gradient, that compiled code saves; what is exported has torch's operators alone."""
    if torch.compiler.is_compiling() and not exporting():
        return _held(buffer)
    return buffer.clone()
