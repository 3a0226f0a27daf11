"""The one trainer: chunks of steps, vmapped over seeds, laid over a mesh, exactly resumable.

One compiled program advances all seeds by any number of steps: `fori_loop(vmap(step))` with the
number as an argument. So how a run is cut into chunks, for logging, checkpoints, signals or the
progress bar, cannot change a bit of it.

S: seeds.
"""

import contextlib
import pathlib
import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from dl_lectures.errors import Stopped, UsageError
from dl_lectures.learner import Data, Learner, Metrics, State
from dl_lectures.training import checkpoint, devices, metrics, signals
from dl_lectures.training.options import Options

_CHUNK_SECONDS = 0.5  # how long a signal or the progress bar may have to wait


class Trained(NamedTuple):
    """A finished run."""

    state: State  # leaves [S, ...], on the devices
    step: int
    evaluation: dict[str, np.ndarray]  # the learner's `evaluate` at the last step, [S] by name
    seconds: dict[str, float]  # compile, train, evaluate; sums over all starts of the run
    state_sha256: str


class Window(NamedTuple):
    """What the seeds showed since the last line of the log."""

    sums: Metrics  # [S] by name
    first_bad: jax.Array  # [S] int32, step of the first loss that is not finite; 0 for none


class Carry(NamedTuple):
    """All that goes on from chunk to chunk, and into a checkpoint."""

    state: State
    window: Window


class Programs(NamedTuple):
    """The programs of a run, jitted."""

    init: Callable[[jax.Array], Carry]  # seeds [S]
    advance: Callable[..., Carry]  # carry (donated), data, step, num_steps
    evaluate: Callable[..., Metrics]  # seeds [S], step, state, eval_data -> [S] by name


def make_programs(learner: Learner, mesh: Mesh, data: Data) -> Programs:
    """Returns the programs of a learner whose seeds, and batches, are laid over a mesh.

    Raises:
      ValueError: the metrics of the learner's step have no entry "loss".
    """
    step_fn = jax.vmap(learner.step, in_axes=(0, None), spmd_axis_name="seed")

    def key_pair(seed):  # of training and of evaluation
        return jax.random.split(jax.random.key(seed))

    def init(seeds):
        state = jax.vmap(lambda seed: learner.init(key_pair(seed)[0]), spmd_axis_name="seed")(seeds)
        _, names = jax.eval_shape(step_fn, state, data)
        if "loss" not in names:
            raise ValueError(f"the metrics of a learner's step need 'loss', not only {[*names]}")
        sums = {name: jnp.zeros(seeds.shape, jnp.float32) for name in names}
        return Carry(state, Window(sums, first_bad=jnp.zeros(seeds.shape, jnp.int32)))

    def advance(carry, data, step, num_steps):
        def body(i, carry):
            state, values = step_fn(carry.state, data)
            sums, first_bad = carry.window
            sums = {name: total + values[name] for name, total in sums.items()}
            is_first = (first_bad == 0) & ~jnp.isfinite(values["loss"])
            first_bad = jnp.where(is_first, step + i + 1, first_bad)
            return Carry(state, Window(sums, first_bad))

        return jax.lax.fori_loop(0, num_steps, body, carry)

    def evaluate(seeds, step, state, eval_data):
        def of_one(seed, state):
            key = jax.random.fold_in(key_pair(seed)[1], step)
            return learner.evaluate(key, state, eval_data)

        return jax.vmap(of_one, spmd_axis_name="seed")(seeds, state)

    over_seeds = devices.over_seeds(mesh)
    return Programs(
        init=jax.jit(init, out_shardings=over_seeds),
        advance=jax.jit(advance, out_shardings=over_seeds, donate_argnums=0),
        evaluate=jax.jit(evaluate, out_shardings=over_seeds),
    )


def train(
    learner: Learner,
    options: Options,
    data: Data = (),
    eval_data: Data = (),
    shard_batch: bool = True,
    until: Callable[[dict[str, np.ndarray]], bool] | None = None,
) -> Trained:
    """Trains `options.num_seeds` copies of a learner, or continues where an earlier call stopped.

    Writes `metrics.jsonl` and `checkpoints/` below `options.workdir`.

    Args:
      learner: what to train.
      options: how long, how many, where.
      data: the learner's training data, host arrays; the same for every seed.
      eval_data: what its `evaluate` gets.
      shard_batch: whether devices left over by the seeds share each seed's batch.
      until: is asked after every evaluation, [S] by name; its yes ends the run before its steps.

    Returns:
      The finished run.

    Raises:
      Stopped: a signal came; a checkpoint was written.
      UsageError: the loss is not finite, nothing can be written, or a checkpoint does not fit.
    """
    workdir = pathlib.Path(options.workdir)
    mesh = devices.make_mesh(options.num_seeds, options.num_devices, shard_batch)
    with (
        jax.set_mesh(mesh),
        checkpoint.Checkpoints(workdir / "checkpoints", options.keep_checkpoints) as checkpoints,
    ):
        run = _Run(learner, options, data, eval_data, mesh)
        run.begin(checkpoints)
        with metrics.Progress(options.steps, run.step, silent=not is_primary()) as progress:
            progress.say("compiling")
            run.compile()
            progress.say(f"compiled in {run.seconds['compile']:.1f} s")
            with metrics.open_log(workdir, run.step, options.tensorboard, is_primary()) as log:
                _advance_to_the_end(run, checkpoints, log, progress, until)
        checkpoints.wait()
        if jax.process_count() > 1:  # whoever reads the log below `workdir` finds all of it
            multihost_utils.sync_global_devices("trained")
        return Trained(
            state=run.carry.state,
            step=run.step,
            evaluation=run.evaluation,
            seconds={name: round(value, 3) for name, value in run.seconds.items()},
            state_sha256=checkpoint.sha256(checkpoint.to_host(run.carry.state)),
        )


def load(learner: Learner, options: Options, data: Data = ()) -> tuple[State, int]:
    """The state in the newest intact checkpoint of a run, finished or not, and its step.

    For programs that look at what was trained, in one process; trains and writes nothing.

    Args:
      learner: what was trained.
      options: `workdir`, `seed` and `num_seeds` of the run.
      data: the learner's training data, whose shapes the state may depend on.

    Returns:
      The state, leaves [S, ...] on one device, and the step.

    Raises:
      UsageError: there is no checkpoint, or it holds another structure.
    """
    directory = pathlib.Path(options.workdir) / "checkpoints"
    mesh = devices.make_mesh(options.num_seeds, 1, shard_batch=False)
    restored = None
    with jax.set_mesh(mesh):
        template = _template(make_programs(learner, mesh, data), mesh, seeds_of(options))
        if directory.is_dir():  # to open it would make it
            with checkpoint.Checkpoints(directory, options.keep_checkpoints) as checkpoints:
                restored = checkpoints.restore(template)
        if restored is None:
            raise UsageError(
                f"no checkpoint in {options.workdir} yet; train there first, or give the --workdir "
                "of a run"
            )
        return checkpoint.from_host(restored.tree, template).state, restored.step


def seeds_of(options: Options) -> np.ndarray:
    """The seeds of a run, uint32 [S]."""
    return np.arange(options.seed, options.seed + options.num_seeds, dtype=np.uint32)


def _template(programs: Programs, mesh: Mesh, seeds: jax.Array | np.ndarray) -> Carry:
    """Shapes, types and layout of what a checkpoint holds."""
    over_seeds = devices.over_seeds(mesh)
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=over_seeds),
        jax.eval_shape(programs.init, seeds),
    )


def is_primary() -> bool:
    """Whether this process is the one that writes and prints."""
    return jax.process_index() == 0


def _advance_to_the_end(
    run: "_Run",
    checkpoints: checkpoint.Checkpoints,
    log: metrics.Log,
    progress: metrics.Progress,
    until: Callable[[dict[str, np.ndarray]], bool] | None,
) -> None:
    options = run.options
    last_save = time.monotonic()
    is_enough = until is not None and run.evaluated_again() and until(run.evaluation)
    while run.step < options.steps and not is_enough:
        run.advance(checkpoints)
        loss = run.means()["loss"].mean()
        progress.update(run.step, run.seconds["train"], f"loss {loss:.4g}")
        run.log(log)
        if until is not None and run.step % options.eval_every == 0:
            is_enough = until(run.evaluation)
        is_late = 0 < options.checkpoint_seconds < time.monotonic() - last_save
        stop, is_late = signals.agree(is_late)
        at_end = is_enough or run.step == options.steps
        if stop or is_late or at_end or run.step % options.checkpoint_every == 0:
            log.sync()  # rows come before the checkpoint that a resumed run trims them to
            checkpoints.save(run.step, checkpoint.to_host(run.carry), {"seconds": run.seconds})
            last_save = time.monotonic()
        if stop and not at_end:
            checkpoints.wait()
            raise Stopped(
                f"stopped at step {run.step} of {options.steps}; its checkpoint is in "
                f"{options.workdir}, and the same command continues from it"
            )
    if not run.evaluation:  # restored at the last step
        run.evaluate()


class _Run:
    """A run under way: what goes on is `carry` and `step`, the rest is bookkeeping."""

    def __init__(self, learner: Learner, options: Options, data: Data, eval_data: Data, mesh: Mesh):
        everywhere = devices.everywhere(mesh)
        self.options, self.mesh = options, mesh
        self.data, self.eval_data = jax.device_put((data, eval_data), everywhere)
        self.seeds = seeds_of(options)
        self.device_seeds = jax.device_put(self.seeds, devices.over_seeds(mesh))
        self.programs = make_programs(learner, mesh, self.data)
        self.step = 0
        self.seconds = {"compile": 0.0, "train": 0.0, "evaluate": 0.0}
        self.evaluation: dict[str, np.ndarray] = {}
        self._seconds_per_step: float | None = None

    def begin(self, checkpoints: checkpoint.Checkpoints) -> None:
        """Restores the newest intact checkpoint, or starts at step 0."""
        template = _template(self.programs, self.mesh, self.device_seeds)
        restored = checkpoints.restore(template)
        if restored is None:
            with self._clock("compile"):
                self.programs = self.programs._replace(
                    init=self.programs.init.lower(self.device_seeds).compile()
                )
            self.carry = self.programs.init(self.device_seeds)
            return
        self.carry = checkpoint.from_host(restored.tree, template)
        self.step = restored.step
        if is_primary():
            print(f"continuing at step {self.step}", flush=True)
        self.seconds |= restored.notes.get("seconds", {})
        if self.step > self.options.steps:
            raise UsageError(
                f"{self.options.workdir} has already trained {self.step} steps; give "
                f"--steps={self.step} or more, or another --workdir"
            )

    def compile(self) -> None:
        """Compiles what begin() has not."""
        step, num_steps = np.int32(0), np.int32(1)
        with self._clock("compile"):
            advance = self.programs.advance.lower(self.carry, self.data, step, num_steps)
            evaluate = self.programs.evaluate.lower(
                self.device_seeds, step, self.carry.state, self.eval_data
            )
            self.programs = self.programs._replace(
                advance=advance.compile(), evaluate=evaluate.compile()
            )

    def advance(self, checkpoints: checkpoint.Checkpoints) -> None:
        """Trains up to the next event, or for fewer steps where these would take long."""
        num_steps = self._chunk_length()
        start = time.perf_counter()
        self.carry = self.programs.advance(
            self.carry, self.data, np.int32(self.step), np.int32(num_steps)
        )
        first_bad = _fetch(self.carry.window.first_bad)
        seconds = time.perf_counter() - start
        if first_bad.any():
            raise _not_finite(first_bad, self.seeds, checkpoints)
        self.step += num_steps
        self.seconds["train"] += seconds
        self._seconds_per_step = seconds / num_steps

    def means(self) -> dict[str, np.ndarray]:
        """Returns each metric's mean over the steps since the last log boundary, [S] by name."""
        num_steps = (self.step - 1) % self.options.log_every + 1
        return {name: _fetch(x) / num_steps for name, x in self.carry.window.sums.items()}

    def log(self, log: metrics.Log) -> None:
        """Evaluates and writes what is due at this step."""
        at_end = self.step == self.options.steps
        at_boundary = self.step % self.options.log_every == 0
        values = self.means() if at_boundary or at_end else {}
        if at_end or self.step % self.options.eval_every == 0:
            self.evaluate()
            values |= {f"eval/{name}": value for name, value in self.evaluation.items()}
        if values:
            log.write(self.step, self.seeds, values)
        if at_boundary:
            sums = jax.tree.map(jnp.zeros_like, self.carry.window.sums)
            self.carry = self.carry._replace(window=self.carry.window._replace(sums=sums))

    def evaluate(self) -> None:
        """Evaluates the state at this step."""
        with self._clock("evaluate"):
            values = self.programs.evaluate(
                self.device_seeds, np.int32(self.step), self.carry.state, self.eval_data
            )
            self.evaluation = {name: _fetch(value) for name, value in values.items()}

    def evaluated_again(self) -> bool:
        """Whether the run was restored where it is evaluated; then it is, once more."""
        if self.step == 0 or self.step % self.options.eval_every:
            return False
        self.evaluate()
        return True

    def _chunk_length(self) -> int:
        options = self.options
        events = (options.log_every, options.eval_every, options.checkpoint_every)
        to_event = min(every - self.step % every for every in events)
        to_event = min(to_event, options.steps - self.step)
        if jax.process_count() > 1:  # all must choose alike, and their clocks differ
            return to_event
        if self._seconds_per_step is None:
            return 1
        return max(1, min(to_event, int(_CHUNK_SECONDS / self._seconds_per_step)))

    @contextlib.contextmanager
    def _clock(self, name: str):
        start = time.perf_counter()
        yield
        self.seconds[name] += time.perf_counter() - start


def _fetch(x: jax.Array) -> np.ndarray:
    """Copies an array over seeds to this process."""
    if not x.is_fully_addressable:
        x = multihost_utils.process_allgather(x, tiled=True)
    return np.array(x)


def _not_finite(
    first_bad: np.ndarray, seeds: np.ndarray, checkpoints: checkpoint.Checkpoints
) -> UsageError:
    step = first_bad[first_bad > 0].min()
    seed = seeds[first_bad == step][0]
    checkpoints.wait()
    last = "none was written yet"
    if checkpoints.newest is not None:
        last = str(checkpoints.directory / str(checkpoints.newest))
    return UsageError(
        f"the loss is not finite at step {step} of seed {seed}; last good checkpoint: {last}; "
        "try a smaller --learning_rate in another --workdir"
    )
