"""The character model: its scan against a loop, its batches, its evaluation, what it writes."""

import dataclasses
import functools
import itertools
import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dl_lectures.data.text import NEWLINE, UNKNOWN
from dl_lectures.sequences import language_model
from dl_lectures.sequences.language_model import Config

V = 7
SMALL = Config(
    num_hidden=5, num_embedding=4, batch_size=3, num_unroll=6, warmup_steps=2, decay_steps=100
)
CONFIGS = {
    "default": SMALL,
    "two_layers": dataclasses.replace(
        SMALL, num_layers=2, dropout_hidden=0.2, dropout_input=0.2, tied_embedding=False
    ),
    "gru": dataclasses.replace(SMALL, cell="gru", dropout_mask="sequence", sampling="random"),
    "irnn": dataclasses.replace(SMALL, cell="irnn", average_decay=0.9, weight_decay=0.1),
}


@pytest.fixture(params=CONFIGS.values(), ids=CONFIGS.keys())
def config(request):
    return request.param


def params_of(config, num_symbols=V):
    """Parameters away from the start, where every symbol is equally likely."""
    params = language_model.init(config, jax.random.key(0), num_symbols)
    return jax.tree.map(lambda x: 2 * x, params)


@functools.partial(jax.jit, static_argnums=0)
def apply(config, params, carry, symbols, key=None):
    return language_model.apply(config, params, carry, symbols, key)


@functools.partial(jax.jit, static_argnums=0)
def cell(config, params, carry, symbol):
    return language_model.cell(config, params, carry, symbol)


@functools.partial(jax.jit, static_argnames="config")
def score(params, text, length=None, *, config):
    return language_model.score(params, text, length, config=config)


def jitted(config, num_symbols=V):
    return jax.tree.map(jax.jit, language_model.make(config, num_symbols))


def codes(length, seed=1):
    return jax.random.randint(jax.random.key(seed), (length,), 0, V)


# The model


@pytest.mark.parametrize("num_steps", [2, 12])  # fewer inputs than symbols, and more
def test_apply_is_a_loop_over_cell(config, num_steps):
    params = params_of(config)
    symbols = codes(3 * num_steps).reshape(num_steps, 3)
    carry = language_model.initial_carry(config, params, (3,))
    after, logits = apply(config, params, carry, symbols)
    expected = []
    for row in symbols:
        carry, one = cell(config, params, carry, row)
        expected.append(one)
    chex.assert_trees_all_close(logits, jnp.stack(expected), rtol=1e-5, atol=1e-5)
    chex.assert_trees_all_close(after, carry, rtol=1e-5, atol=1e-5)


def test_chunks_with_their_carry_are_the_whole_sequence(config):
    params = params_of(config)
    symbols = codes(24).reshape(12, 2)
    start = language_model.initial_carry(config, params, (2,))
    end, whole = apply(config, params, start, symbols)
    middle, first = apply(config, params, start, symbols[:5])
    after, second = apply(config, params, middle, symbols[5:])
    chex.assert_trees_all_close(jnp.concatenate([first, second]), whole, rtol=1e-5, atol=1e-5)
    chex.assert_trees_all_close(after, end, rtol=1e-5, atol=1e-5)


def test_a_batch_is_a_loop_over_its_sequences(config):
    params = params_of(config)
    symbols = codes(24).reshape(12, 2)
    start = language_model.initial_carry(config, params, (2,))
    _, logits = apply(config, params, start, symbols)
    for column in range(2):
        start = language_model.initial_carry(config, params)
        _, alone = apply(config, params, start, symbols[:, column])
        chex.assert_trees_all_close(logits[:, column], alone, rtol=1e-5, atol=1e-5)


def test_starts_near_the_uniform_distribution():
    """The loss at the start is log V, also with a large alphabet."""
    num_symbols = 500
    for tied in (True, False):
        config = Config(tied_embedding=tied)
        params = language_model.init(config, jax.random.key(0), num_symbols)
        text = jax.random.randint(jax.random.key(1), (200,), 0, num_symbols)
        nats = score(params, text, config=config)
        assert nats == pytest.approx(math.log(num_symbols), abs=0.1)


def test_dropout_keeps_the_mean_and_the_share():
    config = dataclasses.replace(SMALL, dropout_mask="step")
    xs = jnp.ones((40, 50, 7))
    dropped = language_model._dropout(config, 0.3, jax.random.key(0), xs)
    share = float((dropped == 0).mean())
    assert share == pytest.approx(77 / 256, abs=0.02)  # n = 14,000: 5 standard deviations
    np.testing.assert_allclose(dropped[dropped > 0], 256 / 179, rtol=1e-6)
    assert (dropped[0] != dropped[1]).any()
    kept = dataclasses.replace(SMALL, dropout_mask="sequence")
    dropped = language_model._dropout(kept, 0.3, jax.random.key(0), xs)
    np.testing.assert_array_equal(dropped, jnp.broadcast_to(dropped[:1], xs.shape))
    assert 0 < (dropped == 0).mean() < 1


def test_dropout_is_where_it_was_asked_for():
    """Each rate by itself changes the loss of a two-layer net; no key means no dropout."""
    plain = dataclasses.replace(SMALL, num_layers=2, dropout_output=0.0)
    params = params_of(plain)
    symbols, start = codes(20), language_model.initial_carry(plain, params)
    key = jax.random.key(3)
    _, expected = apply(plain, params, start, symbols)
    _, with_key = apply(plain, params, start, symbols, key)
    chex.assert_trees_all_close(with_key, expected, rtol=1e-5, atol=1e-6)
    for name in ("dropout_input", "dropout_hidden", "dropout_output"):
        config = dataclasses.replace(plain, **{name: 0.5})
        _, dropped = apply(config, params, start, symbols, key)
        _, undropped = apply(config, params, start, symbols)
        assert not np.allclose(dropped, expected, atol=1e-3), name
        chex.assert_trees_all_close(undropped, expected, rtol=1e-5, atol=1e-6)


# Training


def test_contiguous_streams_go_on_and_cover_the_text():
    config = dataclasses.replace(SMALL, batch_size=4, num_unroll=5)
    data = jnp.arange(103)
    chunks = [
        language_model.contiguous_chunk(config, data, jnp.int32(50), jnp.int32(t))
        for t in range(30)
    ]
    for chunk, after in itertools.pairwise(chunks):
        np.testing.assert_array_equal(chunk[:, -1], after[:, 0])
        np.testing.assert_array_equal((chunk[:, 0] + 5) % 103, after[:, 0])
        np.testing.assert_array_equal(chunk[:, 1:], (chunk[:, :-1] + 1) % 103)
    # Streams lie 103 // 4 = 25 characters apart: five steps reach the next, save the rest of 3.
    predicted = np.concatenate([chunk[:, 1:] for chunk in chunks[:6]], axis=None)
    assert set(predicted.tolist()) == set(range(103))
    assert len(set(np.concatenate([c[:, 1:] for c in chunks[:5]], axis=None).tolist())) == 100


def test_positions_do_not_overflow():
    config = dataclasses.replace(SMALL, num_unroll=64)
    data = jnp.arange(1_000_003)
    late, offset = 2_000_000_000, 2_147_483_646
    chunk = language_model.contiguous_chunk(config, data, jnp.int32(offset), jnp.int32(late))
    start = (offset + late * 64) % 1_000_003
    assert int(chunk[0, 0]) == start


def test_random_crops_are_consecutive_and_reach_both_ends():
    config = dataclasses.replace(SMALL, batch_size=200, num_unroll=5)
    crops = language_model.random_crops(config, jax.random.key(0), jnp.arange(12))
    np.testing.assert_array_equal(crops - crops[:, :1], np.tile(np.arange(6), (200, 1)))
    assert set(np.asarray(crops[:, 0]).tolist()) == set(range(7))  # 200 draws of 7: all but surely


def test_forgetting_zeroes_whole_streams():
    carry = (jnp.ones((1_000, 3)), jnp.ones((1_000, 2)))
    first, second = language_model.forget(jax.random.key(0), 0.1, carry)
    np.testing.assert_array_equal(first[:, 0], second[:, 1])
    assert float(first.mean()) == pytest.approx(0.9, abs=0.05)  # 5 standard deviations
    assert set(np.unique(first).tolist()) == {0.0, 1.0}


def test_step_carries_the_state_through_the_text():
    """With no forgetting, the carry after two steps is that of the text read in one go."""
    config = dataclasses.replace(SMALL, carry_reset=0.0, dropout_output=0.0, learning_rate=1e-30)
    learner = jitted(config)
    data = codes(101)
    state = learner.init(jax.random.key(0))
    for _ in range(2):
        state, _ = learner.step(state, data)
    streams = int(state.offset) % 101 + np.arange(3) * (101 // 3)
    symbols = data[(streams[None] + np.arange(12)[:, None]) % 101]
    start = language_model.initial_carry(config, state.params, (3,))
    expected, _ = apply(config, state.params, start, symbols)
    chex.assert_trees_all_close(state.carry, expected, rtol=1e-4, atol=1e-5)


def test_types_are_a_fixed_point_of_step(config):
    learner = language_model.make(config, V)
    state = jax.eval_shape(learner.init, jax.random.key(0))
    after, metrics = jax.eval_shape(learner.step, state, codes(50))
    chex.assert_trees_all_equal_shapes_and_dtypes(state, after)
    assert set(metrics) == {"loss", "grad_norm", "learning_rate"}
    assert all(m.shape == () and m.dtype == jnp.float32 for m in metrics.values())
    assert all(leaf.size for leaf in jax.tree.leaves(state))


def test_keys_are_used_once_and_step_is_traced_once():
    config = dataclasses.replace(CONFIGS["two_layers"], dropout_mask="sequence")
    learner = language_model.make(config, V)
    step = jax.jit(chex.assert_max_traces(learner.step, n=1))
    with jax.debug_key_reuse(True):
        state = jax.jit(learner.init)(jax.random.key(0))
        for _ in range(3):
            state, metrics = step(state, codes(50))
    assert int(state.t) == 3
    assert np.isfinite(metrics["loss"])


def test_seeds_differ_in_parameters_batches_and_dropout():
    learner = jitted(SMALL)
    keys = jax.vmap(jax.random.key)(jnp.arange(2))
    states = jax.jit(jax.vmap(learner.init))(keys)
    assert states.offset[0] != states.offset[1]
    assert not np.allclose(states.params.layers[0].w_h[0], states.params.layers[0].w_h[1])
    # The same weights and place in the text: only the dropout differs.
    one = jax.tree.map(lambda x: x[0], states)
    other = one._replace(key=states.key[1])
    losses = [float(learner.step(state, codes(50))[1]["loss"]) for state in (one, one, other)]
    assert losses[0] == losses[1] != losses[2]


def test_learning_rate_warms_up_and_decays():
    learner = jitted(SMALL)
    state, rates = learner.init(jax.random.key(0)), []
    for t in (0, 1, 2, 51, 100, 200):
        _, metrics = learner.step(state._replace(t=jnp.int32(t)), codes(50))
        rates.append(float(metrics["learning_rate"]))
    expected = [0, SMALL.learning_rate / 2, SMALL.learning_rate, SMALL.learning_rate / 2, 0, 0]
    np.testing.assert_allclose(rates, expected, atol=1e-8)


def test_average_follows_the_weights():
    config = dataclasses.replace(SMALL, average_decay=0.9)
    learner = jitted(config)
    state = learner.init(jax.random.key(0))
    after, _ = learner.step(state._replace(t=jnp.int32(10_000)), codes(50))
    expected = jax.tree.map(lambda a, p: 0.9 * a + 0.1 * p, state.average, after.params)
    chex.assert_trees_all_close(after.average, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("wrong", "flag"),
    [
        ({"num_hidden": 0}, "--num_hidden"),
        ({"dropout_output": 1.0}, "--dropout_output"),
        ({"learning_rate": 0.0}, "--learning_rate"),
        ({"warmup_steps": 1_000}, "--decay_steps"),
        ({"dropout_hidden": 0.1}, "--num_layers"),
        ({"weight_decay": -1.0}, "--weight_decay"),
    ],
)
def test_bad_configurations_name_the_flag(wrong, flag):
    with pytest.raises(ValueError, match=flag):
        Config(**wrong)


# Evaluation, ranking, sampling


@pytest.mark.parametrize("length", [40, 128, 300, 5_000])
def test_every_character_of_a_text_counts_once(length):
    """Against one character after another; the model forgets, so that 64 characters are enough."""
    params = params_of(SMALL)
    text = codes(length)
    nats = jax.jit(language_model.nll_of_text, static_argnums=0)(SMALL, params, text)
    assert nats == pytest.approx(float(score(params, text, config=SMALL)), rel=1e-4)


def test_evaluation_uses_the_average_in_nats_and_bits():
    learner = jitted(SMALL)
    state = learner.init(jax.random.key(0))
    state = state._replace(average=params_of(SMALL))
    metrics = learner.evaluate(jax.random.key(1), state, codes(300))
    nats = language_model.nll_of_text(SMALL, params_of(SMALL), codes(300))
    assert float(metrics["nll_nats_per_char"]) == pytest.approx(float(nats))
    assert float(metrics["bits_per_char"]) == pytest.approx(float(nats) / math.log(2))


def test_score_is_the_chain_rule_and_ignores_what_fills_up(config):
    params = params_of(config)
    text = codes(9)
    carry, total = language_model.initial_carry(config, params), 0.0
    for before, symbol in itertools.pairwise([NEWLINE, *text.tolist()]):
        carry, logits = cell(config, params, carry, jnp.int32(before))
        total -= float(jax.nn.log_softmax(logits)[symbol])
    assert score(params, text, config=config) == pytest.approx(total / 9, rel=1e-5)
    filled = jnp.concatenate([text, codes(5, seed=2)])
    padded = score(params, filled, jnp.int32(9), config=config)
    assert padded == pytest.approx(total / 9, rel=1e-5)


def test_sample_at_temperature_0_and_top_1_is_greedy(config):
    params = params_of(config)
    prompt = codes(4)
    carry, logits = language_model.initial_carry(config, params), None
    expected = []
    for symbol in [NEWLINE, *prompt.tolist()]:
        carry, logits = cell(config, params, carry, jnp.int32(symbol))
    for _ in range(10):
        expected.append(int(jnp.argmax(logits.at[UNKNOWN].set(-jnp.inf))))
        carry, logits = cell(config, params, carry, jnp.int32(expected[-1]))
    for options in ({"temperature": 0.0}, {"top_k": 1}, {"top_p": 1e-6}):
        sample = functools.partial(language_model.sample, length=10, config=config, **options)
        found = jax.jit(sample)(jax.random.key(0), params, prompt)
        np.testing.assert_array_equal(found, expected)


def test_samples_differ_by_key_and_follow_an_empty_prompt():
    params = params_of(SMALL)
    sample = functools.partial(language_model.sample, length=12, config=SMALL)
    keys = jax.random.split(jax.random.key(0), 5)
    texts = jax.vmap(sample, in_axes=(0, None, None))(keys, params, jnp.zeros(0, jnp.int32))
    assert texts.shape == (5, 12)
    assert len(np.unique(texts, axis=0)) == 5
    assert not (texts == UNKNOWN).any()
    np.testing.assert_array_equal(texts[2], sample(keys[2], params, jnp.zeros(0, jnp.int32)))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [0.5, 0, 0.3, 0.15, 0.05]),
        ({"temperature": 0.5}, np.array([0.25, 0, 0.09, 0.0225, 0.0025]) / 0.365),
        ({"top_k": 2}, [0.625, 0, 0.375, 0, 0]),
        ({"top_p": 0.7}, [0.625, 0, 0.375, 0, 0]),
        ({"top_p": 0.81}, np.array([0.5, 0, 0.3, 0.15, 0]) / 0.95),
        ({"top_k": 3, "top_p": 0.5}, [1, 0, 0, 0, 0]),
    ],
)
def test_draws_have_the_wanted_distribution(options, expected):
    """n = 20,000: no frequency is off by 0.02, which is 5.6 standard deviations or more."""
    logits = jnp.log(jnp.array([0.5, 0.9, 0.3, 0.15, 0.05]))  # the second is UNKNOWN, never drawn
    options = {"temperature": 1.0, "top_k": 0, "top_p": 1.0} | options
    keys = jax.random.split(jax.random.key(0), 20_000)
    draws = jax.vmap(lambda key: language_model.draw(key, logits, **options))(keys)
    frequencies = np.bincount(draws, minlength=5) / 20_000
    np.testing.assert_allclose(frequencies, expected, atol=0.02)
    np.testing.assert_array_equal(frequencies[np.asarray(expected) == 0], 0)


# Learning


def second_order_text(key, length):
    """x_t = x_{t-2} with probability 0.9, else one of 4 symbols; in codes 2 to 5.

    The last symbol alone tells nothing. The entropy rate, in nats, is that of one draw.
    """
    num_symbols, noise = 4, 0.1
    key_noise, key_symbols = jax.random.split(key)
    is_noise = jax.random.bernoulli(key_noise, noise, (length,))
    symbols = jax.random.randint(key_symbols, (length,), 0, num_symbols)

    def body(last_two, at_t):
        is_noise, symbol = at_t
        symbol = jnp.where(is_noise, symbol, last_two[0])
        return (last_two[1], symbol), symbol

    _, text = jax.lax.scan(body, (symbols[0], symbols[1]), (is_noise, symbols))
    stay, other = 1 - noise + noise / num_symbols, noise / num_symbols
    entropy = -stay * math.log(stay) - (num_symbols - 1) * other * math.log(other)
    return text + 2, entropy


def test_learns_a_source_of_known_entropy_and_not_without_its_past():
    """The median of 4 seeds is within 0.05 nats of the entropy; one step of past cannot be."""
    text, entropy = second_order_text(jax.random.key(0), 30_000)
    train, heldout = text[:20_000], text[20_000:]
    config = Config(
        num_hidden=16,
        num_embedding=8,
        batch_size=16,
        num_unroll=16,
        dropout_output=0.0,
        warmup_steps=20,
        decay_steps=400,
        learning_rate=2e-2,
    )
    found = {}
    for name, changed in {
        "whole": config,
        "blind": dataclasses.replace(config, num_unroll=1, sampling="random", batch_size=256),
    }.items():
        learner = language_model.make(changed, 6)

        @jax.jit
        def train_and_evaluate(key, learner=learner):
            state = learner.init(key)
            state, _ = jax.lax.scan(lambda s, _: learner.step(s, train), state, length=400)
            return learner.evaluate(key, state, heldout)["nll_nats_per_char"]

        keys = jax.random.split(jax.random.key(1), 4)
        found[name] = np.median(jax.vmap(train_and_evaluate)(keys))
    assert entropy - 0.02 < found["whole"] < entropy + 0.05
    assert found["blind"] > entropy + 0.5
