"""The cells whose gates see only the input, and the linear recurrence that is left of them."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dl_lectures.sequences import language_model, min_gru, min_lstm, recurrence

FORMS = ("sequential", "parallel")
CELLS = {"min_gru": min_gru, "min_lstm": min_lstm}


@pytest.fixture(params=CELLS)
def name(request):
    return request.param


# The linear recurrence


def coefficients(num_steps, batch_shape=(), seed=0):
    """a of both signs, most of them forgetting, some hardly; b, h_0 and a weight of each h."""
    rng = np.random.default_rng(seed)
    shape = (num_steps, *batch_shape, 3)
    a = np.tanh(2 * rng.normal(size=shape))
    arrays = a, rng.normal(size=shape), rng.normal(size=shape[1:]), rng.normal(size=shape)
    return jax.tree.map(np.float32, arrays)


def loop(a, b, initial):
    hs, h = [], initial
    for a_t, b_t in zip(a, b, strict=True):
        h = a_t * h + b_t
        hs.append(h)
    return np.stack(hs)


@pytest.mark.parametrize("form", [*FORMS, None])
@pytest.mark.parametrize("num_steps", [1, 2, 7, 1_000])
def test_linear_is_a_loop(form, num_steps):
    """In values; gradients as those of a scan without our own backward pass."""
    *arguments, weights = coefficients(num_steps, (2, 1))

    def definition(a, b, initial):
        cell = lambda _, h, at_t: 2 * (at_t[0] * h + at_t[1],)
        return recurrence.scan(cell, None, (a, b), initial)[1]

    def outputs_and_grads(function):
        def loss(arguments):
            hs = function(*arguments)
            return (weights * hs).sum(), hs

        return jax.jit(jax.grad(loss, has_aux=True))(arguments)

    linear = functools.partial(recurrence.linear, form=form)
    grads, hs = outputs_and_grads(linear)
    np.testing.assert_allclose(hs, loop(*map(np.float64, arguments)), rtol=1e-5, atol=1e-5)
    expected, _ = outputs_and_grads(definition)
    chex.assert_trees_all_close(grads, expected, rtol=1e-5, atol=1e-5)


def test_form_follows_the_device():
    """The scan on CPU, none on a GPU."""
    *arguments, _ = coefficients(16)

    def loss(arguments):
        return (recurrence.linear(*arguments) ** 2).sum()

    traced = jax.jit(jax.grad(loss)).trace(arguments)
    for platform, num_loops in {"cpu": 2, "cuda": 0}.items():
        program = traced.lower(lowering_platforms=(platform,)).as_text()
        assert program.count("stablehlo.while") == num_loops


def test_choice_of_the_device_costs_nothing():
    """No bits and no branch under jit, vmap, scan, rematerialisation and gradients."""
    *arguments, weights = coefficients(20, (2, 4))
    a, b, initial = (np.moveaxis(x, -3, 0) for x in arguments)

    def descend(form):
        @jax.checkpoint
        def loss(b, a, initial):
            hs = recurrence.linear(a, b, initial, form)
            return (weights[:, 0] * hs**2).sum()

        def step(b, _):
            losses, grads = jax.vmap(jax.value_and_grad(loss))(b, a, initial)
            return b - 0.1 * grads, losses

        return jax.jit(lambda b: jax.lax.scan(step, b, length=3)).lower(b).compile()

    chosen = descend(None)
    assert "conditional(" not in chosen.as_text()
    chex.assert_trees_all_equal(chosen(b), descend("sequential")(b))
    chex.assert_trees_all_close(chosen(b), descend("parallel")(b), rtol=1e-4, atol=1e-4)


# Depth


def depths(jaxpr, consts, *inputs):
    """For each number of each output the most multiplications on a path from the inputs to it.

    Runs the program with the depth of every number in place of the number.
    """
    known = dict(zip(jaxpr.constvars, consts, strict=True))
    known |= dict(zip(jaxpr.invars, inputs, strict=True))

    def depth_of(var):
        return np.zeros(var.aval.shape, np.float32) if hasattr(var, "val") else known[var]

    for eqn in jaxpr.eqns:
        xs = [depth_of(var) for var in eqn.invars]
        known |= dict(zip(eqn.outvars, depths_of_equation(eqn, xs), strict=True))
    return [depth_of(var) for var in jaxpr.outvars]


def depths_of_equation(eqn, xs):
    name, params = eqn.primitive.name, eqn.params
    inner = params.get("jaxpr", params.get("call_jaxpr"))
    if name == "scan":
        num_fixed, num_carried = params["num_consts"], params["num_carry"]
        fixed, carry = xs[:num_fixed], xs[num_fixed : num_fixed + num_carried]
        times = range(params["length"])
        rows = []
        for t in reversed(times) if params["reverse"] else times:
            at_t = [x[t] for x in xs[num_fixed + num_carried :]]
            out = depths(inner.jaxpr, zeros(inner.consts), *fixed, *carry, *at_t)
            carry = out[:num_carried]
            rows.append(out[num_carried:])
        rows = rows[::-1] if params["reverse"] else rows
        return [*carry, *(np.stack(stack) for stack in zip(*rows, strict=True))]
    if inner is not None:
        return depths(inner.jaxpr, zeros(inner.consts), *xs)
    if name in ("mul", "add", "add_any"):
        return [np.maximum(*xs) + (name == "mul")]
    if name in ("slice", "concatenate", "pad", "rev", "reshape", "squeeze", "broadcast_in_dim"):
        return [np.asarray(eqn.primitive.bind(*xs, **params))]
    raise AssertionError(f"the program has a primitive whose depth is not known here: {name}")


def zeros(consts):
    return [np.zeros(np.shape(x), np.float32) for x in consts]


def counted_depth(function, *inputs):
    closed = jax.make_jaxpr(function)(*inputs)
    outputs = depths(closed.jaxpr, zeros(closed.consts), *zeros(inputs))
    return max(int(x.max()) for x in outputs)


@pytest.mark.parametrize("form", FORMS)
def test_depth_is_that_of_the_program(form):
    for num_steps in (1, 2, 3, 6, 7, 10, 11, 15, 22):
        *arguments, weights = coefficients(num_steps)
        linear = functools.partial(recurrence.linear, form=form)
        assert counted_depth(linear, *arguments) == recurrence.depth(num_steps, form)

    def gradient(d_hs):  # by b, which needs nothing of the forward pass
        return jax.vjp(linear, *arguments)[1](d_hs)[1]

    # As deep, but for the multiply-add with the initial state.
    assert counted_depth(gradient, weights) == recurrence.depth(num_steps, form) - 1


def test_depth_by_hand():
    found = {n: recurrence.depth(n, "parallel") for n in (1, 2, 4, 8, 64, 8192)}
    assert found == {1: 1, 2: 2, 4: 3, 8: 5, 64: 11, 8192: 25}
    assert recurrence.depth(8192, "sequential") == 8192


# The cells


def problem(name, num_steps, batch_shape=(), num_inputs=3, num_hidden=4):
    """Parameters, inputs and an initial carry, all random."""
    rng = np.random.default_rng(0)
    num_columns = {"min_gru": 2, "min_lstm": 3}[name] * num_hidden
    shapes = (num_inputs, num_columns), num_columns, (num_steps, *batch_shape, num_inputs)
    w_x, b, xs = (np.float32(rng.normal(size=shape)) for shape in shapes)
    h = np.float32(rng.normal(size=(*batch_shape, num_hidden)))
    return CELLS[name].Params(w_x, b), xs, CELLS[name].Carry(h)


def test_cell_is_the_papers_equations(name):
    """Sections 3.1 and 3.2 in float64, one linear layer for each gate."""

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    params, xs, carry = problem(name, 6, (2,))
    gates = np.split(xs.astype(np.float64) @ params.w_x + params.b, params.b.size // 4, axis=-1)
    n = gates[-1]
    if name == "min_gru":
        z = sigmoid(gates[0])
        expected = loop(1 - z, z * n, carry.h)
    else:
        f, i = sigmoid(gates[0]), sigmoid(gates[1])
        expected = loop(f / (f + i), i / (f + i) * n, carry.h)
    last, hs = recurrence.scan(CELLS[name].cell, params, xs, carry)
    np.testing.assert_allclose(hs, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(last.h, hs[-1])


@pytest.mark.parametrize("batch_shape", [(), (2, 3)], ids=str)
def test_parallel_is_sequential(name, batch_shape):
    """Over 1,000 steps, in values and in the gradients by parameters, inputs and carry."""

    def outputs_and_grads(form):
        def loss(params, xs, carry):
            outputs = CELLS[name].apply(params, xs, carry, form)
            return (outputs[1] ** 2).mean() + outputs[0].h.sum(), outputs

        grads = jax.jit(jax.grad(loss, (0, 1, 2), has_aux=True))
        return grads(*problem(name, 1_000, batch_shape))

    chex.assert_trees_all_close(
        outputs_and_grads("parallel"), outputs_and_grads("sequential"), rtol=1e-4, atol=1e-5
    )


def test_gates_of_min_lstm_sum_to_1_even_if_both_are_closed():
    columns = np.float32([[-200, 200, -200, 0, 3], [-200, 200, 0, -200, -1], 5 * [7]])
    f, i, n = jax.jit(min_lstm.gates)(columns.reshape(-1))
    np.testing.assert_allclose(f + i, 1, rtol=1e-6)
    sigmoid = 1 / (1 + np.exp(-columns[:2, -1].astype(np.float64)))
    np.testing.assert_allclose(f, [0.5, 0.5, 0, 1, sigmoid[0] / sigmoid.sum()], atol=1e-6)
    np.testing.assert_array_equal(n, 7)
    slopes = jax.jit(jax.grad(lambda x: min_lstm.gates(x)[0].sum()))(columns.reshape(-1))
    # Of two closed gates e^f and e^i remain, f' = sigmoid(f - i).
    np.testing.assert_allclose(slopes.reshape(3, 5)[:2, 0], [0.25, -0.25], rtol=1e-6)
    assert np.isfinite(slopes).all()


def test_initial_gates(name):
    """z is 1/2 and, with the forget gate's bias of 1, f' = sigmoid(1) / (sigmoid(1) + 1/2)."""
    module = CELLS[name]
    params = module.init(jax.random.key(0), 3, 4)
    gate = module.gates(module.project(params, np.zeros((1, 3), np.float32)))[0]
    np.testing.assert_allclose(gate, {"min_gru": 0.5, "min_lstm": 0.5938453}[name], rtol=1e-6)


def test_language_model_learns_scores_and_writes(name):
    """A text of period 3 whose last symbol alone does not tell the next."""
    text = jnp.array([2, 2, 3] * 100, jnp.int32)
    config = language_model.Config(
        cell=name,
        num_hidden=16,
        num_embedding=8,
        batch_size=8,
        num_unroll=16,
        dropout_output=0.0,
        warmup_steps=10,
        decay_steps=200,
        learning_rate=2e-2,
    )
    learner = language_model.make(config, 4)

    @jax.jit
    def train(key):
        step = lambda state, _: learner.step(state, text)
        return jax.lax.scan(step, learner.init(key), length=200)[0].params

    params = train(jax.random.key(0))
    score = functools.partial(language_model.score, config=config)
    assert jax.jit(score)(params, text[:30]) < 0.15  # a memory of one symbol reaches 0.46 at best
    sample = functools.partial(language_model.sample, length=9, config=config, temperature=0.0)
    written = jax.jit(sample)(jax.random.key(1), params, text[:30])
    np.testing.assert_array_equal(written, [2, 2, 3] * 3)
