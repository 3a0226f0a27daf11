"""Trying things and being rewarded is enough to learn to move, efficiently (slide 25).

    python -m experiments.locomotion --preset=quick --workdir=runs/locomotion

Proximal policy optimisation, with one setting for all, learns four continuous tasks:

- swimmer: Purcell's three-link swimmer, whose every movement is undone when it is taken back, so
  that only a gait moves it (`dl_lectures/rl/swimmer.py`). It is compared with the stroke that
  Purcell (1977) drew for it, at the best amplitude;
- Pendulum-v1: swing a pole up and keep it there;
- Reacher-misc: bring the hand of a two-link arm to a goal;
- Swimmer-misc: gymnax's swimmer is no body but a point with inertia that is to reach a goal and to
  avoid sea urchins.

Steps are rollouts. quick: 490,000 environment steps of 8 seeds on each task, about four and a half
minutes on 2 cores. The gait is found within 100,000 steps by every seed; it swims 1.65 times as
fast as Purcell's stroke, and gets 1.10 times as far for its power, which costs nothing: both joints
always move, where in Purcell's one waits for the other. Pendulum: -136 +- 12 (random play
-1,166). Swimmer-misc: 0.82 of the 1 there is a step. The claim for the arm fails: its hand ends
0.32 +- 0.06 links from its goal, 0.2 claimed, while the return still rises. full was not run.
Where we differ from Schulman et al. (2017): see `dl_lectures/rl/ppo.py`.
"""

import dataclasses
import functools
import sys
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dl_lectures.reporting import claims as claims_lib
from dl_lectures.reporting import plotting, results
from dl_lectures.reporting.claims import Claim
from dl_lectures.reporting.results import Results
from dl_lectures.rl import environments, evaluation, ppo, swimmer
from dl_lectures.training import trainer
from dl_lectures.training.options import Options
from experiments import common, playing

SLIDES = (25,)
_SWIMMER = "swimmer"  # the one that is not gymnax's
_STRIP_FRAMES = 6


class Task(NamedTuple):
    """What is measured of a trained policy, beside its return."""

    title: tuple[str, str]
    num_steps: int  # of an episode; none of the tasks ends before
    measure: Callable[[Any, jax.Array], jax.Array]  # states [T + 1, ...], rewards [T] -> []
    unit: tuple[str, str]  # of the measure


def _speed(states: swimmer.State, rewards: jax.Array) -> jax.Array:
    """Body lengths in a unit of time, in the direction x."""
    del rewards
    poses = jax.vmap(swimmer.pose_of)(states)
    centres = jax.vmap(swimmer.shape_of)(poses)[0].mean(1)  # [T + 1, 2]
    return (centres[-1] - centres[0])[0] / ((poses.shape[0] - 1) * swimmer.TIME_STEP)


def _excess_distance(states: Any, rewards: jax.Array) -> jax.Array:
    """Distance of the hand from the point nearest to the goal, at the end; links are 1 long.

    Goals lie in a square of which the arm's circle does not reach the corners.
    """
    del rewards
    angles, goal = states.angles[-1], states.goal_xy[-1]
    hand = jnp.stack([jnp.cos(angles).sum(), jnp.sin(angles).sum()])
    reach = jnp.float32(angles.size)
    nearest = goal * jnp.minimum(1.0, reach / jnp.linalg.norm(goal))
    return jnp.linalg.norm(hand - nearest)


TASKS = {
    _SWIMMER: Task(
        ("Purcell's swimmer", "パーセルの泳者"),
        500,
        _speed,
        ("body lengths a unit of time", "体長/単位時間"),
    ),
    "Pendulum-v1": Task(
        ("Pendulum-v1", "Pendulum-v1"),
        200,
        lambda states, rewards: rewards.sum(),
        ("return", "収益"),
    ),
    "Reacher-misc": Task(
        ("Reacher-misc", "Reacher-misc"),
        100,
        _excess_distance,
        ("distance at the end, link lengths", "最後の距離,腕の長さ"),
    ),
    "Swimmer-misc": Task(
        ("Swimmer-misc", "Swimmer-misc"),
        500,
        lambda states, rewards: rewards.mean(),
        ("reward a step", "1ステップの報酬"),
    ),
}


@dataclasses.dataclass(frozen=True)
class Config(ppo.Config):
    """The agent; its settings are the same for all tasks."""

    env: Annotated[str, f"tasks, separated by commas, of {', '.join(TASKS)}"] = ",".join(TASKS)

    def __post_init__(self):
        super().__post_init__()
        for name in self.env.split(","):
            if name not in TASKS:
                raise ValueError(f"--env={self.env}: {name!r} is none of {', '.join(TASKS)}.")


_TUNED = Config(
    num_envs=16,
    num_steps=256,
    num_epochs=10,
    num_minibatches=16,
    discount=0.99,
    entropy_cost=0.0,
    value_clip=0.0,
    learning_rate=1e-3,
    decay_steps=120,
    normalize_obs=True,
    normalize_rewards=True,
    num_eval_episodes=16,
)

PRESETS = {
    "smoke": common.Preset(
        Config(
            num_envs=4,
            num_steps=8,
            num_epochs=1,
            num_minibatches=2,
            hidden_sizes="16",
            normalize_obs=True,
            normalize_rewards=True,
            num_eval_episodes=2,
        ),
        num_seeds=2,
        steps=100,
        log_every=20,
        eval_every=50,
        checkpoint_every=50,
    ),
    "quick": common.Preset(
        _TUNED,
        num_seeds=8,
        steps=120,
        log_every=4,
        eval_every=8,
        checkpoint_every=40,
    ),
    "full": common.Preset(
        dataclasses.replace(_TUNED, decay_steps=600, num_eval_episodes=64),
        num_seeds=16,
        steps=600,
        log_every=10,
        eval_every=20,
        checkpoint_every=100,
    ),
}


def make_environment(config: Config, name: str) -> environments.Environment:
    """The environment of a task."""
    num_steps = config.max_episode_steps or TASKS[name].num_steps
    if name == _SWIMMER:
        return _make_swimmer(num_steps)
    return environments.make(
        name,
        continuous=True,
        sticky_actions=config.sticky_actions,
        max_episode_steps=num_steps,
    )


# A second object would compile everything again.
_make_swimmer = functools.cache(swimmer.make)


def random_actions(environment: environments.Environment) -> evaluation.Policy:
    """Every action in the range with the same probability, whatever is observed."""
    low, high = environment.low, environment.high
    return lambda key, obs: jax.random.uniform(
        key, (len(low),), minval=jnp.array(low), maxval=jnp.array(high)
    )


def run(config: Config, options: Options) -> Results:
    """Trains on one task after the other."""
    names = config.env.split(",")
    parts = common.run_parts(
        options, {name: functools.partial(_run_one, config, name) for name in names}
    )
    extra: dict[str, Any] = {"tasks": names}
    if _SWIMMER in names:
        extra["purcell"] = best_purcell_stroke()
    return results.make(
        "locomotion",
        SLIDES,
        options,
        parts,
        parts.metrics(),
        extra=extra,
        arrays={
            f"{name}/{key}": value
            for name in names
            for key, value in parts.found[name].arrays.items()
        },
    )


def _run_one(config: Config, name: str, options: Options) -> Results:
    environment = make_environment(config, name)
    trained = trainer.train(ppo.make(config, environment), options, shard_batch=False)
    curve = results.read_curves(options.workdir)["eval/greedy_return"]
    learned = common.of_all_seeds((trained.state.params, trained.state.obs_moments))
    found = judge(config, name, options, learned)
    arrays = {"env_steps": config.env_steps(curve.steps), "greedy_return": curve.values}
    if name == _SWIMMER:
        states = episode(config, name, options, jax.tree.map(lambda x: x[0], learned)).states
        arrays["poses"] = jax.vmap(swimmer.pose_of)(states)
    return results.make("locomotion", SLIDES, options, trained, found, arrays=arrays)


def judge(config: Config, name: str, options: Options, learned: Any) -> dict[str, np.ndarray]:
    """Return and measure, [S] each, of the learned policies, the untrained ones and at random.

    Args:
        config: of the agents.
        name: of the task.
        options: of the run.
        learned: parameters and moments of all seeds, leaves [S, ...].
    """
    environment, task = make_environment(config, name), TASKS[name]
    num_steps = config.max_episode_steps or task.num_steps
    learner, act = ppo.make(config, environment), ppo.greedy(config, environment)
    at_random = random_actions(environment)
    num_episodes = config.num_eval_episodes

    def of_policy(key, policy):
        play = functools.partial(
            evaluation.play_episode,
            environment=environment,
            policy=policy,
            num_steps=num_steps,
        )
        played = jax.vmap(play)(jax.random.split(key, num_episodes))
        values = jax.vmap(task.measure)(played.states, played.rewards)
        found = {"return": played.rewards.sum(1).mean(), "measure": values.mean()}
        if name == _SWIMMER:
            found |= {"size": jnp.abs(values).mean(), "efficiency": _efficiency(played.states)}
        return found

    @jax.jit
    @jax.vmap
    def of_seed(seed, learned):
        key_init, key_play = jax.random.split(jax.random.key(seed))
        untrained = learner.init(key_init)
        policies = {
            "learned": lambda _, obs: act(*learned, obs),
            "untrained": lambda _, obs: act(untrained.params, untrained.obs_moments, obs),
            "random": at_random,
        }
        # All start from the same states.
        return {which: of_policy(key_play, policy) for which, policy in policies.items()}

    seeds = np.arange(options.seed, options.seed + options.num_seeds, dtype=np.uint32)
    found = jax.device_get(of_seed(seeds, learned))
    return {
        f"{which}_{metric}": values
        for which, metrics in found.items()
        for metric, values in metrics.items()
    }


def _efficiency(states: swimmer.State) -> jax.Array:
    """Lighthill's efficiency of episodes, leaves [E, T + 1, ...]: see `efficiency`."""
    return jax.vmap(efficiency)(jax.vmap(jax.vmap(swimmer.pose_of))(states)).mean()


def efficiency(poses: jax.Array) -> jax.Array:
    """The power to drag the straight body at its mean speed, over the mean power it spent.

    Lighthill's, as in Becker, Koehler & Stone (2003).

    Args:
        poses: [T + 1, 5].
    """
    rates = jnp.diff(poses[:, 3:], axis=0) / swimmer.TIME_STEP
    spent = jax.vmap(swimmer.power)(poses[:-1], rates).mean()
    centres = jax.vmap(swimmer.shape_of)(poses)[0].mean(1)
    speed = (centres[-1] - centres[0])[0] / (rates.shape[0] * swimmer.TIME_STEP)
    towed = jnp.zeros(5).at[0].set(speed)
    straight = swimmer.drag(jnp.zeros(5))
    return towed @ straight @ towed / jnp.maximum(spent, 1e-9)


def best_purcell_stroke() -> dict[str, float]:
    """Amplitude (radians), speed and efficiency of Purcell's stroke where it is fastest."""
    amplitudes = np.arange(0.1, swimmer.MAX_ANGLE, 0.1)
    strokes = [swimmer.purcell_stroke(amplitude, 1) for amplitude in amplitudes]
    counts = np.array([len(stroke) for stroke in strokes])
    rates = np.zeros((len(strokes), counts.max(), 2), np.float32)  # at rest after a cycle
    for row, stroke in zip(rates, strokes, strict=True):
        row[: len(stroke)] = stroke

    @jax.jit
    @jax.vmap
    def swim(amplitude, rates):
        pose = jnp.zeros(5).at[3].set(-amplitude).at[4].set(amplitude)
        _, later = jax.lax.scan(
            lambda pose, rates: (swimmer.advance(pose, rates),) * 2, pose, rates
        )
        return jnp.concatenate([pose[None], later])

    poses = np.array(swim(np.float32(amplitudes), rates))
    speeds = poses[:, -1, 0] / (counts * swimmer.TIME_STEP)
    best = int(speeds.argmax())
    return {
        "speed": float(speeds[best]),
        "amplitude": float(amplitudes[best]),
        "efficiency": float(efficiency(jnp.asarray(poses[best, : counts[best] + 1]))),
    }


def episode(config: Config, name: str, options: Options, learned: Any) -> evaluation.Episode:
    """An episode of one seed's greedy policy, of `learned` parameters and moments."""
    environment = make_environment(config, name)
    act = ppo.greedy(config, environment)
    num_steps = config.max_episode_steps or TASKS[name].num_steps

    @jax.jit
    def play(learned):
        policy = lambda _, obs: act(*learned, obs)  # noqa: E731
        return evaluation.play_episode(jax.random.key(options.seed), environment, policy, num_steps)

    return jax.device_get(play(learned))


def play(config: Config) -> tuple[playing.Player, ...]:
    """The agents of all tasks for `--play`."""
    return tuple(_player(config, name) for name in config.env.split(","))


def _player(config: Config, name: str) -> playing.Player:
    environment = make_environment(config, name)
    act = ppo.greedy(config, environment)
    return playing.Player(
        name,
        environment,
        ppo.make(config, environment),
        lambda state, obs: act(state.params, state.obs_moments, obs),
        part=name,
    )


def claims(found: Results) -> tuple[Claim, ...]:
    """Thresholds were set before the first run."""
    table = []
    for name in found.extra["tasks"]:
        measure = found.per_seed(f"{name}/learned_measure")
        if name == _SWIMMER:
            size = found.per_seed(f"{name}/random_size")
            purcell = found.extra["purcell"]
            table += [
                (
                    claims_lib.at_least,
                    "locomotion_swims",
                    "Rewarded for every bit of way, a body learns a gait: it swims five times "
                    "as fast as random strokes carry it anywhere, or faster.",
                    "進んだ分だけ報酬を与えると体は泳ぎ方を身に付ける:"
                    "でたらめな動きで流される速さの5倍以上で泳ぐ。",
                    "speed over the mean size of random actions' speed",
                    measure / size.mean(),
                    5.0,
                ),
                (
                    claims_lib.at_least,
                    "locomotion_as_fast_as_purcell",
                    "The learned gait is as fast as the stroke that Purcell drew, or faster.",
                    "学んだ泳ぎ方は,パーセルが考えた泳ぎ方以上に速い。",
                    "speed over that of Purcell's stroke at its best amplitude",
                    measure / purcell["speed"],
                    1.0,
                ),
                (
                    claims_lib.at_least,
                    "locomotion_efficient",
                    "The learned gait is efficient: it gets as far for its power as Purcell's "
                    "stroke, or further, although only speed was rewarded.",
                    "学んだ泳ぎ方は効率もよい:報酬は速さだけなのに,"
                    "同じ仕事率でパーセルの泳ぎ方以上に進む。",
                    "Lighthill's efficiency over that of Purcell's stroke",
                    found.per_seed(f"{name}/learned_efficiency") / purcell["efficiency"],
                    1.0,
                ),
            ]
        elif name == "Pendulum-v1":
            table.append(
                (
                    claims_lib.at_least,
                    "locomotion_swings_up",
                    "The pole is swung up and kept there.",
                    "振り子を振り上げて立て続ける。",
                    "greedy return on Pendulum-v1",
                    measure,
                    -200.0,
                )
            )
        elif name == "Reacher-misc":
            table.append(
                (
                    claims_lib.at_most,
                    "locomotion_reaches",
                    "The arm's hand ends within a fifth of a link of the point nearest to the "
                    "goal.",
                    "腕の先は目標に最も近い点から腕の長さの1/5以内に止まる。",
                    "distance at the end, in link lengths",
                    measure,
                    0.2,
                )
            )
        else:
            table.append(
                (
                    claims_lib.at_least,
                    "locomotion_avoids",
                    "The point reaches its goal between the urchins, stays there, and earns most "
                    "of what there is.",
                    "点はウニを避けて目標に着いてとどまり,得られる報酬の大半を得る。",
                    "reward a step on Swimmer-misc, 1 at most",
                    measure,
                    0.7,
                )
            )
    return claims_lib.of_table(SLIDES, table)


def figure(found: Results) -> Any:
    """The learned gait, and return against experience for each task."""
    names = found.extra["tasks"]
    if _SWIMMER not in names:
        figure, axes = plotting.subplots(1, len(names), squeeze=False)
        axes = dict(zip(names, axes[0], strict=True))
    else:
        lower = names if len(names) > 1 else names * 2
        upper = ["strip"] * (len(lower) - 1) + ["loop"]
        figure, axes = plotting.mosaic([upper, lower])
        _draw_strip(axes["strip"], found)
        _draw_loop(axes["loop"], found)
    for name in names:
        _draw_curve(axes[name], found, name)
    axes[names[0]].set_ylabel(
        plotting.text("return of an episode", "エピソードの収益"), fontsize=plotting.SMALL_POINTS
    )
    plotting.caption(
        figure,
        plotting.text(
            "Blue: learned; red: Purcell's stroke; dashed: random; dotted: before learning.",
            "青:学習後,赤:パーセルの泳ぎ方,破線:でたらめな行動,点線:学習前",
        ),
    )
    return figure


def _draw_curve(ax: Any, found: Results, name: str) -> None:
    millions = found.arrays[f"{name}/env_steps"] / 1e6
    plotting.band(ax, millions, found.arrays[f"{name}/greedy_return"], "PPO")
    for which, style in (("random", "--"), ("untrained", ":")):
        level = found.metrics[f"{name}/{which}_return"].mean
        ax.axhline(level, color=plotting.BLACK, linestyle=style, linewidth=1.5)
    if name == _SWIMMER:
        num_steps = len(found.arrays[f"{name}/poses"]) - 1
        level = 100 * found.extra["purcell"]["speed"] * num_steps * swimmer.TIME_STEP
        ax.axhline(level, color=_PURCELL, linewidth=1.5)
    ax.set_xlim(left=0)
    ax.set_title(plotting.text(*TASKS[name].title), fontsize=plotting.SMALL_POINTS)
    ax.set_xlabel(plotting.text("million steps", "百万ステップ"), fontsize=plotting.SMALL_POINTS)


_PURCELL = plotting.VERMILION


def cycle_of(poses: np.ndarray) -> tuple[int, int]:
    """First and last step of a cycle of the joints: from the middle of an episode to their return.

    Args:
        poses: [T + 1, 5].
    """
    first = len(poses) // 2
    apart = np.linalg.norm(poses[first:, 3:] - poses[first, 3:], axis=1)
    # They have left when they are as far away as they ever get, half of it to be sure.
    left = int((apart > apart.max() / 2).argmax())
    back = left + int(apart[left : left + 3 * max(left, 10)].argmin())
    return first, first + max(back, 1)


def _draw_strip(ax: Any, found: Results) -> None:
    """The first seed's body at a few times of one cycle, side by side; a dot on its head."""
    poses = found.arrays[f"{_SWIMMER}/poses"]
    first, last = cycle_of(poses)
    steps = np.linspace(first, last, _STRIP_FRAMES).round().astype(int)
    origin = _centre(poses[first])
    for i, step in enumerate(steps):
        ends = np.array(swimmer.ends_of(jnp.asarray(poses[step]))) - origin
        ends[:, 0] += 1.15 * i
        ax.plot(ends[:, 0], ends[:, 1], color=plotting.BLUE, linewidth=5, solid_capstyle="round")
        ax.plot(*ends[-1], "o", color=plotting.ORANGE, markersize=10)
        ax.axvline(1.15 * i, color="0.6", linestyle=":", linewidth=1.5)
        gained = 100 * (_centre(poses[step]) - origin)[0]
        words = plotting.text(f"{gained:+.0f} %", f"{gained:+.0f}%")
        ax.text(1.15 * i, -0.55, words, ha="center", fontsize=plotting.SMALL_POINTS)
    ax.set_aspect("equal")
    ax.set_xlim(-0.6, 1.15 * (_STRIP_FRAMES - 1) + 0.6)
    ax.set_ylim(-0.65, 0.45)
    ax.set_axis_off()
    ax.set_title(
        plotting.text(
            "One cycle of the learned gait; way gained, of a body length",
            "学んだ泳ぎ方の1周期(数字:進んだ距離,体長比)",
        ),
        fontsize=plotting.SMALL_POINTS,
    )


def _centre(pose: np.ndarray) -> np.ndarray:
    return np.array(swimmer.shape_of(jnp.asarray(pose))[0]).mean(0)


def _draw_loop(ax: Any, found: Results) -> None:
    """What the joints of the first seed do, beside Purcell's stroke."""
    poses = found.arrays[f"{_SWIMMER}/poses"]
    joints = np.rad2deg(poses[len(poses) // 2 :, 3:])
    ax.plot(joints[:, 0], joints[:, 1], color=plotting.BLUE, linewidth=1.5)
    a = np.rad2deg(found.extra["purcell"]["amplitude"])
    corners = np.array([[-1, 1], [-1, -1], [1, -1], [1, 1], [-1, 1]]) * a
    ax.plot(*corners.T, color=_PURCELL, linewidth=1.5)
    ax.set_xticks([-90, 0, 90])
    ax.set_yticks([-90, 0, 90])
    ax.set_xlabel(plotting.text("rear joint, °", "後の関節,°"), fontsize=plotting.SMALL_POINTS)
    ax.set_ylabel(plotting.text("front joint, °", "前の関節,°"), fontsize=plotting.SMALL_POINTS)


def report(found: Results) -> str:
    """What was learned, task by task."""
    lines = []
    for name in found.extra["tasks"]:
        unit = TASKS[name].unit[0]
        lines.append(f"{name} ({unit})")
        for which in ("random", "untrained", "learned"):
            metric = found.metrics[f"{name}/{which}_measure"]
            returns = found.metrics[f"{name}/{which}_return"]
            lines.append(f"  {which:10s} {metric.mean:9.4f}   return {returns.mean:8.1f}")
    if "purcell" in found.extra:
        lines.append(f"Purcell's stroke: {found.extra['purcell']}")
    return "\n".join(lines)


if __name__ == "__main__":
    from experiments import flags

    flags.launch(sys.modules[__name__])
