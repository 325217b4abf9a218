"""The comparison's page: everybody is on it once, nothing is outside it, and what is missing does not break it."""

from __future__ import annotations

import copy
import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atdc.errors import DataError
from atdc.tasks import TASK_NAMES
from atdc_bench.report.comparison import FAMILIES, render_comparison, styles_of
from atdc_bench.report.line_chart import COLOURS, Curve, Point, Style, line_chart, linear_ticks, log_ticks, value_range
from html_page import HtmlPage

PIXEL = "data:image/png;base64,iVBORw0KGgo="
FIGURES = ("together", "tasks", "added")


def system(title: str, family: str, factor: float, **changes: Any) -> dict[str, Any]:
    points = [
        {
            "point": float(point),
            "bytes_mean": factor * size,
            "bpp": factor * size / 8192,
            "utility": utility,
            "tasks": {task: {"utility": utility, "error": 1 - utility} for task in TASK_NAMES},
        }
        for point, (size, utility) in enumerate([(200, 0.5), (400, 0.7), (800, 0.85), (1600, 0.95)])
    ]
    steps = range(1, 7) if family == "features" else [6]
    cumulative = [
        {"tasks": list(TASK_NAMES[:step]), "bytes": 100.0 * factor * step, "utility": step / 7} for step in steps
    ]
    whole = {
        "title": title, "family": family, "images": 10, "describe": {"program": "p <1>", "numbers": [1, 2.5, 20000]},
        "trained": None, "missing": None, "points": points, "cumulative": cumulative,
    }  # fmt: skip
    return whole | changes


def made_up() -> dict[str, Any]:
    trained = {"steps": 1000, "steps_run": 1000, "seconds": 9000.0, "start": "random weights", "undertrained": True}
    return {
        "what": "Everything on ten rooms & nothing else.",
        "provenance": {"command": "atdc compare", "commit": "abc", "seed": 0, "machine": {"cpu": "a <processor>"}},
        "systems": {
            "webp": system("WebP", "pixels", 8),
            "jpeg": system("JPEG", "pixels", 10),
            "elic": system("ELIC, trained <here>", "learned pixels", 6, trained=trained),
            "atdc": system("ATDC", "features", 1, trained=trained | {"undertrained": False}),
            "fixed": system("fixed graph", "features", 1.1),
            "vvc": system("VVC", "pixels", 5, points=[], cumulative=[], missing="No encoder on PATH."),
        },
        "bd_rates": [
            {"system": "atdc", "reference": "fixed", "over": "U", "percent": -9.1, "low": -10.0, "high": -8.0,
             "monotone": True, "resamples": 300, "resamples_refused": 20},
            {"system": "elic", "reference": "fixed", "over": "U", "percent": 500.0, "low": 400.0, "high": 600.0,
             "monotone": False, "resamples": 300, "resamples_refused": 0},
            {"system": "webp", "reference": "fixed", "over": "U", "refused": "only 3 % \"shared\""},
            {"system": "atdc", "reference": "webp", "over": "rgb", "percent": 3.0, "low": None, "high": None,
             "monotone": True, "resamples": 300, "resamples_refused": 60},
        ],
        "pictures": [
            {"image": 3, "bytes": 400, "rows": [
                {"system": name, "bytes": 400, "answers": dict.fromkeys(TASK_NAMES, PIXEL)} for name in ("atdc", "webp")
            ]},
        ],
    }  # fmt: skip


def parsed(page: str) -> ElementTree.Element:
    """The page as XML, which fails on any tag left open."""
    return ElementTree.fromstring(page)


def section(page: str, key: str) -> ElementTree.Element:
    found = parsed(page).find(f".//section[@id='{key}']")
    assert found is not None, key
    return found


def words(element: ElementTree.Element) -> str:
    return " ".join("".join(element.itertext()).split())


def points_in(page: str, key: str) -> list[ElementTree.Element]:
    return [group for group in section(page, key).iter("g") if group.get("class") == "point"]


def test_every_measured_system_stands_once_in_each_figures_legend_and_has_a_curve_there() -> None:
    result = made_up()
    page = render_comparison(result)
    measured = sorted(name for name, row in result["systems"].items() if row["points"])
    for key in FIGURES:
        figure = section(page, key)
        assert sorted(item.get("data-system", "") for item in figure.iter("li")) == measured
        curves = [group for group in figure.iter("g") if group.get("class") == "curve"]
        titles = sorted(words(group.find("title")) for group in curves)  # type: ignore[arg-type]
        panels = len(TASK_NAMES) if key == "tasks" else 1
        assert titles == sorted(panels * [result["systems"][name]["title"] for name in measured])


def test_every_measurement_is_a_point_that_says_its_numbers() -> None:
    page = render_comparison(made_up())
    notes = [words(group.find("title")) for group in points_in(page, "together")]  # type: ignore[arg-type]
    assert len(notes) == 5 * 4 and "ATDC, 1: 400 bytes, utility 0.700" in notes
    letters = [words(group.find("text")) for group in points_in(page, "added")]  # type: ignore[arg-type]
    assert sorted(letters) == sorted([*"sktnda" * 2, "6", "6", "6"])


def test_the_page_needs_nothing_from_outside_and_no_script() -> None:
    page = render_comparison(made_up())
    sources: list[str] = []

    class Links(HTMLParser):
        def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
            assert tag not in ("script", "link", "iframe", "object")
            sources.extend(value or "" for name, value in attributes if name in ("src", "href", "srcset", "data"))

    Links().feed(page)
    assert sources and all(source.startswith(("#", "data:image/")) for source in sources)
    assert not re.search(r"https?://|@import|url\(", page)


def test_links_lead_somewhere_and_no_name_is_given_twice() -> None:
    root = parsed(render_comparison(made_up()))
    names = [element.get("id") for element in root.iter() if element.get("id")]
    assert len(names) == len(set(names))
    assert {(link.get("href") or "")[1:] for link in root.iter("a")} == set(names)


def test_rates_stand_under_their_reference_with_interval_mark_and_reason() -> None:
    page = section(render_comparison(made_up()), "rates")
    first, second = page.findall("details")
    assert first.get("open") and not second.get("open")
    assert words(first.find(".//thead")) == "systemagainst fixed graph"  # type: ignore[arg-type]
    rows = {words(row.find("th")): row.find("td") for row in first.findall(".//tbody/tr")}  # type: ignore[arg-type]
    assert list(rows) == ["ATDC", "ELIC, trained <here> undertrained", "WebP"]
    cells = {name: (words(cell), cell.get("class")) for name, cell in rows.items() if cell is not None}
    assert cells["ATDC"] == ("−9.1 %−10.0 … −8.0 of 280/300", "number fewer")
    # Who was still learning gets a number and a mark, but no colour.
    assert cells["ELIC, trained <here> undertrained"] == ("+500.0 %¹+400.0 … +600.0", "number")
    without = words(second.find(".//tbody/tr/td"))  # type: ignore[arg-type]
    assert without == "+3.0 %no interval of 240/300"
    refused = rows["WebP"].find("span")  # type: ignore[union-attr]
    assert refused is not None and refused.get("title") == 'only 3 % "shared"'


def test_budgets_reasons_and_provenance_are_told() -> None:
    page = render_comparison(made_up())
    systems = words(section(page, "systems"))
    assert "1,000 steps, 2.5 h" in systems and "random weights" in systems and "program: p <1>" in systems
    assert "numbers: 1, 2.5, 20,000" in systems
    assert words(section(page, "missing")) == "Not measured hereVVCNo encoder on PATH."
    footer = words(parsed(page).find(".//footer"))  # type: ignore[arg-type]
    assert "atdc compare" in footer and "a <processor>" in footer


def test_images_stand_by_system_and_task() -> None:
    images = list(section(render_comparison(made_up()), "pictures").iter("img"))
    assert len(images) == 2 * len(TASK_NAMES)
    assert images[0].get("alt") == "segments by ATDC" and all(image.get("src") == PIXEL for image in images)


@pytest.mark.parametrize("part", ["bd_rates", "pictures"])
@pytest.mark.parametrize("gone", [True, False])
def test_a_page_without_a_part_has_no_section_for_it(part: str, gone: bool) -> None:
    result = made_up()
    if gone:
        del result[part]
    else:
        result[part] = []
    keys = [element.get("id") for element in parsed(render_comparison(result)).iter("section") if element.get("id")]
    assert {"bd_rates": "rates", "pictures": "pictures"}[part] not in keys and len(keys) == 6


def test_systems_without_points_or_steps_or_tasks_are_left_out_of_figures_only() -> None:
    result = made_up()
    result["systems"]["jpeg"]["cumulative"] = []
    del result["systems"]["webp"]["cumulative"]
    del result["systems"]["fixed"]["points"][0]["tasks"]["rgb"]
    page = render_comparison(result)
    assert {item.get("data-system") for item in section(page, "added").iter("li")} == {"elic", "atdc", "fixed"}
    for row in result["systems"].values():
        row["points"], row["cumulative"] = [], []
    bare = {"what": "nothing", "provenance": {}, "systems": result["systems"]}
    keys = [element.get("id") for element in parsed(render_comparison(bare)).iter("section") if element.get("id")]
    assert keys == ["systems", "missing"]
    assert "systems" in [e.get("id") for e in parsed(render_comparison(bare | {"systems": {}})).iter("section")]


def test_what_is_no_result_or_not_inside_it_is_refused() -> None:
    outside, family, points = made_up(), made_up(), made_up()
    outside["pictures"][0]["rows"][0]["answers"]["rgb"] = "pictures/rgb.png"
    family["systems"]["jpeg"]["family"] = "photographs"
    points["systems"]["jpeg"]["points"] = [{"bytes_mean": 3}]
    endless, empty, unmarked = made_up(), made_up(), made_up()
    del unmarked["bd_rates"][0]["monotone"]
    endless["systems"]["jpeg"]["points"][0]["utility"] = float("inf")
    empty["systems"]["jpeg"]["points"][0]["bytes_mean"] = 0.0
    for broken in (
        outside,
        family,
        points,
        endless,
        empty,
        unmarked,
        {},
        {"systems": []},
        made_up() | {"bd_rates": [{}]},
    ):
        with pytest.raises(DataError, match="comparison"):
            render_comparison(broken)


def test_names_and_titles_are_text_wherever_they_stand() -> None:
    name, title = "<script>alert(1)</script>&.jpg", "\"quoted\" & 'so' -- </title>"
    result = made_up()
    harmless = HtmlPage(render_comparison(result))
    result["what"] = result["systems"]["atdc"]["title"] = title
    result["systems"]["fixed"]["title"] = result["systems"]["vvc"]["missing"] = name
    result["systems"] = {name if key == "webp" else key: system for key, system in result["systems"].items()}
    result["systems"]["jpeg"]["describe"] = {name: name}
    result["systems"]["elic"]["trained"] = result["systems"]["elic"]["trained"] | {"start": name}
    result["provenance"]["command"] = result["bd_rates"][2]["refused"] = name
    for row in (*result["bd_rates"], *result["pictures"][0]["rows"]):
        row |= {key: name for key in ("system", "reference") if row.get(key) == "webp"}
    page = render_comparison(result)
    hostile = HtmlPage(page)
    assert hostile.elements == harmless.elements and "script" not in hostile.elements
    assert "".join(parsed(page).itertext()).count(name) > 15 and hostile.text.count(title) > 5
    assert {name, f"segments by {title}"} <= set(hostile.attributes)


def test_the_result_is_not_changed() -> None:
    result = made_up()
    before = copy.deepcopy(result)
    render_comparison(result)
    assert result == before


def test_no_two_systems_look_alike_and_families_differ_in_dash_and_shape() -> None:
    systems = {f"{family} {number}": {"family": family} for family in FAMILIES for number in range(4 * len(COLOURS))}
    styles = styles_of(systems)
    assert len(set(styles.values())) == len(systems)
    looks = [
        {(styles[name].dash, styles[name].shape) for name in systems if name.startswith(f + " ")} for f in FAMILIES
    ]
    assert not looks[0] & looks[1] and not looks[1] & looks[2] and not looks[0] & looks[2]


# --- the charts ------------------------------------------------------------------------------------------------------


def chart(*points: Point, width: int = 400) -> ElementTree.Element:
    curve = Curve("one & only", Style(COLOURS[0]), points)
    return ElementTree.fromstring(
        line_chart([curve], width=width, height=300, rate_label="bytes", value_label="U", guide=(1.0, "whole"))
    )


def test_equal_ratios_of_rate_are_equal_distances() -> None:
    inner = chart(Point(100, 0.2), Point(1000, 0.5), Point(10000, 0.9)).find("svg")
    assert inner is not None
    across = [float(circle.get("cx", "")) for circle in inner.iter("circle")]
    up = [float(circle.get("cy", "")) for circle in inner.iter("circle")]
    assert across[1] - across[0] == pytest.approx(across[2] - across[1], abs=0.2)
    assert (up[0] - up[1]) / 0.3 == pytest.approx((up[1] - up[2]) / 0.4, rel=0.01)
    assert min(across) > 0 and max(across) < float(inner.get("width", ""))
    assert min(up) > 0 and max(up) < float(inner.get("height", ""))


@given(st.floats(0.01, 1e5), st.floats(1, 1e6), st.sampled_from([300, 400, 880]))
@settings(deadline=None)
def test_labels_of_the_rate_axis_do_not_touch_and_stay_inside(low: float, ratio: float, width: int) -> None:
    drawn = chart(Point(low, 0.4), Point(low * ratio, 0.9), width=width)
    ticks = [text for text in drawn.iter("text") if text.get("text-anchor") == "middle" and text.get("class") == "tick"]
    ends = []
    for text in ticks:
        middle, half = float(text.get("x", "")), 3.3 * len(text.text or "")
        ends.append((middle - half, middle + half))
    assert ends and ends[0][0] >= 0 and ends[-1][1] <= width
    assert all(right[0] > left[1] for left, right in pairwise(ends))
    assert len({text.text for text in ticks}) == len(ticks)


def test_ticks_are_round_inside_and_few() -> None:
    for low, high in ((0.31, 1.02), (-0.05, 1.0), (0.93, 0.95), (-3.0, 40.0)):
        ticks = linear_ticks(low, high, 7)
        assert 2 <= len(ticks) <= 7 and all(low <= tick <= high for tick in ticks)
    for low, high in ((90, 8000), (0.5, 3e6), (1200, 1900)):
        assert all(low <= tick <= high for tick in log_ticks(low, high, 5)) and len(log_ticks(low, high, 5)) <= 5


def test_values_far_below_nothing_do_not_flatten_the_rest() -> None:
    assert value_range([-30, 0.5, 1.0]) == (-0.05, 1.0) and value_range([-3, -2]) == (-3, -2)
    result = made_up()
    result["systems"]["jpeg"]["points"][0]["utility"] = -30.0
    page = render_comparison(result)
    assert "cut off" in words(section(page, "together")) and "cut off" not in words(section(page, "tasks"))
