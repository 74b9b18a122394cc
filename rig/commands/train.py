"""``rig train``, ``rig dataset`` and ``rig fit-brdf``: everything that is learned."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer


def _mapping(path: Path) -> dict[str, Any]:
    """A YAML file as a mapping; `UsageError` says what is wrong with it."""
    from intake.errors import told_as
    from intake.trees import read_yaml
    from rig.exits import UsageError

    with told_as(UsageError):
        data = read_yaml(path)
    if not isinstance(data, dict):
        raise UsageError(f"{path} must be a list of `key: value` lines")
    return {str(key): value for key, value in data.items()}


def register(app: typer.Typer) -> None:
    @app.command(epilog="Example: rig train --config any-rig.yaml --out runs/first")
    def train(
        config: Annotated[Path, typer.Option(help="YAML file of the run; see docs/dpps.md.")],
        out: Annotated[
            Path | None, typer.Option(help="Folder of the run, instead of the file's.")
        ] = None,
        export: Annotated[
            Path | None, typer.Option(help="Write the averaged weights here at the end.")
        ] = None,
    ) -> None:
        """Train a network; started again, a run goes on where its last checkpoint stands."""
        from reconstruct.dpps.checkpoint import export_weights
        from reconstruct.dpps.config import TrainConfig
        from reconstruct.dpps.train import Trainer
        from rig.exits import UsageError

        data = _mapping(config)
        if out is not None:
            data["out"] = str(out)
        settings = TrainConfig.from_mapping(data)
        if export is not None and settings.network != "any-rig":
            raise UsageError("--export writes any-rig weights; published ones are checkpoint.pt")
        trainer = Trainer(settings)
        trainer.run(typer.echo)
        trainer.leave()
        if export is not None and trainer.processes.rank == 0:
            export_weights(trainer.checkpoint, export, settings.validation_samples)
            typer.echo(f"weights: {export}")

    @app.command(epilog="Example: rig dataset data/train --count 8000 --split train")
    def dataset(
        folder: Annotated[Path, typer.Argument(help="Where the shards go.")],
        count: Annotated[int, typer.Option(min=1, help="Number of samples.")] = 1024,
        split: Annotated[str, typer.Option(help="train, validation or test.")] = "train",
        size: Annotated[int, typer.Option(min=16, help="Image side, px.")] = 64,
        rig: Annotated[str, typer.Option(help="mixed, dome96, panel or spiral.")] = "mixed",
        slope: Annotated[
            tuple[float, float] | None, typer.Option(help="Range of the median slope, degrees.")
        ] = None,
        shard: Annotated[int, typer.Option(min=1, help="Samples a shard.")] = 64,
        layout: Annotated[
            str, typer.Option(help="shards, or published: PNG pictures, .mat maps and lists.")
        ] = "shards",
    ) -> None:
        """Write a training set; started again, it goes on where it stopped."""
        from dataclasses import replace

        from reconstruct.dpps.dataset import write_dataset
        from reconstruct.dpps.drawing import SPLITS, Ask
        from rig.exits import UsageError

        if rig not in ("mixed", "dome96", "panel", "spiral"):
            raise UsageError(f"no rig '{rig}': mixed, dome96, panel or spiral")
        if split not in SPLITS:
            raise UsageError(f"no split '{split}': {', '.join(SPLITS)}")
        if size % 16:
            raise UsageError(f"--size {size} is not a multiple of 16")
        if slope is not None and not 0 < slope[0] <= slope[1] < 80:
            raise UsageError("--slope needs two angles, the smaller first, between 0 and 80")
        ask = Ask(size=size, rig=rig, slope_deg=slope)
        if layout == "published":
            from reconstruct.dpps.layout import write_published

            ask = replace(ask, size=128, rig="dome96", rig_seed=96, zoom=0.0)
            write_published(folder, count, ask, split, typer.echo)
        elif layout == "shards":
            found = write_dataset(folder, count, ask, split, shard, typer.echo)
            slopes = found["slope_deg"]
            typer.echo(
                f"{found['samples']} samples, median slope {slopes[5]:.0f}° "
                f"({slopes[1]:.0f}° to {slopes[9]:.0f}° in 80 %): {folder / 'dataset.json'}"
            )
        else:
            raise UsageError(f"no layout '{layout}': shards or published")

    @app.command("fit-brdf", epilog="Example: rig fit-brdf steel.csv --out steel.safetensors")
    def fit_brdf(
        table: Annotated[
            Path | None,
            typer.Argument(help="CSV or MERL .binary of one material; none: the theory's table."),
        ] = None,
        out: Annotated[Path, typer.Option(help="Where the fit goes.")] = Path("brdf.safetensors"),
        metal: Annotated[str, typer.Option(help="Symbol of the metal, for the theory.")] = "Fe",
        minutes: Annotated[float, typer.Option(min=0.01, help="Time for the fit.")] = 3.0,
        bound: Annotated[
            float, typer.Option(help="Largest good median relative error; beyond it exit 1.")
        ] = 0.03,
    ) -> None:
        """Fit reflectance over roughness and half and difference angles to a table."""
        from reconstruct.brdf_fit import fit, tables
        from rig.exits import OUT_OF_TOLERANCE

        samples = tables.read(table) if table is not None else tables.from_theory(metal)
        result = fit.fit(samples, minutes, say=typer.echo)
        result.network.write(out, {"table": samples.name, **result.figures()})
        typer.echo(
            f"{out}: median relative error {100 * result.median_error:.2f} %, "
            f"90 % within {100 * result.p90_error:.1f} % ({result.count} held-out entries)"
        )
        if result.median_error > bound:
            raise typer.Exit(OUT_OF_TOLERANCE)
