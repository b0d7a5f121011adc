"""Several adapters on one base: a LoadedModel for each, which share the base's weights, the engine and the codec as far as they can."""

from dataclasses import dataclass, replace
from pathlib import Path

from orpheus.common.command import say
from orpheus.common.errors import CheckpointError, InputError
from orpheus.common.gguf import is_gguf
from orpheus.engines.loading import bytes_of, open_engine, open_shared, read_shared
from orpheus.speech.model import find_codec, find_model, load_model, resolve, without_engine
from orpheus.speech.served import options_of, refuse_adapter

_SERVER = {"url": None, "dialect": "auto", "served_model": None}


@dataclass(frozen=True)
class Group:
    """Models that one continuous batch can serve.

    models: {id: LoadedModel}, in the order that they were asked for. Of several, the engine of each is an
        orpheus.engines.fast.adapters.AdapterEngine: the same engine with its adapter, or with none
    """

    models: dict


def load_models(wanted):
    """Loads a model and adapters of the same base, whose weights are held once.

    An adapter that changes more than the layers' projections (DoRA, whole modules, tokens) is merged into a copy of the base; so is
    each where the engine is not the fast one. A line says so, and what memory it takes.

    wanted: ((id, keyword arguments of `load_model`), ...), which differ in `lora` alone; the first id may be None, for the model's name
    returns: (Group, ...), the first model's first. Raises InputError and CheckpointError; for an adapter that does not fit, before
        anything is loaded.
    """
    names = {"model": "auto", "device": "auto", "codec": None, "engine": "auto", "like": None, "lora_anyway": False}
    names |= wanted[0][1]
    loras = {}
    for id, more in wanted:
        if {**more, "lora": None} != {**wanted[0][1], "lora": None}:
            raise ValueError(f"{id} differs from the first model in more than its adapter")
        if id in loras:
            raise InputError(f"two models would be called {id}: give each a name of its own")
        loras[id] = more.get("lora", "auto")
    engine, _ = options_of(names["engine"], *(names.get(name, usual) for name, usual in _SERVER.items()))
    foreign = "a server runs" if engine == "endpoint" else "are in a GGUF" if is_gguf(names["model"] or "") else None
    if foreign:
        for id in list(loras)[1:]:
            _about(id, refuse_adapter, loras[id], foreign)
    if foreign or len(wanted) == 1:
        loaded = [(id, load_model(**more)[0]) for id, more in wanted]
        return tuple(Group({id or model.name: model}) for id, model in loaded)
    return _on_one_base(loras, names)


def _on_one_base(loras, names):
    """loras: {id: adapter}; names: the other arguments of `load_model`"""
    resolved, anyway = _resolved(loras, names), names["lora_anyway"]
    for one in resolved.values():
        if one.note:
            say(one.note)
    ids = list(loras)
    folders = [_about(id, find_model, one, anyway) for id, one in resolved.items()]
    folder, device = folders[0], resolved[ids[0]].device
    codec_folder = find_codec(names["codec"], folder)

    from orpheus.codec.snac import Codec

    codec = Codec.from_folder(codec_folder, device)
    made = {id: without_engine(one, folder, codec, names["like"]) for id, one in resolved.items()}
    called = made[ids[0]][0].name
    if ids[0] is None and Path(called).name in ids:
        raise InputError(f"the model itself is called {Path(called).name}: give the adapter another name")
    made, resolved = ({id or called: value for id, value in found.items()} for found in (made, resolved))
    groups = []
    base, changes, alone = read_shared(
        names["engine"], folder, {id: (one.adapter, made[id][1]) for id, one in resolved.items() if one.adapter}, device
    )
    together = [id for id in made if id not in alone]
    layouts = {id: made[id][0].prompts.layout for id in together}
    for id in [id for id in together if layouts[id] != layouts[together[0]]]:
        alone[id] = "its tokenizer has other ids for the codes than the base's"
        together.remove(id)
    if base and len(together) > 1:
        changes = {id: change for id, change in changes.items() if id in together}
        shared = open_shared(names["engine"], base, changes, layouts[together[0]])
        speaking = {id: shared.speaking_as(id if id in changes else None) for id in together}
        groups.append(Group({id: replace(made[id][0], engine=speaking[id]) for id in together}))
    first = next(iter(made))
    apart = list(alone) if groups else list(made)
    for id in apart:
        model, tokens = made[id]
        if id in alone and id != first:
            size = _size(bytes_of(folder, device))
            say(f"{id} is loaded as a whole model, {size} more, with a pool of its own: {alone[id]}")
        opened = open_engine(names["engine"], folder, resolved[id].adapter, device, model.prompts.layout, tokens)
        own = Codec.from_folder(codec_folder, device) if groups else codec
        groups.append(Group({id: replace(model, engine=opened, codec=own)}))
    return tuple(sorted(groups, key=lambda group: first not in group.models))


def _size(count):
    """Bytes, in words."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def _resolved(loras, names):
    """{id: Resolved}, all on one model: the first one's, or, where that is "auto" without an adapter, the base of the first that has
    one. Raises InputError, CheckpointError."""
    (first, lora), *others = loras.items()
    device, anyway = names["device"], names["lora_anyway"]
    found = {first: resolve(names["model"], lora, device, anyway)}
    if names["model"] in (None, "auto") and found[first].adapter is None:
        for id, lora in others:
            one = _about(id, resolve, "auto", lora, device, anyway)
            if one.adapter:
                found = {first: replace(one, adapter=None, compared=True)}
                break
    for id, lora in others:
        found[id] = _about(id, resolve, found[first].checkpoint, lora, device, anyway)
    return found


def _about(id, work, *arguments):
    """What `work` returns; its errors say which adapter they are about."""
    try:
        return work(*arguments)
    except (InputError, CheckpointError) as error:
        raise type(error)(f"{id}: {error}" if id else str(error)) from error
