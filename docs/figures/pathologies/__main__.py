"""Draw each paper's pathology from a small computation: `python docs/figures/pathologies [SLUG …]`.

Each file beside this one draws one picture, in seconds on one core; `<slug>.svg` goes into the folder above, from where
the pages take it.
"""

import importlib
import sys
from pathlib import Path

import torch

from normkit.data.files import write_atomically
from normkit.report import svg

HERE = Path(__file__).parent

if __name__ == "__main__":
    known = sorted(file.stem.replace("_", "-") for file in HERE.glob("[a-z]*.py"))
    for slug in sys.argv[1:] or known:
        drawing = importlib.import_module(slug.replace("-", "_"))
        torch.manual_seed(0)
        write_atomically(HERE.parent / f"{slug}.svg", svg(drawing.draw()) + "\n")
        print(slug)
