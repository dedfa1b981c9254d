"""Small drawings of pages."""

import pytest

from hawkops.core.templatetags.look import spark


def test_spark__gaps_stay_gaps__and_the_target_is_on_the_same_scale() -> None:
    drawn = spark([0.0, 10.0, None, 5.0], "Switch time <&>", 20.0, "missed")
    assert 'd="M0.0 20.0h.5L40.0 11.0M120.0 15.5h.5"' in drawn
    assert '<path class="tg" d="M0 2.0H120"/>' in drawn
    assert 'class="spark cell missed"' in drawn
    assert "Switch time &lt;&amp;&gt;" in drawn


@pytest.mark.parametrize("points", [None, [], [None, None]])
def test_spark__of_nothing__draws_nothing(points: list[float | None] | None) -> None:
    assert spark(points, "x", 1.0) == ""


def test_spark__one_level__is_a_line_without_a_division_by_zero() -> None:
    assert "nan" not in spark([3.0, 3.0], "x")
