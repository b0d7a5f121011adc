import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orpheus.common.tokens import TokenLayout
from orpheus.engines import ENDED
from orpheus.speech.streaming import Assemblers, FrameAssembler, stream_audio

LAYOUT = TokenLayout()


def frame_numbers(codes, first):
    """A stand-in for a codec: every sample is the number of its frame."""
    return np.repeat(np.arange(first, first + len(codes)), 2048).astype(np.float32)


def tokens_of(frames, ending=(LAYOUT.end_of_speech,)):
    return [*LAYOUT.to_tokens(np.random.default_rng(frames).integers(0, 4096, (frames, 7))).tolist(), *ending]


@given(st.integers(0, 40), st.integers(0, 3), st.integers(1, 9), st.integers(0, 6))
def test_every_frame_comes_out_once_in_order(frames, lookahead, max_chunk, incomplete):
    """The sliding window of public clients never emits the first frame nor the last two."""
    ending = [LAYOUT.range_start(slot) for slot in range(incomplete)] + [LAYOUT.end_of_speech]
    chunks = list(stream_audio(tokens_of(frames, ending), frame_numbers, FrameAssembler(LAYOUT), lookahead, max_chunk))
    joined = np.concatenate([np.zeros(0, np.float32), *chunks])
    assert np.array_equal(joined, frame_numbers(np.zeros((frames, 7)), 0))


def test_the_first_chunk_comes_as_soon_as_its_context_is_there():
    read = []

    def counted():
        for token in tokens_of(12):
            read.append(token)
            yield token

    for lookahead, needed, samples in ((3, 21, 1387), (2, 21, 2048), (1, 14, 2048), (0, 7, 2048)):
        read.clear()
        first = next(stream_audio(counted(), frame_numbers, FrameAssembler(LAYOUT), lookahead, 8))
        assert len(first) == samples and len(read) == needed


def test_what_is_settled_early_comes_early():
    read = []

    def counted():
        for token in tokens_of(12):
            read.append(token)
            yield token

    chunks = stream_audio(counted(), frame_numbers, FrameAssembler(LAYOUT), 3, 8, early=True)
    assert [(len(next(chunks)), len(read)) for _ in range(3)] == [(363, 18), (1387 - 363, 21), (2048, 28)]
    assert 363 + 1024 + 2048 + sum(map(len, chunks)) == 12 * 2048
    read.clear()
    for lookahead, needed in ((2, 21), (1, 14)):
        read.clear()
        next(stream_audio(counted(), frame_numbers, FrameAssembler(LAYOUT), lookahead, 8, early=True))
        assert len(read) == needed


def test_chunks_grow_to_the_limit():
    chunks = stream_audio(tokens_of(30), frame_numbers, FrameAssembler(LAYOUT), 3, 8)
    assert [len(chunk) for chunk in chunks] == [1387, 2048, 4096, 8192, 16384, 16384, 7 * 2048 - 1387]
    chunks = stream_audio(tokens_of(30), frame_numbers, FrameAssembler(LAYOUT), 2, 8)
    assert [len(chunk) // 2048 for chunk in chunks] == [1, 2, 4, 8, 8, 7]


def test_reading_stops_at_the_first_token_out_of_range():
    assembler = FrameAssembler(LAYOUT)
    tokens = iter([*tokens_of(2, ending=[]), LAYOUT.range_start(3), "never read"])
    chunks = list(stream_audio(tokens, frame_numbers, assembler, 3, 8))
    assert sum(map(len, chunks)) == 2 * 2048
    assert next(tokens) == "never read"
    assert (assembler.finish_reason, assembler.ended_by) == ("out_of_range", LAYOUT.range_start(3))


@pytest.mark.parametrize(
    "ending, reason",
    [([LAYOUT.end_of_speech], "end_of_speech"), ([LAYOUT.end_of_ai], "out_of_range"), ([], "max_new_tokens")],
)
def test_why_it_ended(ending, reason):
    assembler = FrameAssembler(LAYOUT)
    for token in tokens_of(2, ending):
        assembler.push(token)
    assert assembler.finish_reason == reason


@given(
    st.lists(st.lists(st.sampled_from(["in range", "out of range", "end", "over"]), max_size=30), max_size=5), st.data()
)
def test_side_by_side_is_one_by_one(kinds, data):
    """Two layouts, since adapters' may differ; places are taken in any order, and again."""
    layouts = [LAYOUT, TokenLayout(codebook_size=32)]
    together, places = Assemblers(7), data.draw(st.permutations(range(7)))
    made = {place: [FrameAssembler(layouts[place % 2]) for _ in range(2)] for place, _ in zip(places, kinds)}
    going, most = dict(zip(places, kinds)), {place: data.draw(st.integers(1, 30)) for place in places}
    for place, (ours, _) in made.items():
        together.join(place, FrameAssembler(LAYOUT), 30)
        together.push(np.array([place]), np.array([LAYOUT.range_start(0) + 9]))
        together.leave(place)
        together.join(place, ours, most[place])
    for step in range(30):
        tokens = {}
        for place, kind in going.items():
            if step < len(kind):
                layout = made[place][1].layout
                start, code = layout.range_start(step), data.draw(st.integers(0, layout.codebook_size - 1))
                out = start + data.draw(st.sampled_from([-1, layout.codebook_size]))
                some = {"in range": start + code, "out of range": out, "end": layout.end_of_speech, "over": ENDED}
                tokens[place] = some[kind[step]]
        both = (np.array(list(some), dtype=np.int64) for some in (tokens.keys(), tokens.values()))
        taken, whole, over = together.push(*both)
        runs = {place: token != ENDED and made[place][1].push(token) for place, token in tokens.items()}
        expected = {place: made[place][1] for place in tokens}
        assert taken == sum(runs.values())
        assert whole.tolist() == [p for p, one in expected.items() if runs[p] and one.position % 7 == 0]
        assert [together.codes[place].tolist() for place in whole] == [expected[place].codes[-1] for place in whole]
        assert over.tolist() == [p for p, one in expected.items() if not runs[p] or one.position == most[p]]
        assert all(made[place][0].frames == one.frames for place, one in expected.items())
        for place in over.tolist():
            del going[place]
            together.leave(place)
    for place in going:
        together.leave(place)
    for ours, expected in made.values():
        assert vars(ours) == vars(expected)


@settings(deadline=None, max_examples=25)
@given(frames=st.integers(1, 40), max_chunk=st.integers(1, 12), seed=st.integers(0, 2**63 - 1), early=st.booleans())
def test_streamed_equals_whole(small_codec, frames, max_chunk, seed, early):
    codes = np.random.default_rng(frames).integers(0, 32, (frames, 7))
    layout = TokenLayout(codebook_size=32)

    def decode(window, first):
        return small_codec.decode_window(window, seed, first)

    chunks = list(stream_audio(layout.to_tokens(codes), decode, FrameAssembler(layout), 3, max_chunk, early))
    whole = small_codec.decode_window(codes, seed, 0)
    assert np.abs(np.concatenate(chunks) - whole).max() < 1e-5
