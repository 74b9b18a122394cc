"""OPC UA: a vision system with state, recipe and result, after OPC 40100-1.

The names and the state machine are those of the companion specification (VisionStateMachine,
RecipeManagement, ResultManagement); its node set is not loaded, so a client finds them by browsing
below ``VisionSystem``.
"""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

from rig.config import OpcUaSection
from rig.exits import UsageError, exit_code, in_words
from rig.floor.pages.worker import Ticket, Worker
from rig.measure_part import Labels

NAMESPACE = "urn:dpps-rig:vision"
READY, RUNNING, STOPPED, FAILED = "Ready", "SingleExecution", "Halted", "Error"
LOOK_S = 0.1


class OpcUaServer:
    """A thread with an OPC UA server over the worker."""

    def __init__(self, worker: Worker, section: OpcUaSection) -> None:
        try:
            import asyncua
        except ImportError:
            raise UsageError("opcua: in rig.yaml needs pip install 'dpps-rig[opcua]'") from None
        self._ua = asyncua
        self._worker = worker
        self._section = section
        self._tickets: list[Ticket] = []
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._ready = threading.Event()
        self._failed: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="rig-opcua", daemon=True)

    def __enter__(self) -> OpcUaServer:
        self._worker.listen(self._told)
        self._thread.start()
        self._ready.wait(timeout=30)
        if self._failed is not None:
            raise UsageError(
                f"opcua: endpoint {self._section.endpoint} cannot be served: "
                f"{in_words(self._failed)}"
            )
        return self

    def __exit__(self, *exc: object) -> None:
        self._ending.set()
        self._thread.join(timeout=10)

    def _told(self, ticket: Ticket) -> None:
        with self._lock:
            self._tickets.append(ticket)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except OSError as error:
            self._failed = error
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        ua = self._ua.ua
        server = self._ua.Server()
        await server.init()
        server.set_endpoint(self._section.endpoint)
        server.set_server_name("rig")
        server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
        space = await server.register_namespace(NAMESPACE)
        system = await server.nodes.objects.add_object(space, "VisionSystem")
        machine = await system.add_object(space, "VisionStateMachine")
        state = await machine.add_variable(space, "CurrentState", READY)
        recipes = await system.add_object(space, "RecipeManagement")
        recipe = await recipes.add_variable(space, "ActiveRecipe", "")
        results = await system.add_object(space, "ResultManagement")
        latest = await results.add_variable(space, "LatestResult", "{}")
        job = await results.add_variable(space, "JobId", "")
        verdict = await results.add_variable(space, "ResultState", "")
        text = ua.VariantType.String

        async def start(_: Any, part: Any, kind: Any) -> list[Any]:
            try:
                ticket = await asyncio.to_thread(
                    self._worker.submit, str(part.Value or ""), Labels(part_type=kind.Value or "")
                )
            except Exception as error:
                if exit_code(error) is None:
                    raise
                return [ua.Variant("", text), ua.Variant(in_words(error), text)]
            return [ua.Variant(str(ticket.number), text), ua.Variant("", text)]

        async def halt(_: Any) -> list[Any]:
            return [ua.Variant(self._worker.stop(), ua.VariantType.Boolean)]

        await machine.add_method(space, "StartSingleJob", start, [text, text], [text, text])
        await machine.add_method(space, "Halt", halt, [], [ua.VariantType.Boolean])
        async with server:
            self._ready.set()
            while not self._ending.is_set():
                with self._lock:
                    tickets, self._tickets = self._tickets, []
                for ticket in tickets:
                    await state.write_value(_state_of(ticket))
                    await recipe.write_value(ticket.labels.part_type)
                    await job.write_value(str(ticket.number))
                    if ticket.state in ("done", "failed", "stopped"):
                        said = ticket.to_json()
                        await latest.write_value(json.dumps(said))
                        word = said["verdict"].get("verdict", ticket.state)
                        await verdict.write_value(word)
                await asyncio.sleep(LOOK_S)


def _state_of(ticket: Ticket) -> str:
    if ticket.state in ("capturing", "reconstructing"):
        return RUNNING
    return {"failed": FAILED, "stopped": STOPPED}.get(ticket.state, READY)
