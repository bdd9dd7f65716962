"""Coroutines driven by their own events."""

import asyncio

from penstock.gateway.driving import Drive, Waiter


def drive(coroutine):
    failures = []
    Drive(coroutine, failures.append)
    return failures


def test_a_coroutine_runs_on_at_once_when_its_waiter_is_settled():
    waiter, seen = Waiter(), []

    async def story():
        seen.append("begun")
        seen.append(await waiter)

    failures = drive(story())
    assert seen == ["begun"]
    waiter.settle("value")
    assert seen == ["begun", "value"]
    assert failures == []


def test_a_waiter_settled_early_is_not_waited_for():
    waiter, seen = Waiter(), []
    waiter.settle(7)

    async def story():
        seen.append(await waiter)

    drive(story())
    assert seen == [7]


def test_an_error_given_to_a_waiter_is_raised_where_it_is_awaited():
    waiter, seen = Waiter(), []

    async def story():
        try:
            await waiter
        except OSError as error:
            seen.append(str(error))

    drive(story())
    waiter.fail(OSError("gone"))
    assert seen == ["gone"]


def test_an_error_nobody_catches_is_reported_once():
    waiter = Waiter()

    async def story():
        await waiter
        raise ValueError("mine")

    failures = drive(story())
    waiter.settle(None)
    assert [str(error) for error in failures] == ["mine"]


def test_timers_tasks_and_threads_can_be_awaited_too():
    seen = []

    async def main():
        loop = asyncio.get_running_loop()
        done = loop.create_future()

        async def story():
            await asyncio.sleep(0)
            await asyncio.sleep(0.001)
            seen.append(await loop.run_in_executor(None, lambda: "thread"))
            seen.append(await loop.create_task(asyncio.sleep(0, "task")))
            done.set_result(None)

        failures = drive(story())
        await asyncio.wait_for(done, 5)
        assert failures == []

    asyncio.run(main())
    assert seen == ["thread", "task"]
