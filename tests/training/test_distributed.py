"""Two processes on one machine, by flag; in a script of its own, since the launcher starts the script anew."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import json, os, sys
import torch
from torch import nn
from normkit import data
from normkit.training import fit

torch.manual_seed(0)
x = torch.randn(64, 6)
y = (x.sum(1) > 0).long()
model = nn.Linear(6, 2)
seen = []
def loss(output, batch):
    seen.extend(batch[0][:, 0].tolist())
    return nn.functional.cross_entropy(output, batch[1])
history = fit(
    model, data.batches(x, y, 8), steps=8, loss=loss, devices=2, strategy="ddp", accelerator="cpu",
    checkpoint=sys.argv[1] + "/run.safetensors", optimizer=lambda p: torch.optim.SGD(p, 0.1),
)
rank = os.environ.get("LOCAL_RANK", "0")
state = {k: v.tolist() for k, v in model.state_dict().items()}
with open(f"{sys.argv[1]}/rank{rank}.json", "w") as file:
    json.dump({"state": state, "seen": seen, "steps": history.steps, "resumed": history.resumed_from}, file)
"""


def run(folder: Path) -> list[dict[str, object]]:
    script = folder / "script.py"
    script.write_text(SCRIPT)
    source = Path(__file__).resolve().parents[2] / "src"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(source)}
    for name in ("LOCAL_RANK", "WORLD_SIZE", "NODE_RANK", "MASTER_PORT", "MASTER_ADDR"):
        environment.pop(name, None)
    subprocess.run([sys.executable, script, folder], check=True, env=environment, timeout=180, capture_output=True)
    return [json.loads((folder / f"rank{rank}.json").read_text()) for rank in (0, 1)]


@pytest.mark.slow
def test_two_processes_share_the_data_and_agree(tmp_path: Path) -> None:
    first, second = run(tmp_path)
    assert first["state"] == second["state"]
    assert first["steps"] == 8
    assert len(set(first["seen"]) | set(second["seen"])) == 64  # two epochs of four batches a process: all samples
    assert set(first["seen"][:32]).isdisjoint(second["seen"][:32])
    again, _ = run(tmp_path)
    assert again["resumed"] == 8
    assert again["state"] == first["state"]
