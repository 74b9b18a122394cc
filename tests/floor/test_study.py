"""Studies and charts against worked examples that were published."""

from __future__ import annotations

import json

import numpy as np
import pytest
from floor_bench import lay_result
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from rig.cli import app
from rig.exits import UsageError
from rig.floor.store.store import open_store
from rig.floor.study.msa import gauge_rr, linearity, repeatability
from rig.floor.study.spc import individuals, means_and_ranges, western_electric

# AIAG, Measurement Systems Analysis, 4th edition (2010), chapter III, section B: ten parts, three
# appraisers (A, B, C), three trials each.
AIAG = np.array([
    [[0.29, -0.56, 1.34, 0.47, -0.80, 0.02, 0.59, -0.31, 2.26, -1.36],
     [0.41, -0.68, 1.17, 0.50, -0.92, -0.11, 0.75, -0.20, 1.99, -1.25],
     [0.64, -0.58, 1.27, 0.64, -0.84, -0.21, 0.66, -0.17, 2.01, -1.31]],
    [[0.08, -0.47, 1.19, 0.01, -0.56, -0.20, 0.47, -0.63, 1.80, -1.68],
     [0.25, -1.22, 0.94, 1.03, -1.20, 0.22, 0.55, 0.08, 2.12, -1.62],
     [0.07, -0.68, 1.34, 0.20, -1.28, 0.06, 0.83, -0.34, 2.19, -1.50]],
    [[0.04, -1.38, 0.88, 0.14, -1.46, -0.29, 0.02, -0.46, 1.77, -1.49],
     [-0.11, -1.13, 1.09, 0.20, -1.07, -0.67, 0.01, -0.56, 1.45, -1.77],
     [-0.15, -0.96, 0.67, 0.11, -1.45, -0.49, 0.21, -0.49, 1.87, -2.16]],
]).transpose(2, 0, 1)  # fmt: skip

# The same, section B, linearity: five parts, twelve trials each.
LINEARITY = {
    2.0: [2.7, 2.5, 2.4, 2.5, 2.7, 2.3, 2.5, 2.5, 2.4, 2.4, 2.6, 2.4],
    4.0: [5.1, 3.9, 4.2, 5.0, 3.8, 3.9, 3.9, 3.9, 3.9, 4.0, 4.1, 3.8],
    6.0: [5.8, 5.7, 5.9, 5.9, 6.0, 6.1, 6.0, 6.1, 6.4, 6.3, 6.0, 6.1],
    8.0: [7.6, 7.7, 7.8, 7.7, 7.8, 7.8, 7.8, 7.7, 7.8, 7.5, 7.6, 7.7],
    10.0: [9.1, 9.3, 9.5, 9.3, 9.4, 9.5, 9.5, 9.5, 9.6, 9.2, 9.3, 9.4],
}


def test_gauge_rr_reproduces_the_published_analysis_of_variance():
    """Tables III-B 7 and 8: every figure printed there, to its last digit."""
    found = gauge_rr(AIAG)
    by_name = {source.name: source for source in found.table}
    assert [by_name[n].degrees for n in ("operators", "parts", "parts × operators", "equipment",
                                         "total")] == [2, 9, 18, 60, 89]  # fmt: skip
    squares = {"operators": "3.1673", "parts": "88.3619", "parts × operators": "0.3590",
               "equipment": "2.7589", "total": "94.6471"}  # fmt: skip
    for name, printed in squares.items():
        assert f"{by_name[name].squares:.4f}" == printed, name
    means = {"operators": "1.58363", "parts": "9.81799", "parts × operators": "0.01994",
             "equipment": "0.04598"}  # fmt: skip
    for name, printed in means.items():
        assert f"{by_name[name].mean_square:.5f}" == printed, name
    assert f"{by_name['parts × operators'].f:.3f}" == "0.434"
    # The table compares operators and parts with the equipment alone; we with the pooled error.
    error = by_name["equipment"].mean_square
    assert f"{by_name['operators'].mean_square / error:.2f}" == "34.44"
    assert f"{by_name['parts'].mean_square / error:.2f}" == "213.52"
    assert f"{by_name['operators'].f:.3f}" == "39.617"
    assert f"{by_name['parts'].f:.3f}" == "245.614"
    assert found.pooled
    assert f"{found.ev:.6f}" == "0.199933"
    assert f"{found.av:.6f}" == "0.226838"
    assert f"{found.grr:.5f}" == "0.30237"
    assert f"{found.pv:.6f}" == "1.042327"
    assert [f"{found.percent[n]:.1f}" for n in ("ev", "av", "grr", "pv")] == [
        "18.4", "20.9", "27.9", "96.0",
    ]  # fmt: skip
    assert int(found.ndc) == 4


def test_linearity_reproduces_the_published_line():
    references = np.repeat(list(LINEARITY), 12)
    found = linearity(references, np.concatenate(list(LINEARITY.values())))
    assert f"{found.slope:.6f}" == "-0.131667"
    assert f"{found.intercept:.6f}" == "0.736667"
    assert [f"{bias:.6f}" for bias in found.bias] == [
        "0.491667", "0.125000", "0.025000", "-0.291667", "-0.616667",
    ]  # fmt: skip
    assert f"{found.residual_sd:.5f}" == "0.23954"
    assert f"{100 * found.r_squared:.1f}" == "71.4"
    assert f"{found.t_slope:.3f}" == "-12.043"
    assert f"{found.t_intercept:.3f}" == "10.158"
    assert f"{found.t_limit:.5f}" == "2.00172"
    assert not found.acceptable


def test_an_interaction_that_is_no_chance_is_kept():
    rng = np.random.default_rng(3)
    values = AIAG + 0.8 * rng.standard_normal((10, 3, 1))
    found = gauge_rr(values, tolerance=8.0)
    assert not found.pooled
    assert found.interaction == pytest.approx(0.8, rel=0.4)
    assert found.grr == pytest.approx(
        np.sqrt(found.ev**2 + found.av**2 + found.interaction**2), rel=1e-12
    )
    assert found.percent_of_tolerance["grr"] == pytest.approx(600 * found.grr / 8.0)


def test_intervals_hold_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(0)
    parts = rng.normal(0, 2, (12, 1, 1))
    inside = 0
    for _ in range(300):
        operators = rng.normal(0, 0.5, (1, 8, 1))
        found = gauge_rr(parts + operators + rng.normal(0, 1, (12, 8, 3)))
        inside += found.intervals["ev"].low <= 1.0 <= found.intervals["ev"].high
    assert 0.91 < inside / 300 < 0.985


def test_repeatability_by_hand():
    """Seven values with mean 10 and s = √(28/6): every figure follows by hand."""
    found = repeatability(np.arange(7.0, 14.0), tolerance=60.0, reference=9.0)
    s = np.sqrt(28 / 6)
    assert found.sd.value == pytest.approx(s)
    assert found.bias == pytest.approx(1.0)
    assert found.cg == pytest.approx(12 / (6 * s))
    assert found.cgk == pytest.approx((6 - 1) / (3 * s))
    assert found.sd.low < s < found.sd.high


@pytest.mark.parametrize(
    "call",
    [
        lambda: gauge_rr(np.zeros((1, 3, 3))),
        lambda: gauge_rr(np.full((3, 3, 3), np.nan)),
        lambda: repeatability(np.arange(4.0)),
        lambda: linearity(np.array([1.0, 1, 2, 2]), np.array([1.0, 1, 2, 2])),
        lambda: individuals(np.array([1.0, 2.0])),
        lambda: means_and_ranges(np.arange(30.0), 11),
    ],
)
def test_too_little_is_refused_in_a_sentence(call):
    with pytest.raises(UsageError, match=r"need|not charted"):
        call()


def test_individuals_reproduce_a_published_chart():
    """NIST/SEMATECH e-Handbook 6.3.2.2, flow rate: mean 50.81, moving range 1.8778."""
    x = [49.6, 47.6, 49.9, 51.3, 47.8, 51.2, 52.6, 52.4, 53.6, 52.1]
    upper, lower = individuals(np.array(x))
    assert f"{upper.centre:.2f}" == "50.81"
    assert f"{lower.centre:.4f}" == "1.8778"
    assert f"{upper.upper:.4f}" == "55.8041"
    assert f"{upper.lower:.4f}" == "45.8159"
    assert not upper.signals


@pytest.mark.parametrize(
    ("z", "signal"),
    [
        ([0.5, -0.5, 3.2], (2, 1)),
        ([0, 2.2, 0.1, 2.3], (3, 2)),
        ([1.2, 1.3, 0.2, 1.4, 1.1], (4, 3)),
        ([0.2] * 8, (7, 4)),
    ],
)
def test_each_zone_rule_speaks_at_the_point_that_completes_it(z, signal):
    found = western_electric(np.array(z), 0.0, 1.0)
    assert [(s.index, s.rule) for s in found] == [signal]


@given(st.lists(st.floats(-0.99, 0.99), min_size=1, max_size=40))
def test_a_process_that_swings_within_a_sigma_gives_no_signal(z):
    swinging = [abs(value) * (-1) ** k for k, value in enumerate(z)]
    assert western_electric(np.array(swinging), 0.0, 1.0) == []


def test_means_and_ranges_of_subgroups():
    rng = np.random.default_rng(2)
    x = rng.normal(10, 1, 500)
    means, ranges = means_and_ranges(x, 5)
    assert len(means.values) == 100
    assert (means.upper - means.centre) == pytest.approx(0.577 * ranges.centre)
    assert ranges.centre == pytest.approx(2.326, rel=0.1)
    x[100:105] += 4
    assert any(s.index == 20 for s in means_and_ranges(x, 5)[0].signals)


# the command ------------------------------------------------------------------------------------
def laid(workspace, values: np.ndarray, repeatability: float | None = 0.1) -> None:
    """Runs in the store: parts × operators × trials of a feature 'step'."""
    minute = 0
    with open_store(workspace) as store:
        for p, o, t in np.ndindex(values.shape):
            feature = {
                "name": "step", "kind": "step", "unit": "mm", "value": float(values[p, o, t]),
                "sigma": 0.2, "repeatability": repeatability, "nominal": 0.0, "lower": -4.0,
                "upper": 4.0, "verdict": "good", "reason": "",
            }  # fmt: skip
            result = lay_result(
                workspace.folder, f"P{p:02d}", minute, features=[feature], part_type="plate",
                operator="ABC"[o], batch="study",
            )  # fmt: skip
            store.put(result)
            minute += 1


def rig(workspace, *arguments: str):
    return CliRunner().invoke(app, ["study", *arguments, "--workspace", str(workspace.folder)])


def test_a_study_of_runs_that_exist(workspace, tmp_path):
    laid(workspace, AIAG)
    out = tmp_path / "study.html"
    wanted = ("--type", "plate", "--feature", "step", "--batch", "study")
    said = rig(workspace, "gauge-rr", *wanted, "--out", str(out))
    assert said.exit_code == 0, said.exception
    assert "27.9 % of TV" in said.stdout
    assert "0.1 mm, 0.50 of the observed scatter" in said.stdout
    assert "0.2 mm, with what all trials have in common" in said.stdout
    assert "<svg" in out.read_text(encoding="utf-8")
    found = json.loads(rig(workspace, "gauge-rr", *wanted, "--json").stdout)
    assert found["percent_of_tolerance"]["grr"] == pytest.approx(600 * 0.302372 / 8, rel=1e-5)
    stated = found["stated"]
    assert stated["repeatability_over_observed"] == pytest.approx(0.1 / found["ev"])
    refused = rig(workspace, "repeatability", *wanted)
    assert "these are 10 parts" in str(refused.exception)
    known = ",".join(f"P{p:02d}={AIAG[p].mean():.6f}" for p in range(10))
    assert "linear and unbiased" in rig(workspace, "linearity", *wanted, "--known", known).stdout


def test_a_whole_sigma_is_not_held_against_the_scatter(workspace):
    """A method that does not tell its repeatability states what all trials share as well."""
    laid(workspace, AIAG, repeatability=None)
    said = rig(workspace, "gauge-rr", "--type", "plate", "--feature", "step").stdout
    assert "only a study with refine" in said
    assert "of the observed scatter" not in said


def test_a_gap_in_a_study_is_named(workspace):
    laid(workspace, AIAG[:3])
    with open_store(workspace) as store:
        store.put(lay_result(workspace.folder, "P77", 999, part_type="plate", operator="A",
                             features=[{"name": "step", "value": 1.0}]))  # fmt: skip
    refused = rig(workspace, "gauge-rr", "--type", "plate", "--feature", "step")
    assert "P77 by B" in str(refused.exception)
    nothing = rig(workspace, "gauge-rr", "--type", "plate", "--feature", "no")
    assert "it has: step" in str(nothing.exception)


def test_a_guided_study_that_is_too_small_measures_nothing(bench):
    """All parts were laid and measured; then came the refusal."""
    refused = rig(bench, "gauge-rr", "--type", "plate", "--feature", "flat", "--parts",
                  "flat-1,dented-1", "--operators", "Ada", "--trials", "2", "--yes")  # fmt: skip
    assert "needs 2 parts, 2 operators and 2 trials or more, not 2, 1 and 2" in str(
        refused.exception
    )
    assert not (bench.folder / "parts").exists()


def test_a_guided_study_measures_what_is_missing(bench):
    wanted = ("gauge-rr", "--type", "plate", "--feature", "flat", "--parts", "flat-1,dented-1",
              "--operators", "Ada,Grace", "--trials", "2",
              "--method", "lambert", "--yes")  # fmt: skip
    said = rig(bench, *wanted)
    assert said.exit_code == 0, (said.exception, said.stdout)
    assert "8 measurements are complete" in said.stdout
    assert "distinct categories" in said.stdout
    with open_store(bench) as store:
        assert store.history().total == 8
    assert rig(bench, *wanted).exit_code == 0
    with open_store(bench) as store:
        assert store.history().total == 8, "a complete study is not measured again"
