"""What no bandit policy can beat: lower bounds of the regret and Bayes-optimal play, exactly.

- Kullback-Leibler divergences of one-parameter families by their means, in JAX;
- the asymptotic slope of Lai & Robbins (1985), doi:10.1016/0196-8858(85)90002-8;
- bounds that hold for the worst problem: Auer, Cesa-Bianchi, Freund & Schapire (2002),
  doi:10.1137/S0097539701398375; Lattimore & Szepesvari (2020), doi:10.1017/9781108571401;
- the best expected reward of Bernoulli arms with Beta priors, by dynamic programming over what
  has been seen (Bradt, Johnson & Karlin, 1956, Annals of Mathematical Statistics 27, 1060-1074);
- Gittins indices, which are optimal when rewards are discounted: Gittins (1979),
  doi:10.1111/j.2517-6161.1979.tb01068.x.

Divergences are in nats and compute in the arguments' floating type. All else is float64 of NumPy
on the host, for these numbers are made once and looked at or looked up afterwards.

Regret is the pseudo-regret: pulls times the best mean, less the expected reward.
K: arms, n: pulls, s: successes, f: failures.
"""

import bisect
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

Divergence = Callable[[jax.Array, jax.Array], jax.Array]  # means p and q to KL(p, q) in nats
Prior = Sequence[float] | Sequence[Sequence[float]]  # (alpha, beta) of all arms, or K such pairs

# Above these the functions refuse: some ten seconds at most, and 200 MB for the table of actions.
_MAX_STATES = 200_000_000  # of dynamic programming: 260 pulls of two arms, 68 of three
_MAX_GITTINS_CELLS = 500_000_000  # states times the nodes that each looks ahead to


def bernoulli_kl(p: jax.Array, q: jax.Array) -> jax.Array:
    """KL(p, q) = p log(p / q) + (1 - p) log((1 - p) / (1 - q)) of coins with means p and q.

    Written as two Poisson divergences, of the means and of their complements, which are both
    positive: nothing cancels as p nears q.

    Args:
      p: means in [0, 1], which broadcast against q.
      q: means in [0, 1].

    Returns:
      Nats: infinite where q is 0 or 1 and p is not; NaN where a mean lies outside of [0, 1].
    """
    p, q = _broadcast(p, q)
    # The complements' difference is q - p itself: that of the rounded complements is less exact.
    divergence = _deviance(p, q, q - p) + _deviance(1 - p, 1 - q, p - q)
    is_valid = (p >= 0) & (p <= 1) & (q >= 0) & (q <= 1)
    return jnp.where(is_valid, divergence, jnp.nan)


def gaussian_kl(p: jax.Array, q: jax.Array, variance: float = 1.0) -> jax.Array:
    """KL(p, q) = (p - q)^2 / (2 variance) of Gaussians with one known variance.

    Args:
      p: means, which broadcast against q.
      q: means.
      variance: of both, positive.

    Returns:
      Nats; NaN where the variance is not positive.
    """
    p, q = _broadcast(p, q)
    return jnp.where(variance > 0, (p - q) ** 2 / (2 * variance), jnp.nan)


def exponential_kl(p: jax.Array, q: jax.Array) -> jax.Array:
    """KL(p, q) = p / q - 1 - log(p / q) of exponential distributions with means p and q.

    Args:
      p: positive means, which broadcast against q.
      q: positive means.

    Returns:
      Nats; NaN where a mean is not positive.
    """
    p, q = _broadcast(p, q)
    divergence = _deviance(q, p, p - q) / q
    return jnp.where((p > 0) & (q > 0), divergence, jnp.nan)


def poisson_kl(p: jax.Array, q: jax.Array) -> jax.Array:
    """KL(p, q) = q - p + p log(p / q) of Poisson distributions with means p and q.

    Args:
      p: means of at least 0, which broadcast against q.
      q: means of at least 0.

    Returns:
      Nats: infinite where q is 0 and p is not; NaN where a mean is negative.
    """
    p, q = _broadcast(p, q)
    return jnp.where((p >= 0) & (q >= 0), _deviance(p, q, q - p), jnp.nan)


def _broadcast(p: jax.Array, q: jax.Array) -> Sequence[jax.Array]:
    dtype = jnp.result_type(p, q, float)
    return jnp.broadcast_arrays(jnp.asarray(p, dtype), jnp.asarray(q, dtype))


def _deviance(p: jax.Array, q: jax.Array, change: jax.Array) -> jax.Array:
    """q - p + p log(p / q) for p and q of at least 0, where change is q - p.

    With v = (q - p) / (q + p), log(q / p) = 2 artanh(v), and for small v

        q - p + p log(p / q) = v (q - p) - 2 p v^3 (1/3 + v^2/5 + v^4/7 + ...),

    in which the first-order terms have cancelled on paper (Loader, 2000, Fast and accurate
    computation of binomial probabilities).
    """
    total = p + q
    v = change / jnp.where(total == 0, 1, total)
    is_near = jnp.abs(v) <= 1 / 3  # so that each term is a ninth of the one before
    series = jnp.zeros_like(v)
    for k in reversed(range(math.ceil(-math.log(jnp.finfo(v.dtype).eps) / math.log(9)))):
        series = series * v**2 + 1 / (2 * k + 3)
    near = v * change - 2 * p * v**3 * series
    # Whichever form is not taken is kept finite for the gradient; 0 log 0 is 0.
    is_far = ~is_near & (p > 0)
    far = change + p * jnp.log(jnp.where(is_far, p, 1) / jnp.where(is_far, q, 1))
    return jnp.where(is_near, near, far)


def lai_robbins_constant(means: np.ndarray, kl: Divergence) -> np.ndarray:
    """The least slope of the regret by log t: the sum of gap / KL(mean, best mean) over worse arms.

    Lai & Robbins (1985), theorem 2: if a policy's regret is below every power of t on every
    problem of the family, then on this problem liminf regret(t) / log t is at least this. It says
    nothing about any finite t, and nothing about policies which fail on other problems.

    Args:
      means: of the arms, [..., K].
      kl: the family's divergence, as `bernoulli_kl`; evaluated in float64.

    Returns:
      [...]; 0 if no arm is worse than the best, or if the best one's mean is out of the others'
      reach (1 of a coin, where every divergence is infinite).

    Raises:
      ValueError: means has no axis, no arm, a NaN, an infinity, or a mean outside of the family.
    """
    means = np.asarray(means, np.float64)
    if means.ndim < 1 or means.shape[-1] < 1:
        raise ValueError(f"means must have shape [..., K] with K at least 1, not {means.shape}")
    if not np.isfinite(means).all():
        raise ValueError(f"means must be finite, not {means.tolist()}")
    best = means.max(-1, keepdims=True)
    with jax.enable_x64(True):
        divergences = np.asarray(kl(jnp.asarray(means), jnp.asarray(best)))
    if np.isnan(divergences).any():
        raise ValueError(f"means must be means of the family of kl, not {means.tolist()}")
    is_worse = means < best
    return np.where(is_worse, (best - means) / np.where(is_worse, divergences, 1), 0).sum(-1)


def lai_robbins_curve(means: np.ndarray, kl: Divergence, times: np.ndarray) -> np.ndarray:
    """`lai_robbins_constant` times log t: a line to compare slopes with, no bound at any finite t.

    The regret of a good policy may lie below it for as long as it likes, by any constant.

    Args:
      means: of the arms, [..., K].
      kl: the family's divergence.
      times: numbers of pulls, [T].

    Returns:
      [..., T].

    Raises:
      ValueError: as `lai_robbins_constant`, or a time below 1.
    """
    times = np.asarray(times)
    if not (times >= 1).all():
        raise ValueError(f"times must be at least 1, not {times.tolist()}")
    return np.multiply.outer(lai_robbins_constant(means, kl), np.log(times))


def minimax_lower_bound(num_arms: int, horizon: int) -> float:
    """min(sqrt(K T), T) / 20: every policy's regret is at least this on some problem of K coins.

    Auer et al. (2002), theorem 5.1. The problem depends on T, and its means are 1/2 but for one,
    of 1/2 + min(sqrt(K / T), 1) / 4; as coins are rewards in [0, 1], it bounds these, too.

    Args:
      num_arms: K, at least 2.
      horizon: T, at least 1 pull.

    Raises:
      ValueError: an argument is less.
    """
    _check_at_least("num_arms", num_arms, 2)
    _check_at_least("horizon", horizon, 1)
    return min(math.sqrt(num_arms * horizon), horizon) / 20


def gaussian_minimax_lower_bound(num_arms: int, horizon: int) -> float:
    """sqrt((K - 1) T) / 27: as `minimax_lower_bound`, for Gaussians of variance 1.

    Lattimore & Szepesvari (2020), theorem 15.2, whose means lie in [0, 1].

    Args:
      num_arms: K, at least 2.
      horizon: T, at least K - 1 pulls.

    Raises:
      ValueError: an argument is less.
    """
    _check_at_least("num_arms", num_arms, 2)
    _check_at_least("horizon", horizon, num_arms - 1)
    return math.sqrt((num_arms - 1) * horizon) / 27


def bayes_optimal_value(
    num_arms: int, horizon: int, prior: Prior = (1, 1), discount: float = 1.0
) -> float:
    """The greatest expected sum of rewards that any policy has under the prior.

    What matters of the past is the successes and failures of every arm. With t of the T pulls
    done, and m_i = (alpha_i + s_i) / (alpha_i + beta_i + n_i) the mean of arm i's posterior,

        V_t = max_i m_i (1 + discount V_{t+1}(s_i + 1)) + (1 - m_i) discount V_{t+1}(f_i + 1)

    from V_T = 0 down to V_0. There are C(T + 2 K, 2 K) states, of which one t's are held: about
    0.2 s and 3 MB for 100 pulls of two arms, 0.3 s and 6 MB for 30 of three.

    Args:
      num_arms: K, 2 or 3 independent Bernoulli arms.
      horizon: T, the pulls in all.
      prior: of the arms' means, Beta(alpha, beta): a pair for all arms or a pair for each, [K, 2].
      discount: the pull after t others counts discount^t, in [0, 1].

    Raises:
      ValueError: an argument is out of range, or the states are more than 200 million.
    """
    priors = _checked_priors(num_arms, horizon, prior)
    if not 0 <= discount <= 1:
        raise ValueError(f"discount must lie in [0, 1], not {discount}")
    for _, values in _arm_values(priors, horizon, discount):  # noqa: B007 - the last is wanted
        pass
    return float(np.max(values))


def bayes_optimal_regret(num_arms: int, horizon: int, prior: Prior = (1, 1)) -> float:
    """The least expected regret under the prior: T E[max of the means] - `bayes_optimal_value`.

    Args and errors are those of `bayes_optimal_value`, without a discount.
    """
    value = bayes_optimal_value(num_arms, horizon, prior)
    return horizon * expected_best_mean(num_arms, prior) - value


def expected_best_mean(num_arms: int, prior: Prior = (1, 1)) -> float:
    """E[max of the arms' means] under the prior; K / (K + 1) for the uniform one.

    The integral over [0, 1] of 1 - prod_i P(mean_i <= x), to about 1e-10.

    Args:
      num_arms: K, at least 1.
      prior: Beta(alpha, beta): a pair for all arms or a pair for each, [K, 2].

    Raises:
      ValueError: K is less, or prior has another shape or numbers that are not positive.
    """
    from scipy import integrate, special  # slow to import

    _check_at_least("num_arms", num_arms, 1)
    alphas, betas = _pairs(num_arms, prior).T

    def integrand(y: float) -> float:
        x = special.expit(y)
        return (1 - math.prod(special.betainc(alphas, betas, x))) * x * (1 - x)

    # In the log-odds y of x it is smooth even where a density is infinite at 0 or 1, and what lies
    # beyond +-40 is below 1e-17. The edges show the integrator where a narrow prior's change is.
    quantiles = special.betaincinv(alphas, betas, np.array([[1e-9], [0.5], [1 - 1e-9]]))
    edges = np.unique(np.clip(special.logit(quantiles), -40, 40))
    pieces = itertools.pairwise([-40, *edges[abs(edges) < 40], 40])
    return math.fsum(integrate.quad(integrand, *piece, epsabs=1e-12)[0] for piece in pieces)


class ActionTable(NamedTuple):
    """A Bayes-optimal arm for every state; read it with `optimal_action`."""

    actions: np.ndarray  # [S] int8, for each pulls the successes [n_1 + 1, ..., n_K + 1] in order
    offsets: np.ndarray  # [T, ..., T] int32, one axis an arm: where the actions of pulls n begin


def bayes_optimal_actions(num_arms: int, horizon: int, prior: Prior = (1, 1)) -> ActionTable:
    """What attains `bayes_optimal_value`: the arm to pull, the first of equals, in every state.

    One byte a state: 4 MB for 100 pulls of two arms, 2 MB for 30 of three.

    Args and errors are those of `bayes_optimal_value`, without a discount.
    """
    priors = _checked_priors(num_arms, horizon, prior)
    actions = np.zeros(math.comb(horizon - 1 + 2 * num_arms, 2 * num_arms), np.int8)
    offsets = np.zeros([horizon] * num_arms, np.int32)
    end = 0
    for pulls, values in _arm_values(priors, horizon, 1.0):
        best = np.argmax(values, axis=0).ravel()
        actions[end : end + best.size] = best
        offsets[pulls] = end
        end += best.size
    return ActionTable(actions, offsets)


def optimal_action(table: ActionTable, pulls: jax.Array, successes: jax.Array) -> jax.Array:
    """The arm to pull in one state, for use under jit; batch with vmap.

    Args:
      table: as `bayes_optimal_actions` returns it.
      pulls: of each arm so far, [K] integers.
      successes: among them, [K] integers.

    Returns:
      int32; -1 once the table's horizon is reached.
    """
    horizon, num_arms = table.offsets.shape[0], table.offsets.ndim
    position = jnp.zeros((), jnp.int32)
    for arm in range(num_arms):
        position = position * (pulls[arm] + 1) + successes[arm]
    start = jnp.asarray(table.offsets)[tuple(pulls[arm] for arm in range(num_arms))]
    action = jnp.asarray(table.actions)[start + position].astype(jnp.int32)
    return jnp.where(jnp.sum(pulls) < horizon, action, -1)


def _arm_values(
    priors: np.ndarray, horizon: int, discount: float
) -> Iterator[tuple[tuple[int, ...], list[np.ndarray]]]:
    """The value of each arm's pull, followed by the best ones, from the last pull to the first.

    Args:
      priors: [K, 2].
      horizon: the pulls in all.
      discount: of each pull to the next.

    Yields:
      For all numbers of pulls (n_1, ..., n_K) whose sum is below horizon, greater sums first,
      these, and K arrays [n_1 + 1, ..., n_K + 1] by the successes.
    """
    num_arms = len(priors)
    counts = np.arange(horizon)
    means = [  # [n + 1] by arm and n
        [(alpha + counts[: n + 1]) / (alpha + beta + n) for n in range(horizon)]
        for alpha, beta in priors
    ]
    after = {pulls: np.zeros([n + 1 for n in pulls]) for pulls in _compositions(horizon, num_arms)}
    for t in reversed(range(horizon)):
        now = {}
        for pulls in _compositions(t, num_arms):
            values = []
            for arm, n in enumerate(pulls):
                next_pulls = (*pulls[:arm], n + 1, *pulls[arm + 1 :])
                # The arm's axis comes last, and goes back in the end.
                to_come = discount * np.moveaxis(after[next_pulls], arm, -1)
                won, lost = to_come[..., 1:], to_come[..., :-1]
                values.append(np.moveaxis(lost + means[arm][n] * (1 + won - lost), -1, arm))
            now[pulls] = np.max(values, axis=0)
            yield pulls, values
        after = now


def _compositions(total: int, num_parts: int) -> Iterator[tuple[int, ...]]:
    """All tuples of `num_parts` integers of at least 0 whose sum is `total`."""
    if num_parts == 1:
        yield (total,)
        return
    for first in range(total + 1):
        for rest in _compositions(total - first, num_parts - 1):
            yield (first, *rest)


def gittins_indices(
    discount: float, size: int, prior: Sequence[float] = (1, 1), tolerance: float = 1e-6
) -> np.ndarray:
    """Gittins indices of a Bernoulli arm with a Beta prior, by what has been seen of it.

    The index of a state is the certain reward a pull at which one is indifferent between that for
    ever and pulling the arm at least once more, with leave to retire to it later. Pulling the arm
    of greatest index is optimal for any number of independent arms when rewards are discounted
    for ever (Gittins, 1979; Gittins, Glazebrook & Weber, 2011, doi:10.1002/9780470980033).

    Calibration: with reward `level` at hand, backward induction finds the best stopping rule, its
    advantage A(level), and D(level), the discounted number of pulls until it stops. A is convex
    with slope -D, so that Newton's level + A / D, the reward a pull that this rule earns, climbs
    to the zero, which is the index, and after a few rounds stops there.

    Error: H pulls ahead, the arm is kept or left for good by its mean. To know its true success
    rate there would be worth E[max(rate, level)] - max(mean, level) <= sd / 2 <= 1 / (4 sqrt(n +
    alpha + beta + 1)) a pull; the slope is -1 or steeper, as the first pull is certain. Hence the
    index of a state after n pulls is too low by no more than

        discount^H / (1 - discount) / (4 sqrt(n + H + alpha + beta + 1)),

    and H is the least for which that is below half the tolerance; Newton stops within the other
    half. It is a bound for every case: against tables of tolerance 1e-9, those of 1e-1 to 1e-6
    were found to be off by less than a hundredth of theirs.

    Args:
      discount: of each pull to the next, in [0, 1).
      size: of the table.
      prior: alpha and beta.
      tolerance: of the indices, at least 1e-9.

    Returns:
      [size, size]: in row s, column f the index after s successes and f failures, from `tolerance`
      below the exact one up to it; NaN where s + f >= size. About 1 s for a discount of 0.9 and
      size 50, or 0.99 and size 5.

    Raises:
      ValueError: an argument is out of range, or the table is too large.
    """
    if not 0 <= discount < 1:
        raise ValueError(f"discount must lie in [0, 1), not {discount}")
    _check_at_least("size", size, 1)
    if np.shape(prior) != (2,):
        raise ValueError(f"prior must be a pair (alpha, beta), not of shape {np.shape(prior)}")
    ((alpha, beta),) = _pairs(1, prior)
    if not 1e-9 <= tolerance < math.inf:
        raise ValueError(f"tolerance must be finite and at least 1e-09, not {tolerance}")
    depth = _gittins_depth(discount, alpha + beta, tolerance / 2)
    num_cells = math.comb(size + 1, 2) * math.comb(depth + 1, 2)
    if num_cells > _MAX_GITTINS_CELLS:
        raise ValueError(
            f"size={size} at discount={discount:g} looks {depth} pulls ahead, which makes "
            f"{num_cells:,} cells of {_MAX_GITTINS_CELLS:,} allowed: lower one of them or raise "
            "tolerance"
        )
    indices = np.full((size, size), np.nan)
    for n in range(size):
        successes = np.arange(n + 1)
        levels = (alpha + successes) / (alpha + beta + n)  # the mean: no index is lower
        is_open = np.ones(n + 1, bool)
        while is_open.any():
            posterior = (alpha + successes[is_open], alpha + beta + n)
            advantage, duration = _stopping(*posterior, levels[is_open], discount, depth)
            levels[is_open] += np.maximum(advantage, 0) / duration
            is_open[is_open] = advantage > tolerance / 2
        indices[successes, n - successes] = levels
    return indices


def _gittins_depth(discount: float, count: float, tolerance: float) -> int:
    """The least number of pulls to look ahead, at least 1; `count` is alpha + beta."""

    def error(depth: int) -> float:
        return discount**depth / (1 - discount) / (4 * math.sqrt(count + depth + 1))

    return 1 + bisect.bisect_left(range(1, 10**18), True, key=lambda d: error(d) <= tolerance)


def _stopping(
    alphas: np.ndarray, count: float, levels: np.ndarray, discount: float, depth: int
) -> tuple[np.ndarray, np.ndarray]:
    """The best rule that pulls once, and then as long as worth it against a certain reward.

    Args:
      alphas: posteriors Beta(alpha, count - alpha), [S].
      count: alpha + beta.
      levels: the certain reward a pull of each, [S].
      discount: of each pull to the next.
      depth: pulls after which the arm is kept or left for good.

    Returns:
      [S], [S]: the expected discounted rewards less the level until it stops, and the expected
      discounted number of pulls.
    """
    # Row j: j of the pulls made so far succeeded.
    sums = alphas + np.arange(depth + 1)[:, None]
    excess = sums / (count + depth) - levels
    advantage = np.maximum(excess, 0) / (1 - discount)
    duration = (excess > 0) / (1 - discount)
    for t in reversed(range(depth)):
        mean = sums[: t + 1] / (count + t)
        advantage = mean * (advantage[1:] - advantage[:-1]) + advantage[:-1]
        duration = mean * (duration[1:] - duration[:-1]) + duration[:-1]
        advantage = mean - levels + discount * advantage
        duration = 1 + discount * duration
        if t > 0:
            duration *= advantage > 0
            advantage = np.maximum(advantage, 0)
    return advantage[0], duration[0]


def _checked_priors(num_arms: int, horizon: int, prior: Prior) -> np.ndarray:
    """The priors [K, 2] of dynamic programming, once all is found to be in range."""
    if num_arms not in (2, 3):
        raise ValueError(f"num_arms must be 2 or 3, not {num_arms}")
    _check_at_least("horizon", horizon, 1)
    num_states = math.comb(horizon + 2 * num_arms, 2 * num_arms)
    if num_states > _MAX_STATES:
        raise ValueError(
            f"horizon={horizon} with num_arms={num_arms} makes {num_states:,} states of "
            f"{_MAX_STATES:,} allowed: lower horizon"
        )
    return _pairs(num_arms, prior)


def _pairs(num_arms: int, prior: Prior) -> np.ndarray:
    """The prior as alpha and beta of each arm, [K, 2]."""
    pairs = np.asarray(prior, np.float64)
    if pairs.shape not in ((2,), (num_arms, 2)):
        raise ValueError(
            f"prior must be (alpha, beta) or {num_arms} such pairs, not of shape {pairs.shape}"
        )
    if not ((pairs > 0) & (pairs < np.inf)).all():
        raise ValueError(f"prior must be positive and finite, not {pairs.tolist()}")
    return np.broadcast_to(pairs, (num_arms, 2))


def _check_at_least(name: str, value: int, least: int) -> None:
    if not value >= least:
        raise ValueError(f"{name} must be at least {least}, not {value}")
