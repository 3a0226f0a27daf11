"""Many runs of a policy on a bandit, as curves of reward and regret over time (slides 19-21).

    summary = simulate(
        jax.random.key(0),
        rewards.gaussian_testbed(),
        policies.epsilon_greedy(0.1),
        horizon=1000,
        num_runs=2000,
    )
    summary.optimal[-1]   # share of runs that pull the best arm at the last step

Runs are simulated in cohorts of `COHORT`, one cohort a device at a time: a scan over steps whose
arrays have the runs in their last axis, with random numbers drawn in bulk for `_STEPS` steps. Of a
cohort only moments and a sketch of its quantiles are kept, so a million runs of 10,000 steps need
little memory; they are folded into the tally in a fixed order and in float64, so that neither the
number of devices nor interruptions can change a bit. Run i is the same run whatever `num_runs` is.

K: arms, N: runs of a cohort, T: horizon, C: points of a curve, V: policies of a sweep, S: seeds.
"""

import functools
import math
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from dl_lectures.bandits import arms, checks, cohorts
from dl_lectures.bandits.policies import Policy
from dl_lectures.bandits.rewards import Bandit
from dl_lectures.learner import Key

COHORT = 1000  # runs that are simulated side by side on a device
_STEPS = 50  # steps whose random numbers are drawn at once
_MAX_POINTS = 1000  # of a curve, unless the caller asks for others
_NUM_SKETCHES = 10
# Bins of the sketch are powers of 1.02 of the regret: a quantile is right within 1 % of itself.
_SKETCH_BASE, _SKETCH_LEAST, _SKETCH_BINS = 1.02, 1e-3, 1400

Fold = Callable[[int, "Tally"], "Tally"]  # (block, tally of those before) -> tally


class Tally(NamedTuple):
    """What is kept of the runs so far; NumPy arrays, one entry a policy and seed."""

    reward: np.ndarray  # float64 [V, S, C], sum over runs of the mean reward of a window
    optimal: np.ndarray  # float64 [V, S, C], sum over runs of the share of pulls of a best arm
    regret: np.ndarray  # float64 [V, S, C], mean over the runs so far
    regret_m2: np.ndarray  # float64 [V, S, C], sum of squared deviations from that mean
    sketch: np.ndarray  # int64 [V, S, 10, bins], runs by their regret at tenths of the horizon
    num_runs: np.ndarray  # int64 [V, S]


class Summary(NamedTuple):
    """Curves over time, averaged over runs; leaves [..., C], with [V] or [V, S] before if asked."""

    times: np.ndarray  # int [C], pulls so far at the end of each window
    reward: np.ndarray  # mean reward of a pull in the window
    optimal: np.ndarray  # share of its pulls that took a best arm
    regret: np.ndarray  # mean over runs of the sum over pulls of (best mean - mean of the arm)
    regret_variance: np.ndarray  # of that sum over runs
    sketch: np.ndarray  # [..., 10, bins]; see `quantile`
    num_runs: int

    def quantile(self, q: float) -> np.ndarray:
        """Returns the quantile of the runs' regret at ten tenths of the horizon, [..., 10].

        Within 1 % of the true value (Masson, Rim & Lee, 2019, arXiv:1908.10693); below a regret of
        0.001 it is 0.

        Args:
          q: in [0, 1].

        Raises:
          ValueError: q is no share.
        """
        checks.probability("q", q)
        rank = q * (self.num_runs - 1)
        bins = (self.sketch.cumsum(-1) <= rank).sum(-1)
        middle = _SKETCH_LEAST * _SKETCH_BASE ** (bins - 0.5)
        return np.where(bins == 0, 0.0, middle)


def simulate(
    key: Key,
    bandit: Bandit,
    policy: Policy,
    horizon: int,
    num_runs: int,
    num_points: int | None = None,
    mesh: Mesh | None = None,
) -> Summary:
    """Plays a policy on independent runs of a bandit.

    Args:
      key: is consumed.
      bandit: the machines.
      policy: how to choose among them.
      horizon: T, pulls of a run.
      num_runs: independent runs.
      num_points: C, points of the curves, evenly over time; None: T, or 1,000 if that is less.
      mesh: devices to use; None: all.

    Returns:
      Curves [C].

    Raises:
      ValueError: a number is out of its range, or the runs need more memory than there is.
    """
    summary = sweep([key], bandit, [policy], horizon, num_runs, num_points, mesh)
    return summary._replace(**{name: getattr(summary, name)[0, 0] for name in _CURVES})


def sweep(
    keys: Sequence[Key],
    bandit: Bandit | Sequence[Bandit],
    policies: Sequence[Policy],
    horizon: int,
    num_runs: int,
    num_points: int | None = None,
    mesh: Mesh | None = None,
    drive: Callable[[Fold, Tally, int], Tally] | None = None,
) -> Summary:
    """Plays policies of one kind, each on `num_runs` runs for each key, with one compiled program.

    All policies meet the same luck: their differences are less noisy than their values.

    Args:
      keys: S keys, one a seed; are consumed.
      bandit: the machines of all policies, or one bandit of the same kind for each policy.
      policies: V policies that differ in their numbers alone, such as
        `[epsilon_greedy(x) for x in (0.01, 0.1)]`.
      horizon: as in `simulate`.
      num_runs: as in `simulate`.
      num_points: as in `simulate`.
      mesh: as in `simulate`.
      drive: runs the blocks, (fold, empty tally, number of blocks) -> tally; None: a plain loop.
        Whoever wants a progress bar or checkpoints gives another.

    Returns:
      Curves [V, S, C].

    Raises:
      ValueError: as `simulate`; no policies, or policies or bandits of different kinds.
    """
    policies = list(policies)
    bandits = [bandit] * len(policies) if isinstance(bandit, Bandit) else list(bandit)
    horizon, num_runs, num_points = _counts(horizon, num_runs, num_points)
    if not policies:
        raise ValueError("policies is empty: a sweep needs at least one")
    if len(bandits) != len(policies):
        raise ValueError(
            f"{len(bandits)} bandits for {len(policies)} policies: give one, or as many"
        )
    games = [
        jax.tree.map(cohorts.number, Game(*game)) for game in zip(bandits, policies, strict=True)
    ]
    _check_alike(games)
    _check_memory(games[0], horizon, num_points * len(games) * len(keys))
    mesh = mesh or cohorts.all_devices()

    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *games)
    num_cohorts = -(-num_runs // COHORT)
    items = [
        (value, seed, cohort)
        for cohort in range(num_cohorts)
        for value in range(len(games))
        for seed in range(len(keys))
    ]
    play = _player(mesh, horizon)
    all_keys = jnp.stack(list(keys))
    per_block = mesh.size
    times = _times(horizon, num_points)

    def fold(block: int, tally: Tally) -> Tally:
        mine = items[block * per_block : (block + 1) * per_block]
        played = play(stacked, all_keys, *cohorts.padded(mine, mesh), np.int32(num_runs))
        played = cohorts.gather(played)
        for i, (value, seed, cohort) in enumerate(mine):
            runs = min(COHORT, num_runs - cohort * COHORT)
            one = Cohort(*(leaf[i] for leaf in played))
            _add(tally, (value, seed), one, runs, times)
        return tally

    tally = (drive or _loop)(
        fold, _empty(len(games), len(keys), num_points), -(-len(items) // per_block)
    )
    return _summary(tally, times, num_runs)


class Game(NamedTuple):
    """A bandit and who plays it."""

    bandit: Bandit
    policy: Policy


class Cohort(NamedTuple):
    """What a device reports of a cohort."""

    reward: jax.Array  # [T], mean over runs
    optimal: jax.Array  # [T], share of runs that pulled a best arm
    regret: jax.Array  # [T], mean over runs of the regret so far
    regret_m2: jax.Array  # [T], sum over runs of squared deviations
    sketched: jax.Array  # [10, N], regret of each run at tenths of the horizon


_CURVES = ("reward", "optimal", "regret", "regret_variance", "sketch")


def play_cohort(
    game: Game, key: Key, cohort: jax.Array, num_runs: jax.Array, horizon: int
) -> Cohort:
    """Simulates the runs of a cohort.

    Args:
      game: who plays what.
      key: of the seed; is consumed.
      cohort: int32 [], its number; runs from `num_runs` on are simulated, but not counted.
      num_runs: int32 [], of all cohorts.
      horizon: T.
    """
    bandit, policy = game
    key_machines, key_rewards, key_dice = jax.random.split(jax.random.fold_in(key, cohort), 3)
    is_counted = (cohort * COHORT + jnp.arange(COHORT) < num_runs).astype(jnp.float32)
    counted = is_counted.sum()
    machines = bandit.init(key_machines, COHORT)
    num_arms = cohorts.count_arms(bandit)
    memory = policy.init(num_arms, COHORT)
    num_blocks = -(-horizon // _STEPS)
    tenths = jnp.asarray(_times(horizon, min(_NUM_SKETCHES, horizon)) - 1)

    def step(carry, luck):
        machines, memory, regret = carry
        reward_luck, dice = luck
        if policy.look is not None:
            memory = policy.look(memory, bandit.context(machines, reward_luck))
        arm = policy.select(memory, dice)
        means = bandit.means(machines, reward_luck)
        best = means.max(0)
        mean = arms.of_arm(means, arm)
        machines, reward = bandit.pull(machines, reward_luck, arm)
        memory = policy.update(memory, arm, reward)
        regret = regret + (best - mean)
        return (machines, memory, regret), (reward, (mean == best).astype(jnp.float32), regret)

    def block(carry, number):
        game_carry, sketched = carry
        luck = (
            bandit.draw(jax.random.fold_in(key_rewards, number), _STEPS, COHORT),
            policy.draw(jax.random.fold_in(key_dice, number), _STEPS, num_arms, COHORT),
        )
        game_carry, (reward, optimal, regret) = jax.lax.scan(step, game_carry, luck)
        mean = regret @ is_counted / counted
        m2 = jnp.square(regret - mean[:, None]) @ is_counted
        curves = (reward @ is_counted / counted, optimal @ is_counted / counted, mean, m2)
        # A tenth that ends in this block takes its row; the others keep theirs.
        rows = tenths - number * _STEPS
        here = (rows >= 0) & (rows < _STEPS)
        sketched = jnp.where(here[:, None], regret[jnp.clip(rows, 0, _STEPS - 1)], sketched)
        return (game_carry, sketched), curves

    carry = ((machines, memory, jnp.zeros(COHORT)), jnp.zeros((len(tenths), COHORT)))
    (_, sketched), curves = jax.lax.scan(block, carry, jnp.arange(num_blocks))
    return Cohort(*(curve.reshape(-1)[:horizon] for curve in curves), sketched)


@functools.cache
def _player(mesh: Mesh, horizon: int) -> Callable[..., Cohort]:
    """The program that plays cohorts of this horizon; one for all games of a kind."""

    def play(game: Game, key: Key, cohort: jax.Array, num_runs: jax.Array) -> Cohort:
        return play_cohort(game, key, cohort, num_runs, horizon)

    return cohorts.program(mesh, play)


def _loop(fold: Fold, tally: Tally, num_blocks: int) -> Tally:
    for block in range(num_blocks):
        tally = fold(block, tally)
    return tally


def _times(horizon: int, num_points: int) -> np.ndarray:
    """Pulls so far at the points of a curve: evenly spaced, rounded up, the last is T."""
    return -(-np.arange(1, num_points + 1) * horizon // num_points)


def _empty(num_policies: int, num_seeds: int, num_points: int) -> Tally:
    shape = (num_policies, num_seeds)
    curve, sketch = (*shape, num_points), (*shape, _NUM_SKETCHES, _SKETCH_BINS)
    return Tally(
        *(np.zeros(curve) for _ in range(4)),
        sketch=np.zeros(sketch, np.int64),
        num_runs=np.zeros(shape, np.int64),
    )


def _add(tally: Tally, place: tuple[int, int], new: Cohort, runs: int, times: np.ndarray) -> None:
    """Adds a cohort to the tally, in place; moments are merged as Chan et al. (1979) do."""
    before = tally.num_runs[place]
    after = before + runs
    for sums, means in ((tally.reward, new.reward), (tally.optimal, new.optimal)):
        totals = np.cumsum(means, dtype=np.float64)[times - 1]
        sums[place] += runs * np.diff(totals, prepend=0) / np.diff(times, prepend=0)
    delta = new.regret[times - 1].astype(np.float64) - tally.regret[place]
    tally.regret[place] += delta * runs / after
    tally.regret_m2[place] += new.regret_m2[times - 1] + delta**2 * before * runs / after
    for bins, regrets in zip(tally.sketch[place], new.sketched[:, :runs], strict=False):
        bins += np.bincount(_bin(regrets), minlength=_SKETCH_BINS)
    tally.num_runs[place] = after


def _bin(regrets: np.ndarray) -> np.ndarray:
    """The bins of regrets; bin 0 holds what is below the least."""
    powers = np.log(np.maximum(regrets, _SKETCH_LEAST) / _SKETCH_LEAST) / math.log(_SKETCH_BASE)
    return np.minimum(np.ceil(powers), _SKETCH_BINS - 1).astype(np.int64)


def _summary(tally: Tally, times: np.ndarray, num_runs: int) -> Summary:
    runs = tally.num_runs[..., None]
    return Summary(
        times=times,
        reward=tally.reward / runs,
        optimal=tally.optimal / runs,
        regret=tally.regret,
        regret_variance=tally.regret_m2 / np.maximum(runs - 1, 1),
        sketch=tally.sketch,
        num_runs=num_runs,
    )


def _counts(horizon: int, num_runs: int, num_points: int | None) -> tuple[int, int, int]:
    for name, value in (("horizon", horizon), ("num_runs", num_runs)):
        checks.count(name, value)
    if num_points is None:
        num_points = min(horizon, _MAX_POINTS)
    if not 1 <= num_points <= horizon:
        raise ValueError(f"num_points must lie in 1 ... horizon = {horizon}, not {num_points}")
    return int(horizon), int(num_runs), int(num_points)


def _check_alike(games: Sequence[Game]) -> None:
    kinds = {jax.tree.structure(game) for game in games}
    shapes = {tuple(leaf.shape for leaf in jax.tree.leaves(game)) for game in games}
    if len(kinds) > 1 or len(shapes) > 1:
        raise ValueError(
            "policies of one sweep, and their bandits, must be of one kind and differ in numbers "
            "alone; sweep each kind by itself"
        )
    if games[0].policy.look is not None and games[0].bandit.context is None:
        raise ValueError("this policy looks at contexts, and this bandit shows none")


def _check_memory(game: Game, horizon: int, num_numbers: int) -> None:
    """Refuses what the machine cannot hold, before anything is compiled."""
    num_arms = cohorts.count_arms(game.bandit)

    def used() -> Any:
        key_machines, key_rewards, key_dice = jax.random.split(jax.random.key(0), 3)
        machines = game.bandit.init(key_machines, COHORT)
        memory = game.policy.init(num_arms, COHORT)
        luck = game.bandit.draw(key_rewards, _STEPS, COHORT)
        dice = game.policy.draw(key_dice, _STEPS, num_arms, COHORT)
        return machines, machines, memory, memory, luck, dice

    leaves = jax.tree.leaves(jax.eval_shape(used))
    on_devices = jax.local_device_count() * sum(
        4 * math.prod(leaf.shape)
        for leaf in leaves  # float32, int32
    )
    curves = 8 * 8 * num_numbers + 4 * 5 * horizon * jax.local_device_count()
    has = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if on_devices + curves > has / 2:
        raise ValueError(
            f"this needs about {(on_devices + curves) / 2**30:.0f} GiB of {has / 2**30:.0f}: "
            f"{num_arms} arms take {on_devices / 2**30:.1f}, curves {curves / 2**30:.1f} "
            "(a smaller num_points, or fewer policies and keys, or a shorter horizon)"
        )
