"""The watch that finds changes without an entry finds them, and every model has a line."""

import pytest
from django.apps import apps
from django.db import connection, transaction

from hawkops.accounts.services.people import roles_set
from hawkops.core.access import Role
from hawkops.core.errors import Conflict
from hawkops.history.actors import Actor
from hawkops.history.services import change
from rollout.selectors import flags as product
from tests.entries import BESIDE, EXEMPT, ROOT, watched, watching

pytestmark = pytest.mark.django_db
SYSTEM = Actor.system("test")


def test_models__each_is_watched_or_says_why_not() -> None:
    labels = {model._meta.label for model in apps.get_models()}
    assert set(EXEMPT) <= labels, "a model that is gone has a line in EXEMPT"
    assert {"rollout.Flag", "accounts.RoleGrant", "incidents.Incident", "accounts.LegalHold"} <= set(watched().values())
    assert all(len(why) > 10 for why in [*EXEMPT.values(), *BESIDE.values()])


def test_beside__names_functions_that_are_there() -> None:
    for name in BESIDE:
        path, function = name.split(" ")
        assert f"def {function}(" in (ROOT / path).read_text(), name


def written(*, inside: bool, recorded: bool) -> list[str]:
    """Let a line of the product write a flag, and return what the watch missed."""
    code = compile("def write(cursor):\n    cursor.execute('UPDATE \"rollout_flag\" SET \"title\" = %s', ['x'])\n",
                   str(product.__file__), "exec")  # fmt: skip
    scope: dict[str, object] = {}
    exec(code, scope)
    with watching() as watch, connection.cursor() as cursor:
        if inside:
            with change(actor=SYSTEM) as this:
                scope["write"](cursor)  # type: ignore[operator]
                if recorded:
                    this.record("test.done", subject="test:1")
        else:
            scope["write"](cursor)  # type: ignore[operator]
    return watch.missing


@pytest.mark.parametrize(("inside", "recorded", "missed"), [(False, False, 1), (True, False, 1), (True, True, 0)])
def test_watch__a_write_without_an_entry__is_found(inside: bool, recorded: bool, missed: int) -> None:
    found = written(inside=inside, recorded=recorded)
    assert len(found) == missed
    assert all(one == "rollout.Flag by rollout/selectors/flags.py write" for one in found)


def test_watch__what_is_rolled_back__is_no_change(administrator: object) -> None:
    with watching() as watch:
        with pytest.raises(Conflict), transaction.atomic():
            roles_set(user=administrator, roles=[Role.VIEWER], environment="", actor=SYSTEM)  # type: ignore[arg-type]
        assert watch.missing == []
