"""A plan: what it takes, in which order, and that it reads back as itself."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.errors import PlanError
from capture.plan import Plan, format_leds, parse_leds

plans = st.builds(
    Plan,
    leds=st.lists(st.integers(1, 300), min_size=1, max_size=40, unique=True).map(tuple),
    exposures_us=st.lists(
        st.floats(1, 1e6, allow_nan=False), min_size=1, max_size=4, unique=True
    ).map(tuple),
    dark_frames=st.booleans(),
    repeat_first=st.booleans(),
    level=st.floats(0.01, 1.0),
    settle_us=st.integers(0, 10_000),
)


def test_each_pass_is_dark_lit_dark_lit_first_led_again_dark() -> None:
    plan = Plan(leds=(1, 2, 3, 4), exposures_us=(2000, 8000))
    assert [shot.led for shot in plan.passes()[0]] == [0, 1, 2, 0, 3, 4, 1, 0]
    assert [shot.kind for shot in plan.passes()[1]][-2:] == ["repeat", "dark"]
    assert {shot.exposure_us for shot in plan.passes()[1]} == {8000.0}
    assert [shot.index for shot in plan.shots()] == list(range(16))


@given(plans)
def test_reads_back_as_itself_through_json(plan: Plan) -> None:
    again = Plan.from_json(json.loads(json.dumps(plan.to_json())))
    assert again == plan
    assert again.digest == plan.digest
    assert hash(again) == hash(plan)


@given(plans)
def test_every_led_is_lit_once_per_exposure(plan: Plan) -> None:
    for shots in plan.passes():
        assert tuple(s.led for s in shots if s.kind == "light") == plan.leds


def test_the_digest_does_not_change_between_versions() -> None:
    plan = Plan(leds=(1, 2), exposures_us=(8000,))
    assert plan.digest == "347407fea1bd105e792021108a87ccaced61ff17276545b9cda17b8fa4eb344c"


@given(st.lists(st.integers(1, 200), min_size=1, unique=True))
def test_led_lists_read_back(leds: list[int]) -> None:
    assert parse_leds(format_leds(leds)) == tuple(leds)


@pytest.mark.parametrize("text", ["", "a", "5-1", "1,,2", "1-", "-3"])
def test_nonsense_is_no_led_list(text: str) -> None:
    with pytest.raises(PlanError):
        parse_leds(text)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"leds": ()}, "no LED"),
        ({"leds": (0, 1)}, "numbered 1 to 4096"),
        ({"leds": (1, 1)}, "more than once"),
        ({"exposures_us": ()}, "no exposure"),
        ({"exposures_us": (0.0,)}, "above 0"),
        ({"exposures_us": (float("nan"),)}, "above 0"),
        ({"exposures_us": (5.0, 5.0)}, "twice"),
        ({"level": 1.5}, "0 to 1"),
        ({"settle_us": -1}, "settle_us"),
    ],
)
def test_impossible_plans_are_refused(change: dict[str, object], word: str) -> None:
    with pytest.raises(PlanError, match=word):
        Plan(**({"leds": (1, 2)} | change))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "data", [{}, {"format": "rig-plan/2"}, {"format": "rig-plan/1", "ledz": [1]}, []]
)
def test_what_is_no_plan_is_refused(data: object) -> None:
    with pytest.raises(PlanError):
        Plan.from_json(data)  # type: ignore[arg-type]
