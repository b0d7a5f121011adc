"""Writes more text with phonemes: short, named, counted, asked and long sentences, beside those of sentences.jsonl.gz.

    python -m recipes.demo_voice.corpus.sentences $CORPUS/sentences.jsonl.gz $CORPUS/more_sentences.jsonl.gz

CORPUS is recipes/demo_voice/corpus. It needs the packages misaki, num2words, regex and addict.

The first collection has hardly a text below four words or above sixteen, and few names. Phonemes are those of misaki's
English lexicon (Apache 2.0), which the teacher was trained with; a text with a word that it does not know is dropped.
A line may hold `parts` instead of `ph`: two halves that are spoken apart, so that a tag can stand between them.
"""

import argparse
import gzip
import json
import random
import re
import sys
import types

from recipes.demo_voice.corpus.word_lists import ALONE, ASKED, CLAUSE, COUNTED, JOINED, NAMED, WORDS

COUNTS = dict(short=1700, fragment=1800, name=2200, number=2200, question=2400, long=2600, halves=2600)
"""Texts of each kind, before those are dropped that cannot be pronounced."""


def spoken_number(rng, low, high):
    from num2words import num2words

    return re.sub(r" and |-|,", " ", num2words(rng.randint(low, high))).replace("  ", " ")


def spoken_year(rng):
    century, rest = rng.choice(["seventeen", "eighteen", "nineteen", "twenty"]), rng.randint(10, 99)
    from num2words import num2words

    return f"{century} {num2words(rest).replace('-', ' ')}"


class Writer:
    def __init__(self, seed):
        self.rng = random.Random(seed)

    def value(self, name):
        rng = self.rng
        from num2words import num2words

        numbers = dict(n=(2, 999), small=(2, 20), age=(3, 98), cents=(5, 99), percent=(1, 99))
        if name in WORDS:
            return rng.choice(WORDS[name])
        if name in numbers:
            return spoken_number(rng, *numbers[name])
        if name == "year":
            return spoken_year(rng)
        if name == "minute":
            return rng.choice(
                "five|ten|fifteen|twenty|twenty five|thirty|thirty five|forty|forty five|fifty|fifty five".split("|")
            )
        if name == "digits":
            return " ".join(num2words(rng.randint(0, 9)) for _ in range(rng.randint(3, 5)))
        if name == "ordinal":
            return num2words(rng.randint(1, 31), to="ordinal").replace("-", " ")
        raise KeyError(name)

    def fill(self, template):
        text = re.sub(r"\{(\w+)\^?\}", lambda found: self.value(found[1]), template)
        text = re.sub(r"\ba (?=[aeiou])", "an ", text)
        return text[0].upper() + text[1:]

    def lower(self, template):
        """A clause that does not begin its sentence."""
        return re.sub(r"\{(\w+)\^?\}", lambda found: self.value(found[1]), template)

    def long(self):
        clauses = {name: self.lower(self.rng.choice(CLAUSE)) for name in "abc"}
        return self.fill(re.sub(r"\{([abc])\}", lambda found: clauses[found[1]], self.rng.choice(JOINED)))

    def short(self):
        return self.rng.choice(ALONE) + self.rng.choice(".....!!?")


def fragment(sentence, rng):
    """(text, phonemes) of two to four words of a sentence, as a sentence of their own."""
    words, sounds = sentence["text"].split(), sentence["ph"].split()
    count = rng.randint(2, 4)
    start = rng.randrange(max(1, len(words) - count))
    end = rng.choice(".....!?")
    text = " ".join(words[start : start + count]).strip(".,!?;:'")
    return text[0].upper() + text[1:] + end, " ".join(sounds[start : start + count]).rstrip(".,!?;:") + end


def halves(sentence, rng):
    """A sentence cut between two words, the second part with the end's punctuation; None where it is too short."""
    words, sounds = sentence["text"].split(), sentence["ph"].split()
    if len(words) < 4:
        return None
    cut = rng.randint(2, len(words) - 2) if len(words) > 4 else 2
    first, second = " ".join(words[:cut]), " ".join(words[cut:])
    spoken = " ".join(sounds[:cut]).rstrip(",;:") + ",", " ".join(sounds[cut:])
    return dict(text=f"{first} {second}", parts=[[first, spoken[0]], [second, spoken[1]]])


def tokens_without_spacy(text):
    """What misaki wants of spaCy: tokens with a part of speech, by a few rules."""
    prepositions = set(
        "in on at by for from with of into over under about after before between through during without along as".split()
    )
    determiners = set(
        "a an the this that these those each every some any no my your his her its our their another".split()
    )
    helpers = set(
        "will would can could shall should may might must don't didn't doesn't won't can't couldn't do did does not".split()
    )
    pronouns = set("i you he she it we they me him us them".split())
    tokens, before, tag = [], "", ""
    for found in re.finditer(r"[A-Za-z]+(?:['’][A-Za-z]+)*|\d[\d.,]*|[^\sA-Za-z\d]", text):
        word = found[0]
        low = word.lower()
        if re.fullmatch(r"[.!?]+", word):
            kind = "."
        elif word == ",":
            kind = ","
        elif not word[0].isalpha():
            kind = ":"
        elif low in determiners:
            kind = "DT"
        elif low == "to":
            kind = "TO"
        elif low in prepositions:
            kind = "IN"
        elif low in pronouns:
            kind = "PRP"
        elif before in helpers or tag == "TO":
            kind = "VB"
        elif before in set("have has had been was were is are be being got".split()):
            kind = "VBN"
        elif tag == "DT" or before == "of":
            kind = "NN"
        elif before in ("he", "she", "it", "who"):
            kind = "VBD"
        elif word[0].isupper() and tokens:
            kind = "NNP"
        else:
            kind = "XX"
        space = " " if found.end() < len(text) and text[found.end()].isspace() else ""
        tokens.append(types.SimpleNamespace(text=word, tag_=kind, whitespace_=space))
        before, tag = low, kind
    return tokens


def phonemizer():
    """text -> the teacher's phonemes, None where a word is unknown."""
    spacy = types.ModuleType("spacy")
    spacy.util = types.SimpleNamespace(is_package=lambda name: True)
    spacy.cli = types.SimpleNamespace(download=lambda name: None)
    spacy.load = lambda name, enable=None: tokens_without_spacy
    sys.modules.setdefault("spacy", spacy)
    from misaki import en

    speak = en.G2P(trf=False, british=False, fallback=None, unk="❓")

    def phonemes(text):
        made = speak(text)[0]
        return None if "❓" in made or len(made.split()) != len(text.split()) else made

    return phonemes


def texts_of(path):
    """Texts in lower case of a .jsonl file, or of a .txt file with lines that may begin with a voice ("nora: Good morning."), and
    the sentences that they are made of."""
    with open(path, encoding="utf-8") as lines:
        if path.endswith(".jsonl"):
            texts = [json.loads(line)["text"] for line in lines]
        else:
            texts = [re.sub(r"^[a-z]+: ", "", line) for line in lines]
    parts = {part for text in texts for part in re.split(r"<\w+>|(?<=[.!?])\s", text)}
    return {text.strip().lower() for text in {*texts, *parts}}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sentences", help="the collection that fragments and halves are taken from")
    parser.add_argument("out")
    parser.add_argument("--without", nargs="*", default=[], help=".jsonl or .txt files whose texts must not appear")
    options = parser.parse_args()
    with gzip.open(options.sentences, "rt", encoding="utf-8") as lines:
        known = [json.loads(line) for line in lines]
    seen = {sentence["text"].lower() for sentence in known}
    for path in options.without:
        seen |= texts_of(path)
    writer, phonemes, made, dropped = Writer(20), phonemizer(), [], 0

    def add(kind, text, **sounds):
        if text.lower() in seen:
            return
        seen.add(text.lower())
        made.append(dict(text=text, src=kind, **sounds))

    templates = dict(name=NAMED, number=COUNTED, question=ASKED)
    for kind, count in COUNTS.items():
        for _ in range(count):
            if kind == "fragment":
                text, sounds = fragment(writer.rng.choice(known), writer.rng)
                add(kind, text, ph=sounds)
            elif kind == "halves":
                cut = halves(writer.rng.choice(known), writer.rng)
                if cut:
                    made.append(dict(cut, src=kind))
            else:
                text = (
                    getattr(writer, kind)()
                    if kind in ("short", "long")
                    else writer.fill(writer.rng.choice(templates[kind]))
                )
                sounds = phonemes(text)
                dropped += sounds is None
                if sounds:
                    add(kind, text, ph=sounds)
    writer.rng.shuffle(made)
    with gzip.GzipFile(options.out, "wb", mtime=0) as file:
        file.write("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in made).encode())
    kinds = {kind: sum(line["src"] == kind for line in made) for kind in COUNTS}
    print(f"{len(made)} texts {kinds}; {dropped} dropped for unknown words")


if __name__ == "__main__":
    main()
