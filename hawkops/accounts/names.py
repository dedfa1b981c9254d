"""What people are called now, where the history keeps their reference."""

import re
from collections.abc import Callable, Iterable

from hawkops.accounts.models import User

_REFERENCE = re.compile(r"\bperson:(\d{1,9})\b")


def spoken(texts: Iterable[str]) -> Callable[[str], str]:
    """Return what says a text with people's names for their references. One query where the texts hold any."""
    asked = {int(number) for text in texts for number in _REFERENCE.findall(text)}
    names = dict(User.objects.filter(pk__in=asked).values_list("pk", "username")) if asked else {}
    return lambda text: _REFERENCE.sub(lambda found: names.get(int(found[1]), found[0]), text)
