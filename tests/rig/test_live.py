"""The live page, as somebody with a browser meets it, and the LEDs when the program ends."""

import asyncio
import contextlib
import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import aiohttp
import cv2
import numpy as np
import pytest
from browser import CHROMIUM, chromium

from capture.camera import open_camera
from capture.camera.base import CameraSettings, Frame
from capture.camera.sensor import Sensor, expose
from capture.errors import DeviceError
from capture.leds.bench import BenchScene
from capture.leds.board import open_board
from capture.leds.pty_port import PtyPort
from capture.leds.virtual import board_of
from capture.world import PatientClock, World, publish, withdraw
from rig.config import TEMPLATE, parse_config, read_config
from rig.live.keep import keep_exposure, with_exposure
from rig.live.picture import jpeg, read
from rig.live.station import Station, Wish

RIG = [sys.executable, "-m", "rig"]


def frame(pixels, bits: int = 12) -> Frame:
    return Frame(np.asarray(pixels, np.uint16), 0, None, None, None, "Mono12", bits)


# figures of a picture -------------------------------------------------------------------------
def test_clipped_pixels_are_counted_and_shown_red():
    pixels = np.full((40, 60), 1000)
    pixels[:, 30:] = 4095
    reading = read(frame(pixels))
    assert reading.clipped_percent == pytest.approx(50)
    assert reading.histogram[-1] == pixels.size // 2
    shown = cv2.imdecode(np.frombuffer(jpeg(frame(pixels)), np.uint8), cv2.IMREAD_COLOR)
    left, right = shown[20, 10].astype(int), shown[20, 50].astype(int)
    assert np.ptp(left) < 10
    assert right[2] > right[0] + 100


def test_one_clipped_pixel_survives_shrinking():
    pixels = np.full((1500, 2000), 500)
    pixels[701, 903] = 4095
    shown = cv2.imdecode(np.frombuffer(jpeg(frame(pixels)), np.uint8), cv2.IMREAD_COLOR)
    assert max(shown.shape) == 1024
    assert (shown[..., 2].astype(int) - shown[..., 0]).max() > 60


def test_focus_falls_with_blur_and_not_with_exposure():
    sharp = np.zeros((80, 80), np.float32)
    sharp[::8] = 800
    sharp += 200
    blurred = cv2.GaussianBlur(sharp, (0, 0), 2.0)
    assert read(frame(sharp)).focus > 3 * read(frame(blurred)).focus
    assert read(frame(2 * sharp)).focus == pytest.approx(read(frame(sharp)).focus, rel=1e-3)


def test_focus_is_that_of_the_picture_whatever_its_light():
    """A sensor's black level and noise, at exposures from dim to nearly clipped."""
    rng = np.random.default_rng(0)
    light = cv2.GaussianBlur(rng.random((160, 160), np.float32) ** 8, (0, 0), 1.2)
    scores = []
    for electrons in (1000, 2000, 4000, 8000):
        taken = expose(light / light.max() * electrons, 1000.0, 0.0, 12, Sensor(), rng)
        scores.append(read(frame(taken), 0.004 * 4095).focus)
    assert max(scores) < 1.05 * min(scores)


def test_without_light_there_is_no_focus():
    rng = np.random.default_rng(0)
    dark = expose(np.zeros((160, 160), np.float32), 1000.0, 0.0, 12, Sensor(), rng)
    assert read(frame(dark), 0.004 * 4095).focus == 0


# the exposure that is kept --------------------------------------------------------------------
def test_a_kept_exposure_changes_one_number(tmp_path):
    path = tmp_path / "rig.yaml"
    path.write_text(TEMPLATE, encoding="utf-8")
    assert keep_exposure(path, 3250.4) == "rig.yaml: camera: exposure_ms is 3.2504 now"
    assert path.read_text(encoding="utf-8") == TEMPLATE.replace(
        "exposure_ms: 8.0 ", "exposure_ms: 3.2504 "
    )
    assert [p.name for p in tmp_path.iterdir()] == ["rig.yaml"]


@pytest.mark.parametrize(
    "camera",
    [
        'camera:\n    # ours\n    producer: "sim://rig"\n    gain_db: 1.0\n',
        'camera: {producer: "sim://rig"}\n',
        "camera: {}\n",
        'camera: {"exposure_ms": 8.0, gain_db: 0}\r\n',
    ],
)
def test_an_exposure_is_kept_however_the_file_is_written(camera):
    text = f'{camera}board:\n  port: "sim://rig"\n'
    before, after = parse_config(text), parse_config(with_exposure(text, "2.5"))
    assert after.camera.exposure_ms == 2.5
    camera_as_before = after.camera.model_copy(update={"exposure_ms": before.camera.exposure_ms})
    assert after.model_copy(update={"camera": camera_as_before}) == before


def test_a_bracket_that_goes_before_the_exposure_is_named(tmp_path):
    path = tmp_path / "rig.yaml"
    path.write_text(TEMPLATE.replace("exposures_ms: ", "exposures_ms: [2, 8]"), encoding="utf-8")
    assert "bracket of its plan, 2, 8 ms" in keep_exposure(path, 3000.0)


# the station ----------------------------------------------------------------------------------
@pytest.fixture
def world() -> Iterator[World]:
    world = World(BenchScene(5), PatientClock())
    publish("live-test", world)
    yield world
    withdraw("live-test")


@contextlib.contextmanager
def station_on(
    wish: Wish, delivered: str = "Mono12", warn: Callable[[str], None] = lambda line: None
) -> Iterator[Station]:
    with open_board("sim://live-test", led_count=5) as board, open_camera("sim://live-test") as c:
        state = c.configure(CameraSettings(pixel_format=delivered, exposure_us=1000.0))
        with Station(board, c, wish, state, "Mono12", warn, max_rate_hz=200) as station:
            yield station


def test_another_pixel_format_than_asked_for_is_said_once(world):
    said: list[str] = []
    with station_on(Wish(exposure_us=1000.0), "Mono8", said.append) as station:
        station.next_frame(2)
        assert station.state()["note"] == said[0]
    (line,) = said
    assert line.startswith("Mono12 was asked for, the camera delivers Mono8")


def test_lights_one_led_only_for_its_pictures(world):
    with station_on(Wish(led=3, exposure_us=1000.0)) as station:
        count, first = station.next_frame(3)
        assert first is not None
        station.wish(led=0)
        station.next_frame(count + 2)
    assert {lit.led for lit in world.log()} == {3}
    assert all(lit.off_us is not None for lit in world.log())
    on_us = max(lit.off_us - lit.on_us for lit in world.log() if lit.off_us)
    assert on_us < 500_000, "an LED stayed on between pictures"


@pytest.mark.parametrize(
    ("wish", "sentence"),
    [
        ({"led": 6}, "this board has 1 to 5"),
        ({"led": -1}, "this board has 1 to 5"),
        ({"level": 1.5}, "between 0 and 1"),
        ({"level": float("nan")}, "between 0 and 1"),
        ({"exposure_us": 9e9}, "an exposure is between"),
        ({"exposure_us": 19.0}, "between 20 µs and 2000 ms here"),  # what this camera can
        ({"exposure_us": float("nan")}, "an exposure is between"),
    ],
)
def test_refuses_what_cannot_be(world, wish, sentence):
    with station_on(Wish(exposure_us=1000.0)) as station:
        with pytest.raises(ValueError, match=sentence):
            station.wish(**wish)
        assert station.state()["wish"]["led"] == 1


def test_tells_of_a_fault_and_goes_on(world, monkeypatch):
    with station_on(Wish(exposure_us=1000.0)) as station:
        station.next_frame(0)
        camera, good = station._camera, station._camera.next_frame

        def lost(timeout_s: float) -> Frame:
            monkeypatch.setattr(camera, "next_frame", good)
            raise DeviceError("the cable was pulled")

        monkeypatch.setattr(camera, "next_frame", lost)
        deadline = time.monotonic() + 20
        while station.state()["fault"] is None:
            assert time.monotonic() < deadline
            time.sleep(0.002)
        assert station.state()["fault"] == "the cable was pulled"
        count = station.state()["count"]
        after, _ = station.next_frame(count, timeout_s=20)
        assert after > count
        assert station.state()["fault"] is None


# the program ----------------------------------------------------------------------------------
@contextlib.contextmanager
def live(*arguments: str, cwd: Path, end: int = signal.SIGINT) -> Iterator[str]:
    """`rig live` as typed; gives its address, ends it as asked and looks at how it went."""
    command = [*RIG, "live", "--port", "0", *arguments]
    with subprocess.Popen(
        command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        if "http" not in line:
            raise AssertionError(process.communicate(timeout=60))
        try:
            yield line.split()[1]
        finally:
            process.send_signal(end)
            said, complaints = process.communicate(timeout=60)
    assert complaints == ""
    if end == signal.SIGINT:
        assert process.returncode == 130
        assert "LEDs are off" in said


def get(address: str, path: str = "", **headers: str):
    request = urllib.request.Request(address + path, headers=headers)
    return urllib.request.urlopen(request, timeout=30)


def post(address: str, wish: dict, path: str = "wish", **headers: str):
    body = json.dumps(wish).encode()
    request = urllib.request.Request(address + path, data=body, headers=headers)
    return json.loads(urllib.request.urlopen(request, timeout=30).read())


@pytest.fixture(scope="module")
def simulated(tmp_path_factory) -> Iterator[str]:
    """One page for all tests that change nothing of it but what is wished."""
    with live("--simulate", cwd=tmp_path_factory.mktemp("live")) as address:
        yield address


def test_answers_itself_alone(simulated):
    assert simulated.startswith("http://127.0.0.1:")
    assert get(simulated, "picture.jpg").read()[:2] == b"\xff\xd8"
    assert post(simulated, {"led": 7, "exposure_us": 3000})["wish"]["led"] == 7
    for refused in (
        lambda: get(simulated, "state", Host="rebound.example"),
        lambda: post(simulated, {"led": 2}, Origin="https://elsewhere.example"),
    ):
        with pytest.raises(urllib.error.HTTPError) as error:
            refused()
        assert error.value.code == 403
        error.value.close()
    for wrong in ({"led": 97}, {"light": 3}, {"led": "x"}, [1]):
        with pytest.raises(urllib.error.HTTPError) as error:
            post(simulated, wrong)
        assert error.value.code == 400
        assert json.loads(error.value.read())["error"]
        error.value.close()
    with pytest.raises(urllib.error.HTTPError) as error:
        post(simulated, {}, "keep")
    assert "'rig init' writes one" in json.loads(error.value.read())["error"]
    error.value.close()
    assert json.loads(get(simulated, "state").read())["wish"]["led"] == 7


JSON = "Content-Type: application/json; charset="
ODD = {
    "endless": b'{"led": 1e999}',
    "no number": b'{"led": NaN}',
    "long": b'{"exposure_us": ' + b"9" * 5000 + b"}",
    "deep": b"[" * 3000,
    "no text": b'{"led": "\xff"}',
    "half a letter": b'{"\\ud800": 1}',
    "null": b"null",
    "nothing": b"",
    "large": b" " * 2_000_000,
}


def test_no_request_makes_it_print_a_traceback(simulated):
    """`live` looks at what is printed to the end."""

    def send(address: str, data: bytes, cut: bool = False) -> bytes:
        host, port = urllib.parse.urlsplit(address).netloc.split(":")
        line = socket.create_connection((host, int(port)), timeout=30)
        with line, contextlib.suppress(ConnectionError):  # it need not hear a megabyte out
            line.sendall(data)
            return b"" if cut else line.recv(64)
        return b""

    split = urllib.parse.urlsplit(simulated)
    head = f"POST {split.path}wish HTTP/1.1\r\nHost: {split.netloc}\r\nContent-Length: "
    before = json.loads(get(simulated, "state").read())["wish"]
    for name, body in ODD.items():
        got = send(simulated, f"{head}{len(body)}\r\n\r\n".encode() + body)
        # more than is read is refused at once, or the line is closed
        large = name == "large" and (b" 413 " in got or not got)
        assert b" 400 " in got or large, (name, got)
    for coding in ("nonsense", "base64", "rot13"):
        send(simulated, f"{head}2\r\n{JSON}{coding}\r\n\r\n{{}}".encode())
    send(simulated, f"{head}100\r\n\r\n{{".encode(), cut=True)
    send(simulated, f"GET {split.path}stream HTTP/1.1\r\nHost: {split.netloc}\r\n\r\n".encode())
    send(simulated, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n")
    send(simulated, b"GET / HTTP/1.1\r\nHost: \xff[\r\n\r\n")
    assert json.loads(get(simulated, "state").read())["wish"] == before


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_leaves_no_led_on_and_lets_nobody_else_in(tmp_path, rig, end):
    world = World(BenchScene(96), PatientClock())
    with PtyPort(board_of(world)) as port:
        text = TEMPLATE.replace('port: "sim://rig" ', f'port: "{port.name}" ')
        (tmp_path / "rig.yaml").write_text(text, encoding="utf-8")
        with live(cwd=tmp_path, end=end) as address:
            post(address, {"led": 5, "exposure_us": 4000})
            get(address, "picture.jpg").close()
            while json.loads(get(address, "state").read())["exposure_us"] != 4000:
                get(address, "picture.jpg").close()
            assert post(address, {}, "keep")["said"].startswith("rig.yaml: camera: exposure_ms")
            assert read_config(tmp_path / "rig.yaml").camera.exposure_ms == 4
            if end == signal.SIGINT:  # once is enough
                code, complaint = rig("live", "--port", "0")
                assert code == 3
                assert len(complaint.strip().splitlines()) == 1
                assert port.name in complaint
        lit = [entry for entry in world.log() if entry.off_us is None]
        assert lit == []
        assert {entry.led for entry in world.log()} >= {1}


def test_a_port_that_is_taken_is_one_sentence(simulated, rig):
    taken = simulated.rsplit(":", 1)[1].split("/")[0]
    code, complaint = rig("live", "--simulate", "--port", taken)
    assert code == 2
    assert f"port {taken} is taken" in complaint


# the browser ----------------------------------------------------------------------------------
class Browser:
    """A headless Chromium spoken to over its DevTools socket."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket, self._sent = socket, 0

    async def run(self, expression: str) -> object:
        self._sent += 1
        parameters = {"expression": expression, "awaitPromise": True, "returnByValue": True}
        message = {"id": self._sent, "method": "Runtime.evaluate", "params": parameters}
        await self._socket.send_json(message)
        while True:
            answer = await self._socket.receive_json(timeout=60)
            if answer.get("id") == self._sent:
                assert "exceptionDetails" not in answer["result"], answer
                return answer["result"]["result"].get("value")

    async def until(self, expression: str) -> object:
        for _ in range(300):
            if value := await self.run(expression):
                return value
            await asyncio.sleep(0.1)
        raise AssertionError(f"never came true: {expression}")


@contextlib.asynccontextmanager
async def browser(address: str, profile: Path):
    command = chromium(profile, address, "--remote-debugging-port=0")
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            async with aiohttp.ClientSession() as session:
                port_file = profile / "DevToolsActivePort"
                for _ in range(600):
                    if port_file.exists() and port_file.read_text().count("\n"):
                        break
                    await asyncio.sleep(0.1)
                port = port_file.read_text().splitlines()[0]
                async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
                    pages = [p for p in await answer.json() if p["type"] == "page"]
                async with session.ws_connect(pages[0]["webSocketDebuggerUrl"]) as socket:
                    yield Browser(socket)
        finally:
            process.terminate()


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_shows_and_switches_in_a_browser(simulated, tmp_path):
    async def look(address: str) -> None:
        async with browser(address, tmp_path / "profile") as page:
            await page.until("Number(document.body?.dataset.frames) > 2")
            delivered = await page.run(
                "fetch('/live/state').then(a => a.json()).then(s => s.reading.width)"
            )
            shown = await page.until("document.getElementById('picture').naturalWidth")
            assert shown == delivered
            assert await page.run("document.querySelectorAll('.leds button').length") == 97
            assert await page.run("document.querySelector('.leds .on').textContent") == "1"
            # Every LED gives another picture: the mean changes with it.
            mean = await page.run("document.getElementById('mean').textContent")
            await page.run("document.querySelector('[data-led=\"40\"]').click()")
            await page.until("document.querySelector('.leds .on').textContent === '40'")
            await page.until(f"document.getElementById('mean').textContent !== '{mean}'")
            # The whole picture is seen without scrolling.
            bottom = "document.getElementById('picture').getBoundingClientRect().bottom"
            assert await page.run(f"{bottom} <= innerHeight")
            # What another browser asks for is shown, also where the slider was used before.
            await page.run("document.getElementById('level').focus()")
            await page.run(
                "fetch('/live/wish', {method: 'POST', body: JSON.stringify({level: 0.25})})"
            )
            await page.until("document.getElementById('level').value === '0.25'")
            # The slider ends where the camera does.
            await page.run(
                "(() => { const e = document.getElementById('exposure'); e.value = 0;"
                " e.oninput(); e.onchange(); })()"
            )
            await page.until(
                "document.getElementById('exposure-value').textContent === '0.0200 ms'"
            )
            # A long exposure clips, and the page says so in red.
            await page.run(
                "(() => { const e = document.getElementById('exposure'); e.value = 800;"
                " e.oninput(); e.onchange(); })()"
            )
            await page.until("document.getElementById('clipped').className === 'red'")
            await page.until(
                "(() => { const c = document.getElementById('histogram');"
                " const d = c.getContext('2d').getImageData(508, 100, 1, 1).data;"
                " return d[0] > 200 && d[2] < 150; })()"
            )
            assert await page.run("document.getElementById('fault').textContent") == ""
            await page.run("document.querySelector('[data-led=\"0\"]').click()")
            await page.until("Number(document.getElementById('mean').textContent) < 200")

    post(simulated, {"led": 1, "level": 1.0, "exposure_us": 8000})
    asyncio.run(look(simulated))
