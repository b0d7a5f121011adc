"""What a pool does where memory, the process or its listener is not as it wishes."""

import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from orpheus.common.errors import OrpheusError
from orpheus.common.options import ROOT
from orpheus.server.pool import StreamPool
from orpheus.server.pooled import OVER
from orpheus.speech.request import Utterance, plan_stream
from tests.server.test_pool import joined, loaded, scripted  # noqa: F401 (a fixture)


def test_memory_that_is_too_short_for_all_slots_gives_fewer(loaded, monkeypatch, capsys):  # noqa: F811
    voice, _ = scripted(loaded, dict.fromkeys(range(4), 3))
    opens = voice.engine.open

    def open(slots, length):
        if slots > 5:
            raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return opens(slots, length)

    monkeypatch.setattr(voice.engine, "open", open)
    with StreamPool(voice, slots=8) as pool:
        assert pool.slots == 4
        assert len(joined(pool.submit("Yes.", seed=0))) == 3 * 2048
    assert capsys.readouterr().err.splitlines() == [
        "memory is too short for 8 slots of 1536 tokens: going on with 6",
        "memory is too short for 6 slots of 1536 tokens: going on with 4",
    ]


def test_memory_that_is_too_short_for_one_slot_is_an_error(loaded, monkeypatch):  # noqa: F811
    voice, _ = scripted(loaded, {})
    monkeypatch.setattr(voice.engine, "open", lambda *_: (_ for _ in ()).throw(MemoryError()))
    with pytest.raises(MemoryError):
        StreamPool(voice, slots=2)


def test_a_listener_hears_everything_in_order(loaded):  # noqa: F811
    voice, codes = scripted(loaded, {7: 4, 8: 3})
    request, sampling, _ = plan_stream(voice, "Come in now. Sit down now.", None, {"seed": 7, "piece_seconds": 1})
    heard, over = [], threading.Event()

    def listen(item):
        heard.append(item)
        if item is OVER:
            over.set()

    with StreamPool(voice, slots=1) as pool:
        pool.start(request, sampling, listen)
        assert over.wait(60)
    audio = np.concatenate([item for item in heard if isinstance(item, np.ndarray)])
    assert len(audio) == 7 * 2048 + 3600  # 0.15 s between two pieces
    ends = [index for index, item in enumerate(heard) if isinstance(item, Utterance)]
    assert len(ends) == 2 and ends[1] == len(heard) - 2 and heard[-1] is OVER


def test_a_held_text_waits_between_two_pieces_and_leaves_its_slot(loaded):  # noqa: F811
    gate = threading.Semaphore(0)
    voice, _ = scripted(loaded, {7: 4, 8: 3, 1: 5}, gate)
    with StreamPool(voice, slots=1) as pool:
        speech = pool.submit("Come in now. Sit down now.", seed=7, piece_seconds=1)
        speech.hold()
        gate.release(10**4)
        assert len(joined(pool.submit("Yes.", seed=1))) == 5 * 2048  # speaks while the other is held
        assert speech.finish_reason is None
        speech.resume()
        assert len(joined(speech)) == 7 * 2048 + 3600


def test_a_held_text_can_be_closed(loaded):  # noqa: F811
    voice, _ = scripted(loaded, {7: 4, 8: 3, 1: 5})
    with StreamPool(voice, slots=1) as pool:
        speech = pool.submit("Come in now. Sit down now.", seed=7, piece_seconds=1)
        speech.hold()
        joined(pool.submit("Yes.", seed=1))
        speech.close()
        assert len(joined(speech)) == 4 * 2048 + 3600  # what had come before; then nothing more
        speech.resume()
        assert pool.backlog() == 0


def test_a_hang_up_frees_the_slot_before_the_next_step(loaded):  # noqa: F811
    gate = threading.Semaphore(0)
    voice, _ = scripted(loaded, {0: 10**4}, gate)
    with StreamPool(voice, slots=1) as pool:
        speech = pool.submit("Yes.", seed=0, max_new_tokens=1400)
        gate.release(30)
        next(speech)
        while pool.counts["steps"] < 30:
            time.sleep(0.001)
        speech.close()
        gate.release(1)  # the step that was waited for
        while pool._jobs:
            time.sleep(0.001)
        assert pool.counts["steps"] <= 31
        gate.release(10**4)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_process_says_so(loaded):  # noqa: F811
    voice, _ = scripted(loaded, {0: 4})
    with StreamPool(voice, slots=1) as pool:
        speech = pool.submit("Yes.", seed=0)
        read, write = os.pipe()
        child = os.fork()
        if not child:
            said = []
            for call in (lambda: pool.submit("Yes."), lambda: next(speech), speech.close):
                try:
                    call()
                except OrpheusError as error:
                    said.append("forked" in str(error))
            pool.close()
            os.write(write, b"yes" if said == [True] * 3 else repr(said).encode())
            os._exit(0)
        os.close(write)
        assert os.read(read, 100) == b"yes"
        os.waitpid(child, 0)
        assert len(joined(speech)) == 4 * 2048


def test_a_process_with_a_busy_pool_ends_in_order(small_voice_folder):
    program = (
        "from orpheus.server.pool import StreamPool; from orpheus.speech.model import load_model\n"
        f"pool = StreamPool(load_model({str(small_voice_folder)!r}, 'none', device='cpu')[0], slots=2)\n"
        "streams = [pool.submit('Yes. ' * 200, seed=n) for n in range(2)]\n"
        "next(streams[0]); print('ends')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ends\n", "")
