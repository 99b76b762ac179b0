"""Scratch of the CPU rasteriser that is kept between calls: found again, bounded, and given back for other sizes."""

import jax
import numba
import numpy as np
import pytest

from kernels import rasterize
from kernels.cpu import memory
from kernels.dispatch import platform
from tests.kernels.scenes import look, random_gaussians

pytestmark = pytest.mark.skipif(platform() != "cpu", reason=f"numba runs on the CPU, found {platform()!r}")


@numba.njit
def take(count, size, blocks):
    for i in range(count):
        blocks[i] = memory.allocate(size)


@numba.njit
def give(count, blocks):
    for i in range(count):
        memory.release(blocks[i])


@numba.njit
def empty():
    memory.give_back()


@numba.njit
def write(address, size):
    memory.clear(address, size)


def gradient(count):
    def loss(gaussians, camera):
        return (rasterize(gaussians, camera, width=64, height=64, implementation="numba").image ** 2).sum()

    given = random_gaussians(jax.random.key(0), (1,), count=count), look(1, (1,), width=64, height=64)
    return jax.block_until_ready(jax.jit(jax.grad(loss))(*given))


@pytest.fixture(autouse=True)
def nothing_kept():
    empty()


def test_the_next_call_finds_it_again():
    """The same blocks, however often; another size adds its own."""
    first = gradient(5000)
    kept = memory.kept()
    assert kept
    assert memory.kept_bytes() == sum(kept.values()) <= memory.KEPT_AT_MOST
    again = gradient(5000)
    assert memory.kept() == kept
    jax.tree.map(np.testing.assert_array_equal, first, again)
    gradient(9000)
    assert memory.kept() != kept


def test_it_is_bounded():
    """Forty blocks of 32 MiB come back: half a GiB of them stays. Blocks of other sizes push them out by turn."""
    blocks = np.zeros(40, np.int64)
    take(40, 32 << 20, blocks)
    assert all(blocks)
    assert len(set(blocks)) == 40
    assert not any(blocks % 64)
    give(40, blocks)
    assert memory.kept_bytes() == sum(memory.kept().values()) <= memory.KEPT_AT_MOST
    assert 32 << 20 in memory.kept().values()
    for _ in range(3):
        take(40, 1 << 18, blocks)
        for block in blocks:
            write(block, 1 << 18)
        give(40, blocks)
    assert set(memory.kept().values()) == {1 << 18}
    empty()
    assert not memory.kept()
    assert memory.kept_bytes() == 0


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 1000, 12_345, 1 << 20, (1 << 20) + 1])
def test_room_is_what_was_asked_for_and_little_more(size):
    block = np.zeros(1, np.int64)
    take(1, size, block)
    write(block[0], size)
    room = numba.njit(lambda address: memory.peek(address - 16))(block[0])
    assert max(size, 1) <= room <= max(1.126 * size, size + 64)
    give(1, block)
