"""The README.md of an export: what it is, and how to speak with it in each program."""

from orpheus.common.options import ORPHEUS_3B
from orpheus.export.gguf_metadata import EXAMPLE, spelled
from orpheus.text.prompt import FORMATS

_CARD = """---
library_name: {library}
pipeline_tag: text-to-speech{base}{language}
tags: [text-to-speech, orpheus]
---

# {title}

{what} A Llama that reads text and writes [SNAC](https://github.com/hubertsiuzdak/snac) audio codes: text in, 24 kHz speech out.

| | |
| --- | --- |
| made from | {made_from} |
| files | {files} |
| voices | {voices} |
| tags | {tags} |
| language | {spoken} |

The same for programs: `orpheus.json`{metadata}. Its licence is that of what it was made from.

## The prompt

Token ids, never a string where that can be had: {prompt}. As text, with the control tokens spelled out:

```
{example}
```

The model answers with `<custom_token_N>`, seven for each 85 ms of sound. Speech ends at `<custom_token_2>` (id {end}), or at the first token that
is not in range for its position: token number i (from 0) has N from 10 + (i mod 7) x {codes} on, {codes} of them, and N less that start is the code.
Codes of a frame stand in the order c0[i], c1[2i], c2[4i], c2[4i+1], c1[2i+1], c2[4i+2], c2[4i+3]. {codec}

Sampling: temperature 0.6, top_p 0.95, repetition penalty 1.1 over all tokens so far, **top_k and min_p off**. Without the penalty it loops.
{gguf}{merged}"""

_GGUF = """
## With a GGUF file

llama.cpp's server, and any program that sends token ids (here those of the prompt above; `return_tokens` gives ids back):

```bash
llama-server -m {file} -c {context} --port 8080
curl http://127.0.0.1:8080/completion -d '{{"prompt": [{ids}], "n_predict": 1200, "temperature": 0.6, "top_p": 0.95, "top_k": 0, "min_p": 0, "repeat_penalty": 1.1, "repeat_last_n": {context}, "samplers": ["penalties", "temperature", "top_p"], "cache_prompt": false, "return_tokens": true}}'
```

LM Studio: put the file into a folder `publisher/model/` below its models folder, load it, and use `/v1/completions` with the prompt as text.

Ollama, with this as `Modelfile`, then `ollama create {name} -f Modelfile`:

```
FROM ./{file}
TEMPLATE \"\"\"{template}\"\"\"
PARAMETER temperature 0.6
PARAMETER top_p 0.95
PARAMETER top_k 0
PARAMETER min_p 0
PARAMETER repeat_penalty 1.1
PARAMETER repeat_last_n -1
PARAMETER num_predict 1200
PARAMETER stop "<custom_token_2>"
```
"""

_MERGED = """
## With the safetensors

```bash
vllm serve . --max-model-len {context}
```

`/v1/completions` with the prompt as ids, `"stop_token_ids": [{end}]`, `"repetition_penalty": 1.1`, `"top_k": -1`, and `"return_token_ids": true` for ids back.
With transformers 4.57 or 5: `AutoModelForCausalLM.from_pretrained(".")` and `AutoTokenizer.from_pretrained(".")`.
"""


def _prompt(form):
    short = {
        "start_of_human": "SOH",
        "begin_of_text": "BOS",
        "end_of_turn": "EOT",
        "end_of_human": "EOH",
        "start_of_ai": "SOA",
        "start_of_speech": "SOS",
    }
    said = (
        "`<spk_voice> text`"
        if form.voice_token
        else f"`{form.voiced}`".replace("{voice}", "voice").replace("{text}", "text")
    )

    def written(parts):
        return " ".join(short.get(part, f"`{part}`") for part in parts)

    return f"{written((*form.opening, *form.human))} {said} {written((*form.after, *form.speech))}"


def card(source, facts, ggufs, merged):
    """The text of an export's README.md.

    source: folder.Source; facts: gguf_metadata.Facts; ggufs: names of the GGUF files; merged: whether safetensors are there
    """
    described, voice = source.description, source.description.default_voice
    files = [*(f"`{name}`" for name in ggufs), *(["`model*.safetensors`, 16 bits"] if merged else [])]
    codec = "The codec is in `codec/`." if source.codec else "The codec is `hubertsiuzdak/snac_24khz`."
    context = min(source.config.get("max_position_embeddings") or 4096, 4096)
    hub = source.name if source.name.count("/") == 1 and not source.name.startswith((".", "/", "~")) else None
    values = {
        "file": ggufs[0] if ggufs else "",
        "name": facts.name.lower(),
        "context": context,
        "ids": ", ".join(map(str, facts.example)),
        "end": facts.layout.end_of_speech,
        "template": spelled(facts, "{{ .Prompt }}"),
    }
    return _CARD.format(
        library="transformers" if merged else "gguf",
        base=f"\nbase_model: {hub}" if hub else "",
        language=f"\nlanguage: {described.language}" if described.language else "",
        title=facts.name,
        what="Orpheus TTS." if source.name == ORPHEUS_3B and not source.adapter else "A voice of the Orpheus family.",
        made_from=facts.base,
        files=", ".join(files),
        voices=_listed(described.voices, described.default_voice),
        tags=" ".join(f"`<{tag}>`" for tag in described.taught) or "none",
        spoken=described.language or "unknown",
        metadata=", and the GGUF files' metadata under `orpheus.*`" if ggufs else "",
        prompt=_prompt(FORMATS[described.prompt]),
        example=spelled(facts, EXAMPLE, voice),
        end=facts.layout.end_of_speech,
        codes=facts.layout.codebook_size,
        codec=codec,
        gguf=_GGUF.format(**values) if ggufs else "",
        merged=_MERGED.format(**values) if merged else "",
    )


def _listed(voices, default):
    if not voices:
        return "none by name" if default is None else f"described in words, such as `{default}`"
    return ", ".join(f"`{v}`{' (default)' if v == default else ''}" for v in voices)


def write_card(folder, source, facts, ggufs, merged):
    (folder / "README.md").write_text(card(source, facts, ggufs, merged), encoding="utf-8")
