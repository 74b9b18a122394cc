"""MQTT over a real broker and OPC UA with a real client, both on loopback."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from rig.config import MqttSection, OpcUaSection

MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[int]:
    if MOSQUITTO is None:
        pytest.skip("mosquitto is not installed: apt install mosquitto")
    pytest.importorskip("aiomqtt", reason="aiomqtt is not installed: pip install '.[mqtt]'")
    port = free_port()
    settings = tmp_path / "mosquitto.conf"
    settings.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n", encoding="utf-8")
    with subprocess.Popen([MOSQUITTO, "-c", settings], stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        for line in server.stderr:
            if "running" in line:
                break
        yield port
        server.terminate()


def test_a_part_is_started_and_its_result_told_over_mqtt(worker, broker):
    import aiomqtt

    from rig.floor.interfaces.mqtt import MqttBridge

    async def talk() -> tuple[list[dict], list[dict]]:
        results, refused = [], []
        async with aiomqtt.Client("127.0.0.1", broker) as client:
            await client.subscribe("hall/rig/#")
            started = False
            async with asyncio.timeout(120):
                async for message in client.messages:
                    kind, data = str(message.topic).rsplit("/", 1)[1], json.loads(message.payload)
                    if kind == "state" and not started:  # the bridge is there
                        started = True
                        await client.publish("hall/rig/start", json.dumps({"part": "a/b"}))
                        order = {"part": "flat-1", "part_type": "plate", "operator": "Ada"}
                        await client.publish("hall/rig/start", json.dumps(order))
                    if kind == "refused":
                        refused.append(data)
                    if kind == "result":
                        results.append(data)
                        return results, refused
        return results, refused

    with (
        MqttBridge(worker, MqttSection(host="127.0.0.1", port=broker, topic="hall/rig")),
        asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner,
    ):
        results, refused = runner.run(talk())
    assert results[0]["part"] == "flat-1"
    assert results[0]["verdict"]["verdict"] == "good", results
    assert results[0]["operator"] == "Ada"
    assert "it contains /" in refused[0]["error"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_part_is_started_and_its_result_read_over_opc_ua(worker):
    asyncua = pytest.importorskip("asyncua", reason="asyncua is not installed: '.[opcua]'")
    from rig.floor.interfaces.opcua import NAMESPACE, OpcUaServer

    endpoint = f"opc.tcp://127.0.0.1:{free_port()}/rig"

    async def talk() -> tuple[dict, str, str, list]:
        async with asyncua.Client(endpoint) as client:
            space = await client.get_namespace_index(NAMESPACE)
            system = await client.nodes.objects.get_child(f"{space}:VisionSystem")
            machine = await system.get_child(f"{space}:VisionStateMachine")
            refused = await machine.call_method(f"{space}:StartSingleJob", "flat-1", "nothing")
            await machine.call_method(f"{space}:StartSingleJob", "flat-1", "plate")
            latest = await system.get_child([f"{space}:ResultManagement", f"{space}:LatestResult"])
            state = await machine.get_child(f"{space}:CurrentState")
            recipe = await system.get_child([f"{space}:RecipeManagement", f"{space}:ActiveRecipe"])
            async with asyncio.timeout(120):
                while (data := json.loads(await latest.read_value())) == {}:
                    await asyncio.sleep(0.05)
            return data, await state.read_value(), await recipe.read_value(), refused

    with OpcUaServer(worker, OpcUaSection(endpoint=endpoint)):
        data, state, recipe, refused = asyncio.run(talk())
    assert data["verdict"]["verdict"] == "good"
    assert (state, recipe) == ("Ready", "plate")
    assert refused[0] == ""
    assert "no inspection plan" in refused[1]
