"""What a fine-tune leaves behind: the adapter's folder with its card, the loss plot, a merged model."""

import json
import re
from pathlib import Path

from orpheus.common.command import write_config
from orpheus.common.figures import in_words
from orpheus.common.files import atomic_file, whole_folder
from orpheus.common.places import discard
from orpheus.common.weights import write_fingerprint
from orpheus.export.generations import for_both_generations
from orpheus.text.description import write_description

_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+")

_CARD = """---
{front}library_name: peft
tags: [text-to-speech, orpheus, lora]
---

# {title}

A LoRA adapter for {base}, an Orpheus text-to-speech model.

```bash
python inference.py "Hello there." --lora {folder}
```

| data | |
| --- | --- |
{data}

| training | |
| --- | --- |
{training}

Prompt: {prompt}. Options of the run: `config.yaml`. What the data was and what was left out: `data_report.md`.{plot}
"""


def _rows(facts):
    return "\n".join(f"| {name.replace('_', ' ')} | {value} |" for name, value in facts.items())


def _on_hub(name):
    """Whether a name is a hub id: anything else is a place on this machine, of which a card tells the last part alone."""
    return bool(_HUB_ID.fullmatch(name)) and not Path(name).exists()


def _counted(values):
    return ", ".join(f"{name} {count:,}" for name, count in values.items()) or "none"


def _data_facts(data):
    dataset = str(data["dataset"])
    yield "dataset", dataset if _on_hub(dataset) else Path(dataset).name
    yield "speakers", ", ".join(data["speakers"])
    if "rows" in data:
        yield "recordings", f"{data['rows']:,}"
    if "hours" in data:
        yield "speech", in_words(data["hours"] * 3600)
    if "train_rows" in data:
        yield "trained on, held out", f"{data['train_rows']:,}, {data['held_out_rows']:,}"
    for name, title in (("tags", "tags"), ("rejected", "left out")):
        if name in data:
            yield title, _counted(data[name])


def _card(folder, base, settings, facts, data, voices, plot):
    hub = _on_hub(base)
    front = {"base_model": base if hub else None, "license": settings.get("license")}
    return _CARD.format(
        front="".join(f"{name}: {value}\n" for name, value in front.items() if value),
        base=f"[{base}](https://huggingface.co/{base})" if hub else f"`{Path(base).name}`",
        title=folder.name,
        folder=folder.name,
        data=_rows(dict(_data_facts(data))),
        training=_rows(facts),
        prompt='`"name: text"` with ' + ", ".join(f"`{voice}`" for voice in voices) if voices else "plain text",
        plot="\n\n![Loss](loss.png)\n" if plot else "",
    )


def write_plot(path, log):
    """Draws the losses of log.jsonl as PNG; returns whether matplotlib is there to do it."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    training, held_out = {}, {}  # a resumed run writes some steps twice: the last counts
    lines = Path(log).read_text(encoding="utf-8").splitlines() if Path(log).exists() else []
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:  # a kill in the middle of a line
            continue
        if "loss" in entry:
            training[entry["step"]] = entry["loss"]
        if "held_out_loss" in entry:
            held_out[entry["step"]] = entry["held_out_loss"]
    axes = Figure(figsize=(8, 4.5), layout="constrained").subplots()
    for name, points in (("training", training), ("held out", held_out)):
        axes.plot(
            *zip(*sorted(points.items())), label=name, marker="o" if name == "held out" else None
        ) if points else None
    axes.set(xlabel="optimizer step", ylabel="cross-entropy per audio token (nats)")
    axes.grid(alpha=0.3)
    axes.legend()
    with atomic_file(path) as file:
        axes.figure.savefig(file, format="png", dpi=110)
    return True


def write_adapter(
    folder, peft_model, tokenizer, base, voices, settings, facts, report, log, description=None, base_folder=None
):
    """Writes the adapter's folder, whole or not at all. Raises OutputError.

    base: what the adapter fits, a hub id or a folder; settings: all options as a flat dictionary; facts: of the run, for the
    card; report: DataReport; log: log.jsonl; description: ModelDescription of what was learnt; base_folder: of the base's
    files, for the samples by which it is known again
    """
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    folder = Path(folder)
    with whole_folder(folder, "adapter") as new:
        state = get_peft_model_state_dict(peft_model, save_embedding_layers=False)
        save_file(
            {name: value.detach().cpu().contiguous().clone() for name, value in state.items()},
            new / "adapter_model.safetensors",
        )
        config = peft_model.peft_config["default"]
        config.base_model_name_or_path, config.inference_mode = base, True
        config.save_pretrained(new)
        tokenizer.save_pretrained(new)
        for_both_generations(new)
        if base_folder:
            write_fingerprint(new, base, base_folder)
        if voices:
            (new / "voices.json").write_text(
                json.dumps(list(voices)), encoding="utf-8"
            )  # for versions before orpheus.json
        if description:
            write_description(new, description)
        write_config(new / "config.yaml", settings)
        (new / "data_report.md").write_text(report.markdown(), encoding="utf-8")
        plot = write_plot(new / "loss.png", log)
        card = _card(folder, base, settings, facts, report.summary(), voices, plot)
        (new / "README.md").write_text(card, encoding="utf-8")
    discard(folder / "evaluation")  # of the adapter that was there before
