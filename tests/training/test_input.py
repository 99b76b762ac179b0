"""Batches made ahead: the right ones in the right order, errors where they belong, and threads that end."""

import threading
import time

import pytest

from jax_talker.training.input import DEPTH, Input


def same(x):
    return x


def threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("grain-prefetch")]


def test_batches_come_in_order_and_are_put_on_the_device_in_threads():
    where = []

    def put(n):
        where.append(threading.current_thread())
        return 10 * n

    def slower_first(k):
        time.sleep(0.05 if k == 3 else 0)
        return k

    with Input(slower_first, put, 3, 9) as made:
        assert list(made) == [30, 40, 50, 60, 70, 80]
    assert threading.main_thread() not in where


def test_a_resumed_run_begins_where_it_stopped_and_one_that_is_done_has_nothing():
    with Input(same, same, 0, 7) as made:
        whole = list(made)
    with Input(same, same, 4, 7) as made:
        assert list(made) == whole[4:]
    with Input(same, same, 7, 4) as made:
        assert list(made) == []


def test_an_error_is_raised_where_its_batch_would_have_come():
    def batch(k):
        if k == 2:
            raise ValueError("damaged frame")
        return k

    with Input(batch, same, 0, 9) as made:
        assert [next(made), next(made)] == [0, 1]
        with pytest.raises(ValueError, match="damaged frame") as raised:
            next(made)
    assert str(raised.value) == "damaged frame"


def test_few_are_made_ahead_and_threads_end_when_nobody_asks_any_more():
    before, asked = set(threads()), []
    with Input(lambda k: asked.append(k) or k, same, 0, 1000) as made:
        next(made)
        time.sleep(0.2)
        assert 2 <= len(asked) <= DEPTH + 1
        own = set(threads()) - before
    assert own
    for thread in own:
        thread.join(timeout=10)
        assert not thread.is_alive()


def test_the_share_of_time_that_was_waited():
    with Input(lambda k: time.sleep(0.05) or k, same, 0, 1000) as made:
        for _ in range(4 * DEPTH):
            next(made)
        assert made.share_waited() > 0.5  # nothing else is done
        time.sleep(0.05 * DEPTH + 0.3)
        next(made)
        assert made.share_waited() < 0.5  # they were made in the meantime
