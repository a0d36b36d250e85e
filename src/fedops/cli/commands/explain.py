"""``fedops explain``: why a stored model predicts what it predicts, on local data, without a server."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from fedops.cli import options
from fedops.cli.output import console, show
from fedops.config.schema import Config
from fedops.core.contracts import ExchangeRule
from fedops.core.errors import Invalid
from fedops.core.suggestions import comma_list
from fedops.scalize.adapter.protocol import ModelAdapter
from fedops.scalize.flow.project import Project
from fedops.scalize.flow.script_flow import NOT_EXPLAINED
from fedops.storage import tensors

app = options.single()


@app.command()
def explain(
    weights: Annotated[
        Path, typer.Option("--weights", metavar="FILE", help="The model: a safetensors file.")
    ],
    app_folder: Annotated[
        Path, typer.Option("--app", metavar="PATH", help="The app's folder.")
    ] = Path("."),
    methods: Annotated[
        list[str] | None,
        typer.Option(
            "--method", metavar="NAME", help="May be repeated; default: the app's [xai] methods."
        ),
    ] = None,
    layer: Annotated[
        str | None,
        typer.Option("--layer", metavar="NAME", help="The layer; default: the app's [xai]."),
    ] = None,
    samples: Annotated[
        int | None, typer.Option("--samples", min=1, help="How many; default: the app's [xai].")
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Where pictures and report go.")
    ] = Path("explained"),
    seconds: Annotated[
        float, typer.Option("--seconds", min=1.0, help="The longest that it may take.")
    ] = 600.0,
    overrides: options.Overrides = None,
    as_json: options.Json = False,
) -> None:
    """Explain a stored model on the app's local test data: a contact sheet, a picture for each
    sample, the raw maps, and scores that say how far the explanation can be trusted.

    The samples are the ones that the device explains beside its rounds.
    """
    wanted: dict[str, Any] = {"enabled": True, "max_seconds": seconds, "models": "global"}
    wanted |= {"methods": methods} if methods else {}
    wanted |= {"layer": layer} if layer else {}
    wanted |= {"samples": samples} if samples else {}
    project = Project.open(app_folder, overrides or [])
    with contextlib.redirect_stdout(sys.stderr):  # what the app's own code prints
        if as_json:
            found = _explained(project, weights, wanted, out)
        else:
            with console().status("explaining ..."):
                found = _explained(project, weights, wanted, out)
    show(found, as_json, *_lines(found))


def _explained(
    project: Project, weights: Path, wanted: dict[str, Any], out: Path
) -> dict[str, Any]:
    from fedops.explain.service.start import open_explainer

    config = project.config
    if config.script is not None:
        raise Invalid(NOT_EXPLAINED)
    adapter = project.make_adapter(config.random_seed)
    notes = _load(adapter, weights)
    data = project.load_data()
    explainer = open_explainer(
        {**_section(config), **wanted},
        adapter.model,  # type: ignore[attr-defined]
        data.validation if data.test is None else data.test,
        base=out,
        seed=config.random_seed,
        kept=False,
    )
    assert explainer is not None
    report = explainer.run(adapter.model, out_dir=out, full=True).plain()  # type: ignore[attr-defined]
    folder = out.resolve()
    return {
        "app": project.app_name,
        "weights": str(weights),
        "dataset": data.dataset,
        "layer": report["layer"],
        "methods": report["methods"],
        "out": str(folder),
        "sheets": [str(folder / name) for name in report["sheets"]],
        "samples": [_placed(row, folder) for row in report["samples"]],
        "quality": report["quality"].get("global", {}),
        "notes": [*notes, *report["notes"]],
        "complete": report["complete"],
        "seconds": report["seconds"],
    }


def _section(config: Config) -> dict[str, Any]:
    return config.xai.model_dump()


def _load(adapter: ModelAdapter, weights: Path) -> list[str]:
    """Put the weights into the adapter's model; what they leave as it was is told.

    Raises:
        Invalid: they are not of this model.
    """
    given = tensors.load(weights)
    specs = adapter.contract.parameters
    missing = [s.name for s in specs if s.name not in given and s.rule is not ExchangeRule.LOCAL]
    own = [s.name for s in specs if s.name not in given and s.rule is ExchangeRule.LOCAL]
    if missing:
        raise Invalid(
            f"{weights} does not hold this app's model: it lacks {comma_list(missing[:5])}, and has "
            f"{comma_list(list(given)[:5]) or 'nothing'}; give the --app that the model was trained with"
        )
    try:
        adapter.set_tensors(given)
    except Invalid as error:
        raise Invalid(f"{weights} does not fit this app's model: {error.message}") from None
    return [f"not in the file, so as at first: {comma_list(own)}"] if own else []


def _placed(row: dict[str, Any], folder: Path) -> dict[str, Any]:
    png = row.get("png")
    return {**row, "png": str(folder / png) if png else None}


def _lines(found: dict[str, Any]) -> list[str | Table]:
    samples = Table("sample", "true", "predicted", "method", "flags", box=None)
    for row in found["samples"]:
        sure = f" ({row['probability']:.0%})" if row["probability"] is not None else ""
        said = f"{row['predicted']}{sure}"
        flags = ", ".join(row["flags"])
        samples.add_row(str(row["index"]), str(row["label"]), said, row["method"], flags)
    quality = [
        f"{method}: " + ", ".join(f"{k} {v}" for k, v in measures.items() if k != "sanity_by_layer")
        for method, measures in found["quality"].items()
    ]
    notes = [f"note: {note}" for note in found["notes"]]
    return [samples, "", *quality, *notes, *(f"sheet: {path}" for path in found["sheets"])]
