"""Presses of a lockdown at once, and raises that race one: real connections, a database of the test's own."""

import itertools
import threading

import pytest
from django.db import connections

from hawkops.history.actors import Actor
from hawkops.history.models import HistoryEntry
from rollout.models import Lockdown
from rollout.services.flags import flag_percentage_set, flags_seed
from rollout.services.lockdown import lockdown_begin
from rollout.services.raising import Refused

pytestmark = pytest.mark.fresh_database
STAGING = "staging"
SYSTEM = Actor.system("test")


def test_begin__ten_presses_at_once__one_stands() -> None:
    flags_seed(actor=SYSTEM)
    made: list[bool] = []

    def press(number: int) -> None:
        try:
            actor = Actor(f"person:{number}", f"presser {number}")
            made.append(lockdown_begin(environment=STAGING, actor=actor)[1])
        finally:
            connections.close_all()

    threads = [threading.Thread(target=press, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == [False] * 9 + [True]
    assert Lockdown.objects.count() == 1
    assert HistoryEntry.objects.filter(verb="lockdown.started").count() == 1


def test_raise__racing_the_press__is_done_before_it_or_refused() -> None:
    """Six people raise on and on while somebody presses: nothing that the history has after the press rises."""
    flags_seed(actor=SYSTEM)
    refused: list[str] = []
    begun, pressed, thousandths = threading.Barrier(7), threading.Event(), itertools.count(1)

    def rise(number: int) -> None:
        try:
            begun.wait()
            ending = False
            while not ending:
                ending = pressed.is_set()
                try:
                    flag_percentage_set(
                        environment=STAGING,
                        key="litert_gpu_backend",
                        percent=next(thousandths) / 100,
                        actor=Actor(f"person:{number}", "riser"),
                        reason="Go",
                    )
                except Refused as refusal:
                    refused.append(refusal.message)
        finally:
            connections.close_all()

    def press() -> None:
        try:
            begun.wait()
            lockdown_begin(environment=STAGING, actor=SYSTEM)
        finally:
            pressed.set()
            connections.close_all()

    threads = [*(threading.Thread(target=rise, args=(number,)) for number in range(6)), threading.Thread(target=press)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    began = HistoryEntry.objects.get(verb="lockdown.started").seq
    for entry in HistoryEntry.objects.filter(seq__gt=began, verb="flag.percentage_set"):
        assert entry.after["percentage"] < entry.before["percentage"], entry.seq
    assert refused
    assert all("Lockdown: In lockdown since" in one for one in refused)
