"""`normkit convert`: apply a remedy to a network, verified, and keep the result."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text
from torch import nn

from normkit.cli._inputs import data_from, model_from
from normkit.cli._shell import Debug, Json, emit, progress
from normkit.conversion import Conversion, Rule, convert, reload, rule_from, rules
from normkit.data.files import writable_folder

To = Annotated[
    str | None, typer.Option(help=f"A rule, or several separated by commas, applied in order: {', '.join(rules())}.")
]
Model = Annotated[str | None, typer.Option(help="package.module:function that returns an nn.Module.")]
Checkpoint = Annotated[Path | None, typer.Option(help="Weights for --model: .safetensors, or .pt of plain tensors.")]
Hf = Annotated[Path | None, typer.Option(help="A folder as Hugging Face's save_pretrained writes it.")]
Data = Annotated[str | None, typer.Option(help="A data set's name, a .npz with X and y, or package.module:function.")]
Select = Annotated[list[str] | None, typer.Option(help="Only these modules: a path or glob pattern; may be repeated.")]
Option = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY=VALUE", help="An option of the rule; with several rules RULE.KEY=VALUE. May be repeated."
    ),
]
Out = Annotated[Path | None, typer.Option(help="Folder for model.safetensors and recipe.json [default: keep nothing].")]
_FAR = 0.1  # relative difference of the outputs from which on a fitted network is another function
Replay = Annotated[Path | None, typer.Option(help="recipe.json of a saved conversion: build the same model again.")]


def command(
    to: To = None,
    option: Option = None,
    model: Model = None,
    checkpoint: Checkpoint = None,
    hf: Hf = None,
    data: Data = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Samples a batch of --data.")] = 32,
    select: Select = None,
    tolerance: Annotated[
        float | None, typer.Option(help="Largest relative difference (float64) for exact rules [default: 1e-10].")
    ] = None,
    out: Out = None,
    force: Annotated[bool, typer.Option("--force", help="Write into a folder that holds files.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan and do nothing.")] = False,
    replay: Replay = None,
    seed: Annotated[int, typer.Option(help="Of the inputs made for verification.")] = 0,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Convert a network (BatchNorm to what small batches need, LayerNorm to RMSNorm, …) and prove what it does now.

    Exact rules are verified in float64 before anything is written; calibrated rules are fitted on --data and say how
    close they came. `normkit.load(DIR)` rebuilds what --out keeps.
    """
    start = time.perf_counter()
    if out is not None and out.exists() and not dry_run:
        writable_folder(out, force=force)  # before the work, not after it
    network, source = model_from(model, checkpoint, hf)
    if replay is not None:
        conversion = _replayed(replay, network, to, option)
    else:
        if network is None:
            raise ValueError("name the network to convert with --model or --hf")
        if to is None:
            raise ValueError(f"say what to convert it to with --to: {', '.join(rules())}")
        with progress("converting"):
            conversion = convert(
                network,
                _rules([slug.strip() for slug in to.split(",")], option or []),
                data=data_from(data, batch_size=batch_size, seed=seed),
                select=select or None,
                tolerance=tolerance,
                dry_run=dry_run,
                seed=seed,
            )
        if "model" in source:
            conversion.recipe["source"] = {"model": source["model"]}
    if out is not None and not dry_run:
        conversion.save(out, force=force)
    emit(
        conversion.to_dict(),
        json=json,
        seconds=time.perf_counter() - start,
        human=lambda console: _show(console, conversion, out),
    )


def _rules(slugs: list[str], options: list[str]) -> list[Rule]:
    """The rules in order, each with those of the options that are meant for it."""
    chosen: dict[str, dict[str, Any]] = {slug: {} for slug in slugs}
    for text in options:
        name, equals, value = text.partition("=")
        slug, dot, key = name.strip().rpartition(".")
        if not (equals and key):
            raise ValueError(f"--option {text!r}: write KEY=VALUE, or RULE.KEY=VALUE with several rules in --to")
        if not dot and len(chosen) > 1:
            raise ValueError(f"--option {text!r}: --to names several rules, so write RULE.{key}=VALUE")
        slug = slug if dot else slugs[0]
        if slug not in chosen:
            raise ValueError(f"--option {text!r}: --to names no rule {slug!r} but {', '.join(chosen)}")
        if key in chosen[slug]:
            raise ValueError(f"--option {text!r}: {key} is given twice")
        chosen[slug][key] = _value(value.strip())
    return [rule_from(slug, chosen[slug]) for slug in slugs]


def _value(text: str) -> bool | int | float | str | None:
    words: dict[str, bool | None] = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _replayed(recipe: Path, network: nn.Module | None, to: str | None, option: list[str] | None) -> Conversion:
    if to is not None or option:
        raise ValueError("--replay does what its recipe says: leave --to and --option out")
    if recipe.is_dir():
        return reload(recipe, network)
    if not recipe.is_file():
        raise FileNotFoundError(f"--replay {recipe}: no such file or folder")
    if recipe.name != "recipe.json":
        raise ValueError(f"--replay {recipe}: name the folder of a saved conversion, or the recipe.json in it")
    return reload(recipe.parent, network)


def _show(console: Console, conversion: Conversion, out: Path | None) -> None:
    console.print(
        _table("changes" if not conversion.dry_run else "plan", conversion.changes, ("path", "from", "to", "why"))
    )
    if conversion.skipped:
        console.print(_table("not converted", conversion.skipped, ("path", "reason")))
    console.print(f"kind: [bold]{conversion.kind}[/]")
    if conversion.max_rel_diff is not None:
        inputs = f"{len(conversion.trials)} inputs" if len(conversion.trials) > 1 else "1 input"
        console.print(
            f"difference of the outputs over {inputs}: {conversion.max_rel_diff:.2e} relative, "
            f"{conversion.max_abs_diff:.2e} absolute (float64)"
        )
    if conversion.own_dtype is not None:
        console.print(f"in the model's own dtype: {conversion.own_dtype['max_rel_diff']:.2e} relative")
    if conversion.time_ratio is not None:
        console.print(f"time before / time now: {conversion.time_ratio:.2f} (evaluation, this machine)")
    if conversion.kind == "calibrated" and (conversion.max_rel_diff or 0) > _FAR:
        console.print(Text("note: fitted as near as the data allow, which is not near: train it before use", "red"))
    for remark in conversion.remarks:
        console.print(Text(f"note: {remark}"))
    if out is not None and not conversion.dry_run:
        console.print(Text(f"kept in {out}: normkit.load({str(out)!r}) rebuilds it"))


def _table(title: str, rows: list[dict[str, str]], columns: tuple[str, ...]) -> Table:
    table = Table(title=title, title_justify="left", show_lines=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(_cell(row[column], column) for column in columns))
    return table


def _cell(text: Any, column: str) -> Text:
    return Text(str(text) or ("(the model)" if column == "path" else ""))  # no markup: reasons may hold brackets
