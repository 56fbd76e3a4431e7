"""What a terminal shows, as text: lines fit, and a line to copy stays whole."""

import torch
from rich.table import Table
from rich.text import Text

import normkit
from normkit import models
from normkit.report import plain


def test_text_wraps_and_commands_do_not() -> None:
    words, command = "word " * 40, "normkit convert " + "--option " * 20
    lines = plain(Text(words), width=50).split("\n")
    assert len(lines) > 1
    assert max(map(len, lines)) <= 50
    assert plain(Text(command, no_wrap=True, overflow="ignore"), width=50) == command.rstrip()


def test_a_table_has_no_colour_codes() -> None:
    table = Table("name")
    table.add_row("[red]value[/]")
    assert "value" in plain(table)
    assert "\x1b" not in plain(table)


def test_results_print_what_a_person_reads() -> None:
    model = models.PlainConvNet(channels=4, depth=2, pool_after=1)
    batches = [(torch.randn(1, 1, 8, 8), torch.tensor([0])) for _ in range(8)]
    diagnosis = normkit.diagnose(model, batches)
    assert "batch-noise" in str(diagnosis)
    assert "Finding(" not in str(diagnosis)
    conversion = normkit.convert(model, "fold", example=torch.randn(2, 1, 8, 8))
    assert str(conversion).startswith("fold: exact, ")
