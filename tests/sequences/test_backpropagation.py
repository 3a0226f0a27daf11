"""The three kinds of backpropagation against each other and against nets written another way."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dl_lectures.sequences import backpropagation, lstm

T, B, D, H = 12, 2, 3, 4


def step(params, carry, inputs):
    """An LSTM that is asked for a target at every step."""
    x, target = inputs
    carry, h = lstm.cell(params, carry, x)
    return carry, ((h - target) ** 2).sum()


def problem():
    rng = np.random.default_rng(0)

    def random_like(shape):
        return np.float32(0.7 * rng.normal(size=shape.shape))

    def shapes():
        params = lstm.init(jax.random.key(0), D, H)
        inputs = jnp.zeros((T, B, D)), jnp.zeros((T, B, H))
        return params, inputs, lstm.initial_carry(params, (B,))

    return jax.tree.map(random_like, jax.eval_shape(shapes))


def run(kind, **kwargs):
    return jax.jit(functools.partial(kind, step, **kwargs))(*problem())


def oracle(is_cut):
    """A plain loop over time in one graph; where `is_cut(t)` no gradient passes the carry."""

    def loss_fn(params):
        _, inputs, carry = problem()
        total = 0.0
        for t in range(T):
            if is_cut(t):
                carry = jax.lax.stop_gradient(carry)
            carry, loss = step(params, carry, jax.tree.map(lambda x, t=t: x[t], inputs))
            total += loss
        return total / T

    return jax.jit(jax.value_and_grad(loss_fn))(problem()[0])


def assert_close(found, expected):
    chex.assert_trees_all_close(found, expected, rtol=1e-4, atol=1e-6)


def test_whole_is_a_plain_loop():
    assert_close(run(backpropagation.whole), oracle(lambda t: False))


@pytest.mark.parametrize("chunk_length", [None, 1, 4, T])
def test_rematerialised_is_whole(chunk_length):
    found = run(backpropagation.rematerialised, chunk_length=chunk_length)
    assert_close(found, run(backpropagation.whole))


@pytest.mark.parametrize("chunk_length", [1, 4])
def test_truncated_stops_the_gradient_between_chunks(chunk_length):
    found = run(backpropagation.truncated, chunk_length=chunk_length)
    assert_close(found, oracle(lambda t: t % chunk_length == 0))
    loss, grads = run(backpropagation.whole)
    np.testing.assert_allclose(found[0], loss, rtol=1e-5)  # the loss is the same,
    assert np.abs(found[1].w_h - grads.w_h).max() > 1e-3  # its gradient is another one


def test_truncated_is_the_sum_over_chunks_with_a_given_carry():
    """As one would do it by hand: a gradient a chunk, the carry handed on as plain numbers."""
    params, inputs, carry = problem()

    @jax.jit
    def of_chunk(params, carry, chunk):
        def loss_fn(params):
            last, total = carry, 0.0
            for t in range(3):
                last, loss = step(params, last, jax.tree.map(lambda x, t=t: x[t], chunk))
                total += loss
            return total, last

        return jax.value_and_grad(loss_fn, has_aux=True)(params)

    totals = []
    for begin in range(0, T, 3):
        chunk = jax.tree.map(lambda x, b=begin: x[b : b + 3], inputs)
        (loss, carry), grads = of_chunk(params, carry, chunk)
        carry = jax.tree.map(np.asarray, carry)
        totals.append((loss, grads))
    expected = jax.tree.map(lambda *x: sum(x) / T, *totals)
    assert_close(run(backpropagation.truncated, chunk_length=3), expected)


@pytest.mark.parametrize("chunk_length", [T, 10 * T])
def test_truncated_later_than_the_end_is_whole(chunk_length):
    found = run(backpropagation.truncated, chunk_length=chunk_length)
    assert_close(found, run(backpropagation.whole))


def test_memory():
    """Four times the steps: four times, about twice, and no more memory."""

    def temporary_bytes(kind, num_steps):
        params, inputs, carry = problem()
        inputs = jax.tree.map(lambda x: np.resize(x, (num_steps, *x.shape[1:])), inputs)
        program = jax.jit(functools.partial(kind, step)).lower(params, inputs, carry).compile()
        return program.memory_analysis().temp_size_in_bytes

    kinds = (
        backpropagation.whole,
        backpropagation.rematerialised,
        functools.partial(backpropagation.truncated, chunk_length=16),
    )
    growth = [temporary_bytes(kind, 1024) / temporary_bytes(kind, 256) for kind in kinds]
    assert 3.6 < growth[0] < 4.4
    assert 1.5 < growth[1] < 2.6
    assert growth[2] < 1.1


@pytest.mark.parametrize(
    "kind", [backpropagation.rematerialised, backpropagation.truncated], ids=lambda k: k.__name__
)
@pytest.mark.parametrize("chunk_length", [-1, 5])
def test_chunks_must_divide_the_steps(kind, chunk_length):
    with pytest.raises(ValueError, match=f"chunks of {chunk_length} steps do not divide 12 steps"):
        run(kind, chunk_length=chunk_length)


def test_nearest_divisor():
    lengths = (1, 2, 7, 12, 64, 4096, 1000)
    assert [backpropagation.nearest_divisor(n) for n in lengths] == [1, 1, 1, 3, 8, 64, 25]
