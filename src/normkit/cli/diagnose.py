"""`normkit diagnose`: measure what is mis-scaled, treat it, and see whether it helped."""

import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from normkit.cli._inputs import Header, data_from, model_from, table_from, user_object
from normkit.cli._shell import Debug, Json, emit, progress, stderr
from normkit.conversion import rules
from normkit.diagnosis import probes as every_probe

__all__ = ["command"]

Probes = Annotated[
    str | None, typer.Option(help=f"Probes, joined by commas; all by default: {', '.join(every_probe())}.")
]
Remedy = Annotated[
    str | None,
    typer.Option(help=f"Rules to apply instead, joined by commas (with --treat): {', '.join(rules())}."),
]


def command(
    model: Annotated[str | None, typer.Option(help="package.module:function that returns an nn.Module.")] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="Weights for it: .safetensors, or .pt with tensors.")] = None,
    hf: Annotated[Path | None, typer.Option(help="Folder of a Hugging Face model (config.json, weights).")] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="Data set (digits), file.npz with X and y, or package.module:function of batches; "
            "without a model a table: file.csv, .tsv or .txt."
        ),
    ] = None,
    header: Header = "auto",
    batch_size: Annotated[int, typer.Option(help="Samples a batch, as in training.")] = 32,
    loss: Annotated[str | None, typer.Option(help="package.module:function (output, batch) -> scalar.")] = None,
    forward: Annotated[str | None, typer.Option(help="package.module:function (model, batch) -> output.")] = None,
    probes: Probes = None,
    max_batches: Annotated[int, typer.Option(help="Batches to look at.")] = 8,
    treat: Annotated[bool, typer.Option("--treat", help="Apply the first remedy and measure again.")] = False,
    remedy: Remedy = None,
    train_steps: Annotated[int, typer.Option(help="Training steps after the remedy (with --treat).")] = 0,
    out: Annotated[Path, typer.Option(help="Folder for report.html and the treated model.")] = Path("normkit-report"),
    fail_on: Annotated[str | None, typer.Option(help="Exit with 3 if a finding is this grave: watch or act.")] = None,
    self_test: Annotated[
        bool, typer.Option("--self-test", help="Try every probe on networks of known health.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of everything that is drawn.")] = 0,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the treated model of an earlier run in --out.")
    ] = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Measure what is mis-scaled in a network and name the line that helps; with --treat apply it and measure again.

    Without a model: a small network with batch normalisation, trained on single images of digits; with --data table.csv
    alone: what is mis-scaled in the table.
    """
    started = time.perf_counter()
    if self_test:
        _self_test(seed, json, started)
        return
    _check(fail_on, remedy, train_steps, treat)
    own, read = bool(model or hf or checkpoint), None
    with _no_empty_folder(out):
        target = _target(out, may_replace=force or not own, treat=treat)
        if not own:
            if loss is not None or forward is not None:
                raise ValueError("--loss and --forward go with a model of yours: name it with --model or --hf")
            if data is not None:
                (diagnosis, read), treatment = _table(data, header, treat, probes, seed), None
            else:
                diagnosis, treatment = _default(treat, remedy, train_steps, probes, seed)
        else:
            diagnosis, treatment = _own(
                {"model": model, "checkpoint": checkpoint, "hf": hf},
                data,
                data_from(data, batch_size=batch_size, seed=seed),
                {"loss": _function(loss), "forward": _function(forward), "max_batches": max_batches, "seed": seed},
                probes,
                (remedy, train_steps) if treat else None,
            )
        if probes is not None and not diagnosis.findings:
            raise ValueError(_none_ran(diagnosis))
        written = _write(target, diagnosis, treatment)
    payload = {**diagnosis.to_dict(), "treatment": treatment and treatment.to_dict(), "report": str(written)}
    if read:
        payload["read"] = read
    emit(
        payload,
        json=json,
        seconds=time.perf_counter() - started,
        human=lambda console: _print(console, diagnosis, treatment, written, read, asked=treat),
        device=diagnosis.device,
    )
    if fail_on and _reached(diagnosis, treatment, fail_on):
        raise typer.Exit(3)


@contextmanager
def _no_empty_folder(out: Path) -> Iterator[None]:
    """Where nothing comes of it, the folder that was made to be sure that it can be written goes again."""
    there = out.exists()
    try:
        yield
    except BaseException:
        if not there:
            with suppress(OSError):  # it holds something, or was never made
                out.rmdir()
        raise


def _check(fail_on: str | None, remedy: str | None, train_steps: int, treat: bool) -> None:
    if fail_on not in (None, "watch", "act"):
        raise ValueError(f"--fail-on is {fail_on!r}: it must be watch or act")
    if not treat and (remedy or train_steps):
        raise ValueError("--remedy and --train-steps say how to treat: add --treat")
    if train_steps < 0:
        raise ValueError(f"--train-steps is {train_steps}: it must not be negative")


def _target(out: Path, *, may_replace: bool, treat: bool) -> Path:
    """The folder, known to be writable before anything is computed; your treated model is not replaced unasked."""
    from normkit.data.files import writable_folder

    target = writable_folder(out, force=True)
    treated = target / "treated"
    if treat and not may_replace and treated.exists():
        raise FileExistsError(f"{treated} holds a treated model already: choose another --out, or pass --force")
    return target


def _function(reference: str | None) -> Any:
    return user_object(reference, "--loss and --forward") if reference else None


def _default(treat: bool, remedy: str | None, train_steps: int, probes: str | None, seed: int) -> tuple[Any, Any]:
    from normkit.diagnosis import diagnose_default, treat_default

    if not treat:
        with progress("train a small network on single digits, and diagnose it"):
            return diagnose_default(seed, probes=probes), None
    rules = remedy.split(",") if remedy else None
    steps = {"steps": train_steps} if train_steps else {}
    with progress("networks as they are, and treated", total=6) as advance:
        return treat_default(seed=seed, remedy=rules, advance=advance, **steps)


def _table(data: str, header: str, treat: bool, probes: str | None, seed: int) -> tuple[Any, str | None]:
    """The diagnosis, and how the file was read: 1,5 may be two numbers, or one that was meant."""
    from normkit.diagnosis import diagnose

    if treat:
        raise ValueError("--treat converts networks; for a table the line that helps is printed: leave --treat out")
    table = table_from(data, header)
    if table.left_out:
        stderr.print(f"not looked at, as they hold no numbers: {', '.join(table.left_out)}", markup=False)
    read = f"{len(table.values)} rows of {table.layout}" if table.layout else None
    return diagnose(table, probes=probes, seed=seed), read


def _own(
    named: dict[str, Any],
    data: str | None,
    batches: Any,
    options: dict[str, Any],
    probes: str | None,
    treatment: tuple[Any, int] | None,
) -> tuple[Any, Any]:
    from normkit.diagnosis import diagnose, treat

    model, source = model_from(**named)
    if model is None or batches is None:
        raise ValueError("--data is missing: a data set's name, file.npz, or package.module:function of batches")
    _say_costs(probes)
    with progress("diagnose", total=None):
        diagnosis = diagnose(model, batches, probes=probes, **options)
    if named.get("checkpoint"):
        source = {**source, "checkpoint": str(named["checkpoint"])}
    arguments = " ".join(f"--{name} {shlex.quote(value)}" for name, value in source.items())
    diagnosis = diagnosis.for_model(arguments, f"--data {shlex.quote(data)}" if data else "")
    if treatment is None or (treatment[0] is None and diagnosis.severity == "ok"):
        return diagnosis, None
    remedy, steps = treatment
    return diagnosis, treat(
        model, batches, diagnosis, remedy=remedy, train_steps=steps, progress="train the treated model", **options
    )


def _say_costs(wanted: str | None) -> None:
    """What a probe does beyond watching, before it does it; --probes leaves it out."""
    for slug, kind in every_probe().items():
        if kind.rehearses and stderr.is_terminal and (wanted is None or slug in wanted.split(",")):
            stderr.print(f"{slug} {kind.rehearses}", style="dim", highlight=False)


def _none_ran(diagnosis: Any) -> str:
    """Why there is nothing to report of what was asked for by name."""
    reasons = "; ".join(f"{each.probe}: {_reason(each, diagnosis.model == 'table')}" for each in diagnosis.skipped)
    return f"no probe that --probes names could run ({reasons})"


def _reason(skipped: Any, of_table: bool) -> str:
    """Why a probe did not run, with the options of this command."""
    for_tables = skipped.probe in every_probe() and "table" in every_probe()[skipped.probe].needs
    if for_tables is of_table:
        return str(skipped.reason)
    return "it examines tables: --data table.csv" if for_tables else "it examines models: name one with --model or --hf"


def _write(target: Path, diagnosis: Any, treatment: Any) -> Path:
    if treatment is None:
        return Path(diagnosis.report(target / "report.html"))
    treatment.save(target / "treated", force=True)
    return Path(treatment.report(target / "report.html", diagnosis))


def _reached(diagnosis: Any, treatment: Any, fail_on: str) -> bool:
    """With a treatment its finding is judged as it is afterwards; the others as they were."""
    from dataclasses import replace

    if treatment is None:
        return bool(diagnosis.reaches(fail_on))
    others = [each for each in diagnosis.findings if each.probe != treatment.probe]
    return bool(replace(diagnosis, findings=(*others, treatment.after)).reaches(fail_on))


def _print(
    console: Console, diagnosis: Any, treatment: Any, written: Path, read: str | None = None, *, asked: bool
) -> None:
    if read:
        console.print(f"read: {read}", markup=False, highlight=False, soft_wrap=True)
    console.print(diagnosis, crop=False)
    if asked and treatment is None:
        console.print("\nnothing to treat: every probe says ok (--remedy applies one all the same)", highlight=False)
    if treatment is not None:
        console.print(f"\n[bold]treated by {' + '.join(treatment.to)}[/]", treatment, treatment.verdict(), sep="\n")
        if treatment.warning():
            hint = "" if treatment.cost.get("train_steps") else " (--train-steps N trains here)"
            console.print(f"[bold red]warning:[/] {treatment.warning()}{hint}", highlight=False)
    console.print(f"\nreport: {written}", highlight=False)


def _self_test(seed: int, json: bool, started: float) -> None:
    from normkit.diagnosis import PATIENTS, self_test

    with progress("patients", total=len(PATIENTS)) as advance:
        outcome = self_test(seed, advance)
    emit(
        outcome.to_dict(),
        json=json,
        seconds=time.perf_counter() - started,
        human=lambda console: console.print(outcome, f"\n{'all right' if outcome.right else 'NOT right'}", sep="\n"),
    )
    if not outcome.right:
        raise typer.Exit(1)
