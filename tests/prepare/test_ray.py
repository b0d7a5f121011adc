"""The same on Ray: equal files, with a worker killed, and with the whole run killed. `make test-ray`"""

import os
import signal
import subprocess
import sys
import time

import pyarrow.parquet
import pytest

from orpheus.common.errors import InputError
from orpheus.common.options import ROOT
from orpheus.data.options import DataOptions
from orpheus.prepare.options import PrepareOptions
from orpheus.prepare.run import Preparation
from tests.fakes.fragile import Fragile
from tests.fakes.recordings import TEXTS, twelve_recordings

pytestmark = [pytest.mark.ray, pytest.mark.filterwarnings("ignore")]  # Ray leaves files and sockets open
SHARD = 4.1 / 60  # minutes: six shards


@pytest.fixture(scope="module", autouse=True)
def cluster():
    """Two workers' worth of this machine."""
    ray = pytest.importorskip("ray")
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="error",
        runtime_env={"env_vars": {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}},
    )
    yield
    ray.shutdown()


def preparation(voice_folder, data, out, ray=True, **options):
    work = PrepareOptions(out, SHARD, ray, 2 if ray else None)
    return Preparation(str(voice_folder), None, None, "cpu", DataOptions(dataset=str(data), **options), work)


def files_of(out):
    return {path.name: path.read_bytes() for path in (out / "shards").iterdir()}


@pytest.fixture(scope="module")
def twelve(tmp_path_factory):
    return twelve_recordings(tmp_path_factory.mktemp("twelve"))


@pytest.fixture(scope="module")
def local(small_voice_folder, twelve, tmp_path_factory):
    """What one process writes."""
    out = tmp_path_factory.mktemp("local") / "out"
    preparation(small_voice_folder, twelve, out, ray=False).run()
    return files_of(out)


def test_two_workers_write_what_one_process_writes(local, small_voice_folder, twelve, tmp_path):
    assert "12 of 12 recordings" in preparation(small_voice_folder, twelve, tmp_path / "out").run()
    assert files_of(tmp_path / "out") == local and len(local) == 6


def fragile(run, folder, **how):
    """The Preparation with workers that are killed."""
    folder.mkdir()
    asked = run.encoding
    run.encoding = Fragile(asked.folder, asked.codec_folder, "cpu", asked.options, witness=folder, **how)
    return run


@pytest.mark.parametrize("fatal", [0, 3])
def test_a_worker_that_is_killed_costs_nothing(fatal, local, small_voice_folder, twelve, tmp_path):
    run = fragile(preparation(small_voice_folder, twelve, tmp_path / "out"), tmp_path / "witness", fatal=fatal)
    assert "12 of 12 recordings" in run.run()
    begun = [name.split(".")[0] for name in os.listdir(tmp_path / "witness")]
    assert begun.count(str(fatal)) == 2  # by the killed one, and by another
    assert files_of(tmp_path / "out") == local
    rows = [
        row
        for path in sorted((tmp_path / "out" / "shards").iterdir())
        for row in pyarrow.parquet.read_table(path).to_pylist()
    ]
    assert [row["text"] for row in rows] == TEXTS  # nothing lost, nothing doubled


def test_a_work_that_always_kills_its_worker_is_told(small_voice_folder, twelve, tmp_path):
    run = fragile(preparation(small_voice_folder, twelve, tmp_path / "out"), tmp_path / "witness", fatal=1, times=99)
    with pytest.raises(InputError, match="end at the same work, 4 times now.*fewer --workers"):
        run.run()
    assert not (tmp_path / "out" / "shards").exists()


def test_what_a_worker_refuses_is_told(small_voice_folder, twelve, tmp_path):
    run = preparation(small_voice_folder, twelve, tmp_path / "out")
    (twelve / "5.wav").touch()  # another time of change: measured again
    chosen, _ = run._chosen(_recordings(run))
    run.codec = "another"
    with pytest.raises(InputError, match="is another one on .* than where the run was started"):
        run._encode(chosen)


def _recordings(run):
    from orpheus.data.recordings import read_recordings

    return read_recordings(run.data, False, model=run.checkpoint)


def test_more_workers_than_there_are_is_refused(small_voice_folder, twelve, tmp_path):
    work = PrepareOptions(tmp_path / "out", SHARD, True, 3)
    with pytest.raises(InputError, match="--workers 3: the Ray cluster has 2 CPUs"):
        Preparation(str(small_voice_folder), None, None, "cpu", DataOptions(dataset=str(twelve)), work)
    with pytest.raises(InputError, match="--device cuda: the Ray cluster has no GPU, and 2 CPUs"):
        Preparation(str(small_voice_folder), None, None, "cuda", DataOptions(dataset=str(twelve)), work)


def test_a_run_that_is_killed_goes_on(local, small_voice_folder, twelve, tmp_path):
    """The process of `python -m orpheus.prepare --ray` itself, with a cluster of its own."""
    command = [sys.executable, "-m", "orpheus.prepare", "--ray", "--workers", "2", "--device", "cpu", "--shard-minutes", str(SHARD),
               "--model", str(small_voice_folder), "--dataset", str(twelve), "--out", str(tmp_path / "out")]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "RAY_ADDRESS": "local", "OMP_NUM_THREADS": "1"}
    shards = tmp_path / "out" / ".orpheus" / "shards"
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not (shards.is_dir() and list(shards.glob("*.parquet"))):
        time.sleep(0.01)
    assert process.poll() is None, process.stderr.read()
    process.send_signal(signal.SIGKILL)
    process.wait()
    again = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert "of 6 shards are there already" in again.stderr
    assert files_of(tmp_path / "out") == local
