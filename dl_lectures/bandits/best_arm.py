"""Which machine is the best? Pure exploration, where rewards do not count, only the answer does.

Slide 21 doubts "pull each 5 times, keep the best, repeat". Two questions can be asked of an
`Explorer`: with a budget of so many pulls, how often is its answer wrong (`answers`; explorers in
`fixed_budget`); and how many pulls does it need until it is wrong with probability delta at most
(`until_sure`; explorers, and what nobody can do without, in `fixed_confidence`).

All average over every pull of an arm so far, and break ties at random.

K: arms, N: runs side by side, B: steps drawn at once, C: budgets, D: deltas, S: seeds.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.tree_util import Partial

from dl_lectures.bandits import arms, checks, cohorts
from dl_lectures.bandits.policies import Policy
from dl_lectures.bandits.rewards import Bandit
from dl_lectures.learner import Key

COHORT = 250  # runs that are simulated side by side; 20 arms of them fit a core's first cache
_STEPS = 50  # steps whose random numbers are drawn at once


class Explorer(NamedTuple):
    """Who looks for the best arm, as pure functions; all are `Partial`, arguments are numbers.

    Like a `Policy`, but `select` also returns a state: an explorer drops arms on its way, and needs
    luck for that where arms are tied.
    """

    init: Partial  # (num_arms, num_runs) -> state
    draw: Partial  # (key, num_steps, num_arms, num_runs) -> luck of B steps; the key is consumed
    select: Partial  # (state, luck of this step) -> (state, arm int32 [N])
    update: Partial  # (state, arm [N], reward [N]) -> state
    recommend: Partial  # (state, uniforms [N], for ties) -> arm, int32 [N]
    is_sure: Partial | None = None  # (state) -> bool [D, N]; None: it never is
    num_pulls: Any = None  # int, after which it answers; None: whenever it is asked


def of_policy(policy: Policy, recommend: Partial, num_pulls: int | None = None) -> Explorer:
    """Makes an explorer of any policy that looks at no contexts; arguments as in `Explorer`."""
    return Explorer(
        init=policy.init,
        draw=policy.draw,
        select=Partial(_select_by_policy, policy.select),
        update=policy.update,
        recommend=recommend,
        num_pulls=num_pulls,
    )


def _select_by_policy(select: Partial, state: Any, luck: Any) -> tuple[Any, jax.Array]:
    return state, select(state, luck)


class Totals(NamedTuple):
    """What each arm has paid so far.

    Sums, not `policies.Averages`: arms that won as often in as many pulls are tied exactly,
    whatever the order of their wins.
    """

    t: jax.Array  # int32 [], pulls so far
    counts: jax.Array  # [K, N], pulls of each arm; float32, exact up to 2^24
    sums: jax.Array  # [K, N], of their rewards

    @property
    def means(self) -> jax.Array:
        """The averages, [K, N]; 0 of arms that nobody has pulled."""
        return self.sums / jnp.maximum(self.counts, 1)


def init_totals(num_arms: int, num_runs: int) -> Totals:
    """Returns the totals of arms that nobody has pulled."""
    zeros = jnp.zeros((num_arms, num_runs))
    return Totals(jnp.int32(0), zeros, zeros)


def totalled(state: Totals, arm: jax.Array, reward: jax.Array) -> Totals:
    """Adds a reward to the totals."""
    chosen = arms.one_hot(arm, len(state.counts))
    return Totals(
        state.t + 1, state.counts + chosen, state.sums + jnp.where(chosen, reward[None], 0.0)
    )


class Complexity(NamedTuple):
    """How many pulls a problem needs, up to factors: A&B, section 1.

    With gaps to the best mean in increasing order, the best arm's being that of the second.
    """

    h1: float  # sum of 1 / gap^2
    h2: float  # max over i of i / gap_(i)^2; h2 <= h1 <= log(2 K) h2


def complexity(means: Sequence[float]) -> Complexity:
    """Returns the complexity of a problem with these means, [K].

    Raises:
      ValueError: fewer than two arms, or two best ones.
    """
    checks.numbers("means", means)
    means = np.sort(np.asarray(means, np.float64))[::-1]
    gaps = means[0] - means
    if gaps[1] == 0:
        raise ValueError(f"means must have one best arm, not two: {checks.shown(means)}")
    gaps[0] = gaps[1]
    return Complexity(float((gaps**-2).sum()), float((np.arange(1, len(gaps) + 1) / gaps**2).max()))


def recommend_average(state: Any, uniforms: jax.Array) -> jax.Array:
    """Returns the arm of the greatest average, int32 [N]; one that was pulled, if any was.

    Args:
      state: has `counts` and `means`, as `Totals` or `policies.Averages`.
      uniforms: [N], for ties.
    """
    return arms.random_best(jnp.where(state.counts > 0, state.means, -jnp.inf), uniforms)


class Stopped(NamedTuple):
    """When explorers were sure, and of what; NumPy, [S, D, runs]."""

    pulls: np.ndarray  # int32; the cap where a run was not sure by then
    arms: np.ndarray  # int32, the answer; of those that were not sure, at the cap
    is_sure: np.ndarray  # bool


def answers(
    keys: Sequence[Key],
    bandit: Bandit,
    explorer: Explorer,
    num_runs: int,
    budgets: Sequence[int] | None = None,
    mesh: Mesh | None = None,
) -> np.ndarray:
    """Plays an explorer, and asks it for the best arm.

    Run i of a seed is the same run whatever `num_runs` and the other budgets are.

    Args:
      keys: S keys, one a seed; are consumed.
      bandit: the machines.
      explorer: who plays.
      num_runs: independent runs for each key.
      budgets: [C], increasing pulls after which it is asked; only for one that can be asked at any
        time. None: its `num_pulls`.
      mesh: devices to use; None: all.

    Returns:
      Arms, int32 [S, C, num_runs].

    Raises:
      ValueError: budgets that do not fit the explorer, or are not increasing.
    """
    if (budgets is None) == (explorer.num_pulls is None):
        raise ValueError(
            "budgets are for an explorer that can be asked at any time, and needed there; the "
            f"others answer after their own num_pulls, here {explorer.num_pulls}"
        )
    points = np.array([explorer.num_pulls] if budgets is None else list(budgets), np.int32)
    if not points.size or points[0] < 1 or (np.diff(points) <= 0).any():
        raise ValueError(f"budgets must be increasing from 1 on, not {points.tolist()}")
    return _play(keys, bandit, explorer, num_runs, points, mesh, _budgets_of_cohort)


def until_sure(
    keys: Sequence[Key],
    bandit: Bandit,
    explorer: Explorer,
    num_runs: int,
    cap: int,
    mesh: Mesh | None = None,
) -> Stopped:
    """Plays an explorer in each run until it is sure, for each of its deltas.

    Args:
      keys: S keys, one a seed; are consumed.
      bandit: the machines.
      explorer: who plays; has `is_sure`.
      num_runs: independent runs for each key.
      cap: pulls after which a run ends in any case.
      mesh: devices to use; None: all.

    Raises:
      ValueError: an explorer that is never sure, or a cap below 1.
    """
    if explorer.is_sure is None:
        raise ValueError("this explorer is never sure: ask it after a number of pulls, `answers`")
    checks.at_least("cap", cap, 1)
    return Stopped(
        *_play(keys, bandit, explorer, num_runs, np.int32(cap), mesh, _until_sure_of_cohort)
    )


class Game(NamedTuple):
    """Who plays what."""

    bandit: Bandit
    explorer: Explorer


class Carry(NamedTuple):
    """A cohort under way."""

    t: jax.Array  # int32 [], pulls so far
    machines: Any
    state: Any


def play_budgets(game: Game, key: Key, points: jax.Array) -> jax.Array:
    """Plays a cohort, and returns its answers after each of the increasing pulls, int32 [C, N].

    The key is consumed.
    """
    key_machines, key_rewards, key_dice, key_ties = jax.random.split(key, 4)
    ties = jax.random.uniform(key_ties, (COHORT,))

    def to_point(carry, point):
        carry = jax.lax.while_loop(
            lambda carry: carry.t < point,
            lambda carry: _play_block(game, key_rewards, key_dice, carry, point),
            carry,
        )
        return carry, game.explorer.recommend(carry.state, ties)

    return jax.lax.scan(to_point, _begin(game, key_machines), points)[1]


def play_until_sure(game: Game, key: Key, cap: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Plays a cohort until all runs are sure; returns the leaves of `Stopped`, [D, N].

    A run that is sure is played on, for its neighbours' sake, but its answer stays. The key is
    consumed.
    """
    key_machines, key_rewards, key_dice, key_ties = jax.random.split(key, 4)
    ties = jax.random.uniform(key_ties, (COHORT,))
    explorer = game.explorer

    def look(t, state, stopped):
        pulls, answer, was_sure = stopped
        is_sure = explorer.is_sure(state)
        is_new = (is_sure | (t == cap)) & (pulls == 0)
        arm = explorer.recommend(state, ties)[None]
        return (
            jnp.where(is_new, t, pulls),
            jnp.where(is_new, arm, answer),
            was_sure | (is_new & is_sure),
        )

    def block(carry):
        return _play_block(game, key_rewards, key_dice, carry[0], cap, look, carry[1])

    begun = _begin(game, key_machines)
    shape = jax.eval_shape(explorer.is_sure, begun.state).shape
    zeros = jnp.zeros(shape, jnp.int32)
    carry = (begun, (zeros, zeros, jnp.zeros(shape, bool)))
    return jax.lax.while_loop(lambda carry: (carry[1][0] == 0).any(), block, carry)[1]


def _begin(game: Game, key: Key) -> Carry:
    num_arms = cohorts.count_arms(game.bandit)
    machines = game.bandit.init(key, COHORT)
    return Carry(jnp.int32(0), machines, game.explorer.init(num_arms, COHORT))


def _play_block(
    game: Game,
    key_rewards: Key,
    key_dice: Key,
    carry: Carry,
    limit: jax.Array,
    look: Callable[..., Any] | None = None,
    seen: Any = None,
) -> Any:
    """Plays up to the end of a block of `_STEPS`, or `limit` pulls if that comes first.

    A block's luck depends on its number alone, so that where it is interrupted changes nothing.
    """
    bandit, explorer = game
    number, start = carry.t // _STEPS, carry.t % _STEPS
    num_arms = cohorts.count_arms(bandit)
    luck = (
        bandit.draw(jax.random.fold_in(key_rewards, number), _STEPS, COHORT),
        explorer.draw(jax.random.fold_in(key_dice, number), _STEPS, num_arms, COHORT),
    )

    def step(i, both):
        (t, machines, state), seen = both
        reward_luck, dice = jax.tree.map(lambda leaf: leaf[i], luck)
        state, arm = explorer.select(state, dice)
        machines, reward = bandit.pull(machines, reward_luck, arm)
        state = explorer.update(state, arm, reward)
        seen = look(t + 1, state, seen) if look else seen
        return Carry(t + 1, machines, state), seen

    stop = jnp.minimum(_STEPS, start + limit - carry.t)
    carry, seen = jax.lax.fori_loop(start, stop, step, (carry, seen))
    return (carry, seen) if look else carry


def _play(
    keys: Sequence[Key],
    bandit: Bandit,
    explorer: Explorer,
    num_runs: int,
    argument: np.ndarray,
    mesh: Mesh | None,
    play: Callable[..., Any],
) -> Any:
    """Plays all cohorts of all seeds, spread over the devices; leaves [S, ..., num_runs]."""
    checks.at_least("num_runs", num_runs, 1)
    mesh = mesh or cohorts.all_devices()
    # How many pulls it plans is no number of the program.
    game = jax.tree.map(cohorts.number, Game(bandit, explorer._replace(num_pulls=None)))
    games = jax.tree.map(lambda leaf: leaf[None], game)
    num_cohorts = -(-num_runs // COHORT)
    items = [(0, seed, cohort) for seed in range(len(keys)) for cohort in range(num_cohorts)]
    played = cohorts.program(mesh, play)(
        games, jnp.stack(list(keys)), *cohorts.padded(items, mesh), argument
    )

    def of_seeds(leaf: np.ndarray) -> np.ndarray:
        rows = leaf[: len(items)].reshape(len(keys), num_cohorts, -1, COHORT).swapaxes(1, 2)
        return rows.reshape(len(keys), rows.shape[1], -1)[..., :num_runs]

    return jax.tree.map(of_seeds, cohorts.gather(played))


def _budgets_of_cohort(game: Game, key: Key, cohort: jax.Array, points: jax.Array) -> jax.Array:
    return play_budgets(game, jax.random.fold_in(key, cohort), points)


def _until_sure_of_cohort(
    game: Game, key: Key, cohort: jax.Array, cap: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    return play_until_sure(game, jax.random.fold_in(key, cohort), cap)
