"""Inspection plans: what is measured, how it is decided, and what their mistakes say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from surfaces import bracket, surface_of

from reconstruct.errors import ReconstructError
from reconstruct.metrology.grid import HeightGrid, grid_of
from reconstruct.repeats import Repeats
from rig.config import ConfigError
from rig.exits import UsageError
from rig.floor.plans.decide import decide
from rig.floor.plans.judge import judge_by
from rig.floor.plans.model import parse_plan, read_plan
from rig.floor.plans.propose import propose

PLAN = """
format: rig-plan/1
type: bracket
datums:
  A: [-45, -15, 0, 10]
features:
  - {name: step, kind: step, region: [12, -40, 45, 40], datum: A, nominal: 1.2, tolerance: 0.05}
  - {name: along, kind: step, line: [-20, 0, 30, 0], nominal: 1.2, tolerance: [-0.05, 0.05]}
  - {name: parallel, kind: angle, region: [12, -40, 45, 40], datum: A, upper: 0.2}
  - {name: flat, kind: flatness, region: [12, -40, 45, 40], upper: 0.05}
  - {name: texture, kind: roughness, parameter: Sa, region: [12, -40, 45, 40], upper: 5}
  - {name: bore, kind: bore, centre: [-25, 20], search_mm: 8, upper: 1.5}
  - {name: bore diameter, kind: bore, centre: [-25, 20], search_mm: 8, figure: diameter,
     nominal: 8, tolerance: 1.2}
"""


def no_reference(name: str, step_mm: float) -> HeightGrid:
    raise AssertionError(f"no plan here needs {name}")


def judged(height, text: str = PLAN, **options):
    return judge_by(parse_plan(text), surface_of(height, **options), no_reference)


def row(found, name: str) -> dict:
    return next(feature for feature in found.features if feature["name"] == name)


def test_a_good_part_is_good_in_every_feature():
    found = judged(bracket())
    assert (found.verdict, found.exit_code) == ("good", 0), found.features
    assert row(found, "step")["value"] == pytest.approx(1.2, abs=0.003)
    assert row(found, "along")["value"] == pytest.approx(1.2, abs=0.003)
    assert row(found, "bore diameter")["value"] == pytest.approx(8, abs=0.6)
    assert row(found, "step")["sigma"] < 0.003
    assert found.plan["hash"] == parse_plan(PLAN).hash
    corners = np.array(row(found, "step")["place"])
    assert corners[:, 0].min() == pytest.approx(12, abs=0.1)


def test_repeatability_is_what_a_figure_scatters_by_when_the_part_is_measured_again():
    """The surface errs by 0.02 mm, mostly alike each time: a bend by 0.01 mm is new each time."""
    first = surface_of(bracket(), size=96, sigma_mm=0.02)
    x = first.points_mm()[..., 0]
    bends = np.random.default_rng(4).normal(0, 0.01 / 50**2, 8)
    changes = (bends[:, None, None] * x**2).astype(np.float32)
    told = replace(first, repeats=Repeats(changes))
    again = [replace(first, height_mm=first.height_mm + change) for change in changes]
    text = PLAN.replace("  A: [-45, -15, 0, 10]", "  A: [-45, -40, 0, 0]")

    def rows(surface):
        return judge_by(parse_plan(text), surface, no_reference).features

    seen = [rows(surface) for surface in again]
    for number, feature in enumerate(rows(told)):
        if feature["kind"] == "bore":
            assert feature["repeatability"] > 0.01  # its rim lies elsewhere among the pixels
            continue
        if feature["name"] == "along":
            continue  # parallel lines do not feel a bend about their edge
        scatter = np.std([other[number]["value"] for other in seen], ddof=1)
        assert feature["repeatability"] == pytest.approx(scatter, rel=0.1, abs=5e-4), feature
        assert feature["sigma"] >= feature["repeatability"]
        if feature["name"] in ("step", "parallel"):
            assert scatter > 3e-3
    assert all(feature["repeatability"] is None for feature in rows(first)[:5])


def test_a_step_that_is_too_high_is_found_and_the_rest_stays_good():
    found = judged(bracket(step_mm=1.32))
    assert (found.verdict, found.exit_code) == ("out of tolerance", 1)
    bad = {feature["name"] for feature in found.features if feature["verdict"] != "good"}
    assert bad == {"step", "along"}


def test_a_tilt_of_the_whole_part_is_no_step():
    found = judged(bracket(tilt=0.01))
    assert row(found, "step")["value"] == pytest.approx(1.2, abs=0.01)
    assert row(found, "parallel")["value"] == pytest.approx(0, abs=0.05)


def test_what_the_uncertainty_leaves_open_is_in_between():
    text = (
        "{format: rig-plan/1, type: b, datums: {A: [-45, -15, 0, 10]}, features: [{name: step, "
        "kind: step, region: [12, -40, 45, 40], datum: A, upper: 1.2}]}"
    )
    found = judged(bracket(), text, sigma_mm=0.02)
    assert row(found, "step")["verdict"] == "in between"
    assert (found.verdict, found.exit_code) == ("in between", 1)
    accepting = text.replace("datums:", "rule: {in_between: accept}, datums:")
    assert judged(bracket(), accepting, sigma_mm=0.02).exit_code == 0


def test_what_was_not_measured_is_never_good():
    surface = surface_of(bracket())
    hidden = surface.points_mm()[..., 1] > 0
    surface.height_mm[hidden] = np.nan
    found = judge_by(parse_plan(PLAN), surface, no_reference)
    assert (found.verdict, found.exit_code) == ("not sufficient", 4)
    assert "could be measured" in row(found, "step")["reason"]
    assert row(found, "bore")["value"] is None


def test_dents_are_counted_where_the_plan_looks():
    text = PLAN + (
        "  - {name: dents, kind: defects, what: dent, region: [-45, -45, 2, 10], upper: 0}\n"
    )
    assert row(judged(bracket(), text), "dents")["verdict"] == "good"
    found = row(judged(bracket(dent_um=60), text), "dents")
    assert (found["value"], found["verdict"]) == (1, "out of tolerance")
    dent = found["defects"][0]
    assert (dent["x_mm"], dent["y_mm"]) == (pytest.approx(-20, abs=1), pytest.approx(-20, abs=1))
    assert dent["depth_um"] == pytest.approx(60, rel=0.25)


def test_deviations_count_from_a_reference_however_the_part_lies():
    text = (
        "{format: rig-plan/1, type: b, features: [{name: form, kind: deviation, "
        "reference: golden, share: 95, upper: 0.02}]}"
    )
    golden = grid_of(surface_of(bracket(), size=96, seed=7))
    tilted = surface_of(bracket(tilt=0.002), size=96)
    found = judge_by(parse_plan(text), tilted, lambda n, s: golden)
    assert found.verdict == "good"
    assert found.deviation_map is not None
    assert found.deviation["rms_mm"] < 0.2


@given(
    value=st.floats(-10, 10), sigma=st.floats(0, 1), low=st.floats(-5, 0), width=st.floats(0.1, 5)
)
def test_the_decision_keeps_the_guard_band(value, sigma, low, width):
    high = low + width
    word = decide(value, sigma, low, high)
    guard = 1.6448536269514722 * sigma
    if word == "good":
        assert low + guard - 1e-9 <= value <= high - guard + 1e-9
    elif word == "out of tolerance":
        assert value <= low - guard + 1e-9 or value >= high + guard - 1e-9
    else:
        assert sigma > 0
        assert min(abs(value - low), abs(value - high)) <= guard + 1e-9
    assert decide(value, 0.0, low, high) == ("good" if low <= value <= high else "out of tolerance")


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ("nominal: 1.2, tolerance: 0.05}", "no tolerance"),
        ("datum: A, nominal", "has datum Z; the plan has A"),
        ("tolerance: 0.05}", "did you mean 'tolerance'"),
        ("kind: flatness", "kind is one of step"),
        ("name: flat,", "two features are called 'step'"),
    ],
)
def test_mistakes_are_named(wrong, sentence):
    right = {
        "no tolerance": "nominal: 1.2}",
        "has datum Z; the plan has A": "datum: Z, nominal",
        "did you mean 'tolerance'": "tolerence: 0.05}",
        "kind is one of step": "kind: flatnes",
        "two features are called 'step'": "name: step,",
    }[sentence]
    with pytest.raises(ConfigError) as refused:
        parse_plan(PLAN.replace(wrong, right, 1))
    assert sentence in str(refused.value)


@pytest.mark.parametrize(
    ("features", "sentence"),
    [("[{name: f, kind: flatnes, upper: 1}]", "kind is one of step"), ("[]", "at least one")],
)
def test_one_mistake_is_named_once(features, sentence):
    with pytest.raises(ConfigError, match="plan has 1 mistake:") as refused:
        parse_plan(f"{{format: rig-plan/1, type: b, features: {features}}}")
    assert sentence in str(refused.value)


def test_a_step_file_is_refused_with_advice():
    text = (
        "{format: rig-plan/1, type: b, features: [{name: f, kind: deviation, reference: a.stp, "
        "upper: 1}]}"
    )
    with pytest.raises(ConfigError, match=r"save it as \.stl"):
        parse_plan(text)


def test_the_hash_is_of_the_content():
    assert parse_plan(PLAN).hash == parse_plan("# a remark\n" + PLAN).hash
    assert parse_plan(PLAN).hash != parse_plan(PLAN.replace("upper: 5", "upper: 6")).hash


def test_a_plan_that_is_not_there_says_what_is(workspace):
    (workspace.folder / "plans").mkdir()
    (workspace.folder / "plans" / "bracket.yaml").write_text(PLAN, encoding="utf-8")
    assert read_plan(workspace, "bracket").plan.type == "bracket"
    with pytest.raises(UsageError, match="types with one: bracket"):
        read_plan(workspace, "cover")


def test_a_proposal_holds_the_step_and_judges_its_own_part_good():
    surface = surface_of(bracket())
    text = propose(grid_of(surface), "bracket", "golden")
    kept = parse_plan(text)
    step = next(feature for feature in kept.plan.features if feature.kind == "step")
    assert abs(step.nominal) == pytest.approx(1.2, abs=0.01)
    found = judge_by(kept, surface, lambda n, s: grid_of(surface))
    bad = {f["name"]: f for f in found.features if f["verdict"] != "good"}
    assert set(bad) <= {"defects"}, bad


def test_a_place_off_the_part_is_a_reason():
    text = PLAN.replace("region: [12, -40, 45, 40], upper: 0.05", "region: [200, 0, 210, 5], "
                        "upper: 0.05")  # fmt: skip
    found = row(judged(bracket(), text), "flat")
    assert found["verdict"] == "not sufficient"
    assert "points lie there" in found["reason"]
    assert issubclass(ReconstructError, Exception)


def test_a_limit_that_is_set_twice_is_refused() -> None:
    twice = PLAN.replace("upper: 0.05}", "upper: 0.05, upper: 9}")
    with pytest.raises((ConfigError, UsageError), match="'upper' is set twice"):
        parse_plan(twice, "bracket.yaml")
