"""``artefacts.yaml``: known artefacts, what their certificates say, and permissible errors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from intake.errors import InputError
from intake.trees import parse_yaml
from rig.config import ConfigError, Problem
from rig.exits import UsageError
from rig.floor.plans.model import Mm, PositiveMm, Rectangle, Region
from rig.workspace import check_part_name


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Traceable(_Strict):
    """The calibration certificate of an artefact."""

    number: str
    laboratory: str
    date: str
    valid_until: str = ""


class Known(_Strict):
    """One value of an artefact, as certified.

    Attributes
    ----------
    expanded_mm : expanded uncertainty U of the value, k = 2
    line, region, datum : where it is: along a line between two edges, or a step's region over a
        datum's plane
    """

    name: str
    value_mm: PositiveMm
    expanded_mm: Annotated[float, Field(ge=0)]
    line: Rectangle | None = None
    region: Region | None = None
    datum: Region | None = None


class Artefact(_Strict):
    """A known artefact; `name` is the part's name that it is measured under.

    Attributes
    ----------
    kind : ``sphere`` (one value: the diameter), ``flat`` (none), ``steps`` (heights), ``lengths``
        (distances of edges across the picture)
    region : of the sphere or flat that is looked at
    height_mm : mean height of its surface over the stage, if it is another than rig.yaml's
    """

    name: str
    kind: Literal["sphere", "flat", "steps", "lengths"]
    serial: str = ""
    certificate: Traceable
    region: Region | None = None
    values: tuple[Known, ...] = ()
    form_mm: Annotated[float, Field(ge=0)] = 0.0  # certified deviation from its ideal form
    height_mm: Mm | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> Artefact:
        check_part_name(self.name)
        if self.kind in ("sphere", "flat") and self.region is None:
            raise ValueError(f"'{self.name}' needs a region that is looked at")
        if self.kind == "sphere" and len(self.values) != 1:
            raise ValueError(f"'{self.name}' needs one value: its diameter")
        for known in self.values:
            if self.kind == "lengths" and known.line is None:
                raise ValueError(f"'{self.name}', {known.name}: a length needs a line")
            if self.kind == "steps" and known.line is None and known.region is None:
                raise ValueError(f"'{self.name}', {known.name}: a step needs a line or a region")
            if known.region is not None and known.datum is None:
                raise ValueError(f"'{self.name}', {known.name}: a region needs a datum")
        if self.kind in ("steps", "lengths") and not self.values:
            raise ValueError(f"'{self.name}' has no values")
        return self


class Permissible(_Strict):
    """Maximum permissible errors, mm; None where the certificate shall state what was found.

    Attributes
    ----------
    length_mm, length_per_mm : of lengths and steps L: length_mm + L · length_per_mm
    """

    probing_form_mm: PositiveMm | None = None
    probing_size_mm: PositiveMm | None = None
    flatness_mm: PositiveMm | None = None
    step_mm: PositiveMm | None = None
    length_mm: PositiveMm | None = None
    length_per_mm: Annotated[float, Field(ge=0)] = 0.0


class Artefacts(_Strict):
    """Everything in ``artefacts.yaml``."""

    format: Literal["rig-artefacts/1"]
    artefacts: tuple[Artefact, ...] = Field(min_length=1)
    mpe: Permissible = Permissible()
    environment: dict[str, str | float | int] = {}
    responsible: str = ""


def read_artefacts(path: Path) -> Artefacts:
    """Read the file; raises `UsageError` or `ConfigError` with all its mistakes."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UsageError(
            f"there is no file {path} with artefacts: docs/floor.md shows what it holds"
        ) from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} is no UTF-8 text: save it as UTF-8") from None
    try:
        data = parse_yaml(text, str(path), _PlainDates)
        return Artefacts.model_validate(data)
    except InputError as error:
        raise ConfigError(str(path), [Problem("", None, str(error))]) from None
    except ValidationError as error:
        problems = [
            Problem(
                ".".join(map(str, detail["loc"])),
                None,
                str(detail["msg"]).removeprefix("Value error, "),
            )
            for detail in error.errors()
        ]
        raise ConfigError(str(path), problems) from None


class _PlainDates(yaml.SafeLoader):
    """Leaves dates the texts that they are in a certificate."""


_PlainDates.yaml_implicit_resolvers = {
    first: [pair for pair in pairs if pair[0] != "tag:yaml.org,2002:timestamp"]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
