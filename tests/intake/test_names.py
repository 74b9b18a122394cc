"""What the names of pictures tell: role, order and light."""

from __future__ import annotations

import pytest

from intake.errors import InputError
from intake.names import Role, lines_of_pictures, match_names, natural, numbered_lights, roles

LIT = [f"chrome.{k}.png" for k in range(12)]


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("chrome.mask.png", Role.MASK),
        ("MASK.TIF", Role.MASK),
        ("objectmask.png", Role.MASK),
        ("image_ambient.png", Role.AMBIENT),
        ("ref.JPG", Role.AMBIENT),
        ("dark.tif", Role.DARK),
        ("DARK.PNG", Role.DARK),
        ("black_01.png", Role.DARK),
        ("flat.png", Role.FLAT),
        ("White.PNG", Role.FLAT),
        ("all.png", Role.ALL),
        ("all_on.png", Role.ALL),
        ("Normal_gt.png", Role.OTHER),
        ("call_7.png", Role.LIT),
        ("led_007.png", Role.LIT),
    ],
)
def test_roles_of_public_sets(name: str, role: Role) -> None:
    found = roles([*LIT, name])
    assert found[-1] is role
    assert set(found[:-1]) == {Role.LIT}


def test_a_word_that_most_pictures_share_names_the_part() -> None:
    names = [f"white_{k:02d}.png" for k in range(12)]
    assert roles([*names, "dark.png"]) == [Role.LIT] * 12 + [Role.DARK]


def test_natural_order_and_led_numbers() -> None:
    assert sorted(["DSC_10.png", "dsc_9.png", "DSC_101.png"], key=natural) == [
        "dsc_9.png", "DSC_10.png", "DSC_101.png",
    ]  # fmt: skip
    assert numbered_lights(["led_007.png", "LED_010.png"]) == (7, 10)
    assert numbered_lights(["DSC_0412.png", "DSC_0413.png"]) is None


def test_names_match_without_folder_case_and_ending() -> None:
    pictures = ["led_001.tif", "led_002.tif"]
    assert match_names(["led_002.tif", "led_001.tif"], pictures) == [1, 0]
    assert match_names(["jpeg-exports/LED_002.jpg", "C:\\x\\led_001.jpg"], pictures) == [1, 0]
    assert match_names(["led_002.tif", "led_003.tif"], pictures) == [1, None]
    assert match_names(["a.png", "b.png"], pictures) is None


def test_lights_and_pictures_are_of_one_number_or_refused() -> None:
    pictures = {1: "a.png", 2: "b.png"}
    assert lines_of_pictures(["b.png", "a.png"], pictures, "x.lp", whole=True) == (
        {2: 0, 1: 1},
        None,
    )
    line_of, said = lines_of_pictures(["p", "q"], pictures, "x.lp", whole=True)
    assert line_of == {1: 0, 2: 1}
    assert said is not None
    assert "order" in said
    for listed in (["m", "a.png", "b.png"], ["a.png"], ["", "", ""], ["p"]):
        with pytest.raises(InputError, match=rf"{len(listed)} lights for 2 pictures"):
            lines_of_pictures(listed, pictures, "x.lp", whole=True)
    assert lines_of_pictures(["m", "a.png", "b.png"], pictures, "x.lp", whole=False)[0] == {
        1: 1,
        2: 2,
    }
