"""Links into the troubleshooting guide, from pages of the apps below too."""

from collections.abc import Sequence

from django import template

from incidents.domain.troubleshooting import Problem
from incidents.selectors import troubleshooting as selectors

register = template.Library()


@register.simple_tag
def problems_of(environment: str, criterion: str = "", pattern: str = "") -> Sequence[Problem]:
    """Return the problems that a criterion or a log pattern is a symptom of."""
    return selectors.problems_of(environment, criterion=criterion, pattern=pattern)


@register.simple_tag
def guide(environment: str) -> Sequence[Problem]:
    """Return every problem of the guide, unread."""
    return [one for one, _ in selectors.problems(environment)]
