"""`rig doctor` says what is missing and what to do about it."""

import json
import os
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from calib.light_files import write_lights
from capture.bump import Bump
from rig import doctor, session
from rig.cli import app
from rig.config import TEMPLATE, parse_config
from rig.doctor_devices import check_devices
from rig.simulate import dome
from rig.workspace import Workspace


def states(findings):
    return {finding.name: finding.state for finding in findings}


def test_every_finding_that_is_not_good_has_advice(tmp_path):
    for finding in doctor.examine(Workspace.at(tmp_path)):
        assert finding.state == "good" or finding.advice, finding


def test_a_faulty_rig_yaml_is_bad_and_a_missing_one_is_not(tmp_path):
    assert states(doctor.examine(Workspace.at(tmp_path)))["rig.yaml"] == "note"
    (tmp_path / "rig.yaml").write_text("format: rig/1\nbord: {}\n", encoding="utf-8")
    findings = doctor.examine(Workspace.at(tmp_path))
    assert states(findings)["rig.yaml"] == "bad"
    # not rig init, which would refuse
    assert doctor.next_step(findings, None).startswith("correct rig.yaml where it says")


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


REAL = TEMPLATE.replace('"sim://rig"', "/nowhere/maker.cti").replace("/nowhere", "/dev", 1)


def test_says_what_a_measurement_still_needs(tmp_path):
    (tmp_path / "rig.yaml").write_text(REAL, encoding="utf-8")
    done = CliRunner().invoke(app, ["doctor", "--workspace", str(tmp_path)])
    assert "stands in the way" not in done.output
    (tmp_path / "rig.yaml").write_text(TEMPLATE, encoding="utf-8")
    done = CliRunner().invoke(app, ["doctor", "--workspace", str(tmp_path)])
    assert done.output.rstrip().endswith("Next: rig run --part A12 --simulate")


def test_a_calibration_that_cannot_be_read_or_lacks_leds_is_bad(tmp_path):
    folder = tmp_path / "calibration"
    folder.mkdir()
    (folder / "camera.json").write_text("{}", encoding="utf-8")
    lights = dome(24)[0]
    write_lights(lights, folder / "lights.json")
    found = list(doctor.check_calibration(Workspace.at(tmp_path), parse_config(TEMPLATE)))
    assert [finding.state for finding in found] == ["bad", "bad"]
    assert "LED 25" in found[1].message


def test_opens_the_devices_when_asked(tmp_path, monkeypatch):
    monkeypatch.setattr("capture.world._worlds", {})
    monkeypatch.setattr(session, "default_scene", lambda *_: Bump((48, 64), 24))
    text = TEMPLATE.replace("Mono12      #", "Mono8      #")
    found = list(check_devices(parse_config(text.replace("leds: 96 ", "leds: 24 "))))
    assert [finding.state for finding in found] == ["good", "good"]
    assert "Mono8" in found[1].message
    assert "24 LEDs" in found[0].message
    found = list(check_devices(parse_config(text.replace("leds: 96 ", "leds: 30 "))))
    assert [finding.state for finding in found] == ["bad"]


def test_devices_that_do_not_open_are_a_finding():
    (found,) = check_devices(parse_config(REAL))
    assert found.state == "bad"
