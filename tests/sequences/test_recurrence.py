"""What must hold for every recurrent cell; the comparisons with other libraries have own files."""

import functools

import chex
import jax
import jax.numpy as jnp
import jax.test_util
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from dl_lectures.sequences import gru, irnn, lstm, min_gru, min_lstm, recurrence, rnn

CELLS = {
    "rnn": rnn,
    "irnn": irnn,
    "gru": gru,
    "lstm": lstm,
    "min_gru": min_gru,
    "min_lstm": min_lstm,
}
T, B, D, H = 5, 4, 3, 6


@pytest.fixture(params=CELLS)
def module(request):
    return CELLS[request.param]


def random_like(seed, tree, scale=0.5):
    """Normal numbers in place of every leaf: zeros and identities hide mistakes."""
    rng = np.random.default_rng(seed)  # compiles nothing
    return jax.tree.map(lambda x: np.float32(scale * rng.normal(size=x.shape)), tree)


def problem(module, batch_shape=(B,), num_inputs=D, seed=0):
    """Parameters, inputs and an initial carry, all random."""

    def shapes():
        params = module.init(jax.random.key(0), num_inputs, H)
        xs = jnp.zeros((T, *batch_shape, num_inputs))
        return params, xs, module.initial_carry(params, batch_shape)

    return random_like(seed, jax.eval_shape(shapes))


def weighted_sum(tree):
    """A scalar in which every entry of the leaves counts differently."""
    weights = random_like(1, tree)
    return sum(jax.tree.leaves(jax.tree.map(lambda x, w: (x * w).sum(), tree, weights)))


def definition(module, params, xs, carry):
    return recurrence.scan(module.cell, params, xs, carry)


def test_definition_is_a_loop_over_time(module):
    def loop(params, xs, carry):
        hs = []
        for x in xs:
            carry, h = module.cell(params, carry, x)
            hs.append(h)
        return carry, jnp.stack(hs)

    expected = jax.jit(loop)(*problem(module))
    result = definition(module, *problem(module))
    chex.assert_trees_all_close(result, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("batch_shape", "num_inputs"), [((), D), ((2, 3), D), ((2, 3), 20)], ids=str
)
def test_apply_is_its_definition(module, batch_shape, num_inputs):
    """In values and in the gradients by parameters, inputs, few or many, and initial carry."""

    def outputs_and_grads(function):
        def loss(arguments):
            outputs = function(*arguments)
            return weighted_sum(outputs), outputs  # of the last carry, too

        return jax.jit(jax.grad(loss, has_aux=True))(problem(module, batch_shape, num_inputs))

    chex.assert_trees_all_close(
        outputs_and_grads(module.apply),
        outputs_and_grads(functools.partial(definition, module)),
        rtol=1e-5,
        atol=1e-5,
    )


def test_definition_has_forward_mode(module):
    """The derivative along a direction equals the gradient times the direction."""
    arguments = problem(module, ())
    direction = problem(module, (), seed=2)

    def loss(*arguments):
        return weighted_sum(definition(module, *arguments))

    def slopes(arguments, direction):
        grads = jax.grad(loss, (0, 1, 2))(*arguments)
        products = jax.tree.map(lambda g, d: (g * d).sum(), grads, direction)
        return jax.jvp(loss, arguments, direction)[1], sum(jax.tree.leaves(products))

    forward, reverse = jax.jit(slopes)(arguments, direction)
    np.testing.assert_allclose(forward, reverse, rtol=1e-4)


def test_starts_from_zeros(module):
    params, xs, _ = problem(module)
    zeros = module.initial_carry(params, (B,))
    assert not any(leaf.any() for leaf in zeros)
    chex.assert_trees_all_equal(module.apply(params, xs), module.apply(params, xs, zeros))


def test_gradients_by_finite_differences(module):
    jax.test_util.check_grads(
        jax.jit(lambda *arguments: weighted_sum(module.apply(*arguments))),
        problem(module, ()),
        order=1,
        modes=["rev"],
        rtol=2e-2,
        atol=2e-2,
    )


def test_is_causal(module):
    """dh_t / dx_s is zero exactly where s > t."""
    # Positive numbers only, so that no ReLU is cut off.
    params, xs, carry = jax.tree.map(np.abs, problem(module, ()))
    jacobian = jax.jit(jax.jacobian(lambda xs: module.apply(params, xs, carry)[1]))(xs)
    reached = np.abs(jacobian).sum((1, 3)) > 0  # of [T, H, T, D]
    np.testing.assert_array_equal(reached, np.tri(T, dtype=bool))


def test_jacobian_is_its_definitions(module):
    """dh_T / dh_0, which experiments on gradients through time take."""
    params, xs, carry = problem(module, ())

    def jacobian(function):
        return jax.jit(jax.jacobian(lambda carry: function(params, xs, carry)[0]))(carry)

    chex.assert_trees_all_close(
        jacobian(module.apply),
        jacobian(functools.partial(definition, module)),
        rtol=1e-5,
        atol=1e-6,
    )


def test_two_halves_make_a_whole(module):
    params, xs, first = problem(module)
    middle, hs_1 = module.apply(params, xs[:2], first)
    last, hs_2 = module.apply(params, xs[2:], middle)
    chex.assert_trees_all_close(
        (last, jnp.concatenate([hs_1, hs_2])), module.apply(params, xs, first), rtol=1e-5, atol=1e-6
    )


def test_projected_inputs(module):
    params, xs, carry = problem(module)
    projected_xs = module.project(params, xs)
    chex.assert_trees_all_close(
        module.apply_projected(params, projected_xs, carry),
        module.apply(params, xs, carry),
        rtol=1e-5,
        atol=1e-6,
    )


def loss_and_grads(module, params, xs, carry):
    return jax.value_and_grad(lambda *a: weighted_sum(module.apply(*a)), (0, 1, 2))(
        params, xs, carry
    )


def test_seeds_are_a_loop(module):
    """vmap over parameters, inputs and carries, as the trainer does with seeds."""
    problems = [problem(module, seed=i) for i in range(2)]
    stacked = jax.tree.map(lambda *x: np.stack(x), *problems)
    f = functools.partial(loss_and_grads, module)
    one = jax.jit(f)
    expected = jax.tree.map(lambda *x: np.stack(x), *(one(*p) for p in problems))
    chex.assert_trees_all_close(jax.jit(jax.vmap(f))(*stacked), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("num_seeds", [1, 2])
def test_devices_do_not_matter(module, num_seeds):
    """Seeds over one mesh axis, the batch over the other, as the trainer lays them out."""
    params, xs, carry = problem(module)
    many_params = jax.tree.map(lambda x: np.stack([x, 2 * x])[:num_seeds], params)
    f = functools.partial(loss_and_grads, module)
    expected = jax.jit(jax.vmap(f, in_axes=(0, None, None)))(many_params, xs, carry)
    mesh = jax.make_mesh(
        (num_seeds, 2 // num_seeds), ("seed", "batch"), axis_types=(AxisType.Auto,) * 2
    )

    def sharded(params, xs, carry):
        constrain = jax.lax.with_sharding_constraint
        xs = constrain(xs, PartitionSpec(None, "batch"))
        return f(params, xs, constrain(carry, PartitionSpec("batch")))

    with jax.set_mesh(mesh):
        many_params = jax.device_put(many_params, NamedSharding(mesh, PartitionSpec("seed")))
        batched = jax.vmap(sharded, in_axes=(0, None, None), spmd_axis_name="seed")
        result = jax.jit(batched)(many_params, xs, carry)
    chex.assert_trees_all_close(result, expected, rtol=1e-5, atol=1e-5)


def test_outer_sum():
    xs, ys = np.arange(24.0).reshape(3, 2, 4), np.arange(30.0).reshape(3, 2, 5)
    expected = np.einsum("tbm,tbn->mn", xs, ys)
    np.testing.assert_allclose(recurrence.outer_sum(xs, ys), expected, rtol=1e-6)


def test_tokens_are_rows_of_projected_embeddings():
    params, _, _ = problem(lstm)
    embedding = random_like(2, jnp.zeros((7, D)))
    ids = np.random.default_rng(3).integers(7, size=(T, B), dtype=np.int32)

    def embedded(params, embedding):
        return jax.nn.one_hot(ids, 7) @ embedding @ params.w_x + params.b[None, None]

    def looked_up(params, embedding):
        return recurrence.lookup(lstm.project(params, embedding), ids)

    def outputs_and_grads(function):
        def loss(*arguments):
            outputs = function(*arguments)
            return weighted_sum(jnp.tanh(outputs)), outputs

        return jax.jit(jax.grad(loss, (0, 1), has_aux=True))(params, embedding)

    chex.assert_trees_all_close(
        outputs_and_grads(looked_up), outputs_and_grads(embedded), rtol=1e-5, atol=1e-5
    )
