"""``plans/TYPE.yaml``: the features of a type of part, each with nominal, tolerance and datum."""

from __future__ import annotations

import difflib
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from intake import plugins
from intake.errors import InputError
from intake.trees import parse_yaml
from reconstruct.metrology.curved import CURVED, CURVED_ADVICE
from rig.config import ConfigError, Problem
from rig.exits import UsageError
from rig.workspace import Workspace, check_part_name

FORMAT = "rig-plan/1"
FOLDER = "plans"

Mm = Annotated[float, Field(allow_inf_nan=False)]
PositiveMm = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Rectangle = tuple[Mm, Mm, Mm, Mm]
Circle = tuple[Mm, Mm, PositiveMm]
Region = Rectangle | Circle  # x0, y0, x1, y1, or x, y, radius; mm in the part's frame


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Rule(_Strict):
    """How a feature is decided (ISO 14253-1).

    Attributes
    ----------
    probability : of conformity that "good" must have at least, and of nonconformity that
        "out of tolerance" must have
    in_between : what a feature is taken for that can be proven neither: ``reject`` (exit code 1)
        or ``accept`` (exit code 0)
    """

    probability: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    in_between: Literal["reject", "accept"] = "reject"


class Alignment(_Strict):
    """Lays the part onto a reference, so that regions are those of the drawing."""

    reference: str
    how: Literal["none", "mean", "plane", "rigid"] = "rigid"

    @model_validator(mode="after")
    def _is_readable(self) -> Alignment:
        if Path(self.reference).suffix.lower() in CURVED:
            raise ValueError(f"{self.reference} {CURVED_ADVICE}")
        return self


class _Feature(_Strict):
    name: Annotated[str, Field(min_length=1, max_length=100)]
    nominal: Mm | None = None
    tolerance: PositiveMm | tuple[Mm, Mm] | None = None  # ± or [below, above], from nominal
    lower: Mm | None = None
    upper: Mm | None = None
    unit: str = ""

    @model_validator(mode="after")
    def _has_limits(self) -> _Feature:
        low, high = self.limits
        if low is None and high is None:
            raise ValueError(
                f"'{self.name}' has no tolerance: give nominal and tolerance, or lower or upper"
            )
        if self.tolerance is not None and self.nominal is None:
            raise ValueError(f"'{self.name}' has a tolerance and no nominal that it counts from")
        if low is not None and high is not None and not low < high:
            raise ValueError(f"'{self.name}': lower {low:g} is not below upper {high:g}")
        return self

    @property
    def limits(self) -> tuple[float | None, float | None]:
        """Lower and upper limit, in the feature's unit."""
        if self.tolerance is not None and self.nominal is not None:
            pair = self.tolerance
            below, above = pair if isinstance(pair, tuple) else (-pair, pair)
            return self.nominal + below, self.nominal + above
        return self.lower, self.upper


class Step(_Feature):
    """Height of a region over the datum's plane, or of a step along a line (ISO 5436-1)."""

    kind: Literal["step"]
    region: Region | None = None
    datum: str | None = None
    line: Rectangle | None = None
    edges: tuple[Mm, ...] | None = None
    unit: str = "mm"

    @model_validator(mode="after")
    def _one_way(self) -> Step:
        if (self.line is None) == (self.region is None):
            raise ValueError(f"'{self.name}' is measured in a region over a datum, or along a line")
        if self.region is not None and self.datum is None:
            raise ValueError(f"'{self.name}' needs a datum that its region stands over")
        return self


class Flatness(_Feature):
    """Minimum zone of a region (ISO 12781-1)."""

    kind: Literal["flatness"]
    region: Region
    unit: str = "mm"


class Roughness(_Feature):
    """A texture parameter over a region (ISO 25178-2) or along a line (ISO 21920-2)."""

    kind: Literal["roughness"]
    parameter: Literal["Sa", "Sq", "Sz", "Sp", "Sv", "Ssk", "Sku", "Sdq", "Sdr",
                       "Ra", "Rq", "Rz", "Rt"]  # fmt: skip
    region: Region | None = None
    line: Rectangle | None = None
    form: str = "plane"
    cutoff_mm: PositiveMm | None = None
    short_mm: PositiveMm | None = None
    unit: str = "µm"

    @model_validator(mode="after")
    def _one_way(self) -> Roughness:
        if self.parameter.startswith("R") != (self.line is not None) or (
            self.line is None and self.region is None
        ):
            raise ValueError(f"'{self.name}': R parameters need a line, S parameters a region")
        if self.parameter.startswith("R") and self.cutoff_mm is None:
            raise ValueError(f"'{self.name}': {self.parameter} needs a cutoff_mm")
        return self


class Distance(_Feature):
    """Between two edges along a line, or between the centres of two bores."""

    kind: Literal["distance"]
    line: Rectangle | None = None
    between: tuple[str, str] | None = None
    unit: str = "mm"

    @model_validator(mode="after")
    def _one_way(self) -> Distance:
        if (self.line is None) == (self.between is None):
            raise ValueError(f"'{self.name}' lies along a line, or between two bores")
        return self


class Angle(_Feature):
    """Between the planes of a region and of the datum, degrees."""

    kind: Literal["angle"]
    region: Region
    datum: str
    unit: str = "°"


class Radius(_Feature):
    """Of a sphere or cylinder through a region."""

    kind: Literal["radius"]
    region: Region
    form: Literal["sphere", "cylinder"] = "cylinder"
    unit: str = "mm"


class Bore(_Feature):
    """A hole: its position as the diameter of the zone (ISO 1101), or its diameter."""

    kind: Literal["bore"]
    centre: tuple[Mm, Mm]
    search_mm: PositiveMm
    figure: Literal["position", "diameter"] = "position"
    unit: str = "mm"


class Deviation(_Feature):
    """Largest distance from a reference; `share` percent of the points lie within it."""

    kind: Literal["deviation"]
    reference: str
    align: Literal["none", "mean", "plane", "rigid"] = "rigid"
    share: Annotated[float, Field(gt=0, le=100)] = 100.0
    region: Region | None = None
    unit: str = "mm"

    @model_validator(mode="after")
    def _is_readable(self) -> Deviation:
        Alignment(reference=self.reference)
        return self


class Defects(_Feature):
    """Dents, scratches and burrs: how many, how deep (µm), or how long (mm)."""

    kind: Literal["defects"]
    what: Literal["all", "dent", "scratch", "burr"] = "all"
    figure: Literal["count", "deepest", "longest"] = "count"
    least_um: Annotated[float, Field(ge=0)] = 0.0
    region: Region | None = None
    reference: str | None = None
    unit: str = ""


class Plugged(_Feature):
    """A figure that a plug-in measures, of a region or of the whole part."""

    kind: Literal["plugin"]
    plugin: str
    region: Region | None = None
    settings: dict[str, Any] = {}
    unit: str = ""

    @model_validator(mode="after")
    def _is_installed(self) -> Plugged:
        known = plugins.offered(plugins.FEATURES)
        if self.plugin not in known:
            raise ValueError(
                f"'{self.name}': no installed package adds the feature '{self.plugin}' (there are: "
                f"{', '.join(known) or 'none'})"
            )
        return self


AnyFeature = Annotated[
    Step | Flatness | Roughness | Distance | Angle | Radius | Bore | Deviation | Defects | Plugged,
    Field(discriminator="kind"),
]


class InspectionPlan(_Strict):
    """Everything in ``plans/TYPE.yaml``.

    Attributes
    ----------
    datums : planes that features refer to, by name
    correlation_mm : distance over which errors of height hold together; None: a fifth of the part
    least_covered : share of a feature's region that must have been measured
    """

    format: Literal["rig-plan/1"]
    type: str
    revision: str = ""
    rule: Rule = Rule()
    align: Alignment | None = None
    datums: dict[str, Region] = {}
    correlation_mm: PositiveMm | None = None
    least_covered: Annotated[float, Field(ge=0, le=1)] = 0.8
    features: tuple[AnyFeature, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _refers_to_what_is_there(self) -> InspectionPlan:
        names = [feature.name for feature in self.features]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"two features are called '{twice}'")
        bores = {feature.name for feature in self.features if isinstance(feature, Bore)}
        for feature in self.features:
            datum = getattr(feature, "datum", None)
            if datum is not None and datum not in self.datums:
                known = ", ".join(self.datums) or "none"
                raise ValueError(f"'{feature.name}' has datum {datum}; the plan has {known}")
            for bore in getattr(feature, "between", None) or ():
                if bore not in bores:
                    raise ValueError(f"'{feature.name}' lies between bores; '{bore}' is none")
        return self


@dataclass(frozen=True)
class KeptPlan:
    """A plan with the text it was read from, and the hash of its content."""

    plan: InspectionPlan
    text: str

    @property
    def hash(self) -> str:
        """SHA-256 of what the plan says; comments and layout do not count."""
        return hashlib.sha256(self.plan.model_dump_json().encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """What a verdict says of the plan that judged."""
        return {
            "type": self.plan.type,
            "revision": self.plan.revision,
            "hash": self.hash,
            "rule": self.plan.rule.model_dump(),
        }


def plan_path(workspace: Workspace, part_type: str) -> Path:
    """Where the plan of a part type lies; raises `PlanError` for a name that cannot be a file."""
    return workspace.folder / FOLDER / f"{check_part_name(part_type)}.yaml"


def known_types(workspace: Workspace) -> list[str]:
    """Part types that have a plan."""
    return sorted(path.stem for path in (workspace.folder / FOLDER).glob("*.yaml"))


def read_plan(workspace: Workspace, part_type: str) -> KeptPlan:
    """The plan of a part type.

    Raises
    ------
    UsageError, ConfigError
        if there is none, or it has mistakes; all of them are named
    """
    path = plan_path(workspace, part_type)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        known = ", ".join(known_types(workspace)) or "none"
        raise UsageError(
            f"there is no inspection plan {path} (types with one: {known}): 'rig plan new' makes it"
        ) from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} is no UTF-8 text: save it as UTF-8") from None
    kept = parse_plan(text, str(path))
    if kept.plan.type != part_type:
        raise UsageError(f"{path} is of type '{kept.plan.type}': its name and type must agree")
    return kept


def parse_plan(text: str, file: str = "plan") -> KeptPlan:
    """The plan in a text; `file` names it in messages."""
    try:
        data = parse_yaml(text, file)
    except InputError as error:
        raise ConfigError(file, [Problem("", None, str(error))]) from None
    if not isinstance(data, dict):
        raise ConfigError(file, [Problem("", None, "it holds no plan: 'rig plan new' makes one")])
    try:
        return KeptPlan(InspectionPlan.model_validate(data), text)
    except ValidationError as error:
        # Wrong features do not count, so that a list of nothing else is called too short as well.
        found = [
            _problem(detail, data) for detail in error.errors()
            if not (detail["type"] == "too_short" and data.get(detail["loc"][0]))
        ]  # fmt: skip
        raise ConfigError(file, found) from None


_KINDS: dict[str, type[BaseModel]] = {
    "step": Step, "flatness": Flatness, "roughness": Roughness, "distance": Distance,
    "angle": Angle, "radius": Radius, "bore": Bore, "deviation": Deviation, "defects": Defects,
    "plugin": Plugged,
    "rule": Rule, "align": Alignment,
}  # fmt: skip


def _problem(detail: Any, data: dict[str, Any]) -> Problem:
    place = [str(part) for part in detail["loc"]]
    if len(place) > 1 and place[0] == "features" and place[1].isdigit():
        feature = data["features"][int(place[1])]
        name = feature.get("name") if isinstance(feature, dict) else None
        place[1] = f"'{name}'" if name else f"number {int(place[1]) + 1}"
    message = str(detail["msg"]).removeprefix("Value error, ").replace("Input should", "should")
    if detail["type"] == "extra_forbidden":
        owner = next((_KINDS[part] for part in place[:-1] if part in _KINDS), InspectionPlan)
        near = difflib.get_close_matches(place[-1], owner.model_fields, n=1, cutoff=0.5)
        known = ", ".join(owner.model_fields)
        message = f"is unknown; did you mean '{near[0]}'?" if near else f"is unknown: {known}"
    elif detail["type"] == "missing":
        message = "is missing"
    elif detail["type"] == "too_short":
        message = "is empty: a plan has at least one"
    elif detail["type"].startswith("union_tag"):
        message = f"{message}: kind is one of {', '.join(list(_KINDS)[:10])}"
    return Problem(".".join(place), None, message)
