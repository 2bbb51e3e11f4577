import asyncio

from xcs_airflow.runtime.slots import Slots


def run(work):
    return asyncio.run(asyncio.wait_for(work(), 20))


async def turns(count=3):
    for _ in range(count):
        await asyncio.sleep(0)


def test_no_more_places_are_taken_than_there_are_and_who_waits_longest_is_next():
    async def work():
        slots = Slots(2)
        first = [await slots.take() for _ in range(2)]
        served = []

        async def wait(name):
            slot = await slots.take()
            served.append(name)
            return slot

        tasks = [asyncio.create_task(wait(name)) for name in "abc"]
        await turns()
        assert served == []
        first[0].leave()
        first[0].leave()  # a place is left once
        await turns()
        assert served == ["a"]
        (await tasks[0]).leave()
        first[1].leave()
        await asyncio.gather(*tasks)
        return served

    assert run(work) == ["a", "b", "c"]


def test_a_place_that_is_free_is_taken_at_once():
    slots = Slots(1)
    slot = slots.take_at_once()
    assert slot is not None
    assert slots.take_at_once() is None
    slot.leave()
    assert slots.take_at_once() is not None


def test_a_place_that_was_given_to_somebody_who_is_stopped_goes_to_the_next():
    async def work():
        slots = Slots(1)
        held = await slots.take()
        stopped, waits = asyncio.create_task(slots.take()), asyncio.create_task(slots.take())
        await turns()
        held.leave()  # it is given to the first, who is stopped before it goes on
        stopped.cancel()
        (await waits).leave()
        gone = asyncio.create_task(slots.take())
        await turns()
        (await gone).leave()
        return await slots.take()

    assert run(work) is not None


def test_who_is_stopped_while_it_waits_takes_nothing():
    async def work():
        slots = Slots(1)
        held = await slots.take()
        stopped = asyncio.create_task(slots.take())
        await turns()
        stopped.cancel()
        await turns()
        held.leave()
        return await slots.take()

    assert run(work) is not None
