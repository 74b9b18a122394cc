"""``rig.yaml``: what the rig is made of. Frozen models; every mistake is named at once.

YAML 1.1 turns some plain words into other things: ``on`` and ``yes`` become true, ``12:30``
becomes 750, ``1e3`` stays a text. Strict types refuse all three where they do not belong, and the
message says what YAML made of the word.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from capture.camera.base import CameraSettings
from capture.errors import PlanError
from capture.plan import MAX_EXPOSURE_US, MAX_LED, MAX_SETTLE_US, Plan, parse_leds
from capture.world import is_simulated
from intake.errors import InputError, MissingError, told_as
from intake.files import read_text
from intake.trees import items, keys_set_again, refuse_nesting, vet
from rig.exits import UsageError

NAME = "rig.yaml"
MAX_CONFIG = 2**20
Synchronisation = Literal["auto", "software", "board-clocked", "camera-clocked"]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def picture_shape(text: str) -> tuple[int, int]:
    """(H, W) of a size in pixels as people write it: 1024, 640x480.

    Raises
    ------
    ValueError
        if it is none that a camera has
    """
    width, by, height = text.lower().replace("×", "x").partition("x")
    height = height if by else width
    if not (re.fullmatch("[0-9]{1,6}", width) and re.fullmatch("[0-9]{1,6}", height)):
        raise ValueError(f"'{text}' is no size in pixels; write it as 1024 or 640x480")
    if int(width) % 4 or int(height) % 2:
        raise ValueError(f"'{text}': the width is a multiple of 4, the height of 2")
    if not all(16 <= int(pixels) <= 16384 for pixels in (width, height)):
        raise ValueError(f"'{text}': width and height are 16 to 16384 pixels")
    return int(height), int(width)


Millimetres = Annotated[float, Field(allow_inf_nan=False)]
PositiveMm = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Board(_Section):
    """The LED board."""

    port: Annotated[str, Field(min_length=1)]
    baud: Annotated[int, Field(ge=300, le=4_000_000)] | None = None
    leds: Annotated[int, Field(ge=1, le=MAX_LED)] = 96
    dialect: str = "rig"


class CameraSection(_Section):
    """The camera; `producer` and `serial` are its address."""

    producer: str | None = None
    serial: str | None = None
    pixel_format: str = "Mono12"
    exposure_ms: Annotated[float, Field(gt=0, le=MAX_EXPOSURE_US / 1000, allow_inf_nan=False)] = 8.0
    gain_db: Annotated[float, Field(ge=0, le=60)] = 0.0
    trigger: Synchronisation = "auto"
    line: str | None = None
    strobe_line: str | None = None
    strobe_inverted: bool = False
    frame_rate_hz: Annotated[float, Field(gt=0, le=10_000)] | None = None
    roi: tuple[int, int, int, int] | None = None

    @field_validator("roi", mode="before")
    @classmethod
    def _list_to_tuple(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value

    @field_validator("roi")
    @classmethod
    def _window(cls, value: tuple[int, int, int, int] | None) -> tuple[int, int, int, int] | None:
        if value is not None and (min(value[:2]) < 0 or min(value[2:]) < 1):
            raise ValueError("x and y are at least 0, width and height at least 1")
        return value

    @property
    def address(self) -> str:
        """``producer#serial`` as `capture.camera.open_camera` takes it; ``sim://…`` stays, and so
        does the address of a plug-in's camera."""
        if self.producer and "://" in self.producer:
            return self.producer
        return f"{self.producer or ''}#{self.serial or ''}"

    @property
    def simulated(self) -> bool:
        """Whether it is the camera of a virtual rig in this process."""
        return is_simulated(self.address)


class Stage(_Section):
    """Where the part lies: mean height of its visible surface above the stage."""

    height_mm: Millimetres = 0.0
    height_sigma_mm: PositiveMm = 1.0
    diameter_mm: PositiveMm | None = None


class PlanSection(_Section):
    """The plan taken when none is named."""

    leds: str | None = None
    exposures_ms: tuple[float, ...] | None = None
    dark_frames: bool = True
    repeat_first: bool = True
    level: Annotated[float, Field(gt=0, le=1)] = 1.0
    settle_us: Annotated[int, Field(ge=0, le=MAX_SETTLE_US)] = 200
    retries: Annotated[int, Field(ge=0, le=20)] = 2

    @field_validator("exposures_ms", mode="before")
    @classmethod
    def _list_to_tuple(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value

    @field_validator("leds")
    @classmethod
    def _list_of_leds(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                parse_leds(value)
            except PlanError as error:
                raise ValueError(str(error)) from None
        return value


class Calibration(_Section):
    """How old a calibration may grow before capture and reconstruction warn."""

    max_age_days: Annotated[float, Field(gt=0)] = 90.0


class StoreSection(_Section):
    """The results store, and which old recordings lose their pictures."""

    url: Annotated[str, Field(min_length=1)] | None = None
    thin_after_days: Annotated[float, Field(gt=0)] | None = None
    keep_newest: Annotated[int, Field(ge=1)] = 3
    keep_not_good: bool = True


class MqttSection(_Section):
    """The broker that 'rig serve' talks to."""

    host: Annotated[str, Field(min_length=1)]
    port: Annotated[int, Field(ge=1, le=65535)] = 1883
    topic: Annotated[str, Field(min_length=1, pattern=r"^[^#+]+$")] = "rig"
    username: str | None = None
    password_file: str | None = None
    tls: bool = False


class OpcUaSection(_Section):
    """Where 'rig serve' offers OPC UA."""

    endpoint: Annotated[str, Field(pattern=r"^opc\.tcp://")] = "opc.tcp://127.0.0.1:4840/rig"


class VirtualSection(_Section):
    """The virtual rig, of ``sim://rig`` and ``--simulate``; `size` is of its pictures, px."""

    size: str = "512"

    @field_validator("size", mode="before")
    @classmethod
    def _number_to_text(cls, value: Any) -> Any:
        return str(value) if type(value) is int else value

    @field_validator("size")
    @classmethod
    def _pixels(cls, value: str) -> str:
        picture_shape(value)
        return value

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) of its pictures."""
        return picture_shape(self.size)


class Config(_Section):
    """Everything in ``rig.yaml``."""

    format: Literal["rig/1"] = "rig/1"
    board: Board
    camera: CameraSection
    stage: Stage = Stage()
    plan: PlanSection = PlanSection()
    calibration: Calibration = Calibration()
    instrument: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    store: StoreSection = StoreSection()
    virtual: VirtualSection = VirtualSection()
    mqtt: MqttSection | None = None
    opcua: OpcUaSection | None = None

    @model_validator(mode="after")
    def _plan_is_possible(self) -> Config:
        try:
            plan = self.default_plan()
        except PlanError as error:
            raise ValueError(f"plan: {error}") from None
        if max(plan.leds) > self.board.leds:
            raise ValueError(
                f"plan: lights LED {max(plan.leds)}, but board: leds is {self.board.leds}"
            )
        return self

    def beside(self, folder: Path) -> Config:
        """The same with relative paths (port, producer, dialect file) taken from this folder."""
        producer, dialect = self.camera.producer, self.board.dialect
        port = self.board.port
        if "/" in port and "://" not in port:
            port = str(folder / port)
        if producer and "://" not in producer:
            producer = str(folder / producer)
        if Path(dialect).suffix.lower() in (".yaml", ".yml"):
            dialect = str(folder / dialect)
        board = self.board.model_copy(update={"dialect": dialect, "port": port})
        camera = self.camera.model_copy(update={"producer": producer})
        return self.model_copy(update={"board": board, "camera": camera})

    def default_plan(self) -> Plan:
        """The plan of this file."""
        exposures_ms = self.plan.exposures_ms or (self.camera.exposure_ms,)
        return Plan(
            leds=parse_leds(self.plan.leds or f"1-{self.board.leds}"),
            exposures_us=tuple(ms * 1000 for ms in exposures_ms),
            dark_frames=self.plan.dark_frames,
            repeat_first=self.plan.repeat_first,
            level=self.plan.level,
            settle_us=self.plan.settle_us,
        )

    def camera_settings(self, trigger: Literal["software", "line", "free"]) -> CameraSettings:
        """What is asked of the camera when it is triggered this way."""
        camera = self.camera
        return CameraSettings(
            pixel_format=camera.pixel_format,
            exposure_us=camera.exposure_ms * 1000,
            gain_db=camera.gain_db,
            trigger=trigger,
            line=camera.line if trigger == "line" else None,
            strobe_line=camera.strobe_line,
            strobe_inverted=camera.strobe_inverted,
            frame_rate_hz=camera.frame_rate_hz,
            roi=camera.roi,
        )


# reading --------------------------------------------------------------------------------------
class Problem(NamedTuple):
    """One mistake: where in the file, and what is wrong."""

    path: str
    line: int | None
    message: str

    def __str__(self) -> str:
        where = self.path if self.line is None else f"{self.path} (line {self.line})"
        return f"{where}: {self.message}" if self.path else self.message


class ConfigError(UsageError):
    """``rig.yaml`` cannot be used; `problems` holds every mistake found."""

    def __init__(self, file: str, problems: list[Problem]) -> None:
        self.problems = problems
        head = f"{file} has {len(problems)} mistake{'s' if len(problems) > 1 else ''}:"
        super().__init__("\n  ".join([head, *map(str, problems)]))


def read_config(path: Path) -> Config:
    """Read a ``rig.yaml``; raises `ConfigError` with all its mistakes, or `UsageError`."""
    return parse_config(config_text(path), str(path)).beside(path.parent)


def config_text(path: Path) -> str:
    """The text of a ``rig.yaml``; raises `UsageError`."""
    try:
        return read_text(path, MAX_CONFIG)
    except MissingError:
        raise UsageError(
            f"there is no {path.name} in {path.parent}: 'rig init' writes one, "
            "or name its folder with --workspace"
        ) from None
    except InputError as error:
        raise UsageError(str(error)) from None


def parse_config(text: str, file: str = NAME) -> Config:
    """The configuration in a text; `file` names it in messages."""
    return _parse(text, file, Config)


def read_plan_section(text: str, file: str) -> PlanSection:
    """A plan written like the section ``plan`` of ``rig.yaml``; raises `ConfigError`."""
    return _parse(text, file, PlanSection)


Model = TypeVar("Model", bound=_Section)


def _parse(text: str, file: str, model: type[Model]) -> Model:
    with told_as(UsageError):
        refuse_nesting(text, file)
    try:
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        problem = Problem("not YAML", line, str(error.problem or error.context))
        raise ConfigError(file, [problem]) from None
    # What its constructors raise on words such as 2001-99-99, !!int "" or !!bool x.
    except (
        yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError, RecursionError
    ) as error:  # fmt: skip
        said = str(error).partition("\n")[0]
        raise ConfigError(file, [Problem("not YAML", None, said)]) from None
    with told_as(UsageError):
        for _ in items(data, file):  # before anything below walks them
            pass
    if not isinstance(data, dict):
        raise ConfigError(file, [Problem("", None, "it holds no settings: 'rig init' writes some")])
    assert tree is not None
    try:
        silent = list(_silent_mistakes(tree, ()))
    except RecursionError:  # nesting is bounded: an alias stands in what it names
        raise ConfigError(file, [Problem("", None, "a section in it holds itself")]) from None
    try:
        parsed = model.model_validate(data)
    except ValidationError as error:
        found = [_problem(detail, tree, model) for detail in error.errors()]
        named = {problem.path for problem in silent}
        others = [problem for problem in found if problem.path not in named]
        raise ConfigError(file, silent + others) from None
    if silent:
        raise ConfigError(file, silent)
    with told_as(UsageError):
        vet(data, file)
    return parsed


Place = tuple[str | int, ...]


def _silent_mistakes(node: yaml.Node, place: Place) -> Iterator[Problem]:
    """What YAML would accept without a word: repeated keys, and numbers that are not meant so."""
    line = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key in keys_set_again(node):
            again = _dotted((*place, key.value))
            yield Problem(again, key.start_mark.line + 1, "is set twice: keep one")
        for key, value in node.value:
            yield from _silent_mistakes(value, (*place, str(key.value)))
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _silent_mistakes(value, (*place, index))
    elif isinstance(node, yaml.ScalarNode) and _is_surprising(node):
        value = yaml.safe_load(node.value)
        yield Problem(
            _dotted(place),
            line,
            f"YAML reads {node.value} as {value}: write the number in decimal, or quote the word",
        )


def _is_surprising(node: yaml.ScalarNode) -> bool:
    """A number in base 60 (12:30 is 750), 8 (010 is 8), 16 or 2."""
    if node.tag not in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float"):
        return False
    digits = node.value.lstrip("+-")
    other_base = node.tag.endswith(":int") and len(digits) > 1 and digits[0] == "0"
    return ":" in digits or other_base


def _dotted(place: Place) -> str:
    return ".".join(str(part) for part in place)


def _node(tree: yaml.Node, place: Place) -> tuple[yaml.Node, int] | None:
    """The node at a place and the line of its key; None where the file has none."""
    node, line = tree, tree.start_mark.line + 1
    for part in place:
        if isinstance(node, yaml.MappingNode):
            pairs = [(k, v) for k, v in node.value if str(k.value) == str(part)]
            if not pairs:
                return None
            key, node = pairs[-1]
            line = key.start_mark.line + 1
        elif (
            isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value)
        ):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            return None
    return node, line


def _problem(detail: Any, tree: yaml.Node, root: type[BaseModel]) -> Problem:
    place: Place = tuple(detail["loc"])
    found = _node(tree, place)
    line = found[1] if found else None
    kind = detail["type"]
    if kind == "extra_forbidden":
        known = _known_keys(root, place[:-1])
        near = difflib.get_close_matches(str(place[-1]), known, n=1, cutoff=0.5)
        advice = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(known)}"
        return Problem(_dotted(place), line, f"is unknown; {advice}")
    if kind == "missing":
        return Problem(_dotted(place), None, "is missing")
    message = str(detail["msg"]).removeprefix("Value error, ")
    message = message.replace("Input should be", "should be")
    message = message.replace("a valid integer", "a whole number").replace("a valid ", "a ")
    if not place:  # a check across sections names its own place
        section, colon, rest = message.partition(": ")
        if colon:
            found = _node(tree, (section,))
            return Problem(section, found[1] if found else None, rest)
    written = found[0].value if found and isinstance(found[0], yaml.ScalarNode) else None
    return Problem(_dotted(place), line, message + _made_of(written, detail["input"], kind))


def _made_of(written: str | None, value: Any, kind: str) -> str:
    """What YAML made of the word that was written, where that may surprise."""
    if written is None:
        return ""
    if isinstance(value, bool) and written.lower() not in ("true", "false"):
        return f"; YAML reads {written} as {str(value).lower()}: put the word in quotes"
    if kind == "string_type":
        return f"; put it in quotes: '{written}'" if written else "; it is empty"
    if isinstance(value, str):
        try:
            number = float(value)
        except ValueError:
            return f"; it is '{value}'"
        return f"; YAML reads {written} as a text: write {number:g} without quotes"
    return f"; it is {written}" if written else "; it is empty"


def _known_keys(model: type[BaseModel], place: Place) -> list[str]:
    for part in place:
        annotation = model.model_fields[str(part)].annotation
        # A section that may be absent is a union with None.
        model = next(
            kind
            for kind in (annotation, *get_args(annotation))
            if isinstance(kind, type) and issubclass(kind, BaseModel)
        )
    return list(model.model_fields)


# writing --------------------------------------------------------------------------------------
TEMPLATE = files("rig").joinpath("template.yaml").read_text(encoding="utf-8")


def for_virtual_rig() -> str:
    """The template with the devices of `rig virtual-rig` in it."""
    text = TEMPLATE
    for line, instead in (
        ('  port: "sim://rig"         #', "  port: virtual/board       #"),
        ('  producer: "sim://rig"     #', "  producer: virtual/rig-virtual.cti  #"),
        ("  serial:                   #", "  serial: VC0001            #"),
        ("  line:                     #", "  line: Line0               #"),
        ("  strobe_line:              #", "  strobe_line: Line1        #"),
    ):
        if line not in text:
            raise AssertionError(f"the template has no line '{line}'")
        text = text.replace(line, instead)
    return text
