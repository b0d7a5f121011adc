"""Whether a GGUF file speaks as the model that it was made from: the same sentences through llama.cpp and through this project's engine.

With weights in 16 bits llama.cpp rounds what it multiplies them by to 16 bits as well, even where the file holds the model's values
exactly: two ids that are as likely as one another may then change places. That is told from a fault by asking llama.cpp how likely both were.
"""

import math
import warnings
from dataclasses import replace

import numpy as np

from orpheus.common.command import say
from orpheus.common.errors import InputError, OrpheusError, OrpheusWarning
from orpheus.common.progress import progress_bar
from orpheus.engines import ENDED
from orpheus.engines.options import SamplingOptions
from orpheus.text.languages import ENGLISH

EXACT = ("f32",)  # every id is equal
NEARLY = {"f16": 0.95}  # share of the sentences that must be equal, or part at a near-tie: 19 of 20
NEAR_TIE = 0.01  # nats between two ids: 16 bits make at most 0.002 of it in the demo voice, a fault whole nats
_SPOKEN = 1200  # tokens at most, where whole sentences are judged


def check(source, files, options, device="auto"):
    """Speaks sentences with every GGUF file and prints what was found. Raises OrpheusError where a file is not what it should be.

    source: folder.Source; files: {kind: path}; options: ExportOptions
    """
    from orpheus.engines.llama_cpp import LlamaCppEngine
    from orpheus.speech.model import load_model

    model, _ = load_model(
        str(source.folder),
        "none" if source.adapter is None else str(source.adapter),
        source.codec,
        device,
        lora_anyway=True,  # it was asked before, by its name
    )
    model = replace(model, description=source.description)
    texts, prompts = sentences(model, options.check_sentences)
    greedy = SamplingOptions(temperature=0, repetition_penalty=1, max_new_tokens=options.check_tokens)
    with progress_bar(True, len(prompts), "speaking with this project's engine", "sentence") as bar:
        expected = [spoken(model.engine, prompt, greedy, bar) for prompt in prompts]
    recognizer = _recognizer(model) if set(files) - set(EXACT) - set(NEARLY) else None
    failed = []
    for kind, path in files.items():
        engine = LlamaCppEngine(path, model.engine.layout, len(model.prompts.tokenizer), exact=True)
        with progress_bar(True, len(prompts), f"speaking with {path.name}", "sentence") as bar:
            found = [spoken(engine, prompt, greedy, bar) for prompt in prompts]
        leads = [_lead(engine, *row) for row in zip(prompts, expected, found, strict=True)] if kind in NEARLY else None
        verdict, passed = judge_ids(kind, expected, found, leads)
        print(f"{path.name}: {verdict}", flush=True)
        if not passed:
            failed.append(path.name)
        if kind not in EXACT and kind not in NEARLY:
            print(f"{path.name}: {_words(model, recognizer, engine, texts, prompts)}", flush=True)
        engine.release()  # its weights, before the next file's
    if failed:
        raise OrpheusError(
            f"{', '.join(failed)} {'does' if len(failed) == 1 else 'do'} not speak as the model does: the file is kept, but do not "
            "rely on it"
        )


def sentences(model, count):
    """(texts, prompts) of sentences in the model's language, with its voices in turn."""
    from orpheus.evaluate.options import SENTENCES
    from orpheus.evaluate.systems import read_sentences, spread
    from orpheus.speech.examples import example_sentences

    language = model.description.language or ENGLISH
    if language == ENGLISH:
        texts = [sentence.text for sentence in spread(read_sentences(SENTENCES), count)]
    else:
        texts = list(example_sentences(language) or ())[:count]
        if not texts:
            raise InputError(f"--check has no sentences in {language!r}: leave it out, and listen")
    voices = model.voices or (model.default_voice,)
    return texts, [model.prompts.prompt(text, voices[n % len(voices)]) for n, text in enumerate(texts)]


def spoken(engine, prompt, sampling, bar=None):
    """An engine's ids for a prompt, up to and with the first that is no audio."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OrpheusWarning)
        rows = [int(row[0]) for row in engine.generate([prompt], sampling, [sampling.seed])]
    if bar is not None:
        bar.update()
    return [token for token in rows if token != ENDED]


def _lead(engine, prompt, expected, found):
    """By how many nats llama.cpp prefers its id to this project's where the two part; 0 where they do not."""
    count = agreeing(expected, found)
    if count == len(expected) == len(found):
        return 0.0
    if count == min(len(expected), len(found)):  # one is over
        return math.inf
    return engine.lead([*prompt, *found[:count]], found[count], expected[count])


def judge_ids(kind, expected, found, leads=None):
    """(what is said of a file's ids, whether they are as they must be). leads: of a kind in NEARLY, what `_lead` gives for each"""
    equal = sum(one == other for one, other in zip(expected, found, strict=True))
    same = sum(agreeing(one, other) for one, other in zip(expected, found, strict=True))
    total = sum(map(len, expected))
    said = f"{equal} of {len(expected)} sentences have this project's ids, greedy; {same} of {total} ids before the first that differs"
    if kind in EXACT:
        passed = equal == len(expected)
        return said + ("" if passed else ": all of them must"), passed
    if kind in NEARLY:
        parted = [abs(lead) for one, other, lead in zip(expected, found, leads, strict=True) if one != other]
        ties = [lead for lead in parted if lead <= NEAR_TIE]
        if ties:
            said += f"; {len(ties)} part{'s' if len(ties) == 1 else ''} at a near-tie (at most {max(ties):.4f} nats)"
        passed = equal + len(ties) >= NEARLY[kind] * len(expected)
        return said + (
            "" if passed else f": {NEARLY[kind]:.0%} of the sentences must be equal or part at a near-tie"
        ), passed
    return f"{said} ({kind}: they need not)", True


def agreeing(one, other):
    """How many ids two sequences begin with alike."""
    count = min(len(one), len(other))
    apart = np.flatnonzero(np.asarray(one[:count]) != np.asarray(other[:count]))
    return int(apart[0]) if len(apart) else count


# --- words -----------------------------------------------------------------------------------------------------------


def _recognizer(model):
    """The recogniser of orpheus.evaluate, or None, with a line, where it is not installed or does not hear the language."""
    from orpheus.evaluate.judges import recognizer

    try:
        return recognizer(None, model.description.language or ENGLISH)
    except InputError as error:
        say(
            f"without a recogniser the files are judged by their ids alone, which says little of how they sound: {error}"
        )
        return None


def _words(model, recognizer, engine, texts, prompts):
    """What is said of the words that are heard: of the file, which `engine` runs, and of this project's, with 95 % intervals."""
    if recognizer is None:
        return "words were not judged"
    sampling = SamplingOptions(max_new_tokens=_SPOKEN)
    here, there = [], []
    with progress_bar(True, len(texts), "listening", "sentence") as bar:
        for number, (text, prompt) in enumerate(zip(texts, prompts, strict=True)):
            drawn = replace(sampling, seed=number)
            here.append(_errors(model, recognizer, text, spoken(model.engine, prompt, drawn)))
            there.append(_errors(model, recognizer, text, spoken(engine, prompt, drawn)))
            bar.update()
    return words_said(here, there)


def _errors(model, recognizer, text, tokens):
    """(word errors, words) of a sentence as it is heard."""
    from orpheus.text.comparison import compare, normalise

    codes = model.engine.layout.to_codes(tokens)
    audio = model.codec.decode(codes) if len(codes) else np.zeros(2048, np.float32)
    language = model.description.language or ENGLISH
    found = compare(normalise(text, language), normalise(recognizer.listen(audio).text, language))
    return found.word_errors, len(found.said)


def words_said(here, there):
    """Two systems' word errors and their difference in words. here, there: [(errors, words)] of the same sentences."""
    from orpheus.evaluate.statistics import difference, estimate

    def percent(found):
        return f"{100 * found.value:.1f} % ({100 * found.low:.1f} to {100 * found.high:.1f})"

    apart = difference(here, there)
    verdict = "worse than the model it was made from" if apart.low > 0 else "no worse, as far as these sentences tell"
    return f"word errors {percent(estimate(there))}, this project's engine {percent(estimate(here))}, difference {percent(apart)}: {verdict}"
