"""Feature names by vendor: on real description files, and on small ones of each trap."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from capture.camera.features import pick, read_description, resolve, resolve_all
from capture.camera.genicam import load_description
from capture.errors import DataError

DESCRIPTIONS = Path(__file__).resolve().parents[2].parent / "shared" / "genicam_xml"

# What counts as an exposure, gain or trigger feature, said without the tables under test: a value
# in a category (so: meant for people) whose name says so. Not meant: limits and tunings of
# automatic functions, events, chunk copies of a value, and the triggers of counters and timers.
_NOT = (
    r"Auto|Event|Chunk|Min|Max|Limit|Selector$|Overlap|Reset|Compensation|Active|Timestamp|HDR|"
    r"Sequencer|Counter|Timer|Delay|Debounc|PLC|Grb|Ffc|PWL|Persist|Increment|Recovery|Base|WDR|"
    r"Temp|Interval|Dummy|Plc|Light|Cxp|Count|EndOf|StartOf|Gamma|ALC|Restore|Adjust|Conversion|"
    r"Readout|Mode$|_MODE$|DDE|Sync|Preamp|AGC"
)
_FAMILIES = {
    "exposure": r"^Exposure(Time|Value)|Shutter(Time|Speed|VALUE)?$|^ExtendedExposure$",
    "gain": r"Gain(Abs|Raw|Value|Factor)?$",
    "trigger_source": r"^TriggerSource$|^CycleTriggerSource$",
    "trigger_activation": r"^TriggerActivation$|Trigger_?Polarity",
    "trigger_software": r"^TriggerSoftware$|^SoftwareTrigger$",
}


def _features(nodes: object) -> set[str]:
    return {
        child.node.name
        for node in nodes.nodes  # type: ignore[attr-defined]
        if type(node).__name__ == "ICategory"
        for child in node.features
        if type(child).__name__ != "ICategory"
    }


def _files() -> list[Path]:
    return sorted(DESCRIPTIONS.glob("*.xml.gz"))


@pytest.mark.skipif(not DESCRIPTIONS.is_dir(), reason="no folder of camera descriptions")
def test_every_description_with_a_feature_resolves() -> None:
    counts = dict.fromkeys((*_FAMILIES, "trigger_mode"), 0)
    refused, unresolved = [], []
    for path in _files():
        text = read_description(path)
        try:
            nodes = load_description(text, path.name)
        except DataError:
            refused.append(path.name)
            # Said of a file that GenApi refuses: it must hold none of these features at all.
            assert not re.search(r'Name="(ExposureTime|Gain|Trigger)\w*"', text), path.name
            continue
        names = {n for n in _features(nodes) if not re.search(_NOT, n, re.I)}
        for setting, pattern in _FAMILIES.items():
            offered = [name for name in names if re.search(pattern, name, re.I)]
            found = resolve(nodes, setting)
            counts[setting] += found is not None
            if offered and found is None:
                unresolved.append((path.name, setting, offered))
        has_mode = bool({"TriggerMode", "PSL_TRIGGER_MODE"} & _features(nodes))
        found = resolve(nodes, "trigger_mode")
        counts["trigger_mode"] += found is not None
        if has_mode and found is None:
            unresolved.append((path.name, "trigger_mode", []))
    print(
        f"{len(_files())} files, {len(refused)} refused by GenApi ({refused}), resolved: {counts}"
    )
    assert not unresolved
    assert len(refused) <= 1
    assert min(counts["exposure"], counts["gain"], counts["trigger_mode"]) > 40


@pytest.mark.skipif(not DESCRIPTIONS.is_dir(), reason="no folder of camera descriptions")
def test_a_category_called_gain_is_not_the_gain() -> None:
    for path in _files():
        if "AVT_GC1350C" in path.name:
            found = resolve(load_description(read_description(path), path.name), "gain")
            assert found is not None
            assert found.name == "GainRaw"


SMALL = """<?xml version="1.0"?>
<RegisterDescription ModelName="M" VendorName="V" StandardNameSpace="None"
  SchemaMajorVersion="1" SchemaMinorVersion="1" SchemaSubMinorVersion="0" MajorVersion="1"
  MinorVersion="0" SubMinorVersion="0" ToolTip="" ProductGuid="1" VersionGuid="2"
  xmlns="http://www.genicam.org/GenApi/Version_1_1">
  <Category Name="Root"><pFeature>Gain</pFeature></Category>
  <Category Name="Gain"><pFeature>GainRaw</pFeature><pFeature>ExposureTimeAbs</pFeature></Category>
  <Integer Name="GainRaw"><Value>3</Value><Min>0</Min><Max>9</Max></Integer>
  <Float Name="ExposureTimeAbs"><Value>100</Value><Min>1</Min><Max>1e6</Max></Float>
</RegisterDescription>
"""


@pytest.mark.parametrize("stray", [b"", b"\xef\xbb\xbf", b"\x00\x01junk "])
@pytest.mark.parametrize("packed", [False, True])
def test_stray_bytes_before_the_description(tmp_path: Path, stray: bytes, packed: bool) -> None:
    data = stray + SMALL.encode() + b"\x00\x00"
    path = tmp_path / "camera.xml"
    path.write_bytes(gzip.compress(data) if packed else data)
    found = resolve_all(load_description(read_description(path), path.name))
    assert {name: f.name for name, f in found.items() if f} == {
        "exposure": "ExposureTimeAbs",
        "gain": "GainRaw",
    }


@pytest.mark.parametrize(
    "data", [b"", b"no xml", b"<html/>", gzip.compress(b"<Regi", mtime=0)[:-4]]
)
def test_what_is_no_description_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "camera.xml"
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"camera\.xml"):
        read_description(path)


def test_damaged_xml_is_refused_in_one_sentence() -> None:
    with pytest.raises(DataError, match="no valid GenICam description"):
        load_description(SMALL.replace("</Float>", ""), "camera.xml")


def test_pick_prefers_the_first_wanted_and_ignores_punctuation() -> None:
    assert pick(["Off", "Frame_Start"], "FrameStart") == "Frame_Start"
    assert pick(["AnalogAll", "All"], "All", "AnalogAll") == "All"
    assert pick(["On"], "Off") is None


def test_rig_devices_describe(tmp_path: Path) -> None:
    from rig.cli import app

    path = tmp_path / "camera.xml"
    path.write_text(SMALL)
    result = CliRunner().invoke(app, ["devices", "--describe", str(path)])
    assert result.exit_code == 0
    assert "ExposureTimeAbs (float)" in result.output
    assert "lacks: pixel format" in result.output
