"""Drawings that stand alone: gaps stay gaps, texts are escaped, nothing is drawn of nothing."""

import pytest

from hawkops.core import svg
from hawkops.core.svg import Line

HOSTILE = '"><script>alert(1)</script>'


def test_over_time__gap__two_strokes_and_a_single_value_is_a_dash() -> None:
    drawn = svg.over_time([Line("treatment", [1.0, 2.0, None, 3.0, None])], "prefill")
    (path,) = [part for part in drawn.split("<path") if "treatment" in part]

    assert path.count("M") == 2
    assert path.count("L") == 1
    assert "h1.5" in path


@pytest.mark.parametrize("values", [[], [None, None]])
def test_over_time__nothing_known__nothing_is_drawn(values: list[float | None]) -> None:
    assert svg.over_time([Line("treatment", values)], "prefill", limit=3.0) == ""


def test_over_time__one_height__lies_in_the_middle() -> None:
    drawn = svg.over_time([Line("treatment", [5.0, 5.0])], "flat")

    assert f"M0.0 {svg.HEIGHT / 2:.1f}" in drawn


def test_over_time__limit_and_band__stand_on_the_same_scale() -> None:
    drawn = svg.over_time([Line("treatment", [0.0, 10.0])], "x", limit=20.0, missed=True, band=(0.0, 20.0), begins=0.5)

    assert f'class="limit missed" d="M0 {svg.EDGE:.1f}H{svg.WIDTH}"' in drawn
    assert f'class="band" x="0" y="{svg.EDGE:.1f}"' in drawn
    assert f'class="begins" d="M{svg.WIDTH / 2:.1f} 0V{svg.HEIGHT}"' in drawn


def test_words_and_classes__are_escaped() -> None:
    drawn = svg.over_time([Line(HOSTILE, [1.0])], HOSTILE)
    drawn += svg.interval(0.0, 1.0, 2.0, zero=0.0, limit=1.5, words=HOSTILE, bad=False)

    assert "<script" not in drawn


@pytest.mark.parametrize(("limit", "is_near"), [(3.0, True), (0.5, True), (4.5, False), (100.0, False)])
def test_near__beyond_three_times_what_was_seen__is_not(limit: float, is_near: bool) -> None:
    assert svg.near([0.9, 1.1], limit) is is_near


def test_interval__every_part__lies_within_the_drawing() -> None:
    drawn = svg.interval(-0.5, 0.1, 3.0, zero=0.0, limit=0.05, words="change", bad=True)

    assert 'class="gap bad"' in drawn
    assert 'd="M8.0 10.0V20.0M8.0 15.0H332.0M332.0 10.0V20.0"' in drawn
