"""Acceptance: artefacts of known shape give the errors that were put into them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from surfaces import surface_of
from typer.testing import CliRunner

from reconstruct.export.results import write_results
from rig.cli import app
from rig.config import ConfigError
from rig.floor.accept.artefacts import read_artefacts
from rig.floor.accept.errors import zone
from rig.floor.scale import certificate_in_force, scale_sigma

FILE = """
format: rig-artefacts/1
responsible: Ada
environment: {temperature_c: 20.1}
mpe: {probing_form_mm: 0.02, probing_size_mm: 0.2, flatness_mm: 0.02, step_mm: 0.02,
      length_mm: 0.5}
artefacts:
  - {name: ball, kind: sphere, serial: B1, region: [0, 0, 20], form_mm: 0.0002,
     certificate: &lab {number: K-1, laboratory: a lab, date: 2026-01-31},
     values: [{name: diameter, value_mm: 80, expanded_mm: 0.002}]}
  - {name: glass, kind: flat, region: [-40, -40, 40, 40], certificate: *lab}
  - {name: gauge, kind: steps, certificate: *lab, values: [
     {name: one, value_mm: 1.0, expanded_mm: 0.001, region: [10, -30, 40, 30],
      datum: [-40, -30, -10, 30]}]}
  - {name: bars, kind: lengths, certificate: *lab, values: [
     {name: bar, value_mm: 40, expanded_mm: 0.002, line: [-35, 0, 35, 0]}]}
"""

SHAPES = {
    "ball": lambda x, y: np.sqrt(np.maximum(40.0**2 - x**2 - y**2, 1.0)) - 40,
    "glass": lambda x, y: 0.003 * x,
    "gauge": lambda x, y: np.where(x > 0, 1.0, 0.0),
    "bars": lambda x, y: np.where(np.abs(x) < 20, 1.0, 0.0),
}


def laid(folder: Path, **other) -> list[str]:
    """Results of every artefact, and how they are typed."""
    typed = []
    for name, shape in (SHAPES | other).items():
        place = folder / f"result-{name}"
        write_results(surface_of(shape, sigma_mm=0.0005), place)
        typed += ["--result", f"{name}={place}"]
    return typed


def accept(workspace, tmp_path: Path, *typed: str, text: str = FILE):
    path = tmp_path / "artefacts.yaml"
    path.write_text(text, encoding="utf-8")
    arguments = ["accept", str(path), *typed, "--json", "--workspace", str(workspace.folder)]
    return CliRunner().invoke(app, arguments)


def test_a_true_rig_is_accepted_and_certified(workspace, tmp_path):
    typed = laid(tmp_path)
    said = accept(workspace, tmp_path, *typed)
    assert said.exit_code == 0, (said.exception, said.stdout)
    found = json.loads(said.stdout)
    tests = {test["name"]: test for test in found["tests"]}
    assert tests["diameter"]["error"] == pytest.approx(0, abs=0.05)
    assert tests["one"]["error"] == pytest.approx(0, abs=0.002)
    assert tests["bar"]["error"] == pytest.approx(0, abs=0.35)
    assert {test["verdict"] for test in found["tests"]} == {"good"}
    assert found["traceability"][0]["date"] == "2026-01-31"
    folder = workspace.folder / "certificates" / certificate_in_force(workspace)
    assert (folder / "certificate.pdf").read_bytes().startswith(b"%PDF")
    page = (folder / "certificate.html").read_text(encoding="utf-8")
    assert "GOOD" in page
    assert "K-1" in page
    assert 0 < scale_sigma(workspace) < 0.02
    assert accept(workspace, tmp_path, *typed).exit_code == 0
    newest = workspace.folder / "certificates" / certificate_in_force(workspace)
    assert newest != folder
    assert "Errors over 2 acceptances" in (newest / "certificate.html").read_text("utf-8")


def test_a_step_that_comes_out_wrong_is_refused(workspace, tmp_path):
    typed = laid(tmp_path, gauge=lambda x, y: np.where(x > 0, 1.08, 0.0))
    said = accept(workspace, tmp_path, *typed)
    assert said.exit_code == 1
    tests = {test["name"]: test for test in json.loads(said.stdout)["tests"]}
    assert tests["one"]["error"] == pytest.approx(0.08, abs=0.003)
    assert tests["one"]["verdict"] == "out of tolerance"


def test_without_permissible_errors_they_are_stated(workspace, tmp_path):
    text = FILE.replace(FILE[FILE.index("mpe:") : FILE.index("artefacts:\n")], "")
    said = accept(workspace, tmp_path, *laid(tmp_path), text=text)
    found = json.loads(said.stdout)
    assert {test["verdict"] for test in found["tests"]} == {"stated"}
    assert found["stated_mpe"]["E_Uni"] > 0


def test_the_zone_holds_ninety_five_percent():
    assert zone(np.arange(101.0)) == pytest.approx(95)
    assert zone(np.r_[np.zeros(99), 50.0]) == 0.0


@pytest.mark.parametrize(
    ("wrong", "right", "sentence"),
    [
        ("kind: flat, region: [-40, -40, 40, 40],", "kind: flat,", "needs a region"),
        (", line: [-35, 0, 35, 0]", "", "a length needs a line"),
        ("datum: [-40, -30, -10, 30]", "unit: mm", "Extra inputs"),
    ],
)
def test_mistakes_in_the_file_are_named(tmp_path, wrong, right, sentence):
    path = tmp_path / "artefacts.yaml"
    path.write_text(FILE.replace(wrong, right), encoding="utf-8")
    with pytest.raises(ConfigError, match=sentence):
        read_artefacts(path)
