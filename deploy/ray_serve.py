"""The server as replicas on a Ray cluster, each with a pool of its own: one on every GPU, or without GPUs, `replicas` on the CPUs.

    pip install -r requirements-ray.txt -r requirements-serve.txt
    serve run deploy.ray_serve:application model=demo device=cpu replicas=2
    serve run deploy.ray_serve:application model=unsloth/orpheus-3b-0.1-ft max-streams=220

It answers at Ray Serve's address, http://127.0.0.1:8000. What is given are the options of `python -m orpheus.server`, without --, and `replicas`,
`cpus` (of a replica), `gpus` (of a replica). docs/deploy.md tells the rest.
"""

import os

from ray import serve

from orpheus.common.errors import InputError
from orpheus.common.options import ROOT
from orpheus.server.cli import models_of, parse
from orpheus.server.options import check_reach, read_keys

_OWN = {"replicas": int, "cpus": float, "gpus": float}
_PASSED = ("HF_HOME", "HF_HUB_OFFLINE", "OMP_NUM_THREADS")  # of the environment; no keys, which Ray would show
_IDLE = 5  # seconds between Ray's questions whether a replica lives


def application(args):
    """The Ray Serve application. args: {option: value}, both text. Raises InputError."""
    own = {name: _number(name, args[name], kind) for name, kind in _OWN.items() if name in args}
    flags = [_flag(name, str(value)) for name, value in args.items() if name not in _OWN]
    arguments = parse(flags)
    if arguments.serving.fronts != 1:
        raise InputError("fronts are Ray's replicas here: leave fronts out, and say replicas=N")
    keys = read_keys(arguments.serving.keys)
    check_reach(arguments.serving, keys)
    gpus = own.get("gpus", float(arguments.device != "cpu" and gpus_there() > 0))
    replicas = own.get("replicas", max(1, int(gpus_there() / gpus)) if gpus else 1)
    environment = {name: os.environ[name] for name in _PASSED if name in os.environ}
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    deployment = serve.deployment(
        serve.ingress(builder_of(arguments, keys))(Replica),
        name="orpheus",
        num_replicas=replicas,
        max_ongoing_requests=arguments.serving.connections,  # the server's own limits refuse first, and say why
        health_check_period_s=_IDLE,
        graceful_shutdown_timeout_s=arguments.serving.drain_seconds,
        ray_actor_options={
            "num_cpus": own.get("cpus", 1.0),
            "num_gpus": gpus,
            "runtime_env": {"env_vars": {"PYTHONPATH": path, **environment}},
        },
    )
    return deployment.bind()


def _flag(name, value):
    flag = f"--{name.replace('_', '-')}"
    return flag if value.lower() == "true" else f"{flag}={value}"


def _number(name, value, kind):
    try:
        number = kind(value)
    except ValueError as error:
        raise InputError(f"{name} must be a {'whole ' * (kind is int)}number, not {value!r}") from error
    least = 1 if name == "replicas" else 0
    if not least <= number <= 10_000:
        raise InputError(f"{name} must be between {least} and 10,000, not {value}")
    return number


def gpus_there():
    """GPUs of the cluster that this process has joined, or joins now."""
    import ray

    if not ray.is_initialized():
        ray.init(logging_level="error")
    return int(ray.cluster_resources().get("GPU", 0))


class Replica:
    """What Ray asks a replica beside speech."""

    def check_health(self):
        """Raises where it will never speak again: Ray then puts another one in its place. An engine that died is brought back by the
        server itself."""
        engine = self.app.state.speaker.engine
        if engine.state in ("failed", "closed"):
            raise RuntimeError(engine.reason or "the engine is closed")


def builder_of(arguments, keys):
    """A function that makes the application of one replica, there."""

    def build():
        from orpheus.server.app import make_app, settle_first
        from orpheus.server.engine import Engine
        from orpheus.server.engine_process import EngineSpec
        from orpheus.server.metrics import Metrics
        from orpheus.server.preparing import Preparer
        from orpheus.server.speaking import Speaker

        options = arguments.serving
        spec = EngineSpec(models_of(arguments), options.max_streams, options.length, options.queue, options.cache)
        names = {name: name for name in options.voice_models}
        speaker = Speaker(options, Engine(spec, options.ahead_seconds), Preparer(), Metrics(), names)
        app = make_app(speaker, keys, options)
        settle_first(app, speaker)  # nobody is sent to a replica that is still loading
        return app

    return build
