"""The switching rule: how far throughput must fall, for how long a device then stays, and where it goes."""

from hawkops.fleet.switching import Configuration, Switching

ONE, TWO = Configuration("cpu", 1), Configuration("cpu", 2)


def watched(*readings: float) -> Switching:
    switching = Switching([ONE, TWO], ONE)
    for reading in readings:
        switching.reading(reading)
    return switching


def test_switching__too_few_readings__stays() -> None:
    assert watched(100, 100, 10, 10).wanted(now=0, threshold=0.1, cooldown_seconds=0) is None


def test_switching__steady__stays() -> None:
    switching = watched(100, 98, 102, 100, 99, 101, 97)
    assert switching.drop < 0.05
    assert switching.wanted(now=0, threshold=0.1, cooldown_seconds=0) is None


def test_switching__drop_beyond_the_threshold__goes_to_the_other() -> None:
    switching = watched(100, 100, 100, 100, 100, 60, 60, 60)
    assert switching.drop == 0.4
    assert switching.wanted(now=0, threshold=0.3, cooldown_seconds=60) == TWO


def test_switching__drop_equal_to_the_threshold__stays() -> None:
    switching = watched(100, 100, 100, 100, 100, 75, 75, 75)
    assert switching.wanted(now=0, threshold=0.25, cooldown_seconds=0) is None


def test_switching__single_slow_inference__stays() -> None:
    switching = watched(100, 100, 100, 100, 100, 10)
    assert switching.wanted(now=0, threshold=0.3, cooldown_seconds=0) is None


def test_switching__within_the_cooldown__stays() -> None:
    switching = watched()
    switching.switched(TWO, now=100.0)
    for reading in (100, 100, 100, 100, 100, 50, 50, 50):
        switching.reading(reading)
    assert switching.wanted(now=159.9, threshold=0.3, cooldown_seconds=60) is None
    assert switching.wanted(now=160.0, threshold=0.3, cooldown_seconds=60) == ONE


def test_switching__just_switched__forgets_the_old_reference() -> None:
    switching = watched(100, 100, 100, 100, 100)
    switching.switched(TWO, now=0.0)
    for _ in range(5):
        switching.reading(50)
    assert switching.reference == 50
    assert switching.drop == 0.0


def test_switching__slow_decline__is_measured_against_the_best() -> None:
    switching = watched(*range(100, 40, -2))
    assert switching.drop > 0.4


def test_switching__one_configuration__stays() -> None:
    switching = Switching([ONE], ONE)
    for reading in (100, 100, 100, 100, 100, 1, 1, 1):
        switching.reading(reading)
    assert switching.wanted(now=0, threshold=0.1, cooldown_seconds=0) is None


def test_switching__restarted__keeps_the_cooldown() -> None:
    switching = watched()
    switching.switched(TWO, now=100.0)
    switching.restart([Configuration("gpu"), ONE], Configuration("gpu"))
    assert switching.switched_at == 100.0
    assert switching.reference is None
