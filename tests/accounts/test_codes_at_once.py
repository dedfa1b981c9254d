"""One code typed in several browsers at the same moment signs in one of them."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from django.db import connections

from hawkops.accounts.models import User
from hawkops.accounts.services.factors import app_add, app_secret, code_spend, recovery_codes_make
from hawkops.accounts.services.people import person_create
from hawkops.core.access import Role
from hawkops.history.actors import Actor
from tests.accounts.test_factors import code

AT_ONCE = 4


@pytest.mark.fresh_database
def test_code__of_app_or_recovery__at_once_counts_once() -> None:
    ana = person_create(username="ana", actor=Actor.system("test"), roles=[Role.VIEWER])
    secret = app_secret()
    app_add(user=ana, secret=secret, code=code(secret, steps=-1))
    recovery = recovery_codes_make(user=ana)[0]
    for given, said in ((code(secret), "authenticator app"), (recovery, "recovery code")):
        assert sorted(_spent_at_once(ana, given)) == [*[""] * (AT_ONCE - 1), said]


def _spent_at_once(user: User, given: str) -> list[str]:
    ready = Barrier(AT_ONCE)

    def one(_number: int) -> str:
        try:
            ready.wait(10)
            return code_spend(user=user, code=given)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(one, range(AT_ONCE)))
