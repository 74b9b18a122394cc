"""MQTT: results and states are published, starts and stops are taken."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from typing import Any

from rig.config import MqttSection
from rig.exits import UsageError, exit_code, in_words
from rig.floor.pages.worker import Ticket, Worker
from rig.measure_part import Labels

AGAIN_S = 3.0  # after the broker was lost


class MqttBridge:
    """A thread with one connection to a broker, made again whenever it is lost.

    ``TOPIC/state`` (retained) is what the worker does, ``TOPIC/result`` each ticket that ended.
    ``TOPIC/start`` takes ``{"part": …, "part_type": …, "operator": …, "batch": …}``, ``TOPIC/stop``
    anything; what could not be started is told in ``TOPIC/refused``.
    """

    def __init__(self, worker: Worker, section: MqttSection) -> None:
        try:
            import aiomqtt
        except ImportError:
            raise UsageError("mqtt: in rig.yaml needs pip install 'dpps-rig[mqtt]'") from None
        self._mqtt = aiomqtt
        self._worker = worker
        self._section = section
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: asyncio.Queue[tuple[str, dict[str, Any], bool]] | None = None
        self._thread = threading.Thread(target=self._run, name="rig-mqtt", daemon=True)
        self._task: asyncio.Task[None] | None = None

    def __enter__(self) -> MqttBridge:
        self._worker.listen(self._told)
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._loop is not None and self._task is not None:
            self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(timeout=5)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            self._loop = runner.get_loop()
            try:
                runner.run(self._main())
            except asyncio.CancelledError:
                return

    async def _main(self) -> None:
        self._task = asyncio.current_task()
        self._waiting = asyncio.Queue(maxsize=1000)
        told = False
        while True:
            try:
                async with self._client() as client:
                    told = False
                    await client.subscribe(f"{self._section.topic}/start")
                    await client.subscribe(f"{self._section.topic}/stop")
                    await self._publish(client, "state", self._worker.state(), retain=True)
                    async with asyncio.TaskGroup() as both:
                        both.create_task(self._send(client))
                        both.create_task(self._listen(client))
            except* self._mqtt.MqttError as lost:
                if not told:
                    print(f"Note: MQTT: {lost.exceptions[0]}; trying again", file=sys.stderr)
                told = True
            await asyncio.sleep(AGAIN_S)

    def _client(self) -> Any:
        section = self._section
        password = None
        if section.password_file is not None:
            with open(section.password_file, encoding="utf-8") as file:
                password = file.read().strip()
        tls = self._mqtt.TLSParameters() if section.tls else None
        return self._mqtt.Client(
            section.host, section.port, username=section.username, password=password,
            tls_params=tls,
        )  # fmt: skip

    def _told(self, ticket: Ticket) -> None:
        """In the worker's thread: hand over to the loop, and never wait for it."""
        kind = "result" if ticket.state in ("done", "failed", "stopped") else "state"
        loop, waiting = self._loop, self._waiting
        if loop is None or waiting is None:
            return

        def put() -> None:
            if not waiting.full():
                waiting.put_nowait((kind, ticket.to_json(), False))

        loop.call_soon_threadsafe(put)

    async def _send(self, client: Any) -> None:
        assert self._waiting is not None
        while True:
            kind, data, _ = await self._waiting.get()
            if kind == "result":
                await self._publish(client, "result", data)
            if self._waiting.empty():
                await self._publish(client, "state", self._worker.state(), retain=True)

    async def _publish(self, client: Any, kind: str, data: Any, retain: bool = False) -> None:
        await client.publish(
            f"{self._section.topic}/{kind}", json.dumps(data), qos=1, retain=retain
        )

    async def _listen(self, client: Any) -> None:
        async for message in client.messages:
            if str(message.topic).endswith("/stop"):
                self._worker.stop()
                continue
            try:
                order = json.loads(message.payload)
                labels = Labels(
                    *(str(order.get(key, "")) for key in ("part_type", "operator", "batch"))
                )
                await asyncio.to_thread(self._worker.submit, str(order["part"]), labels)
            except (ValueError, KeyError, TypeError, AttributeError):
                said = 'expected JSON as {"part": "A12", "part_type": "bracket"}'
                await self._publish(client, "refused", {"error": said})
            except Exception as error:
                if exit_code(error) is None:
                    raise
                await self._publish(client, "refused", {"error": in_words(error)})
