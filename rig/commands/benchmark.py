"""``rig benchmark``: the public data sets of the field."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

SETS = ("luces", "diligent", "diligent-pi", "dpps")


def register(app: typer.Typer) -> None:
    @app.command(epilog="Example: rig benchmark diligent DiLiGenT/pmsData --method lambert")
    def benchmark(
        which: Annotated[str, typer.Argument(help=f"The data set: {', '.join(SETS)}.")],
        folder: Annotated[Path, typer.Argument(help="The set, unpacked; or one object of it.")],
        method: Annotated[
            list[str] | None,
            typer.Option(help="Repeat. Default: lambert, halfvector, dpps, refine."),
        ] = None,
        objects: Annotated[
            str | None, typer.Option(help="These only, as ball,cat. Default: all.")
        ] = None,
        papers: Annotated[
            Path | None,
            typer.Option(help="More papers' figures: a CSV of method,object,degrees."),
        ] = None,
        weights: Annotated[
            Path | None, typer.Option(help="Of the network: another file than the shipped one.")
        ] = None,
        json: Annotated[bool, typer.Option("--json", help="One line of JSON per result.")] = False,
    ) -> None:
        """Measure a public data set and print the errors beside the papers' (mean angle, degrees).

        The sets are not shipped: docs/benchmarks.md tells where they come from and how they lie.
        """
        import json as form

        from reconstruct.methods import available
        from rig.exits import UsageError
        from rig.field_benchmarks.papers import paper_table
        from rig.field_benchmarks.running import markdown, measure
        from rig.field_benchmarks.sets import READERS

        if which not in READERS:
            raise UsageError(f"there is no data set '{which}': choose {', '.join(SETS)}")
        methods = method or ["lambert", "halfvector", "dpps", "refine"]
        for name in methods:
            if name not in available():
                raise UsageError(f"there is no method '{name}': choose {', '.join(available())}")
        table = paper_table(which, papers)
        wanted = None if objects is None else {o.strip().lower() for o in objects.split(",")}
        found = []
        for sample in READERS[which](folder):
            if wanted is not None and sample.name.lower() not in wanted:
                continue
            for name in methods:
                outcome = measure(sample, name, weights)
                found.append(outcome)
                if json:
                    typer.echo(form.dumps(outcome.to_json()))
                else:
                    depth = "" if outcome.depth_mm is None else f", {outcome.depth_mm:.3f} mm"
                    typer.echo(
                        f"{sample.name}, {name}: {outcome.degrees:.2f}°{depth}, "
                        f"{outcome.seconds:.1f} s",
                        err=True,
                    )
        if not found:
            raise UsageError(f"{folder} holds none of the objects {objects}")
        if not json:
            typer.echo(markdown(found, table))
