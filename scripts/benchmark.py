"""Measures the speed of what others have fast, too.

    python scripts/benchmark.py --against
    python scripts/benchmark.py --against --only=lstm --only=rnn

Prints one line for every row: the median time of ours and, with `--against`, of the peer (where it
is installed; `pip install -e .[peers]`), and how many times as fast ours is. The two are measured
alternately in one process with the same allocator and the same cores. A row is a function in `ROWS`
that returns a `Row`; rows whose peer has a process of its own to run in can start it in `peer`.
"""

import argparse
import contextlib
import functools
import importlib.metadata
import importlib.util
import os
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import rich.console
import rich.progress
import rich.table

from dl_lectures.bandits import policies, rewards, simulate, thompson, ucb
from dl_lectures.bandits.policies import Policy
from dl_lectures.generative import gan, networks, vae
from dl_lectures.learner import Data, Learner, Metrics, shard_batch
from dl_lectures.reporting import expected
from dl_lectures.rl import dqn, ppo
from dl_lectures.sequences import language_model, recurrence
from dl_lectures.sequences.cells import CELLS
from dl_lectures.training import devices, trainer
from dl_lectures.training.options import Options

Work = Callable[[], float]  # does the work of one repetition to its end; returns a loss or so

NUM_SYMBOLS = 96  # V
BATCH_SIZE = 64  # B
NUM_UNROLL = 64  # T


class Row(NamedTuple):
    """One line of the table. `ours` and `peer` set up, compile and return what is then timed."""

    description: str  # what is done, and whether the peer does equal work
    count: int  # units of work in one repetition, e.g. training steps
    unit: str  # "step"
    size: int  # things that one unit works through, e.g. B T characters
    thing: str  # "character"
    ours: Callable[[], Work]
    peer: Callable[[], Work] | None = None  # called only if `peer_package` is installed
    peer_package: str = "torch"


class State(NamedTuple):
    """Of `character_learner`."""

    params: dict[str, jax.Array]
    opt_state: optax.OptState
    key: jax.Array
    t: jax.Array


def run_by_trainer(
    learner: Learner, data: Data, num_steps: int, num_seeds: int = 1, shard_batch: bool = True
) -> Work:
    """Training steps in the trainer's own program: over all devices, vmapped over seeds."""
    mesh = devices.make_mesh(num_seeds, shard_batch=shard_batch)
    with jax.set_mesh(mesh):
        programs = trainer.make_programs(learner, mesh, data)
        data = jax.device_put(data, devices.everywhere(mesh))
        carry = programs.init(jax.device_put(np.arange(num_seeds), devices.over_seeds(mesh)))

    def work() -> float:
        nonlocal carry
        with jax.set_mesh(mesh):
            carry = programs.advance(carry, data, 0, num_steps)
        return float(carry.window.sums["loss"].sum())  # waits

    return work


def text() -> np.ndarray:
    """Random symbols: the time does not depend on what is learned."""
    return np.random.default_rng(0).integers(NUM_SYMBOLS, size=100_000, dtype=np.int32)


def character_learner(cell_name: str, num_hidden: int) -> Learner:
    """A character model as PyTorch's layers do it: embedding, recurrent layer, softmax; Adam."""
    cell = CELLS[cell_name]
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(2e-3))

    def init(key: jax.Array) -> State:
        key_embedding, key_layer, key_out, key_run = jax.random.split(key, 4)
        shape = (num_hidden, NUM_SYMBOLS)
        params = {
            "embedding": jax.random.normal(key_embedding, (NUM_SYMBOLS, num_hidden)),
            "layer": cell.init(key_layer, num_hidden, num_hidden),
            "w_out": jax.nn.initializers.glorot_uniform()(key_out, shape),
            "b_out": jnp.zeros(NUM_SYMBOLS),
        }
        return State(params, optimizer.init(params), key_run, jnp.int32(0))

    def loss_fn(params: dict[str, jax.Array], symbols: jax.Array) -> jax.Array:
        xs = recurrence.lookup(params["embedding"], symbols[:-1])
        _, hs = cell.apply(params["layer"], xs)
        logits = recurrence.add_bias(recurrence.product(hs, params["w_out"]), params["b_out"])
        return optax.softmax_cross_entropy_with_integer_labels(logits, symbols[1:]).mean()

    def step(state: State, data: jax.Array) -> tuple[State, Metrics]:
        key = jax.random.fold_in(state.key, state.t)
        starts = jax.random.randint(key, (BATCH_SIZE, 1), 0, data.shape[0] - NUM_UNROLL)
        crops = shard_batch(data[starts + jnp.arange(NUM_UNROLL + 1)[None]])
        loss, grads = jax.value_and_grad(loss_fn)(state.params, crops.T)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        return State(params, opt_state, state.key, state.t + 1), {"loss": loss}

    return Learner(init, step, evaluate=lambda key, state, data: {})


def torch_characters(cell_name: str, num_hidden: int, num_steps: int) -> Work:
    """The training steps of `character_learner` with torch.nn's layer of that name."""
    import torch

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    embedding = torch.nn.Embedding(NUM_SYMBOLS, num_hidden)
    layer = getattr(torch.nn, cell_name.upper())(num_hidden, num_hidden)
    output = torch.nn.Linear(num_hidden, NUM_SYMBOLS)
    params = [*embedding.parameters(), *layer.parameters(), *output.parameters()]
    optimizer = torch.optim.Adam(params, lr=2e-3)
    data = torch.from_numpy(text()).long()

    def work() -> float:
        for _ in range(num_steps):
            starts = torch.randint(len(data) - NUM_UNROLL, (1, BATCH_SIZE))
            symbols = data[starts + torch.arange(NUM_UNROLL + 1)[:, None]]
            logits = output(layer(embedding(symbols[:-1]))[0])
            loss = torch.nn.functional.cross_entropy(
                logits.reshape(-1, NUM_SYMBOLS), symbols[1:].reshape(-1)
            )
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(params, 1.0)
            optimizer.step()
        return loss.item()

    return work


def recurrent_row(cell_name: str, num_hidden: int, num_steps: int) -> Row:
    """The same work as torch's: every token is embedded and multiplied by the input weights."""
    return Row(
        description=f"{cell_name.upper()} training step, H {num_hidden}, equal work",
        count=num_steps,
        unit="step",
        size=BATCH_SIZE * NUM_UNROLL,
        thing="character",
        ours=lambda: run_by_trainer(character_learner(cell_name, num_hidden), text(), num_steps),
        peer=lambda: torch_characters(cell_name, num_hidden, num_steps),
    )


def lookup_row(cell_name: str, num_hidden: int, num_steps: int) -> Row:
    """Our language model. Its first layer looks tokens up in embedding times input weights.

    Exact, but less work than torch's layers do, which a torch user could save by hand as well.
    """
    config = language_model.Config(
        cell=cell_name,
        num_hidden=num_hidden,
        num_embedding=num_hidden,
        tied_embedding=False,
        dropout_output=0.0,
        sampling="random",
        batch_size=BATCH_SIZE,
        num_unroll=NUM_UNROLL,
        learning_rate=2e-3,
    )
    return recurrent_row(cell_name, num_hidden, num_steps)._replace(
        description=f"{cell_name.upper()} training step, H {num_hidden}, "
        "token rows looked up (less work than the peer's)",
        ours=lambda: run_by_trainer(language_model.make(config, NUM_SYMBOLS), text(), num_steps),
    )


def time_row(cell_name: str, num_unroll: int, form: recurrence.Form | None = None) -> Row:
    """What it costs that an unrolled net is as deep as its sequence: one layer on one device."""
    cell, num_hidden, batch_size = CELLS[cell_name], 128, 16
    options = {"form": form} if form else {}
    depth = recurrence.depth(num_unroll, form or "sequential")

    def ours() -> Work:
        params = cell.init(jax.random.key(0), num_hidden, num_hidden)
        xs = jax.random.normal(jax.random.key(1), (num_unroll, batch_size, num_hidden))

        def loss(params: Any, xs: jax.Array) -> jax.Array:
            return (cell.apply(params, xs, **options)[1] ** 2).mean()

        step = jax.jit(jax.value_and_grad(loss, (0, 1)))
        return lambda: float(jax.block_until_ready(step(params, xs))[0])

    return Row(
        description=f"{cell_name.upper()} forward and gradient, T {num_unroll:,}, B {batch_size}, "
        f"H {num_hidden}, {form or 'sequential'}: {depth:,} dependent steps",
        count=1,
        unit="step",
        size=batch_size * num_unroll,
        thing="time step",
        ours=ours,
    )


def scan_canary() -> Row:
    """Some releases of jaxlib copy the whole stack at each step: 13 s (jax issue 40101)."""
    num_steps = 100_000

    def ours() -> Work:
        @jax.jit
        def stack(start: jax.Array) -> jax.Array:
            return jax.lax.scan(lambda x, _: (x + 1.0, x), start, length=num_steps)[1]

        return lambda: float(stack(jnp.float32(0.0))[-1])

    return Row(
        description="scan that stacks a scalar; well under 1 s, or jaxlib has a known fault",
        count=1,
        unit="scan",
        size=num_steps,
        thing="time step",
        ours=ours,
    )


def grey_images() -> np.ndarray:
    """Random images of MNIST's size: the time does not depend on what is learned."""
    return np.random.default_rng(0).random((10_000, 784), np.float32)


def torch_vae(num_hidden: int, num_latents: int, batch_size: int, num_steps: int) -> Work:
    """The training steps of `vae.make` in torch's own layers and loss, data in memory."""
    import torch

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    data = torch.from_numpy(grey_images())
    num_pixels = data.shape[1]
    hidden = torch.nn.Linear(num_pixels, num_hidden)
    mean_head = torch.nn.Linear(num_hidden, num_latents)
    log_variance_head = torch.nn.Linear(num_hidden, num_latents)
    decoder = torch.nn.Sequential(
        torch.nn.Linear(num_latents, num_hidden),
        torch.nn.ReLU(),
        torch.nn.Linear(num_hidden, num_pixels),
    )
    layers = torch.nn.ModuleList([hidden, mean_head, log_variance_head, decoder])
    optimizer = torch.optim.Adam(layers.parameters(), lr=1e-3)

    def work() -> float:
        for _ in range(num_steps):
            x = data[torch.randint(len(data), (batch_size,))]
            h = torch.relu(hidden(x))
            mean, log_variance = mean_head(h), log_variance_head(h)
            z = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
            reconstruction = torch.nn.functional.binary_cross_entropy_with_logits(
                decoder(z), x, reduction="sum"
            )
            kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum()
            loss = (reconstruction + kl) / batch_size
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return loss.item()

    return work


def vae_row(num_steps: int = 100) -> Row:
    """The MLP VAE of PyTorch's examples (784-400-20, rectified), one seed on one device."""
    config = vae.Config(hidden_sizes="400", num_latents=20, activation="relu", batch_size=128)
    learner = vae.make(config, num_pixels=784)
    return Row(
        description="VAE 784-400-20 training step, batch 128, equal work",
        count=num_steps,
        unit="step",
        size=128,
        thing="image",
        ours=lambda: run_by_trainer(learner, grey_images(), num_steps, shard_batch=False),
        peer=lambda: torch_vae(400, 20, 128, num_steps),
    )


def grey_pictures() -> np.ndarray:
    """Random pictures of 32 x 32 pixels in [-1, 1], [N, H, W, 1]."""
    return 2 * np.random.default_rng(0).random((2_000, 32, 32, 1), np.float32) - 1


def torch_dcgan(num_filters: int, num_latents: int, batch_size: int, num_steps: int) -> Work:
    """The training steps of `gan.make` in torch's own layers, channels last, as is fastest there.

    As in ours the discriminator has no gradients in the generator's update, and each update has
    noise of its own.
    """
    import torch

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    nn, f = torch.nn, num_filters
    up = functools.partial(nn.ConvTranspose2d, kernel_size=4, stride=2, padding=1)
    down = functools.partial(nn.Conv2d, kernel_size=4, stride=2, padding=1)
    generator = nn.Sequential(
        nn.Linear(num_latents, 64 * f),
        nn.Unflatten(1, (4 * f, 4, 4)),
        *(nn.BatchNorm2d(4 * f), nn.ReLU(), up(4 * f, 2 * f, bias=False)),
        *(nn.BatchNorm2d(2 * f), nn.ReLU(), up(2 * f, f, bias=False)),
        *(nn.BatchNorm2d(f), nn.ReLU(), up(f, 1)),
        nn.Tanh(),
    )
    discriminator = nn.Sequential(
        *(down(1, f), nn.LeakyReLU(0.2)),
        *(down(f, 2 * f, bias=False), nn.BatchNorm2d(2 * f), nn.LeakyReLU(0.2)),
        *(down(2 * f, 4 * f, bias=False), nn.BatchNorm2d(4 * f), nn.LeakyReLU(0.2)),
        *(nn.Flatten(), nn.Linear(64 * f, 1)),
    )
    for network in (generator, discriminator):
        network.to(memory_format=torch.channels_last)
    generator_adam, discriminator_adam = (
        torch.optim.Adam(network.parameters(), lr=2e-4, betas=(0.5, 0.999))
        for network in (generator, discriminator)
    )
    data = torch.from_numpy(grey_pictures()).permute(0, 3, 1, 2)
    softplus = torch.nn.functional.softplus

    def work() -> float:
        for _ in range(num_steps):
            real = data[torch.randint(len(data), (batch_size,))]
            real = real.contiguous(memory_format=torch.channels_last)
            with torch.no_grad():
                fake = generator(torch.randn(batch_size, num_latents))
            loss = softplus(-discriminator(real)).mean() + softplus(discriminator(fake)).mean()
            discriminator_adam.zero_grad()
            loss.backward()
            discriminator_adam.step()
            discriminator.requires_grad_(False)
            fake = generator(torch.randn(batch_size, num_latents))
            loss = softplus(-discriminator(fake)).mean()
            generator_adam.zero_grad()
            loss.backward()
            generator_adam.step()
            discriminator.requires_grad_(True)
        return loss.item()

    return work


def dcgan_row(num_seeds: int = 1, num_steps: int = 10) -> Row:
    """DCGAN with batch normalisation in both players; one seed's batch lies over all devices."""
    channels, num_latents, batch_size = (32, 64, 128), 100, 64
    players = gan.Networks(
        networks.ConvGenerator(channels, side=32),
        networks.ConvDiscriminator(channels, batch_norm=True),
    )
    config = gan.Config(num_latents=num_latents, batch_size=batch_size)
    data = gan.Data(grey_pictures())
    return Row(
        description="DCGAN step, 32 x 32 x 1, batch 64, 32 base channels, equal work"
        + (f" a seed, seeds: {num_seeds}" if num_seeds > 1 else ""),
        count=num_steps,
        unit="step",
        size=batch_size * num_seeds,
        thing="image",
        ours=lambda: run_by_trainer(gan.make(config, players), data, num_steps, num_seeds),
        peer=None
        if num_seeds > 1
        else lambda: torch_dcgan(channels[0], num_latents, batch_size, num_steps),
    )


def dqn_row(env: str, num_seeds: int, num_steps: int) -> Row:
    """DQN with the settings of purejaxrl, which is in no package index.

    Its loop for CartPole, written anew for gymnax 1.0 and measured beside ours on 2 cores: 47 to
    49 k steps/s for one seed against our 52 k, 56 to 58 k for eight against our 123 to 127 k.
    """
    learner = dqn.make(dqn.Config(env=env))
    return Row(
        description=f"DQN on {env}, 10 environments, batch 128, seeds: {num_seeds}",
        count=num_steps,
        unit="update",
        size=10 * num_seeds,
        thing="environment step",
        ours=lambda: run_by_trainer(learner, (), num_steps, num_seeds, shard_batch=False),
    )


def ppo_row(num_seeds: int, num_steps: int) -> Row:
    """PPO with the settings of purejaxrl: 64 environments, 128 steps, 4 passes, 8 minibatches.

    Its loop, written anew for gymnax 1.0 and measured beside ours on 2 cores: 76 k steps/s for one
    seed against our 85 k.
    """
    config = ppo.Config(env="Breakout-MinAtar", learning_rate=5e-3, decay_steps=1_220)
    return Row(
        description=f"PPO on Breakout-MinAtar, 64 environments, seeds: {num_seeds}",
        count=num_steps,
        unit="rollout",
        size=config.env_steps_per_update * num_seeds,
        thing="environment step",
        ours=lambda: run_by_trainer(ppo.make(config), (), num_steps, num_seeds, shard_batch=False),
    )


def torch_sampling(num_hidden: int, length: int) -> Work:
    """Writes character by character with torch's own cell."""
    import torch

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    embedding = torch.nn.Embedding(NUM_SYMBOLS, num_hidden)
    cell = torch.nn.LSTMCell(num_hidden, num_hidden)
    out = torch.nn.Linear(num_hidden, NUM_SYMBOLS)

    @torch.no_grad()
    def work() -> float:
        symbol, carry = torch.zeros(1, dtype=torch.long), None
        for _ in range(length):
            carry = cell(embedding(symbol), carry)
            symbol = torch.multinomial(torch.softmax(out(carry[0]), -1), 1)[0]
        return float(symbol)

    return work


def sampling_row(num_hidden: int, length: int = 1_000) -> Row:
    """One text, character by character, as `language_model.sample` writes it."""
    config = language_model.Config(
        num_hidden=num_hidden, num_embedding=num_hidden, tied_embedding=False
    )

    def ours() -> Work:
        params = language_model.init(config, jax.random.key(0), NUM_SYMBOLS)
        sample = functools.partial(language_model.sample, length=length, config=config)
        write = jax.jit(sample)
        keys = iter(jax.random.split(jax.random.key(1), 1_000))
        return lambda: float(write(next(keys), params, jnp.zeros(0, jnp.int32))[-1])

    return Row(
        description=f"LSTM H {num_hidden} writes {length:,} characters, one text",
        count=1,
        unit="text",
        size=length,
        thing="character",
        ours=ours,
        peer=lambda: torch_sampling(num_hidden, length),
    )


BANDIT_ODDS = np.linspace(0.05, 0.95, 10)
BANDIT_POLICIES: dict[tuple[str, str], Callable[[], Policy]] = {  # as the loops below have them
    ("epsilon_greedy", "bernoulli"): lambda: policies.epsilon_greedy(0.1, ties="first"),
    ("epsilon_greedy", "gaussian"): lambda: policies.epsilon_greedy(0.1, ties="first"),
    ("ucb1", "bernoulli"): ucb.ucb1,
    ("ucb1", "gaussian"): ucb.ucb1,
    ("thompson", "bernoulli"): thompson.thompson,
    ("thompson", "gaussian"): thompson.gaussian_thompson,
}


def numba_bandit(name: str, law: str, horizon: int, num_runs: int) -> Work:
    """Loops over runs, pulls and arms, compiled by numba for all cores."""
    import numba

    is_gaussian = law == "gaussian"  # frozen into the compiled loops, like the name

    @numba.njit(fastmath=True)
    def value(mean, count, log_t):
        if name == "epsilon_greedy":
            return mean
        if name == "ucb1":
            return mean + np.sqrt(2 * log_t / count) if count > 0 else np.inf
        if is_gaussian:
            return np.random.normal(mean * count / (count + 1), 1 / np.sqrt(count + 1))
        return np.random.beta(1 + mean * count, 1 + count - mean * count)

    @numba.njit(parallel=True, fastmath=True)
    def play(odds, horizon, num_runs):
        regret = np.zeros(num_runs)
        num_arms, best_odds = len(odds), odds.max()
        for run in numba.prange(num_runs):
            counts, means = np.zeros(num_arms), np.zeros(num_arms)
            for t in range(horizon):
                arm, best, log_t = 0, -np.inf, np.log(max(t, 1))
                if name == "epsilon_greedy" and np.random.random() < 0.1:
                    arm = np.random.randint(num_arms)
                else:
                    for k in range(num_arms):
                        x = value(means[k], counts[k], log_t)
                        if x > best:
                            arm, best = k, x
                if is_gaussian:
                    reward = np.random.normal(odds[arm], 1.0)
                else:
                    reward = 1.0 if np.random.random() < odds[arm] else 0.0
                counts[arm] += 1
                means[arm] += (reward - means[arm]) / counts[arm]
                regret[run] += best_odds - odds[arm]
        return regret.mean()

    play(BANDIT_ODDS, 2, 2)
    return lambda: play(BANDIT_ODDS, horizon, num_runs)


def bandit_row(name: str, law: str) -> Row:
    """Runs of a policy on ten arms, its update included."""
    horizon, num_runs = 1_000, 2_000
    bandit = rewards.bernoulli(BANDIT_ODDS) if law == "bernoulli" else rewards.gaussian(BANDIT_ODDS)

    def ours() -> Work:
        policy, key = BANDIT_POLICIES[name, law](), jax.random.key(0)

        def work() -> float:
            return float(simulate.simulate(key, bandit, policy, horizon, num_runs).regret[-1])

        work()
        return work

    return Row(
        f"bandit {name}, 10 {law} arms, {num_runs:,} runs of {horizon:,}; equal work",
        horizon,
        "step of all runs",
        num_runs,
        "pull",
        ours,
        functools.partial(numba_bandit, name, law, horizon, num_runs),
        peer_package="numba",
    )


def kl_ucb_row() -> Row:
    """KL-UCB, for which no compiled peer is at hand."""
    row = bandit_row("ucb1", "bernoulli")

    def ours() -> Work:
        bandit, key = rewards.bernoulli(BANDIT_ODDS), jax.random.key(0)

        def work() -> float:
            return float(simulate.simulate(key, bandit, ucb.kl_ucb(), 1_000, 2_000).regret[-1])

        work()
        return work

    return row._replace(
        description=row.description.replace("ucb1", "kl_ucb").split(";")[0], ours=ours, peer=None
    )


def bandit_sweep_row() -> Row:
    """A sweep over 32 values of epsilon, beside 32 times one value."""
    bandit, key = rewards.bernoulli(BANDIT_ODDS), jax.random.key(0)
    values = [policies.epsilon_greedy(x) for x in np.linspace(0, 0.5, 32)]

    def sweep() -> Work:
        def work() -> float:
            return simulate.sweep([key], bandit, values, 1_000, 2_000).regret.mean()

        work()
        return work

    def one_by_one() -> Work:
        def work() -> float:
            found = [simulate.simulate(key, bandit, values[16], 1_000, 2_000) for _ in values]
            return found[-1].regret.mean()

        work()
        return work

    return Row(
        "bandit sweep of 32 values of epsilon; beside it one value, 32 times",
        32,
        "value",
        2_000_000,
        "pull",
        sweep,
        one_by_one,
        peer_package="jax",
    )


ROWS: dict[str, Callable[[], Row]] = {
    "lstm_128": functools.partial(recurrent_row, "lstm", 128, num_steps=20),
    "lstm_512": functools.partial(recurrent_row, "lstm", 512, num_steps=3),
    "lstm_128_lookup": functools.partial(lookup_row, "lstm", 128, num_steps=20),
    "lstm_512_lookup": functools.partial(lookup_row, "lstm", 512, num_steps=3),
    "rnn_128": functools.partial(recurrent_row, "rnn", 128, num_steps=30),
    "gru_128": functools.partial(recurrent_row, "gru", 128, num_steps=20),
    "time_lstm_64": functools.partial(time_row, "lstm", 64),
    "time_min_gru_64": functools.partial(time_row, "min_gru", 64, "sequential"),
    "time_min_gru_parallel_64": functools.partial(time_row, "min_gru", 64, "parallel"),
    "time_lstm_512": functools.partial(time_row, "lstm", 512),
    "time_min_gru_512": functools.partial(time_row, "min_gru", 512, "sequential"),
    "time_min_gru_parallel_512": functools.partial(time_row, "min_gru", 512, "parallel"),
    "time_lstm_2048": functools.partial(time_row, "lstm", 2_048),
    "time_min_gru_2048": functools.partial(time_row, "min_gru", 2_048, "sequential"),
    "time_min_gru_parallel_2048": functools.partial(time_row, "min_gru", 2_048, "parallel"),
    "time_lstm_8192": functools.partial(time_row, "lstm", 8_192),
    "time_min_gru_8192": functools.partial(time_row, "min_gru", 8_192, "sequential"),
    "time_min_gru_parallel_8192": functools.partial(time_row, "min_gru", 8_192, "parallel"),
    "vae": vae_row,
    "dcgan": dcgan_row,
    "dcgan_8": functools.partial(dcgan_row, 8, num_steps=2),
    "dqn_1": functools.partial(dqn_row, "CartPole-v1", 1, num_steps=2_000),
    "dqn_8": functools.partial(dqn_row, "CartPole-v1", 8, num_steps=500),
    "dqn_breakout_1": functools.partial(dqn_row, "Breakout-MinAtar", 1, num_steps=1_000),
    "dqn_breakout_8": functools.partial(dqn_row, "Breakout-MinAtar", 8, num_steps=250),
    "ppo_breakout_1": functools.partial(ppo_row, 1, num_steps=8),
    "ppo_breakout_8": functools.partial(ppo_row, 8, num_steps=2),
    "sampling_128": functools.partial(sampling_row, 128),
    "sampling_512": functools.partial(sampling_row, 512),
    "scan_canary": scan_canary,
    **{
        f"bandit_{name}_{law}": functools.partial(bandit_row, name, law)
        for name, law in BANDIT_POLICIES
    },
    "bandit_kl_ucb": kl_ucb_row,
    "bandit_sweep": bandit_sweep_row,
}


class Timing(NamedTuple):
    """Seconds of each repetition; those of the peer are empty where it was not measured."""

    ours: list[float]
    peer: list[float]


def measure(row: Row, against: bool, repetitions: int) -> Timing:
    """Times ours and the peer alternately, after two repetitions each that do not count."""
    works = [row.ours()]
    if against and row.peer and importlib.util.find_spec(row.peer_package):
        works.append(row.peer())
    seconds: list[list[float]] = [[] for _ in works]
    for repetition in range(-2, repetitions):
        for work, times in zip(works, seconds, strict=True):
            start = time.perf_counter()
            work()
            if repetition >= 0:
                times.append(time.perf_counter() - start)
    return Timing(seconds[0], seconds[1] if len(works) > 1 else [])


def machine() -> str:
    """The device, the cores, the versions, and what was set for the allocator."""
    here = expected.machine()
    versions = [f"Python {platform.python_version()}"]
    for package in ("jax", "jaxlib", "torch", "numba"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions.append(f"{package} {importlib.metadata.version(package)}")
    allocator = {
        name: value
        for name, value in os.environ.items()
        if name.startswith("MALLOC_") or name in ("GLIBC_TUNABLES", "LD_PRELOAD", "XLA_FLAGS")
    }
    found = jax.devices()
    return (
        f"{here['cpu']}, {here['cores']} cores; {len(found)} x {found[0].device_kind}; "
        f"{', '.join(versions)}; float32; allocator settings: {allocator or 'none'}"
    )


def table(timings: dict[str, tuple[Row, Timing]]) -> rich.table.Table:
    """One line for each row: medians for one unit of work, the spread, the rate, the ratio."""
    result = rich.table.Table(caption="medians of n repetitions (range); ratio above 1: ours wins")
    for heading in ("row", "what", "n", "ours, ms", "rate", "peer, ms", "ratio"):
        result.add_column(heading, justify="left" if heading in ("row", "what") else "right")
    for name, (row, timing) in timings.items():
        ours = [1000 * seconds / row.count for seconds in timing.ours]
        peer = [1000 * seconds / row.count for seconds in timing.peer]
        rate = 1000 * row.size / statistics.median(ours)
        result.add_row(
            name,
            row.description,
            str(len(ours)),
            f"{statistics.median(ours):.2f} ({min(ours):.2f}-{max(ours):.2f}) / {row.unit}",
            f"{rate:,.0f} {row.thing}s/s",
            f"{statistics.median(peer):.2f} ({min(peer):.2f}-{max(peer):.2f})" if peer else "-",
            f"{statistics.median(peer) / statistics.median(ours):.2f}" if peer else "-",
        )
    return result


def main() -> None:
    """Measures the rows asked for and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--against", action="store_true", help="measure the peers, too")
    parser.add_argument(
        "--only", action="append", metavar="NAME", help=f"a row, or the start of: {', '.join(ROWS)}"
    )
    parser.add_argument("--repetitions", type=int, default=11, help="of each row; odd is best")
    args = parser.parse_args()
    names = [name for name in ROWS if name.startswith(tuple(args.only or [""]))]
    if not names:
        parser.error(f"no row starts with {args.only}; there are {', '.join(ROWS)}")
    devices.configure(Options(workdir=os.curdir))
    console = rich.console.Console()
    if not console.is_terminal:  # a file has room
        console.width = 160
    console.print(machine(), highlight=False)
    timings = {}
    try:
        for name in rich.progress.track(names, "measuring", console=console, transient=True):
            row = ROWS[name]()
            timings[name] = row, measure(row, args.against, args.repetitions)
            console.print(f"measured {name}", highlight=False)
    finally:  # stopped early: what was measured so far
        console.print(table(timings))


if __name__ == "__main__":
    main()
