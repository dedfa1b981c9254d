"""A person at a moment: the roles of each environment beside each other, as they stood then."""

import pytest

from hawkops.accounts.services.factors import passkey_add, second_factor_reset
from hawkops.accounts.services.people import person_create, roles_set, teams_set
from hawkops.accounts.services.signing import sign_in_record
from hawkops.core import clock
from hawkops.core.access import Role
from hawkops.core.teams import Team
from hawkops.history.actors import Actor
from hawkops.history.models import HistoryEntry
from hawkops.history.services import change
from hawkops.history.travel import visit

pytestmark = pytest.mark.django_db
SYSTEM = Actor.system("test")


def test_person__roles_of_each_environment__stand_beside_each_other() -> None:
    person_create(username="root", actor=SYSTEM, roles=[Role.ADMIN])
    ana = person_create(username="ana", actor=SYSTEM, roles=[Role.VIEWER])
    roles_set(user=ana, roles=[Role.OPERATOR], environment="demo", actor=SYSTEM)
    between = HistoryEntry.objects.order_by("-seq")[0].at
    roles_set(user=ana, roles=[Role.OPERATOR, Role.RELEASER], environment="demo", actor=SYSTEM)
    teams_set(user=ana, teams=[Team.SECURITY], actor=SYSTEM)
    subject = f"person:{ana.pk}"
    then = visit("demo", subject, at=between).state
    assert (then.values["roles in all"], then.values["roles in demo"]) == (["viewer"], ["operator"])
    assert then.values["teams"] == []
    assert then.members["teams"].later
    assert then.unlike == ()
    now = visit("demo", subject, at=clock.now()).state
    assert now.values == {"roles in all": ["viewer"], "roles in demo": ["operator", "releaser"], "teams": ["security"]}
    assert visit("production", subject, at=clock.now()).state.values == {
        "roles in all": ["viewer"],
        "teams": ["security"],
    }


def test_person__factors__stand_as_they_were_and_visits_say_nothing() -> None:
    ana = person_create(username="ana", actor=SYSTEM, roles=[Role.VIEWER])
    passkey_add(user=ana, name="Laptop", credential={})
    between = HistoryEntry.objects.order_by("-seq")[0].at
    sign_in_record(user=ana, by="password", factor="passkey")
    with change(actor=SYSTEM) as this:
        this.record("person.session_ended", subject=f"person:{ana.pk}", before={"sessions": 2})
    second_factor_reset(user=ana, actor=SYSTEM, reason="Lost")
    found = visit("demo", f"person:{ana.pk}", at=between).state
    assert found.values["factors"] == ["passkey Laptop"] and found.values["recovery_codes"] == 10
    now = visit("demo", f"person:{ana.pk}", at=clock.now()).state
    assert now.values["factors"] == [] and now.ended is None and not {"by", "sessions"} & set(now.values)
