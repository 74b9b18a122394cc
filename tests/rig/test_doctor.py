"""`rig doctor` says what is missing and what to do about it."""

import json
import os
from datetime import UTC, datetime, timedelta

import pytest

from rig import doctor
from rig.config import TEMPLATE, parse_config
from rig.workspace import Workspace


def states(findings):
    return {finding.name: finding.state for finding in findings}


def test_every_finding_that_is_not_good_has_advice(tmp_path):
    for finding in doctor.examine(Workspace.at(tmp_path)):
        assert finding.state == "good" or finding.advice, finding


def test_a_faulty_rig_yaml_is_bad_and_a_missing_one_is_not(tmp_path):
    assert states(doctor.examine(Workspace.at(tmp_path)))["rig.yaml"] == "note"
    (tmp_path / "rig.yaml").write_text("format: rig/1\nbord: {}\n", encoding="utf-8")
    assert states(doctor.examine(Workspace.at(tmp_path)))["rig.yaml"] == "bad"


def test_names_a_missing_producer(tmp_path, monkeypatch):
    monkeypatch.setenv("GENICAM_GENTL64_PATH", str(tmp_path))
    config = parse_config(TEMPLATE.replace('producer: "sim://rig"', "producer: gone/maker.cti"))
    found = list(doctor.check_producers(config))
    assert [finding.state for finding in found] == ["bad", "bad"]
    (tmp_path / "maker.cti").touch()
    assert next(reversed(list(doctor.check_producers(None)))).state == "good"


@pytest.mark.skipif(os.name != "posix", reason="names of ports differ")
def test_names_a_missing_board(tmp_path):
    config = parse_config(TEMPLATE.replace('port: "sim://rig"', f"port: /dev{tmp_path}/tty"))
    assert "is not there" in [f for f in doctor.check_serial_ports(config)][-1].message


def test_looks_for_the_board_by_its_usb_identity():
    config = parse_config(TEMPLATE.replace('"sim://rig"', '"2341:0043:7523"', 1))
    found = list(doctor.check_serial_ports(config))[-1]
    assert (found.name, found.state) == ("LED board", "bad")
    assert "2341:0043:7523 is plugged in" in found.message


def test_an_old_calibration_is_named(tmp_path):
    folder = tmp_path / "calibration"
    folder.mkdir()
    made = datetime.now(UTC) - timedelta(days=200)
    (folder / "lights.json").write_text(
        json.dumps({"provenance": {"date": made.isoformat()}}), encoding="utf-8"
    )
    found = states(doctor.check_calibration(Workspace.at(tmp_path), None))
    assert found == {"camera.json": "note", "lights.json": "bad"}
