"""Batches made ahead: the same ones in the same order, errors where they belong, and a thread that ends."""

import threading
import time

import pytest

from jax_talker.training.ahead import Ahead


def threads():
    return [thread for thread in threading.enumerate() if thread.name == "batches"]


def test_batches_come_in_order_and_are_put_on_the_device_in_the_thread():
    where = []

    def put(n):
        where.append(threading.current_thread().name)
        return 10 * n

    with Ahead(iter(range(5)), put) as ahead:
        assert list(ahead) == [0, 10, 20, 30, 40]
    assert set(where) == {"batches"}
    assert not threads()


def test_an_error_is_raised_where_its_batch_would_have_come():
    def batches():
        yield 1
        yield 2
        raise ValueError("damaged frame")

    with Ahead(batches(), lambda n: n) as ahead:
        assert [next(ahead), next(ahead)] == [1, 2]
        with pytest.raises(ValueError, match="damaged frame"):
            next(ahead)


def test_few_are_made_ahead_and_the_thread_ends_when_nobody_asks_any_more():
    made = []

    def batches():
        for n in range(1000):
            made.append(n)
            yield n

    with Ahead(batches(), lambda n: n, depth=2) as ahead:
        next(ahead)
        time.sleep(0.2)
        assert len(made) <= 5
    assert not threads()


def test_the_share_of_time_that_was_waited():
    def slow():
        while True:
            time.sleep(0.05)
            yield 0

    with Ahead(slow(), lambda n: n) as ahead:
        for _ in range(4):
            next(ahead)
        assert ahead.share_waited() > 0.5  # nothing else is done
        time.sleep(0.3)
        next(ahead)
        assert ahead.share_waited() < 0.5  # they were made in the meantime
