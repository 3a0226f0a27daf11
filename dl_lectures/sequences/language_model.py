"""A character model of text: an embedding, stacked recurrent layers and a softmax.

Mikolov et al. (2010), doi:10.21437/Interspeech.2010-343, and Graves (2013), arXiv:1308.0850;
trained by truncated backpropagation through time (Williams & Peng, 1990,
doi:10.1162/neco.1990.2.4.490). Text is codes, as in `data.text`; the newline ends a unit and,
before the first character, begins one.

T: time steps of a chunk, B: parallel streams, V: symbols, E: embedding, H: hidden units,
N: characters of the training text, M: of the held-out text.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from dl_lectures.data.text import NEWLINE, UNKNOWN
from dl_lectures.learner import Key, Learner, Metrics, shard_batch
from dl_lectures.sequences import recurrence
from dl_lectures.sequences.cells import CELLS, CellName

_EVAL_STREAMS = 64
_EVAL_STEPS = 64  # time steps of a chunk, and of the text that each stream reads before it counts


@dataclasses.dataclass(frozen=True)
class Config:
    """The model, what holds it back from learning by heart, and how it is trained."""

    cell: Annotated[CellName, "recurrent cell"] = "lstm"
    num_layers: Annotated[int, "stacked recurrent layers"] = 1
    num_hidden: Annotated[int, "H, hidden units per layer"] = 256
    num_embedding: Annotated[int, "E, length of a character's vector"] = 128
    tied_embedding: Annotated[bool, "whether the softmax uses the characters' vectors"] = True
    dropout_input: Annotated[float, "dropout of the first layer's input"] = 0.0
    dropout_hidden: Annotated[float, "dropout between layers"] = 0.0
    dropout_output: Annotated[float, "dropout of the last layer's output"] = 0.3
    dropout_mask: Annotated[
        Literal["step", "sequence"], "a new dropout mask at every time step, or one for a chunk"
    ] = "step"
    sampling: Annotated[
        Literal["contiguous", "random"],
        "streams that go on through the text with their carry, or crops that start from nothing",
    ] = "contiguous"
    carry_reset: Annotated[float, "contiguous: share of streams that forget before a chunk"] = 0.1
    batch_size: Annotated[int, "B, parallel streams of text"] = 32
    num_unroll: Annotated[int, "T, time steps of truncated backpropagation"] = 64
    learning_rate: Annotated[float, "peak step size of AdamW"] = 1e-2
    warmup_steps: Annotated[int, "steps in which the step size rises from 0"] = 50
    decay_steps: Annotated[int, "step at which the cosine has brought the step size to 0"] = 1_000
    weight_decay: Annotated[float, "AdamW's decoupled weight decay; 0: Adam"] = 0.0
    max_grad_norm: Annotated[float, "gradients are scaled down to this global norm"] = 1.0
    average_decay: Annotated[
        float, "decay of the moving average of the weights that is evaluated; 0: none"
    ] = 0.0

    def __post_init__(self):
        for name in (
            "num_layers",
            "num_hidden",
            "num_embedding",
            "batch_size",
            "num_unroll",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name} must be at least 1, not {getattr(self, name)}")
        for name in (
            "dropout_input",
            "dropout_hidden",
            "dropout_output",
            "carry_reset",
            "average_decay",
        ):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"--{name} must lie in [0, 1), not {getattr(self, name)}")
        for name in ("learning_rate", "max_grad_norm"):
            if not getattr(self, name) > 0:
                raise ValueError(f"--{name} must be positive, not {getattr(self, name)}")
        if self.weight_decay < 0:
            raise ValueError(f"--weight_decay must not be negative, not {self.weight_decay}")
        if not 0 <= self.warmup_steps < self.decay_steps:
            raise ValueError(
                f"--decay_steps={self.decay_steps} must exceed --warmup_steps={self.warmup_steps}, "
                "which must not be negative"
            )
        if self.dropout_hidden and self.num_layers == 1:
            raise ValueError(
                f"--dropout_hidden={self.dropout_hidden} is between layers: set --num_layers=2 or "
                "more, or use --dropout_output"
            )


class Params(NamedTuple):
    """Weights."""

    embedding: jax.Array  # [V, E]
    layers: tuple[Any, ...]  # the cell's Params
    w_out: jax.Array  # [H, V]; [H, E] where the embedding is tied
    b_out: jax.Array  # [V]


Carry = tuple[Any, ...]  # the cell's Carry of each layer


class State(NamedTuple):
    """All that the future of a run depends on."""

    params: Params
    average: Params  # moving average of `params`; equal to them if there is none
    opt_state: optax.OptState
    carry: Carry  # [B, H] where each stream is in its text; unused by random sampling
    offset: jax.Array  # int32 [] where in the text the first stream began
    key: Key
    t: jax.Array  # int32 [] updates so far


# The model --------------------------------------------------------------------------------------


def init(config: Config, key: Key, num_symbols: int) -> Params:
    """Returns fresh parameters, of which all symbols are nearly equally likely; uses the key up."""
    cell = CELLS[config.cell]
    key_embedding, key_out, *key_layers = jax.random.split(key, 2 + config.num_layers)
    num_inputs = [config.num_embedding] + (config.num_layers - 1) * [config.num_hidden]
    num_outputs = config.num_embedding if config.tied_embedding else num_symbols
    embedding = jax.random.normal(key_embedding, (num_symbols, config.num_embedding))
    if config.tied_embedding:
        embedding /= math.sqrt(config.num_embedding)  # small logits; `inputs` undoes it
    return Params(
        embedding=embedding,
        layers=tuple(
            cell.init(key, num, config.num_hidden)
            for key, num in zip(key_layers, num_inputs, strict=True)
        ),
        w_out=jax.nn.initializers.glorot_uniform()(key_out, (config.num_hidden, num_outputs)),
        b_out=jnp.zeros(num_symbols),
    )


def initial_carry(config: Config, params: Params, batch_shape: tuple[int, ...] = ()) -> Carry:
    """The carry before any text, leaves [*batch_shape, H]."""
    cell = CELLS[config.cell]
    return tuple(cell.initial_carry(layer, batch_shape) for layer in params.layers)


def cell(
    config: Config, params: Params, carry: Carry, symbol: jax.Array
) -> tuple[Carry, jax.Array]:
    """One time step, without dropout: reads symbols [...], returns logits of the next [..., V]."""
    x = inputs(config, params, symbol)
    carries = []
    for layer, before in zip(params.layers, carry, strict=True):
        after, x = CELLS[config.cell].cell(layer, before, x)
        carries.append(after)
    return tuple(carries), _logits(config, params, x)


def apply(
    config: Config, params: Params, carry: Carry, symbols: jax.Array, key: Key | None = None
) -> tuple[Carry, jax.Array]:
    """`cell` at every step of symbols, layer by layer, so that big products are outside the scans.

    Args:
      config: the model's.
      params: its weights.
      carry: leaves [..., H].
      symbols: int32 [T, ...].
      key: for dropout; None where there is none. The key is consumed.

    Returns:
      The last carry and the logits of the symbol after each, [T, ..., V].
    """
    keys = [None] * (config.num_layers + 1)
    if key is not None:
        keys = list(jax.random.split(key, config.num_layers + 1))
    projected = _projected_inputs(config, params, symbols, keys[0])
    carry, hs = _unroll(config, params, carry, projected, keys[1:-1])
    hs = _dropout(config, config.dropout_output, keys[-1], hs)
    return carry, _logits(config, params, hs)


def _projected_inputs(
    config: Config, params: Params, symbols: jax.Array, key: Key | None
) -> jax.Array:
    """The inputs' share of the first layer's gates, [T, ..., G]."""
    has_dropout = key is not None and config.dropout_input > 0
    if symbols.size > len(params.embedding) and not has_dropout:
        # With fewer symbols in the alphabet than in the text, one product for all symbols is less.
        return recurrence.lookup(_projected_symbols(config, params), symbols)
    xs = _dropout(config, config.dropout_input, key, inputs(config, params, symbols))
    return CELLS[config.cell].project(params.layers[0], xs)


def _projected_symbols(config: Config, params: Params) -> jax.Array:
    """Every symbol's share of the first layer's gates, [V, G]."""
    return CELLS[config.cell].project(params.layers[0], _scale(config) * params.embedding)


def _unroll(
    config: Config,
    params: Params,
    carry: Carry,
    projected: jax.Array,
    keys: Sequence[Key | None],
) -> tuple[Carry, jax.Array]:
    """The last layer's hidden states [T, ..., H] from the first one's projected inputs."""
    cell = CELLS[config.cell]
    after, hs = cell.apply_projected(params.layers[0], projected, carry[0])
    carries = [after]
    for layer, before, key in zip(params.layers[1:], carry[1:], keys, strict=True):
        hs = _dropout(config, config.dropout_hidden, key, hs)
        after, hs = cell.apply_projected(layer, cell.project(layer, hs), before)
        carries.append(after)
    return tuple(carries), hs


def _scale(config: Config) -> float:
    """Makes inputs of unit variance from a tied embedding (Vaswani et al., 2017, Sec. 3.4)."""
    return math.sqrt(config.num_embedding) if config.tied_embedding else 1.0


def inputs(config: Config, params: Params, symbols: jax.Array) -> jax.Array:
    """What the first layer reads: the vectors [..., E] of symbols [...]."""
    return _scale(config) * recurrence.lookup(params.embedding, symbols)


def _logits(config: Config, params: Params, hs: jax.Array) -> jax.Array:
    logits = jnp.tensordot(hs, params.w_out, 1)
    if config.tied_embedding:  # Press & Wolf (2017), arXiv:1608.05859
        logits = jnp.tensordot(logits, params.embedding.T, 1)
    return logits + jnp.expand_dims(params.b_out, range(hs.ndim - 1))


def _dropout(config: Config, rate: float, key: Key | None, xs: jax.Array) -> jax.Array:
    """Zeroes a share of xs [T, ..., D] and scales up the rest; rates are multiples of 1/256."""
    threshold = round(256 * rate)
    if key is None or threshold == 0:
        return xs
    # Gal & Ghahramani (2016), arXiv:1512.05287, keep one mask for all time steps.
    shape = xs.shape if config.dropout_mask == "step" else (1, *xs.shape[1:])
    # A random word makes four masks: drawing them is what dropout costs.
    words = jax.random.bits(key, (-(-math.prod(shape) // 4),), jnp.uint32)
    random_bytes = jax.lax.bitcast_convert_type(words, jnp.uint8).reshape(-1)
    keep = random_bytes[: math.prod(shape)].reshape(shape) >= threshold
    return jnp.where(keep, xs * (256 / (256 - threshold)), 0.0)


def nll(logits: jax.Array, symbols: jax.Array) -> jax.Array:
    """-log p of symbols [...] in nats, from logits [..., V]."""
    return optax.softmax_cross_entropy_with_integer_labels(logits, symbols)


# Training ---------------------------------------------------------------------------------------


def make(config: Config, num_symbols: int) -> Learner:
    """The model as a learning problem.

    `step` takes the training text, int32 [N], `evaluate` the held-out one, int32 [M]; both end with
    the newline of their last unit. The loss is in nats per character.
    """
    learning_rate = optax.warmup_cosine_decay_schedule(
        0.0, config.learning_rate, config.warmup_steps, config.decay_steps
    )
    optimizer = optax.chain(
        optax.clip_by_global_norm(config.max_grad_norm),
        optax.adamw(learning_rate, weight_decay=config.weight_decay),
    )

    def init_state(key: Key) -> State:
        key_params, key_offset, key_run = jax.random.split(key, 3)
        params = init(config, key_params, num_symbols)
        return State(
            params=params,
            average=params,
            opt_state=optimizer.init(params),
            carry=initial_carry(config, params, (config.batch_size,)),
            offset=jax.random.randint(key_offset, (), 0, jnp.iinfo(jnp.int32).max),
            key=key_run,
            t=jnp.int32(0),
        )

    def step(state: State, data: jax.Array) -> tuple[State, Metrics]:
        key_batch, key_dropout = jax.random.split(jax.random.fold_in(state.key, state.t))
        if config.sampling == "contiguous":
            chunk = contiguous_chunk(config, data, state.offset, state.t)
            carry = forget(key_batch, config.carry_reset, state.carry)
        else:
            chunk = random_crops(config, key_batch, data)
            carry = jax.tree.map(jnp.zeros_like, state.carry)
        chunk, carry = shard_batch((chunk, carry))
        (loss, carry), grads = jax.value_and_grad(_loss, has_aux=True)(
            state.params, config, carry, chunk, key_dropout
        )
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        metrics = {
            "loss": loss,
            "grad_norm": optax.tree.norm(grads),  # before it is scaled down
            "learning_rate": jnp.float32(learning_rate(state.t)),
        }
        state = state._replace(
            params=params,
            average=_average(config.average_decay, state.t, state.average, params),
            opt_state=opt_state,
            carry=carry,
            t=state.t + 1,
        )
        return state, metrics

    def evaluate(key: Key, state: State, data: jax.Array) -> Metrics:
        del key  # nothing is random
        nats = nll_of_text(config, state.average, data)
        return {"nll_nats_per_char": nats, "bits_per_char": nats / math.log(2)}

    return Learner(init_state, step, evaluate)


def _loss(
    params: Params, config: Config, carry: Carry, chunk: jax.Array, key: Key
) -> tuple[jax.Array, Carry]:
    """Mean nats per character of a chunk, int32 [B, T + 1], and the carry after it."""
    symbols = chunk.T
    carry, logits = apply(config, params, carry, symbols[:-1], key)
    return nll(logits, symbols[1:]).mean(), carry


def _average(decay: float, t: jax.Array, average: Params, params: Params) -> Params:
    if not decay:
        return params
    decay = jnp.minimum(decay, (1 + t) / (10 + t))  # forgets the first weights soon
    return jax.tree.map(lambda a, p: p + decay * (a - p), average, params)


def contiguous_chunk(config: Config, data: jax.Array, offset: jax.Array, t: jax.Array) -> jax.Array:
    """What the B streams read in step t and, one further, predict: int32 [B, T + 1].

    Stream b begins N // B characters after stream b - 1 and goes on by T characters a step, from
    the end of the text to its start. Together they cover the text about once in N / (B T) steps.
    """
    length = data.shape[0]
    if length * config.num_unroll >= 2**31:
        raise ValueError("the text is too long for 32-bit positions: use --sampling=random")
    start = offset % length + (t % length) * config.num_unroll % length
    streams = start + jnp.arange(config.batch_size) * (length // config.batch_size)
    return data[(streams[:, None] + jnp.arange(config.num_unroll + 1)[None]) % length]


def random_crops(config: Config, key: Key, data: jax.Array) -> jax.Array:
    """B crops of T + 1 characters from anywhere in the text, int32 [B, T + 1]; uses the key up."""
    if data.shape[0] <= config.num_unroll:
        raise ValueError(f"--num_unroll={config.num_unroll} exceeds the text's {data.shape[0]}")
    starts = jax.random.randint(key, (config.batch_size, 1), 0, data.shape[0] - config.num_unroll)
    return data[starts + jnp.arange(config.num_unroll + 1)[None]]


def forget(key: Key, share: float, carry: Carry) -> Carry:
    """Zeroes the carry, [B, H], of a share of the streams. The key is consumed.

    A carry that is never reset drifts to where no text of ordinary length leads, since an LSTM's
    cells only add up, and the model then needs that state: it fails on text that has a beginning.
    """
    if not share:
        return carry
    batch_size = jax.tree.leaves(carry)[0].shape[0]
    keep = jax.random.bernoulli(key, 1 - share, (batch_size, 1))
    return jax.tree.map(lambda x: jnp.where(keep, x, 0.0), carry)


# Use --------------------------------------------------------------------------------------------


def nll_of_text(config: Config, params: Params, text: jax.Array) -> jax.Array:
    """Mean nats per character of a long text, int32 [M], every character of which counts once.

    The text is cut into streams that are read side by side; each first reads, uncounted, the 64
    characters before its own, and the first starts from nothing after a newline.
    """
    length = text.shape[0]
    num_streams = max(1, min(_EVAL_STREAMS, length // _EVAL_STEPS))
    stream_length = -(-length // num_streams)
    num_chunks = 1 + -(-stream_length // _EVAL_STEPS)
    starts = jnp.arange(num_streams)[None] * stream_length
    positions = starts + jnp.arange(-_EVAL_STEPS, (num_chunks - 1) * _EVAL_STEPS)[:, None]
    counts = (positions >= starts) & (positions < jnp.minimum(starts + stream_length, length))
    before = jnp.where(positions > 0, text[jnp.clip(positions - 1, 0, length - 1)], NEWLINE)
    batches = jax.tree.map(
        lambda x: x.reshape(num_chunks, _EVAL_STEPS, num_streams),
        (before, text[jnp.clip(positions, 0, length - 1)], counts),
    )

    def chunk(carry: Carry, batch: tuple[jax.Array, ...]) -> tuple[Carry, jax.Array]:
        before, symbols, counts = batch
        carry, logits = apply(config, params, carry, before)
        return carry, jnp.sum(jnp.where(counts, nll(logits, symbols), 0.0))

    carry = initial_carry(config, params, (num_streams,))
    carry, _ = chunk(carry, jax.tree.map(lambda x: x[0], batches))
    carry = jax.tree.map(lambda x: x.at[0].set(0.0), carry)
    _, sums = jax.lax.scan(chunk, carry, jax.tree.map(lambda x: x[1:], batches))
    return sums.sum() / length


def score(
    params: Params, text: jax.Array, length: jax.Array | None = None, *, config: Config
) -> jax.Array:
    """Nats per character of a text, int32 [N], that begins a unit: the lower, the more plausible.

    Texts of several lengths are scored together by `vmap` over rows that are filled up at the end;
    `length` then says how many characters count.
    """
    before = jnp.concatenate([jnp.array([NEWLINE]), text[:-1]])
    _, logits = apply(config, params, initial_carry(config, params), before)
    values = nll(logits, text)  # [N]
    if length is None:
        return values.mean()
    return jnp.where(jnp.arange(text.shape[0]) < length, values, 0.0).sum() / length


def sample(
    key: Key,
    params: Params,
    prompt: jax.Array,
    length: int,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    *,
    config: Config,
) -> jax.Array:
    """Writes on from a prompt; `vmap` over keys gives several texts, which share the prompt's cost.

    Args:
      key: is consumed.
      params: of the model.
      prompt: int32 [P], P >= 0, the beginning of a unit.
      length: characters to write.
      temperature: below 1 prefers the likely, 0 takes the likeliest.
      top_k: draws among the k likeliest symbols only; 0: among all.
      top_p: draws among the fewest symbols that have this probability together (Holtzman et al.,
        2020, arXiv:1904.09751).
      config: the model's.

    Returns:
      int32 [length]; the symbol for unknown characters is never drawn.
    """
    read = jnp.concatenate([jnp.array([NEWLINE]), prompt.astype(jnp.int32)])
    carry, logits = apply(config, params, initial_carry(config, params), read)
    table = _projected_symbols(config, params)  # once, not at every step
    no_dropout = (config.num_layers - 1) * [None]

    def body(
        carry_logits: tuple[Carry, jax.Array], key: Key
    ) -> tuple[tuple[Carry, jax.Array], jax.Array]:
        carry, logits = carry_logits
        symbol = draw(key, logits, temperature, top_k, top_p)
        projected = recurrence.lookup(table, symbol[None])
        carry, hs = _unroll(config, params, carry, projected, no_dropout)
        return (carry, _logits(config, params, hs[0])), symbol

    _, symbols = jax.lax.scan(body, (carry, logits[-1]), jax.random.split(key, length))
    return symbols


def draw(key: Key, logits: jax.Array, temperature: float, top_k: int, top_p: float) -> jax.Array:
    """One symbol, int32 [], from logits [V]; arguments as in `sample`. The key is consumed."""
    logits = logits.at[UNKNOWN].set(-jnp.inf)
    if temperature == 0:
        return jnp.argmax(logits).astype(jnp.int32)
    logits = logits / temperature
    if 0 < top_k < logits.shape[0]:
        logits = jnp.where(logits >= jax.lax.top_k(logits, top_k)[0][-1], logits, -jnp.inf)
    if top_p < 1:
        ordered = jnp.sort(jax.nn.softmax(logits), descending=True)
        mass_before = jnp.cumsum(ordered) - ordered
        least = jnp.min(jnp.where(mass_before < top_p, ordered, jnp.inf))
        logits = jnp.where(jax.nn.softmax(logits) >= least, logits, -jnp.inf)
    return jax.random.categorical(key, logits).astype(jnp.int32)
