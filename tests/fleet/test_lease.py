"""Lease arithmetic: when it holds, when it is renewed, and that nothing but a newer answer lengthens it."""

from hypothesis import given
from hypothesis import strategies as st

from hawkops.fleet.lease import LEAST_PAUSE_SECONDS, NO_LEASE, Lease

times = st.floats(0, 1e9)
spans = st.floats(0, 86_400)


def test_lease__never_granted__does_not_hold() -> None:
    assert not NO_LEASE.holds(0.0)
    assert NO_LEASE.remaining(0.0) == 0.0


def test_lease__before_and_at_its_end__holds_and_ends() -> None:
    lease = Lease(100.0, 900.0)
    assert lease.holds(999.9)
    assert not lease.holds(1000.0)
    assert lease.remaining(400.0) == 600.0
    assert lease.remaining(2000.0) == 0.0


def test_lease__fresh__is_renewed_with_two_tries_to_spare() -> None:
    lease = Lease(100.0, 900.0)
    assert lease.renewal_in(100.0) == 300.0
    assert lease.renewal_in(390.0) == 10.0


def test_lease__overdue__pauses_before_renewing() -> None:
    assert Lease(100.0, 900.0).renewal_in(5000.0) == LEAST_PAUSE_SECONDS
    assert Lease(100.0, 0.0).renewal_in(100.0) == LEAST_PAUSE_SECONDS


def test_lease__late_answer_of_an_earlier_request__changes_nothing() -> None:
    lease = Lease(100.0, 900.0)
    assert lease.renewed(sent_at=50.0, seconds=9000.0) == lease


def test_lease__gateway_grants_nothing__ends_at_once() -> None:
    assert not Lease(100.0, 900.0).renewed(sent_at=200.0, seconds=0.0).holds(200.0)


@given(begins_at=times, seconds=spans, later=spans, granted=spans)
def test_lease__renewed__counts_from_the_request(
    begins_at: float, seconds: float, later: float, granted: float
) -> None:
    renewed = Lease(begins_at, seconds).renewed(sent_at=begins_at + later, seconds=granted)
    assert renewed.ends_at == begins_at + later + granted
