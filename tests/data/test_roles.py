"""Sentences with roles, read again by a parser of their own and held against the rules."""

import itertools

import numpy as np
import pytest

from dl_lectures.data import roles, text

CLASS = {noun: name for name, nouns in roles.NOUNS.items() for noun in nouns}


@pytest.fixture(scope="module")
def data():
    return roles.load(4_000)


def sentences_of(codes, vocabulary):
    words = [vocabulary[code] for code in codes]
    assert words[-1] == "\n"
    return [line.split() for line in " ".join(words).split("\n") if line]


def parsed(words):
    """(agent, patient, verb) of a sentence, by its particles."""
    found = {words[i]: words[i - 1] for i in (words.index("が"), words.index("を"))}
    assert words[-1] in roles.VERBS
    return found["が"], found["を"], words[-1]


def pair_sentences(pairs, vocabulary):
    for rows in (pairs.plausible, pairs.implausible):
        yield [
            [vocabulary[code] for code in row[: n - 1]]
            for row, n in zip(rows, pairs.lengths, strict=True)
        ]


def is_plausible(agent, patient, verb):
    return f"{CLASS[agent]}>{CLASS[patient]}" in roles.VERBS[verb].rule.split()


def test_rules_are_one_sided_and_every_class_is_agent_and_patient():
    for verb, (_, rule) in roles.VERBS.items():
        pairs = [part.split(">") for part in rule.split()]
        assert all(set(pair) <= set(roles.NOUNS) for pair in pairs)
        undirected = [frozenset(pair) for pair in pairs]
        assert len(set(undirected)) == len(pairs), verb  # no a>b twice, nor b>a beside it
        assert all(len(pair) == 2 for pair in undirected), verb  # nor a>a
    rules = [part.split(">") for verb in roles.VERBS.values() for part in verb.rule.split()]
    for side in zip(*rules, strict=True):
        assert set(side) == set(roles.NOUNS)


def test_the_language_is_as_large_as_promised():
    assert len(CLASS) >= 40 and len(roles.VERBS) >= 20
    assert sum(len(nouns) for nouns in roles.NOUNS.values()) == len(CLASS)  # no noun in two
    words = roles.vocabulary()
    assert len(set(words)) == len(words) < 150
    assert words[text.NEWLINE] == "\n" and words[text.UNKNOWN] == "\N{REPLACEMENT CHARACTER}"
    # Each verb allows its class pairs with all nouns of the classes.
    expected = sum(
        len(roles.NOUNS[a]) * len(roles.NOUNS[b])
        for verb in roles.VERBS.values()
        for a, b in (part.split(">") for part in verb.rule.split())
    )
    allowed = roles.combinations()
    assert len(set(allowed)) == len(allowed) == expected
    assert all(is_plausible(*combination) for combination in allowed)


def test_training_sentences_are_plausible_and_their_swaps_are_not(data):
    plausible = sentences_of(data.train, data.vocabulary)
    swapped = sentences_of(data.train_swapped, data.vocabulary)
    assert len(plausible) == len(swapped) == 4_000
    for one, other in zip(plausible, swapped, strict=True):
        agent, patient, verb = parsed(one)
        assert is_plausible(agent, patient, verb)
        assert parsed(other) == (patient, agent, verb)
        assert not is_plausible(patient, agent, verb)
    # Shares of 4,000: 5 standard errors are 0.04 and 0.034.
    is_far = [len(words) > 5 for words in plausible]
    assert np.mean(is_far) == pytest.approx(0.5, abs=0.04)
    scrambled = [words.index("を") < words.index("が") for words in plausible]
    assert np.mean(scrambled) == pytest.approx(0.25, abs=0.035)


def test_heldout_combinations_occur_in_no_training_sentence_in_any_form(data):
    seen = {
        (frozenset((agent, patient)), verb)
        for agent, patient, verb in map(parsed, sentences_of(data.train, data.vocabulary))
    }
    for pairs in (data.near, data.far):
        for side in pair_sentences(pairs, data.vocabulary):
            asked = {(frozenset(found[:2]), found[2]) for found in map(parsed, side)}
            assert len(asked) == len(side) == len(pairs.lengths)  # each combination once
            assert not asked & seen


def test_every_noun_was_seen_with_the_verb_in_its_role(data):
    """Held out is the combination, not what it is made of (4,000 sentences suffice)."""
    seen = set()
    for agent, patient, verb in map(parsed, sentences_of(data.train, data.vocabulary)):
        seen |= {(agent, "が", verb), (patient, "を", verb)}
    plausible, _ = pair_sentences(data.near, data.vocabulary)
    wanted = set()
    for agent, patient, verb in map(parsed, plausible):
        wanted |= {(agent, "が", verb), (patient, "を", verb)}
    assert len(wanted - seen) <= 0.01 * len(wanted)


@pytest.mark.parametrize("kind", ["near", "far"])
def test_pairs_are_the_same_words_with_the_nouns_exchanged(data, kind):
    pairs = getattr(data, kind)
    plausible, implausible = pair_sentences(pairs, data.vocabulary)
    for one, other in zip(plausible, implausible, strict=True):
        assert sorted(one) == sorted(other) and one != other
        agent, patient, verb = parsed(one)
        assert is_plausible(agent, patient, verb)
        assert parsed(other) == (patient, agent, verb)
        is_noun = [word in CLASS for word in one]
        assert is_noun == [word in CLASS for word in other]
        assert [w for w, n in zip(one, is_noun, strict=True) if not n] == [
            w for w, n in zip(other, is_noun, strict=True) if not n
        ]
    for rows in (pairs.plausible, pairs.implausible):
        assert rows.dtype == np.int32 and pairs.lengths.dtype == np.int32
        for row, length in zip(rows, pairs.lengths, strict=True):
            assert (row[length - 1 :] == text.NEWLINE).all()
            assert (row[: length - 1] > text.UNKNOWN).all()


def test_no_window_of_five_words_of_a_far_sentence_holds_two_content_words(data):
    content = set(CLASS) | set(roles.VERBS)
    far, near = (
        [*itertools.chain(*pair_sentences(p, data.vocabulary))] for p in (data.far, data.near)
    )
    for words in far:
        places = [i for i, word in enumerate(words) if word in content]
        assert len(places) == 3
        assert min(np.diff(places)) >= 5
        assert 6 <= len(words) - 5 <= 16  # words of the fillers
    assert {len(words) for words in near} == {5}


def test_the_lectures_sentence_is_the_first_pair(data):
    plausible, implausible = pair_sentences(data.near, data.vocabulary)
    assert parsed(plausible[0]) == ("イヌ", "ヒト", "噛む")
    assert parsed(implausible[0]) == ("ヒト", "イヌ", "噛む")


def test_the_split_and_the_pairs_are_fixed(data):
    again, longer = roles.load(4_000), roles.load(4_500)
    np.testing.assert_array_equal(again.train, data.train)
    for kind in ("near", "far"):
        for one, other in zip(getattr(data, kind), getattr(longer, kind), strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_text_has_a_sentence():
    with pytest.raises(ValueError, match="at least 1 sentence, got 0"):
        roles.load(0)
