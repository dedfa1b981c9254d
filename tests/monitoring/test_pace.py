"""Turns of the event loop: so many tasks at once, the others in order, and nobody is lost."""

import asyncio

from monitoring.otlp.pace import Pace
from tests import apart


def turns(wanted: int, most: int, *, cancel: tuple[int, ...] = ()) -> list[list[int]]:
    """Which tasks went on in which turn of the loop, empty turns left out."""

    async def run() -> list[list[int]]:
        pace = Pace(most)
        seen: list[list[int]] = [[]]

        async def one(number: int) -> None:
            await pace.turn()
            seen[-1].append(number)

        tasks = [asyncio.create_task(one(number)) for number in range(wanted)]
        for turn in range(wanted + 5):
            await asyncio.sleep(0)
            if turn == 0:
                for number in cancel:
                    tasks[number].cancel()
            seen.append([])
        await asyncio.gather(*tasks, return_exceptions=True)
        return [found for found in seen if found]

    return apart.run(run())


def test_turn__more_than_fit__go_on_later_in_order() -> None:
    assert turns(7, 3) == [[0, 1, 2], [3, 4, 5], [6]]
    assert turns(3, 3) == [[0, 1, 2]]


def test_turn__one_is_cancelled_while_it_waits__nobody_stands_in_its_place() -> None:
    assert turns(6, 2, cancel=(2,)) == [[0, 1], [3, 4], [5]]


def test_turn__after_a_quiet_time__is_at_once() -> None:
    async def run() -> bool:
        pace = Pace(1)
        for _ in range(3):
            await pace.turn()
            await asyncio.sleep(0.01)
        waits = asyncio.ensure_future(pace.turn())
        await asyncio.sleep(0)
        return waits.done()

    assert apart.run(run())
