"""The web application, asked as browsers, machines and other people's pages ask it."""

from __future__ import annotations

import html
import json
import re
import time
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from floor_bench import STOPPED, finished, lay_result

from rig.exits import UsageError
from rig.floor.pages.app import application
from rig.floor.pages.security import Access, access_of
from rig.floor.pages.worker import Worker
from rig.floor.store.store import open_store

HERE = "http://127.0.0.1:8765"
OPERATOR, ENGINEER = "operator-token-0123456789", "engineer-token-0123456789"


@pytest.fixture
def client(worker: Worker) -> TestClient:
    return TestClient(application(worker, Access()), base_url=HERE, follow_redirects=False)


def test_from_the_button_to_the_verdict(client, worker):
    answer = client.post("/api/measurements", json={"part": "flat-1", "part_type": "plate"})
    assert answer.status_code == 201, answer.text
    ticket = finished(worker, answer.json()["number"])
    assert ticket["state"] == "done", ticket["error"]
    assert ticket["taken"] == ticket["pictures"] > 24
    assert ticket["verdict"]["verdict"] == "good", ticket["verdict"]["features"]
    page = client.get("/latest/flat-1").text
    assert "/map/height.svg" in page
    run = client.get("/api/runs").json()["runs"][0]
    assert (run["part"], run["part_type"]) == ("flat-1", "plate")
    svg = client.get(f"/runs/{run['number']}/map/height.svg")
    assert svg.headers["content-type"] == "image/svg+xml"
    assert "mm</text>" in svg.text
    shown = client.get(f"/runs/{run['number']}").text
    assert "/map/height.svg" in shown
    assert "/map/sigma.svg" not in shown, "lambert states no uncertainty"
    report = client.get(f"/runs/{run['number']}/files/report.html")
    assert "sandbox" in report.headers["content-security-policy"]
    for address in (f"/runs/{run['number']}", "/parts/flat-1", "/history", "/", "/charts",
                    "/plans?part_type=plate", "/instrument", "/export.csv", "/live"):  # fmt: skip
        assert client.get(address).status_code == 200, address
    assert client.get(f"/runs/{run['number']}/files/../../secret").status_code in (400, 404, 422)
    assert client.get(f"/runs/{2**70}").status_code == 400
    assert client.get(f"/history?page={2**70}").status_code == 200
    assert client.get(f"/api/runs?offset={2**70}").status_code == 422


def test_what_a_reader_puts_into_a_report_is_kept_with_the_run(client, worker):
    result = lay_result(worker.bench.workspace.folder, "A1", 0)
    (result / "report.html").write_text("a report", encoding="utf-8")
    with open_store(worker.bench.workspace) as store:
        store.put(result)
    number = client.get("/api/runs").json()["runs"][0]["number"]
    state = {"notes": [{"u": 0.5, "v": 0.5, "text": 'a "scratch" </script>'}]}
    assert client.put(f"/runs/{number}/annotations", json=state).json() == {"kept": True}
    shown = client.get(f"/runs/{number}/report").text
    frame = re.search(r'name="([^"]*)" sandbox="allow-scripts', shown)
    assert frame is not None
    assert json.loads(html.unescape(frame[1])) == {"rig-report": state}
    for wrong, sentence in ((b"[1]", "a JSON object"), (b"{", "a JSON object"),
                            (b'{"a": "' + b"x" * 200_000 + b'"}', "more than 100 kB")):  # fmt: skip
        refused = client.put(f"/runs/{number}/annotations", content=wrong)
        assert refused.status_code == 400
        assert sentence in refused.json()["error"]
    elsewhere = {"origin": "https://elsewhere.example"}
    refused = client.put(f"/runs/{number}/annotations", json={}, headers=elsewhere)
    assert refused.status_code == 403
    assert json.loads((result / "annotations.json").read_text(encoding="utf-8")) == state
    assert sorted(path.name for path in result.glob(".*")) == []


def test_a_dent_and_a_tilt_fail_where_they_are(client, worker):
    for part, failed in (("dented-1", "flat"), ("tilted-1", "level")):
        number = client.post("/api/measurements", json={"part": part, "part_type": "plate"}).json()
        ticket = finished(worker, number["number"])
        assert ticket["state"] == "done", ticket["error"]
        verdict = ticket["verdict"]
        assert verdict["verdict"] == "out of tolerance"
        features = {row["name"]: row["verdict"] for row in verdict["features"]}
        assert features[failed] == "out of tolerance", verdict["features"]


def test_one_at_a_time_and_what_waits_can_be_taken_out(client, worker):
    numbers = [
        client.post("/api/measurements", json={"part": f"flat-{k}"}).json()["number"]
        for k in range(3)
    ]
    assert client.delete(f"/api/measurements/{numbers[2]}").json() == {"cancelled": True}
    assert client.delete(f"/api/measurements/{numbers[2]}").json() == {"cancelled": False}
    assert finished(worker, numbers[1])["state"] == "done"
    assert [t["part"] for t in worker.state()["finished"]] == ["flat-1", "flat-0"]


def test_stop_leaves_the_rig_dark_and_ready(client, worker):
    number = client.post("/api/measurements", json={"part": STOPPED}).json()["number"]
    seen = -1
    while not (worker.state()["current"] or {}).get("taken"):
        seen = worker.wait(seen, 60)
    seen = worker.state()["version"]
    assert client.post("/api/stop").json() == {"stopping": True}
    assert worker.wait(seen, 60) > seen  # pages are told at once
    assert finished(worker, number)["state"] == "stopped"
    assert client.post("/api/stop").json() == {"stopping": False}
    again = client.post("/api/measurements", json={"part": "flat-1"}).json()["number"]
    assert finished(worker, again)["state"] == "done"


@pytest.mark.parametrize("pixels", [100_000, 2000], ids=["all pixels", "means of blocks"])
def test_a_quick_look_judges_first_where_the_method_takes_longer(
    client, worker, monkeypatch, pixels
):
    monkeypatch.setattr("rig.measure_part.QUICK_PIXELS", pixels)
    monkeypatch.setattr("rig.measure_part.SLOW", ("lambert",))  # takes the place of refine
    told: list[tuple[str, str]] = []
    worker.listen(lambda ticket: told.append((ticket.preview, ticket.state)))
    number = client.post("/api/measurements", json={"part": "dented-1", "part_type": "plate"})
    ticket = finished(worker, number.json()["number"])
    looked = {preview for preview, state in told if state == "capturing"}
    # a look at few pixels is less sure
    sure = {"out of tolerance"} if pixels > 2000 else {"in between", "out of tolerance"}
    assert looked & sure, "before the reconstruction begins"
    assert ticket["verdict"]["verdict"] == "out of tolerance"
    assert len(list(worker.bench.workspace.parts.glob("*/*/results/*"))) == 1, "it leaves nothing"


@pytest.mark.parametrize(
    ("order", "sentence"),
    [
        ({"part": "a/b"}, "it contains /"),
        ({"part": "ok", "part_type": "unknown"}, "types with one: cover, plate"),
        ({"part": ""}, "needs a name"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_a_sentence(client, order, sentence):
    answer = client.post("/api/measurements", json=order)
    assert answer.status_code == 400
    assert sentence in answer.json()["error"]


def test_the_interface_describes_itself(client):
    paths = client.get("/api/openapi.json").json()["paths"]
    assert {"/api/measurements", "/api/state", "/api/stop", "/api/events", "/api/runs"} <= set(
        paths
    )
    assert "/login" not in paths


def test_events_tell_the_state(client, worker):
    worker._closing = True  # the stream ends after what there is to tell
    with client.stream("GET", "/api/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
    worker._closing = False


# others ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"},
        {"host": "evil.example"},
        {"host": "rig.evil.example:8765"},
    ],
)
def test_no_request_of_another_origin_is_obeyed(client, worker, headers):
    for address in ("/api/measurements", "/api/stop", "/measure", "/live/wish", "/language"):
        assert client.post(address, headers=headers).status_code == 403
    assert worker.state()["queue"] == []


def test_the_pages_own_origin_is_obeyed(client):
    own = {"origin": HERE, "sec-fetch-site": "same-origin"}
    assert client.post("/api/stop", headers=own).status_code == 200
    assert client.get("/", headers={"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"})
    assert "frame-ancestors 'self'" in client.get("/").headers["content-security-policy"]


def test_a_request_without_an_end_is_not_kept_in_memory(client, worker):
    order = json.dumps({"part": "a" * 1_000_000}).encode()
    for content in (order, iter([order])):  # with its length stated, and without
        refused = client.post("/api/measurements", content=content)
        assert refused.status_code == 413
        assert "up to 1 MB" in refused.json()["error"]
    assert worker.state()["queue"] == []


def test_tokens_make_roles(worker):
    access = Access(tokens={OPERATOR: "operator", ENGINEER: "engineer"})
    client = TestClient(application(worker, access), base_url=HERE, follow_redirects=False)
    assert client.get("/").headers["location"] == "/login"
    assert client.get("/api/state").status_code == 401
    assert client.get("/static/floor.css").status_code == 200
    assert client.post("/login", data={"token": "wrong"}).status_code == 401
    assert client.get("/api/state", headers={"authorization": "Bearer wrong"}).status_code == 401
    bearer = {"authorization": f"Bearer {OPERATOR}"}
    assert client.get("/api/state", headers=bearer).status_code == 200
    assert client.get("/live/state", headers=bearer).status_code == 403
    signed = client.post("/login", data={"token": ENGINEER})
    assert "httponly" in signed.headers["set-cookie"].lower()
    assert "samesite=strict" in signed.headers["set-cookie"].lower()
    assert client.get("/").status_code == 200
    assert "/live" in client.get("/").text
    client.post("/logout")
    assert client.get("/").headers["location"] == "/login"


def test_other_machines_need_a_token_and_tls(tmp_path: Path):
    tokens, pem = tmp_path / "tokens.yaml", tmp_path / "pem"
    tokens.write_text(f"operator: ['{OPERATOR}']\n", encoding="utf-8")
    pem.write_text("", encoding="utf-8")
    with pytest.raises(UsageError, match="can be reached by others"):
        access_of("0.0.0.0", None, None, None)
    with pytest.raises(UsageError, match="can be reached by others"):
        access_of("0.0.0.0", None, pem, pem)
    tokens.chmod(0o644)
    with pytest.raises(UsageError, match="others may read"):
        access_of("0.0.0.0", tokens, pem, pem)
    tokens.chmod(0o600)
    assert access_of("0.0.0.0", tokens, pem, pem).tokens == {OPERATOR: "operator"}
    tokens.write_text("operator: short\n", encoding="utf-8")
    with pytest.raises(UsageError, match="fewer than 16"):
        access_of("127.0.0.1", tokens, None, None)


# words, history ---------------------------------------------------------------------------------
def test_german_and_english(client):
    assert 'lang="de"' in client.get("/", headers={"accept-language": "de-AT,en"}).text
    client.post("/language", data={"language": "de", "back": "/history"})
    assert "Verlauf" in client.get("/history").text
    moved = client.post("/language", data={"language": "en", "back": "//evil.example"})
    assert moved.headers["location"] == "/"
    history = client.get("/history")
    assert "History" in history.text
    # Browsers tell "null" as the origin of a form under no-referrer, which is refused.
    assert history.headers["referrer-policy"] == "same-origin"


def test_every_word_of_the_pages_has_its_german():
    import re

    from rig.floor.pages.app import HERE as PAGES
    from rig.floor.pages.operator import SPOKEN
    from rig.floor.pages.words import GERMAN

    said = set(SPOKEN)
    for page in (PAGES / "templates").glob("*.html"):
        text = page.read_text(encoding="utf-8")
        said |= {a or b for a, b in re.findall(r"""\bt\((?:"([^"]+)"|'([^']+)')\)""", text)}
    assert said - set(GERMAN) == set()


def test_history_filters_compares_and_exports(client, bench):
    step = {"name": "step", "kind": "step", "unit": "mm", "sigma": 0.01, "nominal": 1.0,
            "lower": 0.9, "upper": 1.1, "verdict": "good", "reason": ""}  # fmt: skip
    with open_store(bench) as store:
        for k in range(12):
            row = {**step, "value": 1 + 0.001 * k}
            store.put(lay_result(bench.folder, f"P{k % 2}", k, features=[row], part_type="plate"))
    assert "12 results" in client.get("/history").text
    assert "6 results" in client.get("/history?text=p1").text
    assert "No result" in client.get("/history?since=2031-01-01").text
    assert client.get("/history?since=yesterday").status_code == 400
    page = client.get("/compare?a=1&b=2").text
    assert "+0.001" in page
    chart = client.get("/charts?part_type=plate&feature=step").text
    assert json.loads(chart.split('id="chart">')[1].split("</script>")[0])["upper"]["centre"] > 1
    dfq = client.get("/export.dfq?part_type=plate").content.decode("utf-8-sig")
    assert dfq.startswith("K0100 1\r\nK1001 plate")
    assert dfq.count("K0001/1") == 12
    assert client.get("/runs/99").status_code == 400


def test_a_height_of_nothing_has_no_sign(client, bench):
    with open_store(bench) as store:
        put = store.put(lay_result(bench.folder, "A1", 0, figures={"mean_height_mm": -1e-6}))
    assert "<td>0.0000</td>" in client.get(f"/runs/{put}").text


def test_names_that_look_like_pages_stay_names(client, bench):
    with open_store(bench) as store:
        store.put(lay_result(bench.folder, "<b>x", 0, operator="<script>alert(1)</script>"))
    text = client.get("/history").text
    assert "<script>alert" not in text
    assert "&lt;script&gt;" in text
    assert client.get("/parts/%3Cb%3Ex").status_code == 200


def test_the_live_picture_comes_and_goes_for_a_measurement(client, worker):
    deadline = time.monotonic() + 60
    while client.get("/live/picture.jpg").status_code != 200:
        assert time.monotonic() < deadline
        worker.wait(-1, 0.1)
    state = client.get("/live/state").json()
    assert state["led_count"] == 24
    assert client.post("/live/wish", json={"led": 5}).json()["wish"]["led"] == 5
    assert "this board has 1 to 24" in client.post("/live/wish", json={"led": 99}).json()["error"]
    assert client.post("/live/wish", json={"colour": 1}).status_code == 400
    number = client.post("/api/measurements", json={"part": "flat-1"}).json()["number"]
    assert finished(worker, number)["state"] == "done"
