"""``rig study``: is the gauge capable?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from rig.commands import options

Type = Annotated[str, typer.Option("--type", help="Part type whose plan has the feature.")]
Feature = Annotated[str, typer.Option("--feature", help="Feature of the plan.")]
Batch = Annotated[str, typer.Option("--batch", help="Only runs of this batch: names the study.")]
Out = Annotated[Path | None, typer.Option(help="Write an HTML page with a plot.")]


class GaugeAsked(NamedTuple):
    """The options of `rig study gauge-rr`."""

    part_type: Type
    feature: Feature
    batch: Batch = ""
    parts: Annotated[str, typer.Option(help="Measure these first, one after another: P1,P2,…")] = ""
    operators: Annotated[str, typer.Option(help="With --parts: names, as Ada,Grace.")] = ""
    trials: Annotated[int, typer.Option(min=2, help="With --parts.")] = 3
    method: Annotated[str, typer.Option(help="Of reconstruction.")] = "refine"
    yes: Annotated[bool, typer.Option("--yes", help="Do not wait for Enter.")] = False
    tolerance: Annotated[
        float | None, typer.Option(help="Width of the tolerance. Default: the plan's.")
    ] = None
    out: Out = None
    json: options.Json = False
    simulate: options.Simulate = False
    workspace: options.Workspace = None


def register(app: typer.Typer) -> None:
    study = typer.Typer(
        no_args_is_help=True, help="Is the gauge capable? Repeatability, gauge R&R, linearity."
    )
    app.add_typer(study, name="study")

    @study.command(epilog="Example: rig study repeatability --type gauge --feature step")
    def repeatability(
        part_type: Type,
        feature: Feature,
        batch: Batch = "",
        reference: Annotated[float | None, typer.Option(help="Its true value, for bias.")] = None,
        tolerance: Annotated[
            float | None, typer.Option(help="Width of the tolerance. Default: the plan's.")
        ] = None,
        out: Out = None,
        json: options.Json = False,
        workspace: options.Workspace = None,
    ) -> None:
        """One part measured many times: scatter, bias, Cg, Cgk (AIAG MSA, type 1)."""
        from rig.exits import UsageError
        from rig.floor.study import msa, words
        from rig.floor.study.stated import stated_by

        found = _gathered(part_type, feature, batch, workspace)
        if len(set(found.parts)) > 1:
            raise UsageError(
                f"these are {len(set(found.parts))} parts: repeatability takes one; name a --batch"
            )
        result = msa.repeatability(found.values, tolerance or found.tolerance, reference)
        stated = stated_by(found)
        text = words.repeatability_table(result, found.unit, stated)
        groups = [(found.parts[0], range(len(found.values)), found.values)]
        said = {**result.to_json(), "stated": stated.to_json(result.sd.value)}
        _say(said, text, f"Repeatability of {feature}", groups, found.unit, out, json)

    @study.command("gauge-rr", epilog="Example: rig study gauge-rr --type plate --feature step")
    @options.taken_apart
    def gauge_rr(asked: GaugeAsked) -> None:
        """Parts × operators × trials: %GRR and distinct categories (AIAG MSA, crossed ANOVA).

        From runs that exist, or guided: with --parts and --operators each measurement is asked
        for in turn, parts in random order.
        """
        import numpy as np

        from rig.exits import UsageError
        from rig.floor.study import msa, words
        from rig.floor.study.guide import Guide, measure_study
        from rig.floor.study.stated import stated_by
        from rig.floor.study.table import crossed

        feature, batch = asked.feature, asked.batch
        if bool(asked.parts) != bool(asked.operators):
            raise UsageError("--parts and --operators go together")
        if asked.parts:
            batch = batch or f"study-{feature}"
            measure_study(
                Guide(asked.parts.split(","), asked.operators.split(","), asked.trials,
                      asked.part_type, batch, asked.method, asked.simulate, asked.workspace),
                typer.echo,
                (lambda text: None) if asked.yes else lambda text: typer.prompt(text, default=""),
            )  # fmt: skip
        found = _gathered(asked.part_type, feature, batch, asked.workspace)
        names, people, values = crossed(found)
        result = msa.gauge_rr(values, asked.tolerance or found.tolerance)
        stated = stated_by(found)
        text = words.gauge_rr_table(result, found.unit, stated)
        x = np.repeat(np.arange(len(names)), values.shape[2])
        groups = [(person, x + 0.15 * k, values[:, k].ravel()) for k, person in enumerate(people)]
        said = {**result.to_json(), "stated": stated.to_json(result.ev)}
        title = f"Gauge R&R of {feature}"
        _say(said, text, title, groups, found.unit, asked.out, asked.json, names)

    @study.command(
        epilog="Example: rig study linearity --type gauge --feature step --known S1=1.0002,S2=2.001"
    )
    def linearity(
        part_type: Type,
        feature: Feature,
        known: Annotated[str, typer.Option(help="True values of the parts: S1=1.0002,S2=2.001.")],
        batch: Batch = "",
        out: Out = None,
        json: options.Json = False,
        workspace: options.Workspace = None,
    ) -> None:
        """Known parts over the range: bias and its slope (AIAG MSA)."""
        import numpy as np

        from rig.exits import UsageError
        from rig.floor.study import msa, words

        try:
            truth = {
                name.strip(): float(value)
                for name, _, value in (pair.partition("=") for pair in known.split(","))
            }
        except ValueError:
            raise UsageError(f"--known is '{known}': expected PART=VALUE with commas") from None
        found = _gathered(part_type, feature, batch, workspace)
        use = [k for k, part in enumerate(found.parts) if part in truth]
        references = np.array([truth[found.parts[k]] for k in use])
        values = found.values[use]
        good = np.isfinite(values)
        result = msa.linearity(references[good], values[good])
        text = words.linearity_table(result, found.unit)
        groups = [("bias", references[good], (values - references)[good])]
        _say(result.to_json(), text, f"Linearity of {feature}", groups, found.unit, out, json)


def _gathered(part_type: str, feature: str, batch: str, workspace: Path | None) -> Any:
    from rig.floor.store.store import open_store
    from rig.floor.study.table import gather
    from rig.workspace import Workspace

    with open_store(Workspace.at(workspace)) as store:
        return gather(store, part_type, feature, batch)


def _say(
    said: dict[str, Any], text: str, title: str, groups: Sequence[Any], unit: str, out: Path | None,
    json: bool, names: Sequence[str] = (),
) -> None:  # fmt: skip
    import json as json_module

    from capture.claim import claim, is_there
    from rig.exits import UsageError
    from rig.floor.study.words import study_page

    typer.echo(json_module.dumps(said, indent=1) if json else text)
    if out is not None:
        if is_there(out):
            raise UsageError(f"{out} exists already and is kept: name another --out")
        with claim(out) as claimed:
            page = study_page(title, text, groups, unit, names)
            claimed.file.write_text(page, encoding="utf-8")
            claimed.publish_files()
