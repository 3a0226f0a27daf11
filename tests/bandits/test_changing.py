"""Policies that forget, against sums over all that was ever paid, and CUSUM against its chain."""

import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dl_lectures.bandits import arms, beta, changing, rewards, simulate, thompson, ucb

NUM_STEPS, NUM_ARMS, NUM_RUNS = 300, 3, 4
MEANS = np.array([0.2, 0.5, 0.8])


def payouts(law="uniform"):
    """What each arm would pay at each step, float32 [T, K, N]; halfway best and worst swap."""
    draw = np.random.default_rng(0)
    shape = (NUM_STEPS, NUM_ARMS, NUM_RUNS)
    is_late = np.arange(NUM_STEPS)[:, None] >= NUM_STEPS // 2
    means = np.where(is_late, MEANS[::-1], MEANS)[..., None]
    table = draw.random(shape) < means if law == "bernoulli" else means * draw.random(shape)
    return table.astype(np.float32)


@jax.jit
def play(policy, table, luck):
    """The last state, and the pulls, [T, N], where an arm pays what the table says."""
    num_arms, num_runs = table.shape[1:]

    def step(memory, inputs):
        paid, dice = inputs
        arm = policy.select(memory, dice)
        return policy.update(memory, arm, arms.of_arm(paid, arm)), arm

    return jax.lax.scan(step, policy.init(num_arms, num_runs), (table, luck))


def pulls(policy, table, luck=None):
    luck = np.zeros((len(table), 1), np.float32) if luck is None else luck
    return np.asarray(play(policy, table, luck)[1])


def check_pulls(found, table, index):
    """Each pull is of the greatest index, up to the rounding of float32.

    Args:
      found: [T, N].
      table: [T, K, N].
      index: (arms so far [t], their rewards [t], arm) -> index.
    """
    table = table.astype(float)
    num_others = 0
    for run in range(NUM_RUNS):
        for t, arm in enumerate(found[:, run]):
            past = found[:t, run]
            paid = table[np.arange(t), past, run]
            indices = [index(past, paid, k) for k in range(NUM_ARMS)]
            assert indices[arm] >= max(indices) - 1e-5, (run, t, indices)
            num_others += arm != np.argmax(indices)
    assert num_others <= 2


def test_discounted_ucb_is_that_of_the_paper():
    table = payouts()
    discount, xi, bound = 0.95, 0.6, 1.5

    def index(past, paid, arm):
        weights = discount ** np.arange(len(past))[::-1]
        count = weights[past == arm].sum()
        if not count:
            return math.inf
        mean = (weights * paid)[past == arm].sum() / count
        return mean + 2 * bound * math.sqrt(xi * math.log(weights.sum()) / count)

    found = pulls(changing.discounted_ucb(discount, xi, bound), table)
    check_pulls(found, table, index)
    np.testing.assert_array_equal(found[:NUM_ARMS, 0], np.arange(NUM_ARMS))


@pytest.mark.parametrize(("window", "longest"), [(40, None), (40, 64), (2, None), (NUM_STEPS, 700)])
def test_sliding_window_ucb_is_that_of_the_paper(window, longest):
    table = payouts()
    xi, bound = 0.6, 0.5

    def index(past, paid, arm):
        last = paid[-window:][past[-window:] == arm]
        if not len(last):
            return math.inf
        return last.mean() + bound * math.sqrt(xi * math.log(min(len(past), window)) / len(last))

    policy = changing.sliding_window_ucb(window, xi, bound, longest)
    check_pulls(pulls(policy, table), table, index)


def cusum_pulls(uniforms, table, num_baseline, tolerance, threshold, exploration, xi):
    """Algorithms 1 and 2 of the paper for one run; uniforms [T], table [T, K]."""
    lists = [[] for _ in range(NUM_ARMS)]
    found, num_alarms = [], 0
    for uniform, paid in zip(uniforms, table, strict=True):
        total = sum(map(len, lists))
        indices = [
            np.mean(x) + math.sqrt(xi * math.log(total) / len(x)) if x else math.inf for x in lists
        ]
        explores = uniform < exploration
        arm = int(uniform / exploration * NUM_ARMS) if explores else int(np.argmax(indices))
        found.append(arm)
        lists[arm].append(paid[arm])
        centre = np.mean(lists[arm][:num_baseline])
        up = down = 0.0
        for reward in lists[arm][num_baseline:]:
            up = max(0.0, up + reward - centre - tolerance)
            down = max(0.0, down + centre - reward - tolerance)
        if max(up, down) >= threshold:
            lists[arm] = []
            num_alarms += 1
    return found, num_alarms


def test_cusum_ucb_is_that_of_the_paper():
    """Pull for pull; luck and rewards are such that rounding never decides."""
    table = payouts()
    uniforms = np.random.default_rng(1).random((NUM_STEPS, NUM_RUNS)).astype(np.float32)
    numbers = (10, 0.05, 1.5, 0.1, 0.5)
    found = pulls(changing.cusum_ucb(*numbers), table, uniforms)
    num_alarms = 0
    for run in range(NUM_RUNS):
        args = (uniforms[:, run].astype(float), table[..., run].astype(float), *numbers)
        expected, alarms = cusum_pulls(*args)
        np.testing.assert_array_equal(found[:, run], expected)
        num_alarms += alarms
    assert num_alarms >= NUM_RUNS


def watch(policy, rewards_of_one):
    """Pulls of the first arm after each reward, [T, N], when no other is ever pulled."""
    num_runs = rewards_of_one.shape[1]

    def step(memory, reward):
        memory = policy.update(memory, jnp.zeros(num_runs, jnp.int32), reward)
        return memory, memory.sums.counts

    counts = jax.lax.scan(step, policy.init(2, num_runs), rewards_of_one)[1]
    assert not counts[:, 1].any()
    return np.asarray(counts[:, 0])


def test_cusum_raises_false_alarms_at_the_exact_rate():
    """With rewards of 0 and 1 and a baseline of 1/2, g+ and g- walk on quarters: a finite chain."""
    num_steps, num_runs, threshold = 60, 20_000, 2.0
    law = np.zeros((8, 8))  # of 4 g+ and 4 g- without an alarm so far
    law[0, 0] = 1
    for _ in range(num_steps):
        new = np.zeros_like(law)
        for up, down in np.argwhere(law):
            for up_step, down_step in ((1, -3), (-3, 1)):
                ends = max(up + up_step, 0), max(down + down_step, 0)
                if max(ends) < 8:
                    new[ends] += law[up, down] / 2
        law = new
    policy = changing.cusum_ucb(2, 0.25, threshold, 0.0)
    coins = np.random.default_rng(2).integers(2, size=(num_steps, num_runs))
    first = np.tile(np.array([[0], [1]]), num_runs)
    counts = watch(policy, np.concatenate([first, coins]).astype(np.float32))
    share = (counts[-1] == num_steps + 2).mean()
    expected = law.sum()
    assert 0.1 < expected < 0.9
    assert abs(share - expected) < 4.5 * math.sqrt(expected * (1 - expected) / num_runs)


@pytest.mark.parametrize("reward", [0.0, 1.0])
def test_cusum_finds_a_change(reward):
    """From g = 0 on each reward adds 1/4, in either direction: the alarm comes with the eighth."""
    policy = changing.cusum_ucb(2, 0.25, 2.0, 0.0)
    before = np.array([0, 1, 0.5, 0.5])
    counts = watch(policy, np.append(before, np.full(9, reward))[:, None].astype(np.float32))
    np.testing.assert_array_equal(counts[:, 0], [*range(1, 12), 0, 1])


def test_who_forgets_nothing_is_ucb1():
    table = payouts()
    none = np.ones((NUM_STEPS, 1), np.float32)  # dice that never explore
    xi, bound = 0.6, 0.7
    one = pulls(ucb.ucb1(bound * math.sqrt(xi)), table)
    two = pulls(ucb.ucb1(2 * bound * math.sqrt(xi)), table)
    rooted = pulls(ucb.ucb1(math.sqrt(xi)), table)
    assert (one != two).any()
    for policy, expected in (
        (changing.discounted_ucb(1.0, xi, bound), two),
        (changing.sliding_window_ucb(NUM_STEPS, xi, bound), one),
        (changing.cusum_ucb(5, 0.1, 1e6, 0.0, xi), rooted),
    ):
        assert (pulls(policy, table, none) == expected).mean() > 0.99  # rounding may swap two


def test_discounted_thompson_forgets_as_the_paper_does():
    table = payouts("bernoulli")
    luck = beta.draw_beta(jax.random.key(0), NUM_STEPS, NUM_ARMS, NUM_RUNS)
    discount = 0.9
    policy = changing.discounted_thompson(discount, 2.0, 3.0)
    memory, found = play(policy, table, luck)
    weights = discount ** np.arange(NUM_STEPS)[::-1, None, None]
    chosen = np.asarray(found)[:, None] == np.arange(NUM_ARMS)[:, None]
    np.testing.assert_allclose(memory.successes, (weights * chosen * table).sum(0), rtol=1e-5)
    np.testing.assert_allclose(memory.failures, (weights * chosen * (1 - table)).sum(0), rtol=1e-5)

    dice = jax.tree.map(lambda leaf: leaf[0], luck)
    sample = beta.sample_beta(dice, 2 + memory.successes, 3 + memory.failures)
    np.testing.assert_array_equal(policy.select(memory, dice), np.argmax(sample, 0))


def test_discounted_thompson_without_a_discount_is_thompson():
    table = payouts("bernoulli")
    luck = beta.draw_beta(jax.random.key(1), NUM_STEPS, NUM_ARMS, NUM_RUNS)
    found = pulls(changing.discounted_thompson(1.0), table, luck)
    np.testing.assert_array_equal(found, pulls(thompson.thompson(), table, luck))


def test_discounted_thompson_takes_small_priors():
    policy = changing.discounted_thompson(0.9, 0.5, 0.5)
    luck = policy.draw(jax.random.key(0), NUM_STEPS, NUM_ARMS, NUM_RUNS)
    found = pulls(policy, payouts("bernoulli"), luck)
    late = found[-50:]  # when the first arm is the best
    assert (late == 0).mean() > 0.5


@pytest.mark.parametrize(
    ("forgets", "remembers"),
    [
        (changing.discounted_ucb(0.98, 0.02), changing.discounted_ucb(1.0, 0.02)),
        (
            changing.sliding_window_ucb(100, 0.1, longest=1000),
            changing.sliding_window_ucb(1000, 0.1, longest=1000),
        ),
        (changing.discounted_thompson(0.98), changing.discounted_thompson(1.0)),
        (changing.cusum_ucb(20, 0.1, 5.0, 0.05), changing.cusum_ucb(20, 0.1, 1e6, 0.05)),
    ],
)
def test_who_forgets_does_better_after_a_change(forgets, remembers):
    """The best of three arms becomes the worst; both policies share one compiled program.

    UCB has an xi with which it concentrates: exploring much is another way to notice a change.
    """
    odds = [[0.9, 0.5, 0.1], [0.1, 0.5, 0.9]]
    bandit = rewards.piecewise(odds, [500])
    runs = simulate.sweep([jax.random.key(0)], bandit, [forgets, remembers], 1000, 1000, 10)
    after = runs.regret[:, 0, -1] - runs.regret[:, 0, 4]
    assert after[0] < 0.75 * after[1]
    assert after[0] < 100  # of pulling any arm, 200


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: changing.discounted_ucb(0), "discount must lie in (0, 1], not 0"),
        (lambda: changing.discounted_ucb(1.1), "discount must lie in (0, 1], not 1.1"),
        (lambda: changing.discounted_ucb(0.9, xi=0), "xi must be positive and finite, not 0"),
        (lambda: changing.discounted_ucb(0.9, bound=0), "bound must be positive and finite, not 0"),
        (
            lambda: changing.sliding_window_ucb(0),
            "window must be a whole number of at least 1, not 0",
        ),
        (
            lambda: changing.sliding_window_ucb(2.5),
            "window must be a whole number of at least 1, not 2.5",
        ),
        (
            lambda: changing.sliding_window_ucb(10, longest=9),
            "longest must be at least the window of 10, not 9",
        ),
        (lambda: changing.sliding_window_ucb(9, xi=-1), "xi must be positive and finite, not -1"),
        (
            lambda: changing.sliding_window_ucb(9, bound=-1),
            "bound must be positive and finite, not -1",
        ),
        (lambda: changing.discounted_thompson(2), "discount must lie in (0, 1], not 2"),
        (
            lambda: changing.discounted_thompson(0.9, successes=0),
            "successes must be positive and finite, not 0",
        ),
        (
            lambda: changing.discounted_thompson(0.9, failures=-1),
            "failures must be positive and finite, not -1",
        ),
        (
            lambda: changing.cusum_ucb(0, 0.1, 1, 0.1),
            "num_baseline must be finite and at least 1, not 0",
        ),
        (
            lambda: changing.cusum_ucb(9, -1, 1, 0.1),
            "tolerance must be finite and at least 0, not -1",
        ),
        (
            lambda: changing.cusum_ucb(9, 0.1, 0, 0.1),
            "threshold must be positive and finite, not 0",
        ),
        (lambda: changing.cusum_ucb(9, 0.1, 1, 2), "exploration must lie in 0 ... 1, not 2"),
        (
            lambda: changing.cusum_ucb(9, 0.1, 1, 0.1, xi=0),
            "xi must be positive and finite, not 0",
        ),
    ],
)
def test_bad_input(make, words):
    with pytest.raises(ValueError, match=f"^{re.escape(words)}$"):
        make()
