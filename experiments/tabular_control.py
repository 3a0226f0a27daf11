"""Trying things and remembering what worked finds what search finds in a given tree (slides 18, 22)

    python -m experiments.tabular_control --preset=quick --workdir=runs/tabular_control

Eight methods with a table of values learn small worlds by trial and error, and the exact answer is
computed beside them from the worlds' laws, which the learners never see:

- exact: Q-learning, acting at random, against value iteration in five worlds;
- frozen_lake, maze: all methods, until their greedy policy is the best, and in the maze against
  exhaustive search of the tree (slide 22);
- prediction: Monte Carlo and temporal differences see the same episodes of one policy;
- cliff: Sutton & Barto (2018), example 6.6, with step size 0.1;
- step_sizes: their figure 6.3, after van Seijen et al. (2009), doi:10.1109/ADPRL.2009.4927542.

A step is a block of environment steps of every learner, by default 200, in the maze 100. quick: 256
seeds, about a minute and a half on 2 cores. The greatest error of Q-learning's values is 3 % of the
greatest value on the frozen lake, 2 % in a random world, and nothing where nothing is left to
chance. After 100,000 steps its greedy policy earns 99.5 % of the best on the lake, SARSA's 96 %,
Monte Carlo's only 86 % (first visit) and 70 % (every visit), so that the claim that all get there
fails: from the same episodes its estimates have 3 times the variance of temporal differences. In
the maze all find the best way in every seed, Q-learning after 1,300 steps and Monte Carlo after
2,500 (medians); the tree to that depth has 1,398,101 nodes, and planning takes 880 updates.

The thresholds stood before the first run, and two settings were changed after it: with a constant
step size of 0.5 and epsilon 0.1 Monte Carlo's policy in the maze was the best in half of the seeds
only, and where Q-learning explored the windy grid in episodes of 100 steps instead of 10, the wind
kept it from the goal and its greatest error was 50 %.

On the cliff Q-learning walks 13 steps along the edge and earns -49 while it explores, SARSA 15 and
-23. The book draws SARSA's way with 17; planning for epsilon 0.1 says 15, one row away from the
edge. Figure 6.3 comes out as in the book. full: 512 seeds, four times as many steps.

Where we differ from the book: see `dl_lectures/rl/tabular.py`. Its figure 6.3 averages 100,000
episodes of 10 runs, ours the second half of 20,000 environment steps of many.
"""

import collections
import dataclasses
import functools
import sys
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import jax
import numpy as np

from dl_lectures.learner import Learner
from dl_lectures.reporting import claims as claims_lib
from dl_lectures.reporting import plotting, results
from dl_lectures.reporting.claims import Claim
from dl_lectures.reporting.results import Results
from dl_lectures.rl import grids, planning, tabular
from dl_lectures.training import trainer
from dl_lectures.training.options import Options
from experiments import common

SLIDES = (18, 22)
LABELS = {
    "q_learning": ("Q-learning", "Q学習"),
    "sarsa": ("SARSA", "SARSA"),
    "expected_sarsa": ("Expected SARSA", "期待SARSA"),
    "double_q": ("double Q-learning", "二重Q学習"),
    "n_step_sarsa": ("n-step SARSA", "nステップSARSA"),
    "watkins": ("Q(λ)", "Q(λ)"),
    "first_visit_mc": ("Monte Carlo, first visit", "モンテカルロ(初回訪問)"),
    "every_visit_mc": ("Monte Carlo, every visit", "モンテカルロ(逐一訪問)"),
}
COLOURS = {
    "q_learning": plotting.BLUE,
    "sarsa": plotting.VERMILION,
    "expected_sarsa": plotting.GREEN,
    "watkins": plotting.PURPLE,
    "first_visit_mc": plotting.ORANGE,
}  # the others are in the report alone: more lines could not be told apart
_ALWAYS = ("q_learning", "sarsa", "first_visit_mc")  # claims are about them
_CHOICES = tuple(name for name in tabular.METHODS if name not in _ALWAYS)
_SWEPT = ("q_learning", "sarsa", "expected_sarsa")
_STOCHASTIC = ("frozen_lake", "garnet")
_DISCOUNTS = {"cliff": 1.0, "windy": 1.0}  # as in the book; elsewhere --discount
_EXPLORING_STEPS = 10  # of an episode that only explores
_INTERIM = 100  # first episodes, of figure 6.3
_KEPT = 500  # first episodes, of example 6.6
_LATE = 100  # the last of these


@dataclasses.dataclass(frozen=True)
class Config:
    """Who learns, and how much of the world a step shows."""

    methods: Annotated[
        str, f"methods beside {', '.join(_ALWAYS)}: of {', '.join(_CHOICES)}; may be empty"
    ] = ",".join(_CHOICES)
    block_steps: Annotated[int, "environment steps in a step of the learner"] = 200
    maze_block_steps: Annotated[int, "the same, in the maze"] = 100
    long_block_steps: Annotated[int, "the same, where Q-learning averages over chance"] = 1_000
    sweep_block_steps: Annotated[int, "the same, in the sweep of step sizes"] = 40
    discount: Annotated[float, "gamma, discount factor; cliff and windy grid have 1"] = 0.95
    max_episode_steps: Annotated[int, "time limit of an episode"] = 100
    epsilon: Annotated[float, "probability of a random action, and in the end"] = 0.1
    epsilon_blocks: Annotated[
        int, "steps of the learner over which it falls from 1, on the frozen lake and in the maze"
    ] = 250
    learning_rate: Annotated[float, "step size where the world leaves nothing to chance"] = 0.5
    learning_rate_power: Annotated[float, "step sizes fall like visits^-power under chance"] = 0.6
    cliff_learning_rate: Annotated[float, "step size on the cliff"] = 0.1
    learning_rates: Annotated[str, "step sizes of the sweep, with commas between"] = (
        "0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9,1"
    )
    n_steps: Annotated[int, "rewards before n-step SARSA bootstraps"] = 4
    trace_decay: Annotated[float, "lambda of Q(lambda)"] = 0.9

    def __post_init__(self):
        names = [name for name in self.methods.split(",") if name]
        unknown = [name for name in names if name not in _CHOICES]
        if unknown:
            raise ValueError(f"--methods={self.methods} must be of {', '.join(_CHOICES)}")
        rates = common.numbers_of(self, "learning_rates", float)
        if len(rates) < 2 or sorted(set(rates)) != rates or not 0 < rates[0] <= rates[-1] <= 1:
            raise ValueError(
                f"--learning_rates={self.learning_rates} must be two or more increasing numbers "
                "above 0, at most 1"
            )
        for name in ("long_block_steps", "sweep_block_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name}={getattr(self, name)} must be at least 1")
        if not 0 < self.discount < 1:
            raise ValueError(f"--discount={self.discount} must lie between 0 and 1")
        if not self.learning_rate_power > 0.5:
            raise ValueError(
                f"--learning_rate_power={self.learning_rate_power} must be above 0.5, or chance "
                "does not average out"
            )
        for block_steps in (self.block_steps, self.maze_block_steps):
            self.learner("first_visit_mc", block_steps=block_steps)  # checks what is handed on

    def learner(self, method: str, **changes: Any) -> tabular.Config:
        """What all learners have in common, and what is particular."""
        settings = {
            "discount": self.discount,
            "learning_rate": self.learning_rate,
            "epsilon_start": self.epsilon,
            "epsilon_end": self.epsilon,
            "n_steps": self.n_steps,
            "trace_decay": self.trace_decay,
            "block_steps": self.block_steps,
            "max_episode_steps": self.max_episode_steps,
        }
        return tabular.Config(method=method, **(settings | changes))

    @property
    def all_methods(self) -> list[str]:
        """Those that learn, in the order of the book."""
        return [name for name in tabular.METHODS if name in (*_ALWAYS, *self.methods.split(","))]


PRESETS = {
    "smoke": common.Preset(
        Config(
            methods="watkins",
            block_steps=50,
            long_block_steps=50,
            max_episode_steps=50,
            maze_block_steps=50,
            epsilon_blocks=50,
            learning_rates="0.1,0.5,1",
        ),
        num_seeds=4,
        steps=100,
        log_every=20,
        eval_every=50,
        checkpoint_every=50,
    ),
    "quick": common.Preset(
        Config(),
        num_seeds=256,
        steps=500,
        log_every=50,
        eval_every=20,
        checkpoint_every=250,
    ),
    "full": common.Preset(
        Config(epsilon_blocks=1_000, learning_rates=",".join(f"{k / 20:g}" for k in range(2, 21))),
        num_seeds=512,
        steps=2_000,
        log_every=200,
        eval_every=80,
        checkpoint_every=1_000,
    ),
}


# The worlds and the learners.


def worlds(seed: int) -> dict[str, grids.MDP]:
    """The worlds by name; the random one is that of `seed`."""
    return {
        "frozen_lake": grids.frozen_lake(),
        "cliff": grids.cliff_walk(),
        "windy": grids.windy_grid(),
        "maze": grids.maze(),
        "garnet": grids.garnet(jax.random.key(seed)),
    }


def under_chance(config: Config) -> dict[str, float]:
    """Step sizes that let chance average out."""
    return {"learning_rate": 1.0, "learning_rate_power": config.learning_rate_power}


def exact_learners(config: Config, seed: int) -> dict[str, Learner]:
    """Q-learning in each world, acting at random in short episodes from anywhere.

    So every action is tried often in every state: in long episodes the wind blows away from some.
    """
    learners = {}
    for name, mdp in worlds(seed).items():
        settings: dict[str, Any] = {
            "discount": _DISCOUNTS.get(name, config.discount),
            "max_episode_steps": _EXPLORING_STEPS,
        }
        if name in _STOCHASTIC:
            settings |= under_chance(config) | {"block_steps": config.long_block_steps}
        at_random = config.learner("q_learning", epsilon_start=1.0, epsilon_end=1.0, **settings)
        learners[name] = tabular.make(at_random, grids.exploring_starts(mdp))
    return learners


def control_learners(
    config: Config, mdp: grids.MDP, block_steps: int, **settings: Any
) -> dict[str, Learner]:
    """All methods in one world, exploring less and less, with step sizes that fall."""
    settings |= under_chance(config) | {
        "block_steps": block_steps,
        "epsilon_start": 1.0,
        "epsilon_steps": config.epsilon_blocks * block_steps,
    }
    return {
        name: tabular.make(config.learner(name, **settings), mdp) for name in config.all_methods
    }


def prediction_learners(config: Config) -> dict[str, Learner]:
    """The values of acting at random on the frozen lake, from anywhere."""
    mdp = grids.exploring_starts(grids.frozen_lake())
    settings = under_chance(config)
    return {
        name: tabular.make(config.learner(name, **settings), mdp, at_random(mdp))
        for name in ("sarsa", "first_visit_mc")
    }


def cliff_learners(config: Config) -> dict[str, Learner]:
    """The two of example 6.6."""
    settings = {
        "discount": 1.0,
        "learning_rate": config.cliff_learning_rate,
        "num_returns": _KEPT,
        "max_episode_steps": 1_000,
    }
    return {
        name: tabular.make(config.learner(name, **settings), grids.cliff_walk())
        for name in ("q_learning", "sarsa")
    }


def sweep_learners(config: Config, rates: list[float]) -> dict[str, Learner]:
    """The three of figure 6.3, at all step sizes."""
    settings = {
        "discount": 1.0,
        "num_returns": _INTERIM,
        "block_steps": config.sweep_block_steps,
        "max_episode_steps": 1_000,
    }
    return {
        name: tabular.sweep(
            tabular.make(config.learner(name, **settings), grids.cliff_walk()), rates
        )
        for name in _SWEPT
    }


# Parts: each is one run of learners side by side.

# (trained, options of the part, its log written) -> metrics [S], arrays
Look = Callable[[trainer.Trained, Options], tuple[dict[str, Any], dict[str, Any]]]


class Part(NamedTuple):
    """One run."""

    learners: dict[str, Learner]
    look: Look  # at what they are in the end
    same_key: bool = False  # they decide by the same chance
    # What the figure needs on the way; else there is only the end, for many seeds make long logs.
    is_logged: bool = False
    is_evaluated: bool = False


def train_part(part: Part, options: Options) -> Results:
    """Trains learners side by side, and looks at what they are then."""
    options = dataclasses.replace(
        options,
        log_every=options.log_every if part.is_logged else options.steps,
        eval_every=options.eval_every if part.is_evaluated else options.steps,
    )
    learner = tabular.together(part.learners, part.same_key)
    trained = trainer.train(learner, options, shard_batch=False)
    metrics, arrays = part.look(trained, options)
    return results.make("tabular_control", SLIDES, options, trained, metrics, arrays=arrays)


def learned_tables(trained: trainer.Trained) -> dict[str, np.ndarray]:
    """Learned values by learner, [seeds, S, A], means over the tables of one learner."""
    tables = {name: one.learned.tables for name, one in trained.state.states.items()}
    return {name: table.mean(1) for name, table in common.of_all_seeds(tables).items()}


def look_at_values(trained: trainer.Trained, options: Options) -> tuple[dict, dict]:
    """What was evaluated at the end."""
    return dict(trained.evaluation), {}


def look_at_curves(trained: trainer.Trained, options: Options) -> tuple[dict, dict]:
    """What was evaluated at the end, and greedy returns over time, [N, seeds]."""
    curves = {
        name.split("/")[1]: curve
        for name, curve in results.read_curves(options.workdir).items()
        if name.endswith("/greedy_return")
    }
    steps = next(iter(curves.values())).steps
    return dict(trained.evaluation), {
        "steps": steps,
        **{name: curve.values for name, curve in curves.items()},
    }


def look_at_prediction(
    exact: np.ndarray, inside: np.ndarray, trained: trainer.Trained, options: Options
) -> tuple[dict, dict]:
    """Each seed's root mean square error, and its squared distance from the mean over seeds.

    Args:
      exact: [S, A] values of the policy.
      inside: [S] bool, the states that count.
      trained: the part.
      options: of the part.
    """
    metrics, scale = {}, np.abs(exact[inside]).max()
    for name, tables in learned_tables(trained).items():
        values = tables[:, inside] / scale  # [seeds, states, A]
        unbiased = len(values) / max(1, len(values) - 1)
        errors = np.square(values - exact[inside] / scale).mean((1, 2))
        metrics[f"{name}/rms_error"] = np.sqrt(errors)
        metrics[f"{name}/variance"] = unbiased * np.square(values - values.mean(0)).mean((1, 2))
    return metrics, {}


def look_at_cliff(trained: trainer.Trained, options: Options) -> tuple[dict, dict]:
    """Returns of the first episodes, and greedy ways; -1 steps where one does not end."""
    mdp, metrics, arrays = grids.cliff_walk(), dict(trained.evaluation), {}
    states = trained.state.states
    kept = common.of_all_seeds({name: (one.returns, one.episodes) for name, one in states.items()})
    for name, tables in learned_tables(trained).items():
        returns, episodes = kept[name]
        metrics[f"{name}/late_return"] = finished_mean(returns, episodes, _LATE)
        ways = [tuple(planning.path(mdp, table, mdp.num_states)) for table in tables]
        ended = [mdp.terminal[way[-1]] for way in ways]
        lengths = [len(way) - 1 if end else -1 for way, end in zip(ways, ended, strict=True)]
        metrics[f"{name}/way"] = np.array(lengths, float)
        arrays[f"{name}/way"] = np.array(collections.Counter(ways).most_common(1)[0][0])
    return metrics, arrays


def finished_mean(returns: np.ndarray, episodes: np.ndarray, most: int) -> np.ndarray:
    """Means of the last `most` returns of finished episodes, [...]; the running one where none is.

    Args:
      returns: [..., E] of the first episodes.
      episodes: [...] finished, maybe more than E.
      most: how many to average.
    """
    end = np.clip(episodes, 1, returns.shape[-1])[..., None]
    index = np.arange(returns.shape[-1])
    is_counted = (index < end) & (index >= end - most)
    return (returns * is_counted).sum(-1) / is_counted.sum(-1)


def look_at_step_sizes(
    rates: list[float], trained: trainer.Trained, options: Options
) -> tuple[dict, dict]:
    """Mean returns of the first episodes, and of those of the second half, [rates, seeds]."""
    curves = results.read_curves(options.workdir)
    arrays: dict[str, Any] = {"rates": np.array(rates)}
    for name in _SWEPT:
        state = trained.state.states[name].states["rates"]
        returns, episodes = common.of_all_seeds((state.returns, state.episodes))
        arrays[f"{name}/interim"] = finished_mean(returns, episodes, _INTERIM).T
        is_late = curves[f"{name}/reward@{rates[0]:g}"].steps > trained.step / 2
        reward, finished = (
            np.array([curves[f"{name}/{what}@{rate:g}"].values[is_late].sum(0) for rate in rates])
            for what in ("reward", "finished")
        )
        arrays[f"{name}/asymptotic"] = reward / np.maximum(finished, 1.0)
    return {}, arrays


def run(config: Config, options: Options) -> Results:
    """Trains all parts, and solves the worlds exactly for comparison."""
    rates = common.numbers_of(config, "learning_rates", float)
    lake, maze = grids.frozen_lake(), grids.maze()
    values = planning.policy_values(lake, at_random(lake), config.discount)
    look_at_random = functools.partial(
        look_at_prediction,
        planning.action_values(lake, values, config.discount),
        grids.reachable(lake),
    )
    in_maze = control_learners(config, maze, config.maze_block_steps, seek_optimum=maze.num_states)
    on_lake = control_learners(config, lake, config.block_steps)
    look_at_rates = functools.partial(look_at_step_sizes, rates)
    parts = {
        "maze": Part(in_maze, look_at_values),
        "frozen_lake": Part(on_lake, look_at_curves, is_evaluated=True),
        "exact": Part(exact_learners(config, options.seed), look_at_values),
        "prediction": Part(prediction_learners(config), look_at_random, same_key=True),
        "cliff": Part(cliff_learners(config), look_at_cliff),
        "step_sizes": Part(sweep_learners(config, rates), look_at_rates, is_logged=True),
    }
    found = common.run_parts(
        options, {name: functools.partial(train_part, part) for name, part in parts.items()}
    )
    return results.make(
        "tabular_control",
        SLIDES,
        options,
        found,
        found.metrics(),
        extra={
            "methods": config.all_methods,
            "block_steps": config.block_steps,
            "epsilon": config.epsilon,
            "cliff_learning_rate": config.cliff_learning_rate,
            "interim_episodes": _INTERIM,
            "best": {
                name: best_return(world, _DISCOUNTS.get(name, config.discount))
                for name, world in worlds(options.seed).items()
            },
            "random": float(lake.start @ values),
            "tree": search_the_maze(config.discount),
        },
        arrays={
            f"{name}/{key}": array
            for name, part in found.found.items()
            for key, array in part.arrays.items()
        },
    )


def at_random(mdp: grids.MDP) -> np.ndarray:
    """The policy [S, A] that does anything."""
    return np.full((mdp.num_states, mdp.num_actions), 1 / mdp.num_actions)


def best_return(mdp: grids.MDP, discount: float) -> float:
    """What the best policy earns from the start."""
    return float(mdp.start @ planning.value_iteration(mdp, discount).values)


def search_the_maze(discount: float) -> dict[str, float]:
    """What it costs to find the best way where the maze is given, and what that way is worth."""
    mdp = grids.maze()
    best = planning.value_iteration(mdp, discount)
    start = int(mdp.start.argmax())
    depth = len(planning.path(mdp, best.action_values, mdp.num_states)) - 1
    search = planning.tree_search(mdp, start, depth, discount)
    return {
        "depth": depth,
        "value": float(search.action_values.max()),
        "nodes": search.num_nodes,
        "backups": best.num_sweeps * int((~mdp.terminal).sum()) * mdp.num_actions,
    }


# What was found.


def _worst(found: Results, part: str, names: Any, metric: str) -> np.ndarray:
    """The metric [seeds] of the learner whose mean over seeds is least."""
    values = [found.per_seed(f"{part}/{name}/{metric}") for name in names]
    return min(values, key=np.mean)


def smallest_margin(found: Results, phase: str) -> np.ndarray:
    """Expected SARSA's return less the better of the others', [seeds], at its worst step size."""
    ours, *others = (
        found.arrays[f"step_sizes/{name}/{phase}"] for name in ("expected_sarsa", *_SWEPT[:2])
    )  # [rates, seeds]
    margins = [ours - other for other in others]
    return min((row for margin in margins for row in margin), key=np.mean)


def claims(found: Results) -> tuple[Claim, ...]:
    """Thresholds were set before the first run."""
    lake = _worst(found, "frozen_lake", found.extra["methods"], "greedy_return")
    in_maze = _worst(found, "maze", found.extra["methods"], "is_optimal")
    errors = [found.per_seed(f"exact/{world}/value_error") for world in found.extra["best"]]
    rms = [found.per_seed(f"prediction/{name}/rms_error") for name in ("sarsa", "first_visit_mc")]
    mc, td = (found.per_seed(f"prediction/{name}/variance") for name in ("first_visit_mc", "sarsa"))
    late = {n: found.per_seed(f"cliff/{n}/late_return") for n in ("q_learning", "sarsa")}
    ways = {n: found.per_seed(f"cliff/{n}/way") for n in ("q_learning", "sarsa")}
    sarsa = found.arrays["step_sizes/sarsa/asymptotic"]
    interim = {n: found.arrays[f"step_sizes/{n}/interim"] for n in _SWEPT}
    at_best = {n: max(values, key=np.mean) for n, values in interim.items()}
    tree = found.extra["tree"]
    steps = found.per_seed("maze/q_learning/first_optimal")
    return claims_lib.of_table(
        SLIDES,
        [
            (
                claims_lib.at_least,
                "trying_teaches",
                "Trying things and remembering what was rewarded teaches behaviour: every method, "
                "from Q-learning to Monte Carlo, earns more on the frozen lake than chance.",
                "試して報酬を覚えれば行動を学べる:Q学習からモンテカルロまで,どの方法も"
                "凍った湖で偶然より多く稼ぐ。",
                "greedy return on the frozen lake, less that of random actions, worst method",
                lake - found.extra["random"],
                0.0,
            ),
            (
                claims_lib.at_least,
                "trying_finds_the_best",
                "Given time, every method crosses the frozen lake as well as can be.",
                "時間をかければ,どの方法も凍った湖をほぼ最善に渡る。",
                "greedy return on the frozen lake / the best, worst method",
                lake / found.extra["best"]["frozen_lake"],
                0.95,
            ),
            (
                claims_lib.at_most,
                "q_learning_is_exact",
                "Q-learning finds the values of the best policy while acting at random, in each "
                "of five worlds.",
                "Q学習は,でたらめに行動しながらも最適方策の価値を見つける(5つの世界すべてで)。",
                "greatest error of a value / greatest value, worst world",
                max(errors, key=np.mean),
                0.05,
            ),
            (
                claims_lib.at_most,
                "monte_carlo_and_td_agree",
                "Monte Carlo and temporal differences find the same values, those of the policy.",
                "モンテカルロ法とTD法は同じ価値(方策の真の価値)に行き着く。",
                "root mean square error / greatest value, the worse of both",
                max(rms, key=np.mean),
                0.05,
            ),
            (
                claims_lib.at_least,
                "monte_carlo_varies_more",
                "From the same episodes, Monte Carlo's estimates vary more than those of temporal "
                "differences.",
                "同じエピソードから学んでも,モンテカルロ法の推定はTD法よりばらつく。",
                "(variance of Monte Carlo - of TD) / mean variance of TD",
                (mc - td) / max(td.mean(), np.finfo(float).tiny),
                0.0,
            ),
            (
                claims_lib.at_least,
                "sarsa_earns_more_while_learning",
                "While it explores, SARSA earns more on the cliff than Q-learning.",
                "探索しながらの崖歩きでは,SARSAのほうがQ学習より多く稼ぐ。",
                f"return of episodes {_KEPT - _LATE + 1} to {_KEPT}, SARSA - Q-learning",
                late["sarsa"] - late["q_learning"],
                10.0,
            ),
            (
                claims_lib.share_at_least,
                "q_learning_walks_the_edge",
                "Without exploration, Q-learning takes the shortest way, along the edge.",
                "探索をやめると,Q学習は崖のふちの最短経路を行く。",
                "share of seeds whose greedy way has 13 steps",
                ways["q_learning"] == 13,
                0.9,
            ),
            (
                claims_lib.share_at_least,
                "sarsa_keeps_away",
                "SARSA takes a longer way, away from the edge, for it knows that it may slip.",
                "SARSAは崖から離れた長い道を選ぶ:踏み外しうることを織り込むからだ。",
                "share of seeds whose greedy way ends and has 15 steps or more",
                ways["sarsa"] >= 15,
                0.9,
            ),
            (
                claims_lib.at_least,
                "expected_sarsa_is_best_in_the_end",
                "In the long run no step size lets SARSA or Q-learning earn more on the cliff than "
                "Expected SARSA does.",
                "長い目で見れば,どのステップ幅でも期待SARSAを上回る方法はない。",
                "asymptotic return, Expected SARSA - other, worst step size and other",
                smallest_margin(found, "asymptotic"),
                -1.0,
            ),
            (
                claims_lib.at_least,
                "expected_sarsa_learns_fastest",
                "Over the first episodes, too, Expected SARSA at its best step size earns most.",
                "最初の数十回でも,最良のステップ幅での期待SARSAが最も多く稼ぐ。",
                f"return of the first {_INTERIM} episodes, Expected SARSA - best other",
                at_best["expected_sarsa"] - max((at_best[n] for n in _SWEPT[:2]), key=np.mean),
                0.0,
            ),
            (
                claims_lib.at_least,
                "sarsa_needs_small_steps",
                "SARSA gets worse with large steps, for it follows the chance in its own actions.",
                "SARSAは大きなステップ幅で悪くなる:自分の行動の偶然に振り回されるからだ。",
                "asymptotic return of SARSA, smallest - greatest step size",
                sarsa[0] - sarsa[-1],
                20.0,
            ),
            (
                claims_lib.at_least,
                "trying_finds_what_search_finds",
                "What every method learns by trying is what exhaustive search finds where the tree "
                "is given.",
                "試して学んだ道は,木が与えられたときの全探索が見つける道と同じである。",
                "share of seeds whose greedy way is worth what search found, worst method",
                in_maze,
                0.95,
            ),
            (
                claims_lib.at_most,
                "trying_takes_less_than_search",
                "And Q-learning gets there in fewer steps than the tree has nodes.",
                "しかもQ学習は,木の節点の数より少ない歩数でそこに至る。",
                "log10(environment steps until the greedy policy is the best / nodes of the tree)",
                np.log10(steps / tree["nodes"]),
                0.0,
            ),
        ],
    )


# The figure.


def figure(found: Results) -> Any:
    """The cliff, the cost of trying and of searching, step sizes, and learning over time."""
    figure, axes = plotting.mosaic(
        [["cliff", "tree"], ["rates", "lake"]], width_ratios=[1.15, 1], height_ratios=[1, 1.25]
    )
    _draw_cliff(axes["cliff"], found)
    _draw_tree(axes["tree"], found)
    _draw_rates(axes["rates"], found)
    _draw_lake(axes["lake"], found)
    count, odds = found.num_seeds, 1 / found.extra["epsilon"]
    first = found.extra["interim_episodes"]
    plotting.caption(
        figure,
        plotting.text(
            f"{count} seeds; median on the lake and of bars, else mean. On the cliff one step "
            f"in {odds:.0f} is random.\nStep sizes: solid in the end, dashed over the first "
            f"{first} episodes.",
            f"{count}個のシード(湖と棒は中央値,ほかは平均)。崖では{odds:.0f}歩に1歩はでたらめ。"
            f"\nステップ幅:実線は最終的な収益,破線は最初の{first}回の収益",
        ),
    )
    return figure


def _label(name: str) -> str:
    return plotting.text(*LABELS[name])


def _draw_cliff(ax: Any, found: Results) -> None:
    """The ways that most seeds take."""
    num_rows, num_cols = len(grids.CLIFF), len(grids.CLIFF[0])
    shades = np.array([[0.55 if letter == "C" else 1.0 for letter in row] for row in grids.CLIFF])
    ax.pcolormesh(shades, cmap="gray", vmin=0, vmax=1, edgecolors="0.8", linewidth=1)
    white = {"facecolor": "white", "edgecolor": "none", "pad": 2}
    for name, offset in (("q_learning", 0.07), ("sarsa", -0.07)):
        rows, cols = np.divmod(found.arrays[f"cliff/{name}/way"], num_cols)
        ax.plot(cols + 0.5 + offset, rows + 0.5 + offset, color=COLOURS[name], linewidth=4)
        late = found.metrics[f"cliff/{name}/late_return"].mean
        ax.text(
            num_cols / 2,
            rows.min() + 0.1 + offset,
            plotting.text(
                f"{_label(name)}: {late:.0f} an episode", f"{_label(name)}:1回に{late:.0f}"
            ),
            ha="center",
            va="center",
            color=COLOURS[name],
            fontsize=plotting.SMALL_POINTS,
            bbox=white | {"pad": 0},
        )
    for row, letters in enumerate(grids.CLIFF):
        for letter in "SG":
            if letter in letters:
                ax.text(
                    letters.index(letter) + 0.5,
                    row + 0.55,
                    letter,
                    ha="center",
                    va="center",
                    fontsize=plotting.FONT_POINTS,
                    bbox=white,
                )
    ax.text(
        num_cols / 2,
        num_rows - 0.5,
        plotting.text("cliff: -100", "崖:-100"),
        ha="center",
        va="center",
        color="white",
        fontsize=plotting.FONT_POINTS,
    )
    ax.set_aspect("equal")
    ax.invert_yaxis()
    ax.set_axis_off()
    ax.set_title(plotting.text("Ways learned on a cliff", "崖で学んだ道"))


def _draw_tree(ax: Any, found: Results) -> None:
    """How much is looked at until the best way through the maze is known."""
    tree = found.extra["tree"]
    bars = [
        (plotting.text("full search: nodes", "全探索:節点"), tree["nodes"], plotting.BLACK),
        *(
            (
                plotting.text(f"{_label(name).split(',')[0]}: steps", f"{short}:歩"),
                float(np.median(found.per_seed(f"maze/{name}/first_optimal"))),
                COLOURS[name],
            )
            for name, short in (("first_visit_mc", "モンテカルロ"), ("q_learning", "Q学習"))
        ),
        (plotting.text("planning: updates", "動的計画:更新"), tree["backups"], "0.5"),
    ]
    names, counts, colours = zip(*reversed(bars), strict=True)
    ax.barh(names, counts, color=colours)
    for y, count in enumerate(counts):
        ax.text(count * 1.2, y, f"{count:,.0f}", va="center", fontsize=plotting.SMALL_POINTS)
    ax.set_xscale("log")
    ax.set_xlim(100, max(counts) * 100)
    ax.grid(False, axis="y")
    ax.set_title(plotting.text("Effort to solve a maze", "迷路の最短路がわかるまで"))


def _draw_rates(ax: Any, found: Results) -> None:
    """Figure 6.3 of the book."""
    rates = found.arrays["step_sizes/rates"]
    for name in _SWEPT:
        for phase, style, marker in (("asymptotic", "-", "o"), ("interim", "--", "x")):
            values = found.arrays[f"step_sizes/{name}/{phase}"].mean(1)
            label = _label(name) if phase == "asymptotic" else None
            ax.plot(
                rates,
                values,
                color=COLOURS[name],
                linestyle=style,
                marker=marker,
                label=label,
            )
    ax.set_ylim(-210, 0)
    ax.set_xlabel(plotting.text("step size", "ステップ幅"))
    ax.set_ylabel(plotting.text("return per episode", "1回の収益"))
    ax.set_title(plotting.text("Cliff: earned while learning", "崖:学習中の収益"))
    ax.legend(loc="lower right", borderaxespad=0.1, labelspacing=0.3)


def _draw_lake(ax: Any, found: Results) -> None:
    """Greedy returns as a share of the best."""
    best = found.extra["best"]["frozen_lake"]
    steps = found.arrays["frozen_lake/steps"] * found.extra["block_steps"] / 1_000
    for name in (n for n in COLOURS if n in found.extra["methods"]):
        curve = np.median(found.arrays[f"frozen_lake/{name}"], axis=1) / best
        # The others are named beside, in the same colours.
        label = None if name in _SWEPT else _label(name).split(",")[0].split("(初")[0]
        ax.plot(steps, curve, color=COLOURS[name], label=label)
    ax.axhline(1, color="0.5", linestyle="--", linewidth=1.5)
    ax.set_xlim(0, steps[-1])
    ax.set_ylim(0, 1.08)
    ax.set_xlabel(plotting.text("steps (thousands)", "環境のステップ数(千)"))
    ax.set_title(plotting.text("Frozen lake: share of best", "凍った湖:最善に対する割合"))
    ax.legend(loc="lower right", borderaxespad=0.1, labelspacing=0.3, handlelength=1.4)


def report(found: Results) -> str:
    """The tables that a run prints."""
    tree, best = found.extra["tree"], found.extra["best"]
    lines = ["                  lake: share of the best   maze: share optimal   steps until then"]
    for name in found.extra["methods"]:
        lake = found.metrics[f"frozen_lake/{name}/greedy_return"].mean / best["frozen_lake"]
        optimal = found.metrics[f"maze/{name}/is_optimal"].mean
        steps = np.median(found.per_seed(f"maze/{name}/first_optimal"))
        lines.append(f"  {name:16s}{lake:25.3f}{optimal:22.3f}{steps:19,.0f}")
    lines += [
        f"  search of the maze's tree, depth {tree['depth']}: {tree['nodes']:,} nodes; value "
        f"iteration: {tree['backups']:,} updates",
        "Q-learning's greatest error / greatest value: "
        + ", ".join(f"{w} {found.metrics[f'exact/{w}/value_error'].mean:.4f}" for w in best),
    ]
    variances = [
        found.metrics[f"prediction/{name}/variance"].mean for name in ("first_visit_mc", "sarsa")
    ]
    if variances[1] > 0:
        ratio = variances[0] / variances[1]
        lines.append(f"variance of Monte Carlo / of temporal differences: {ratio:.2f}")
    for name in ("q_learning", "sarsa"):
        ways = found.per_seed(f"cliff/{name}/way")
        lines.append(
            f"cliff, {name}: {found.metrics[f'cliff/{name}/late_return'].mean:.1f} an episode, "
            f"greedy way {np.median(ways):.0f} steps (median; of {np.mean(ways > 0):.0%} it ends)"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    from experiments import flags

    flags.launch(sys.modules[__name__])
