"""The camera's description (GenApi XML, schema 1.1), written from its table of features."""

from __future__ import annotations

from xml.sax.saxutils import quoteattr

from capture.gentl.features import CHUNKS, REGISTERS, STRIDE, TEXT_BYTES, Feature

_HEAD = """<?xml version="1.0" encoding="utf-8"?>
<RegisterDescription ModelName={model} VendorName="rig" ToolTip="Camera of the virtual rig"
 StandardNameSpace="None" SchemaMajorVersion="1" SchemaMinorVersion="1" SchemaSubMinorVersion="0"
 MajorVersion="1" MinorVersion="0" SubMinorVersion="0"
 ProductGuid="7a4f7c7e-0d0e-4c55-9d0b-3f5d5c0b9a11" VersionGuid="{guid}"
 xmlns="http://www.genicam.org/GenApi/Version_1_1"
 xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
 xsi:schemaLocation="http://www.genicam.org/GenApi/Version_1_1 http://www.genicam.org/GenApi/GenApiSchema_Version_1_1.xsd">
"""


def address_of(position: int) -> int:
    """Address of the register of the feature at a position of the table."""
    return REGISTERS + position * STRIDE


def describe(features: list[Feature], model: str) -> bytes:
    """The description of a camera with these features."""
    parts = []
    categories: dict[str, list[str]] = {}
    for feature in features:
        categories.setdefault(feature.category, []).append(feature.name)
    categories.setdefault("ChunkDataControl", []).extend(f"Chunk{name}" for name in CHUNKS)
    categories["TransportLayerControl"] = ["TLParamsLocked"]
    parts.append(_category("Root", list(categories)))
    parts += [_category(name, members) for name, members in categories.items()]
    selected = {
        selector: [f.name for f in features if f.selector == selector]
        for selector in {f.selector for f in features if f.selector}
    }
    for position, feature in enumerate(features):
        parts += _nodes(feature, address_of(position), selected.get(feature.name, []))
    parts.append(
        '<Integer Name="TLParamsLocked" NameSpace="Standard"><Visibility>Invisible</Visibility>'
        "<Value>0</Value><Min>0</Min><Max>1</Max></Integer>"
    )
    for name, number in CHUNKS.items():
        parts += _chunk(name, number)
    parts.append('<Port Name="Device" NameSpace="Standard"/>')
    body = "\n".join(parts)
    guid = "b1c0a2d4-0000-4000-8000-%012x" % (hash_of(body) & 0xFFFFFFFFFFFF)
    head = _HEAD.format(model=quoteattr(model.replace(" ", "")), guid=guid)
    return f"{head}{body}\n</RegisterDescription>\n".encode()


def hash_of(text: str) -> int:
    """A number for a text: GenApi keeps descriptions apart by their GUID."""
    value = 1469598103934665603
    for byte in text.encode():
        value = (value ^ byte) * 1099511628211 & 0xFFFFFFFFFFFFFFFF
    return value


def _category(name: str, members: list[str]) -> str:
    inner = "".join(f"<pFeature>{member}</pFeature>" for member in members)
    return f'<Category Name="{name}" NameSpace="Standard">{inner}</Category>'


def _nodes(feature: Feature, address: int, selected: list[str]) -> list[str]:
    name, register = feature.name, f"{feature.name}_Register"
    access = "RW" if feature.writable else "RO"
    lock = "<pIsLocked>TLParamsLocked</pIsLocked>" if feature.locked else ""
    chosen = "".join(f"<pSelected>{one}</pSelected>" for one in selected)
    begin = f'Name="{name}" NameSpace="Standard"'
    if feature.kind == "string":
        return [
            f"<StringReg {begin}><Address>0x{address:X}</Address><Length>{TEXT_BYTES}</Length>"
            f"<AccessMode>{access}</AccessMode><pPort>Device</pPort>"
            "<Cachable>NoCache</Cachable></StringReg>"
        ]
    number = "Float" if feature.kind == "float" else "Int"
    sign = "" if number == "Float" else "<Sign>Signed</Sign>"
    stored = (
        f'<{number}Reg Name="{register}"><Address>0x{address:X}</Address><Length>8</Length>'
        f"<AccessMode>{'WO' if feature.kind == 'command' else access}</AccessMode>"
        f"<pPort>Device</pPort><Cachable>NoCache</Cachable>{sign}"
        f"<Endianess>LittleEndian</Endianess></{number}Reg>"
    )
    value = f"<pValue>{register}</pValue>"
    if feature.kind == "command":
        node = f"<Command {begin}>{value}<CommandValue>1</CommandValue></Command>"
    elif feature.kind == "boolean":
        node = f"<Boolean {begin}>{lock}{value}<OnValue>1</OnValue><OffValue>0</OffValue></Boolean>"
    elif feature.kind == "enumeration":
        entries = "".join(
            f'<EnumEntry Name="{entry}" NameSpace="Standard"><Value>{code}</Value></EnumEntry>'
            for entry, code in feature.entries
        )
        node = f"<Enumeration {begin}>{lock}{entries}{value}{chosen}</Enumeration>"
    else:
        kind = "Float" if feature.kind == "float" else "Integer"
        step = f"<Inc>{feature.step}</Inc>" if kind == "Integer" else ""
        unit = f"<Unit>{feature.unit}</Unit>" if feature.unit else ""
        limits = _limit("Min", feature.low) + _limit("Max", feature.high)
        node = f"<{kind} {begin}>{lock}{value}{limits}{step}{unit}</{kind}>"
    return [node, stored]


def _limit(which: str, limit: float | str) -> str:
    return (
        f"<p{which}>{limit}</p{which}>" if isinstance(limit, str) else f"<{which}>{limit}</{which}>"
    )


def _chunk(name: str, number: int) -> list[str]:
    kind, register = (
        ("Float", "FloatReg") if name in ("ExposureTime", "Gain") else ("Integer", "IntReg")
    )
    sign = "<Sign>Signed</Sign>" if register == "IntReg" else ""
    return [
        f'<{kind} Name="Chunk{name}" NameSpace="Standard">'
        f"<pValue>Chunk{name}_Register</pValue></{kind}>",
        f'<{register} Name="Chunk{name}_Register"><Address>0x0</Address><Length>8</Length>'
        f"<AccessMode>RO</AccessMode><pPort>Chunk{name}Port</pPort><Cachable>NoCache</Cachable>"
        f"{sign}<Endianess>LittleEndian</Endianess></{register}>",
        f'<Port Name="Chunk{name}Port"><ChunkID>{number:X}</ChunkID></Port>',
    ]
