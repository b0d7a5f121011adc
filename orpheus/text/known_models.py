"""The models of the family that people use, one row each, and finding a row by a name.

None of these rows was checked with the model's weights: voices, tags and prompts are as their authors publish them. That is what
`checked=False` says, here and in docs/models.md.
"""

import re
from dataclasses import replace

from orpheus.common.options import ORPHEUS_3B_VOICES
from orpheus.text.description import ModelDescription

_CANOPY = "https://github.com/canopyai/Orpheus-TTS (README, Prompting)"
_CANOPY_LANGUAGES = "https://canopylabs.ai/releases/orpheus_can_speak_any_language (Model Release Voices)"
_SVARA = "https://github.com/Kenpath/svara-tts-inference (encoder, voices), model card of kenpath/svara-tts-v1"
_MAYA = "model card and emotions.txt of maya-research/maya1"
_VEENA = "model card of maya-research/Veena"


def _row(name, voices="", tags="", source=_CANOPY_LANGUAGES, **more):
    voices = tuple(voices.split()) if isinstance(voices, str) else voices
    tags = dict.fromkeys(tags.split(",") if "," in tags else tags.split())
    default = more.pop("default_voice", voices[0] if voices else None)
    return ModelDescription(
        name=name,
        language_stated=True,
        voices=voices,
        default_voice=default,
        closed=bool(voices),
        tags=tags,
        source=source,
        **more,
    )


_SVARA_LANGUAGES = {
    "Hindi": "hi",
    "Bengali": "bn",
    "Marathi": "mr",
    "Telugu": "te",
    "Kannada": "kn",
    "Bhojpuri": "bho",
    "Magahi": "mag",
    "Chhattisgarhi": "hne",
    "Maithili": "mai",
    "Assamese": "as",
    "Bodo": "brx",
    "Dogri": "doi",
    "Gujarati": "gu",
    "Malayalam": "ml",
    "Punjabi": "pa",
    "Tamil": "ta",
    "English": "en",
    "Nepali": "ne",
    "Sanskrit": "sa",
}
_SVARA_VOICES = {f"{name} ({gender})": code for name, code in _SVARA_LANGUAGES.items() for gender in ("Female", "Male")}
_FRENCH_TAGS = "chuckle cough gasp groan laugh sigh sniffle whimper yawn"
_KOREAN_TAGS = "한숨,헐,헛기침,훌쩍,하품,낄낄,신음,작은 웃음,기침,으르렁"

KNOWN_MODELS = {
    row.name: row
    for row in (
        ModelDescription(
            name="orpheus-3b-ft",
            voices=ORPHEUS_3B_VOICES,
            default_voice=ORPHEUS_3B_VOICES[0],
            closed=True,
            language_stated=True,
            source=_CANOPY,
        ),
        _row("orpheus-3b-pretrained", source=_CANOPY, references=True),
        _row("3b-fr-ft", "pierre amelie marie", _FRENCH_TAGS, language="fr"),
        _row("3b-de-ft", "jana thomas max", "chuckle cough gasp groan laugh sigh sniffle yawn", language="de"),
        _row(
            "3b-es_it-ft",
            "javi sergio maria pietro giulia carlo",
            "groan chuckle gasp resoplido laugh yawn cough sigh sniffle gemito",
            language="es",
            languages=dict.fromkeys(("pietro", "giulia", "carlo"), "it"),
        ),
        _row("3b-ko-ft", "유나 준서", _KOREAN_TAGS, language="ko"),
        _row("3b-zh-ft", "长乐 白芷", "嬉笑 轻笑 呻吟 大笑 咳嗽 抽鼻子 咳", language="zh"),
        _row("3b-hi-ft", "ऋतिका", language="hi"),
        *(_row(f"3b-{code}-pretrained", language=code[:2], references=True) for code in "fr de es_it ko zh hi".split()),
        _row(
            "svara-tts-v1",
            tuple(_SVARA_VOICES),
            "happy sad anger fear clear",
            _SVARA,
            language="hi",
            languages=_SVARA_VOICES,
            prompt="svara",
        ),
        _row(
            "maya1",
            tags="laugh laugh_harder sigh chuckle gasp angry excited whisper cry scream sing snort exhale gulp giggle sarcastic curious",
            source=_MAYA,
            default_voice=(
                "Realistic male voice in the 30s age with american accent. Normal pitch, warm timbre, conversational pacing."
            ),
            prompt="description",
        ),
        _row("veena", "kavya agastya maitri vinaya", source=_VEENA, language="hi", prompt="speaker_token"),
    )
}

# Other last parts of hub ids, as `plain_name` has them. A row's own name is one, too.
_ALIASES = {
    "orpheus-3b-0.1-ft": "orpheus-3b-ft",
    "orpheus-tts-0.1-finetune-prod": "orpheus-3b-ft",
    "orpheus-tts-0.1-ft": "orpheus-3b-ft",
    "orpheus-3b-0.1-pretrained": "orpheus-3b-pretrained",
    "orpheus-tts-0.1-pretrained": "orpheus-3b-pretrained",
    "svara-tts": "svara-tts-v1",
    "maya-1": "maya1",
}
_IN_WORDS = {
    "french": "fr",
    "german": "de",
    "korean": "ko",
    "chinese": "zh",
    "mandarin": "zh",
    "hindi": "hi",
} | dict.fromkeys(("spanish", "italian", "spanish-italian", "italian-spanish", "es-it"), "es_it")
# What converters and quantizers add to the name of what they were given.
_SUFFIX = re.compile(
    r"[-._](?:i\d|gguf|onnx|mlx|awq|gptq|exl[23]|int[48]|fp(?:8|16)|bf16|f16|f32|bnb-4bit|unsloth-bnb-4bit|[48]bit|"
    r"i?q\d(?:_[0-9a-z]+)*|safetensors|rkllm|openvino|webgpu)$"
)
_CACHED = re.compile(r".*models--([^/]+)--([^/]+)/snapshots/.*")


def plain_name(name):
    """The last part of a hub id, folder or file, without what converters add: "lex-au/Orpheus-3b-FT-Q8_0.gguf" -> "orpheus-3b-ft"."""
    name = _CACHED.sub(r"\1/\2", str(name).replace("\\", "/").rstrip("/"))
    name = name.split("/")[-1].casefold()
    while (shorter := _SUFFIX.sub("", name)) != name:
        name = shorter
    return name


def _row_of(name):
    name = re.sub(r"[-_]research[-_]release$", "", name)
    name = re.sub(r"[-_]pretrain$", "-pretrained", name).replace("3b-es-it-", "3b-es_it-")
    spelt = re.fullmatch(r"orpheus-3b(?:-0\.1)?-([a-z_-]+)-(ft|pretrained)", name)
    if spelt and spelt[1].replace("_", "-") in _IN_WORDS:
        name = f"3b-{_IN_WORDS[spelt[1].replace('_', '-')]}-{spelt[2]}"
    return KNOWN_MODELS.get(_ALIASES.get(name, name))


def known_model(name):
    """The row of a model's name: a hub id, a folder or file that still has the name, or the row's own; None if there is none."""
    row = _row_of(plain_name(name))
    return row and replace(row, known_by="its name")
