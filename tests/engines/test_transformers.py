"""The transformers engine: sampling, ends of rows, batches, both caches."""

import numpy as np
import pytest
import torch

from orpheus.common.errors import InputError
from orpheus.engines import ENDED
from orpheus.engines.options import SamplingOptions
from orpheus.engines.sampling import draw, penalize, uniforms
from orpheus.engines.transformers import TransformersEngine
from tests.fakes.checkpoints import SMALL_CONFIG, SMALL_LAYOUT, walking_model

PROMPTS = [[261, 256, *range(n), 257, 262, 263, 259] for n in (3, 40, 11, 25)]
GREEDY = SamplingOptions(temperature=0, max_new_tokens=60)
SAMPLED = SamplingOptions(max_new_tokens=140)


@pytest.fixture(scope="module", params=[GREEDY, SAMPLED], ids=["greedy", "sampled"])
def sampling(request):
    return request.param


@pytest.fixture(scope="module")
def model(sampling):
    """Greedy, end-of-speech would always or never be the likeliest at a border: never."""
    return walking_model(SMALL_CONFIG, SMALL_LAYOUT, frames=10**6 if sampling is GREEDY else 8)


@pytest.fixture(scope="module")
def engine(model):
    return TransformersEngine(model, SMALL_LAYOUT)


def rows_of(engine, prompts, sampling, seeds):
    """Each row's tokens, checked to be followed by nothing but ENDED."""
    steps = np.stack(list(engine.generate(prompts, sampling, seeds)))  # (steps, rows)
    rows = []
    for row in steps.T:
        length = int(np.argmax(row == ENDED)) if (row == ENDED).any() else len(row)
        assert (row[length:] == ENDED).all()
        rows.append(row[:length].tolist())
    return rows


# --- drawing ---


def test_repetition_penalty_is_that_of_transformers():
    from transformers import RepetitionPenaltyLogitsProcessor

    logits = torch.randn(2, 50)
    ids = torch.tensor([[1, 2, 3, 3], [7, 8, 9, 10]])
    seen = torch.zeros(2, 50, dtype=torch.bool).scatter_(1, ids, True)
    expected = RepetitionPenaltyLogitsProcessor(1.3)(ids, logits.clone())
    assert torch.equal(penalize(logits, seen, 1.3), expected)


@pytest.mark.parametrize("top_p", [0.3, 0.8, 1.0])
def test_draw_has_the_distribution_of_transformers_top_p(top_p):
    from transformers import TemperatureLogitsWarper, TopPLogitsWarper

    logits = torch.randn(1, 30) * 2
    expected = TopPLogitsWarper(top_p)(None, TemperatureLogitsWarper(0.7)(None, logits.clone())).softmax(-1)[0]
    grid = torch.arange(2**17) / 2**17  # every quantile once: frequencies are probabilities
    drawn = draw(logits.expand(len(grid), -1), grid, temperature=0.7, top_p=top_p)
    found = torch.bincount(drawn, minlength=30) / len(grid)
    assert (found - expected).abs().max() < 3e-5


def test_draw_takes_the_likeliest_at_temperature_0_and_at_a_tiny_top_p():
    logits = torch.tensor([[0.0, 3.0, 1.0]])
    assert draw(logits, torch.tensor([0.99]), 0, 0.9).item() == 1
    assert draw(logits, torch.tensor([0.99]), 1.0, 1e-9).item() == 1


def test_logits_that_are_no_numbers_give_a_token_of_the_vocabulary():
    assert draw(torch.full((1, 5), float("nan")), torch.tensor([0.5]), 1.0, 0.95).item() < 5


def test_the_extremes_of_a_draw_stay_among_the_kept_tokens():
    logits = torch.tensor([[-50.0, 2.0, -50.0, 2.0, -50.0]])
    for uniform, token in ((0.0, 1), (0.5 - 2**-24, 1), (0.5, 3), (1 - 2**-24, 3)):
        assert draw(logits, torch.tensor([uniform]), 1.0, 0.95).item() == token


def test_a_rows_randomness_depends_on_its_seed_alone():
    assert torch.equal(uniforms([5, 6], 10)[1], uniforms([6], 10)[0])
    assert torch.equal(uniforms([5], 10)[0, :4], uniforms([5], 4)[0])


# --- rows ---


def test_greedy_ids_are_those_of_transformers_generate():
    model = walking_model(SMALL_CONFIG, SMALL_LAYOUT, frames=10**6)
    engine = TransformersEngine(model, SMALL_LAYOUT)
    for prompt in PROMPTS:
        found = rows_of(engine, [prompt], GREEDY, [0])[0]
        expected = model.generate(
            torch.tensor([prompt]), do_sample=False, repetition_penalty=1.1, max_new_tokens=len(found), eos_token_id=-1
        )
        assert expected[0, len(prompt) :].tolist() == found


def test_a_batch_of_different_lengths_gives_each_row_what_it_gets_alone(engine, sampling):
    """Public batches crop all rows at one column, or let padding into the attention."""
    seeds = [3, 1, 4, 1]
    together = rows_of(engine, PROMPTS, sampling, seeds)
    alone = [rows_of(engine, [prompt], sampling, [seed])[0] for prompt, seed in zip(PROMPTS, seeds)]
    assert together == alone
    assert len({tuple(row) for row in together}) == len(together)  # the prompts matter


def test_the_same_seed_gives_the_same_tokens_and_another_others(engine, sampling):
    first, again, other = (rows_of(engine, PROMPTS[:1], sampling, [seed])[0] for seed in (7, 7, 8))
    assert first == again
    assert (first == other) == (sampling is GREEDY)


def test_static_cache_equals_growing_cache(model, engine, sampling):
    static = TransformersEngine(model, SMALL_LAYOUT, static_cache=True)
    for count, prompts in enumerate((PROMPTS, PROMPTS[::-1], PROMPTS[:1], PROMPTS[1:2])):  # buffers are used again
        seeds = list(range(count, count + len(prompts)))
        assert rows_of(static, prompts, sampling, seeds) == rows_of(engine, prompts, sampling, seeds)


def test_two_static_generations_at_once_do_not_share_buffers(model, sampling):
    static = TransformersEngine(model, SMALL_LAYOUT, static_cache=True)
    expected = rows_of(static, PROMPTS[:1], sampling, [5])[0]
    first, second = (static.generate(PROMPTS[:1], sampling, [5]) for _ in range(2))
    interleaved = [(int(a[0]), int(b[0])) for a, b in zip(first, second)]
    assert interleaved == [(token, token) for token in expected]


# --- ends ---


class Script(torch.nn.Module):
    """Stands in for the sampler's model: emits given tokens, row by row."""

    device = torch.device("cpu")

    def __init__(self, rows):
        super().__init__()
        self.rows, self.step = rows, 0
        self.config = walking_model(SMALL_CONFIG, SMALL_LAYOUT).config
        self.head = torch.nn.Linear(1, SMALL_CONFIG["vocab_size"])

    def get_output_embeddings(self):
        return self.head

    def forward(self, input_ids, **_):
        logits = torch.zeros(len(input_ids), 1, SMALL_CONFIG["vocab_size"])
        for row, tokens in enumerate(self.rows):
            logits[row, 0, tokens[min(self.step, len(tokens) - 1)]] = 9.0
        self.step += 1
        return type("Output", (), {"logits": logits})


def frames(count):
    return SMALL_LAYOUT.to_tokens(np.arange(count * 7).reshape(count, 7) % 32).tolist()


@pytest.mark.parametrize("position", range(15))
@pytest.mark.parametrize("kind", ["end of speech", "code of the next slot", "text"])
def test_a_row_stops_in_the_loop_and_the_others_go_on(position, kind):
    intruder = {
        "end of speech": SMALL_LAYOUT.end_of_speech,
        "code of the next slot": SMALL_LAYOUT.range_start(position) + 32
        if position % 7 < 6
        else SMALL_LAYOUT.range_start(0),
        "text": 65,
    }[kind]
    short = [*frames(3)[:position], intruder]
    long = [*frames(4), SMALL_LAYOUT.end_of_speech]
    engine = TransformersEngine(Script([short, long]), SMALL_LAYOUT)
    found = rows_of(engine, PROMPTS[:2], SamplingOptions(temperature=0, repetition_penalty=1.0), [0, 0])
    assert found == [short, long]
    assert engine.model.step == len(long)  # nothing was computed after the last row had ended


def test_the_cap():
    engine = TransformersEngine(Script([frames(9)]), SMALL_LAYOUT)
    sampling = SamplingOptions(temperature=0, repetition_penalty=1.0, max_new_tokens=20)
    assert rows_of(engine, PROMPTS[:1], sampling, [0]) == [frames(9)[:20]]


def test_closing_the_iterator_stops_the_work():
    engine = TransformersEngine(Script([frames(9)]), SMALL_LAYOUT)
    steps = engine.generate(PROMPTS[:1], SamplingOptions(temperature=0), [0])
    next(steps), next(steps)
    steps.close()
    assert engine.model.step == 2


def test_more_tokens_than_positions_are_refused_before_work(engine):
    with pytest.raises(InputError, match="16384 positions"):
        next(engine.generate(PROMPTS[:1], SamplingOptions(max_new_tokens=17_000), [0]))
