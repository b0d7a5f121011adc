"""What a fine-tune leaves behind: the adapter's folder with its card, the loss plot, a merged model."""

import json
from pathlib import Path

from orpheus.common.command import write_config
from orpheus.common.files import atomic_file, whole_folder
from orpheus.common.places import discard
from orpheus.common.weights import write_fingerprint
from orpheus.export.generations import for_both_generations
from orpheus.text.description import write_description

_CARD = """---
base_model: {base}
library_name: peft
license: {license}
tags: [text-to-speech, orpheus, lora]
---

# {title}

A LoRA adapter for [{base}]({link}), an Orpheus text-to-speech model.

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


def _card(folder, base, settings, facts, data, voices, plot):
    shown = ("rows", "hours", "tags", "train_rows", "held_out_rows", "rejected")
    figures = {name: data[name] for name in shown if name in data}
    figures = {
        name: ", ".join(f"{k} {v}" for k, v in x.items()) or "none" if isinstance(x, dict) else x
        for name, x in figures.items()
    }
    is_hub = base.count("/") == 1 and not Path(base).exists()
    return _CARD.format(
        base=base,
        link=f"https://huggingface.co/{base}" if is_hub else base,
        license=settings["license"],
        title=folder.name,
        folder=folder.name,
        data=_rows({"dataset": data["dataset"], "speakers": ", ".join(data["speakers"]), **figures}),
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
