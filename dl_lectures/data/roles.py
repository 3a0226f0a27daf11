"""Sentences of a small Japanese with known roles: who does it to whom, and is that plausible.

A sentence has an agent (が), a patient (を) and a verb. Which class of nouns may do what to which
is a rule of each verb, written out in `VERBS`. The rules are one-sided: of "A が B を V" and
"B が A を V", which have the same words, at most one is plausible. Dogs bite men, men do not bite
dogs (イヌ が ヒト を 噛む). Across verbs, and often with one verb, each class is agent and patient,
so that neither a noun nor a noun with its particle tells which sentence is the plausible one.

    near   A が B を V                   or, a quarter of all, in the order B を A が V
    far    A が FILLER B を FILLER V     likewise; a filler is 1 or 2 phrases of 3 or 4 words
                                         that say when, where or how and fit every sentence

No five successive words of a far sentence hold two of its three content words. Words are separated
by the generator, as text in primers is. Half of the training sentences are far.

A combination is a verb with an unordered pair of nouns. 15 % of them, the lecture's own among them,
are held out: they occur in no training sentence, in no form. The text and the split have their own
seeds and are the same for all.

Codes are those of `data.text`: 0 ends a sentence, 1 is reserved, then the words.
V: codes, N: words of the training text, P: pairs, T: words of the longest sentence of a kind.
"""

import itertools
from typing import NamedTuple

import numpy as np

from dl_lectures.data.text import NEWLINE, UNKNOWN

NOUNS: dict[str, dict[str, str]] = {  # class -> word -> English
    "person": {
        "ヒト": "man",
        "子ども": "child",
        "医者": "doctor",
        "先生": "teacher",
        "漁師": "fisherman",
    },
    "beast": {
        "イヌ": "dog",
        "オオカミ": "wolf",
        "クマ": "bear",
        "トラ": "tiger",
        "ライオン": "lion",
    },
    "small": {  # animals
        "ウサギ": "rabbit",
        "ネズミ": "mouse",
        "リス": "squirrel",
        "スズメ": "sparrow",
        "カエル": "frog",
    },
    "insect": {
        "ハチ": "bee",
        "アリ": "ant",
        "カ": "mosquito",
        "クモ": "spider",
        "バッタ": "grasshopper",
    },
    "plant": {
        "リンゴ": "apple",
        "イネ": "rice plant",
        "キャベツ": "cabbage",
        "草": "grass",
        "花": "flower",
    },
    "vehicle": {
        "車": "car",
        "電車": "train",
        "バス": "bus",
        "船": "ship",
        "トラック": "lorry",
    },
    "force": {
        "台風": "typhoon",
        "津波": "tsunami",
        "雷": "lightning",
        "火事": "fire",
        "雪崩": "avalanche",
    },
    "thing": {
        "家": "house",
        "橋": "bridge",
        "柵": "fence",
        "壁": "wall",
        "岩": "rock",
    },
}


class Verb(NamedTuple):
    """A verb and who may do it to whom."""

    english: str
    rule: str  # "agent>patient ..." in classes of NOUNS; never both a>b and b>a

    def roles(self) -> tuple[tuple[str, str], ...]:
        """The plausible (agent's class, patient's class)."""
        return tuple(tuple(part.split(">")) for part in self.rule.split())


VERBS: dict[str, Verb] = {
    "噛む": Verb("bite", "beast>person small>insect insect>person person>plant"),
    "食べる": Verb("eat", "person>plant beast>small small>insect insect>plant"),
    "追う": Verb("chase", "beast>person person>vehicle vehicle>beast beast>small"),
    "恐れる": Verb("fear", "person>beast small>person beast>force insect>small"),
    "刺す": Verb("sting", "insect>person insect>beast person>plant plant>small"),
    "運ぶ": Verb("carry", "vehicle>person person>thing force>vehicle insect>plant"),
    "壊す": Verb("break", "force>thing thing>vehicle person>thing vehicle>plant"),
    "避ける": Verb("avoid", "person>vehicle vehicle>force small>beast insect>small"),
    "育てる": Verb("rear", "person>plant person>beast plant>insect insect>small"),
    "守る": Verb("protect", "thing>person person>beast beast>thing thing>plant"),
    "飲み込む": Verb("swallow", "force>person force>thing beast>small small>insect"),
    "止める": Verb("stop", "person>vehicle force>person thing>force thing>beast"),
    "倒す": Verb("knock over", "vehicle>person person>beast beast>plant force>vehicle"),
    "押す": Verb("push", "person>vehicle vehicle>thing force>vehicle beast>person"),
    "狙う": Verb("stalk", "beast>small small>insect insect>person person>beast"),
    "捕まえる": Verb("catch", "person>beast beast>small plant>insect thing>small"),
    "囲む": Verb("surround", "plant>thing thing>beast beast>person force>thing"),
    "隠す": Verb("hide", "plant>insect thing>person person>plant thing>vehicle"),
    "眺める": Verb("gaze at", "small>person person>force beast>small person>vehicle"),
    "乗せる": Verb("give a ride", "vehicle>person vehicle>beast plant>insect beast>small"),
}

_PHRASES = tuple(
    tuple(phrase.split())
    for phrase in (
        "昨日 の 朝 に",
        "先週 の 夜 に",
        "夏 の 昼 に",
        "公園 の 前 で",
        "駅 の 裏 で",
        "川 の 横 で",
        "とても ゆっくり と",
        "少し じっくり と",
        "また しっかり と",
    )
)
AGENT, PATIENT = "が", "を"

_SCRAMBLED_FRACTION = 0.25
_FAR_FRACTION = 0.5
_MAX_PHRASES = 2
_HELDOUT_FRACTION = 0.15
_SPLIT_SEED, _TEXT_SEED, _PAIRS_SEED = 0, 1, 2


class Combination(NamedTuple):
    """Who does what to whom, plausibly."""

    agent: str
    patient: str
    verb: str


LECTURE = Combination("イヌ", "ヒト", "噛む")  # the dog bites the man: slide 6


class Pairs(NamedTuple):
    """Sentences of held-out combinations, and the same with the two nouns exchanged.

    A row ends with NEWLINE and is filled up with it.
    """

    plausible: np.ndarray  # int32 [P, T]
    implausible: np.ndarray  # int32 [P, T]
    lengths: np.ndarray  # int32 [P] words of both, with the NEWLINE that ends them


class Roles(NamedTuple):
    """A text and what is asked about it."""

    vocabulary: tuple[str, ...]  # [V] the word of each code
    train: np.ndarray  # int32 [N] plausible sentences
    train_swapped: np.ndarray  # int32 [N] each of them with its nouns exchanged: implausible
    near: Pairs
    far: Pairs


def load(num_sentences: int) -> Roles:
    """A text of `num_sentences` sentences, and a near and a far pair for each held-out combination.

    Raises:
      ValueError: there is no sentence.
    """
    if num_sentences < 1:
        raise ValueError(f"expected at least 1 sentence, got {num_sentences}")
    train, heldout = split(combinations())
    words = vocabulary()
    rng = np.random.default_rng(_TEXT_SEED)
    is_far = rng.random(num_sentences) < _FAR_FRACTION
    chosen = rng.integers(len(train), size=num_sentences)
    texts = [sentences(rng, train[i], far) for i, far in zip(chosen, is_far, strict=True)]
    rng_pairs = np.random.default_rng(_PAIRS_SEED)
    return Roles(
        vocabulary=words,
        train=_encode([plausible for plausible, _ in texts], words),
        train_swapped=_encode([implausible for _, implausible in texts], words),
        near=_pairs([sentences(rng_pairs, c, is_far=False) for c in heldout], words),
        far=_pairs([sentences(rng_pairs, c, is_far=True) for c in heldout], words),
    )


def vocabulary() -> tuple[str, ...]:
    """The word of each code; the first two are no words."""
    fillers = itertools.chain.from_iterable(_PHRASES)
    nouns = itertools.chain.from_iterable(NOUNS.values())
    words = dict.fromkeys([AGENT, PATIENT, *nouns, *VERBS, *fillers])
    special = {NEWLINE: "\n", UNKNOWN: "\N{REPLACEMENT CHARACTER}"}
    return (*(special[code] for code in sorted(special)), *words)


def combinations() -> list[Combination]:
    """All that the rules allow."""
    return [
        Combination(agent, patient, verb)
        for verb in VERBS
        for agents, patients in VERBS[verb].roles()
        for agent, patient in itertools.product(NOUNS[agents], NOUNS[patients])
    ]


def split(allowed: list[Combination]) -> tuple[list[Combination], list[Combination]]:
    """Combinations to train on, and those held out, `LECTURE` first.

    Of two nouns and a verb one combination is allowed at most, so what is held out is held out
    with the nouns exchanged, too.
    """
    rng = np.random.default_rng(_SPLIT_SEED)
    order = [allowed[i] for i in rng.permutation(len(allowed)) if allowed[i] != LECTURE]
    num_heldout = round(_HELDOUT_FRACTION * len(allowed))
    return order[num_heldout - 1 :], [LECTURE, *order[: num_heldout - 1]]


def sentences(
    rng: np.random.Generator, combination: Combination, is_far: bool
) -> tuple[list[str], list[str]]:
    """A sentence of the combination, and the same sentence with its two nouns exchanged."""
    agent, patient, verb = combination
    particles = [AGENT, PATIENT]
    nouns = [agent, patient]
    if rng.random() < _SCRAMBLED_FRACTION:
        particles.reverse()
        nouns.reverse()
    gaps = [_filler(rng), _filler(rng)] if is_far else [[], []]
    return tuple(
        [first, particles[0], *gaps[0], second, particles[1], *gaps[1], verb]
        for first, second in (nouns, nouns[::-1])
    )


def _filler(rng: np.random.Generator) -> list[str]:
    words: list[str] = []
    for _ in range(rng.integers(1, _MAX_PHRASES + 1)):
        words += _PHRASES[rng.integers(len(_PHRASES))]
    return words


def _encode(texts: list[list[str]], words: tuple[str, ...]) -> np.ndarray:
    """Codes of sentences one after the other, int32 [N]."""
    codes = {word: code for code, word in enumerate(words)}
    joined = itertools.chain.from_iterable([*text, words[NEWLINE]] for text in texts)
    return np.array([codes[word] for word in joined], np.int32)


def _pairs(texts: list[tuple[list[str], list[str]]], words: tuple[str, ...]) -> Pairs:
    lengths = np.array([len(plausible) + 1 for plausible, _ in texts], np.int32)
    shape = (len(texts), lengths.max())
    is_word = np.arange(shape[1])[None] < lengths[:, None]
    both = []
    for side in zip(*texts, strict=True):
        rows = np.full(shape, NEWLINE, np.int32)
        rows[is_word] = _encode(list(side), words)
        both.append(rows)
    return Pairs(*both, lengths)
