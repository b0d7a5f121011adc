"""Which examples are held out: never trained on, so that they tell what the model has learnt."""

import hashlib
import math
import re

from orpheus.text.tags import TAG

_AUTO_SHARE = 0.02
_AUTO_LEAST, _AUTO_MOST_SHARE = 8, 5  # examples; one or two decide nothing. Of a small set no more than every fifth
_FEWEST = 10  # recordings; with fewer, each is worth more in training
_HASH_DIGITS = 16  # of a key: they name the recording that an example is of, or a part of


def split_held_out(examples, share):
    """(train, held out): the hash of an example's text decides, so that it stays on its side when others come or go.

    share: of the examples, or "auto": 2 %, but at least 8 and of small sets every fifth. With a share above 0 at least one is
    held out, unless there are fewer than ten recordings. Examples with the same words, whoever speaks them, and the parts of a
    split recording are on the same side.
    """
    groups = _groups(examples)
    recordings = len({_recording(example) for example in examples})
    auto, least = share == "auto", 1
    if auto:
        share, least = _AUTO_SHARE, max(1, min(_AUTO_LEAST, recordings // _AUTO_MOST_SHARE))
    if not share or recordings < _FEWEST:
        least = 0
    most = max(least, math.ceil(share * len(examples)))  # of one group: a text that is everywhere is trained on
    held_out = set()
    for number, group in sorted(groups):
        if len(group) <= most and (number < share or len(held_out) < least):
            held_out.update(group)
    train = [example for place, example in enumerate(examples) if place not in held_out]
    if not train:  # a handful of recordings whose hashes all fall below
        return examples, []
    return train, [example for place, example in enumerate(examples) if place in held_out]


def _recording(example):
    return example.key[:_HASH_DIGITS]


def _sentence(example):
    """Hash of an example's words, as many digits as decide; where it has none, the recording's own."""
    words = re.findall(r"\w+", TAG.sub(" ", example.text).casefold())
    return hashlib.sha256(" ".join(words).encode()).hexdigest()[:_HASH_DIGITS] if words else _recording(example)


def _groups(examples):
    """[(number in 0..1, places of the examples)]: what has a recording or a sentence in common is together."""
    sentence_of = {}  # recording -> the sentence that stands for its group

    def root(sentence):
        while (above := leads_to.get(sentence, sentence)) != sentence:
            sentence = above
        return sentence

    leads_to = {}
    for example in examples:
        one = root(_sentence(example))
        other = root(sentence_of.setdefault(_recording(example), one))
        leads_to[max(one, other)] = min(one, other)
    groups = {}
    for place, example in enumerate(examples):
        groups.setdefault(root(_sentence(example)), []).append(place)
    return [
        (_number(sentence, {_sentence(examples[p]) for p in places}), places) for sentence, places in groups.items()
    ]


def _number(sentence, sentences):
    """A hash as a number. Of several sentences the smallest hash is likely to be small: it is hashed once more."""
    digits = sentence if len(sentences) == 1 else hashlib.sha256(sentence.encode()).hexdigest()[:_HASH_DIGITS]
    return int(digits, 16) / 16**_HASH_DIGITS
