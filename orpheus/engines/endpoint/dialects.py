"""What each kind of server is sent, and what its answers mean. One class each, after its published schema:

llama.cpp    tools/server/README.md (POST /completion)          vllm      OpenAI's /v1/completions with `return_token_ids`
sglang       docs: Sampling Parameters (POST /generate)         ollama    docs/api.md (POST /api/generate, raw)
lm-studio    docs: OpenAI Compatibility (POST /v1/completions); text is any other server with that
"""

from dataclasses import dataclass

from orpheus.common.errors import InputError
from orpheus.engines.endpoint.spelling import TokenReader

STOPPED, AT_LIMIT = "stopped", "at its limit"
_LONGEST_OTHER = 200  # characters of text that is no token before a server is held for one of another model


@dataclass(frozen=True)
class Ask:
    """One request: a prompt, and what was answered before the connection was lost."""

    prompt: list
    done: list
    sampling: object
    seed: int
    model: str | None
    spelling: object  # Spelling
    url: str

    @property
    def ids(self):
        return [*self.prompt, *self.done]

    @property
    def left(self):
        return self.sampling.max_new_tokens - len(self.done)

    @property
    def text(self):
        return self.spelling.so_far(self.prompt, self.done)

    @property
    def end(self):
        return self.spelling.layout.end_of_speech


def _ids(value):
    """A list of whole numbers. Raises ValueError."""
    if not isinstance(value, list) or not all(isinstance(i, int) and not isinstance(i, bool) for i in value):
        raise ValueError("an answer without token ids")
    return value


def _choice(event):
    """The first choice of OpenAI's schema, or None for an event without one, such as the usage at the end."""
    choices = event.get("choices")
    if not isinstance(choices, list) or not all(isinstance(choice, dict) for choice in choices):
        raise ValueError("an answer without choices")
    return choices[0] if choices else None


class LlamaCpp:
    name, path, cure = "llama.cpp", "completion", "llama-server from 2025 on answers them"
    differs = None  # what of our options the server can't be told, in words
    textual = False  # whether it takes and answers text

    def __init__(self, ask):
        self.ask = ask

    @staticmethod
    def check(sampling):
        pass

    def body(self):
        ask, sampling = self.ask, self.ask.sampling
        return {
            "prompt": ask.ids,
            "n_predict": ask.left,
            "stream": True,
            "return_tokens": True,
            "cache_prompt": False,
            "samplers": ["penalties", "temperature", "top_p"],
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "top_k": 0,
            "min_p": 0.0,
            "repeat_penalty": sampling.repetition_penalty,
            "repeat_last_n": len(ask.ids) + ask.left,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "seed": ask.seed % (2**32 - 1),  # 2^32 - 1 asks for a random one
        }

    def read(self, event):
        """(ids, end) of an event; end is None, STOPPED or AT_LIMIT. Raises ValueError for one that makes no sense."""
        end = None
        if event.get("stop"):
            end = AT_LIMIT if event.get("stop_type") == "limit" or event.get("stopped_limit") else STOPPED
        return _ids(event.get("tokens", [] if end else None)), end


def _drawing(ask):
    """How vLLM and SGLang are told to draw: what we ask for, their own limits switched off, every token kept as it is."""
    sampling = ask.sampling
    return {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": -1,
        "min_p": 0.0,
        "repetition_penalty": sampling.repetition_penalty,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "stop_token_ids": [ask.end],
        "skip_special_tokens": False,
        "spaces_between_special_tokens": False,
    }


class Vllm(LlamaCpp):
    name, path, cure = "vllm", "v1/completions", "a newer vLLM answers them; else --dialect text"

    def body(self):
        ask = self.ask
        return _drawing(ask) | {
            "model": ask.model,
            "prompt": ask.ids,
            "max_tokens": ask.left,
            "stream": True,
            "return_token_ids": True,
            "seed": ask.seed,
        }

    def read(self, event):
        choice = _choice(event)
        if choice is None:
            return [], None
        end = {None: None, "length": AT_LIMIT}.get(choice.get("finish_reason"), STOPPED)
        ids = choice.get("token_ids")
        if ids is None and end:
            ids = []
        reason = choice.get("stop_reason")
        ids = _ids(ids)
        if end == STOPPED and isinstance(reason, int) and ids[-1:] != [reason]:
            ids = [*ids, reason]
        return ids, end


class Sglang(LlamaCpp):
    name, path, cure = "sglang", "generate", "a newer SGLang answers them, or one started with --skip-tokenizer-init"
    differs = "SGLang draws with a seed of its own: the same --seed gives other audio each time"

    def __init__(self, ask):
        super().__init__(ask)
        self._seen = 0

    @staticmethod
    def check(sampling):
        if sampling.repetition_penalty > 2:
            raise InputError(
                f"repetition_penalty {sampling.repetition_penalty:g} is more than SGLang takes, 2: lower it; 1.1 is the usual value"
            )

    def body(self):
        drawing = _drawing(self.ask) | {"max_new_tokens": self.ask.left, "no_stop_trim": True}
        return {"input_ids": self.ask.ids, "stream": True, "sampling_params": drawing}

    def read(self, event):
        meta = event.get("meta_info")
        meta = meta if isinstance(meta, dict) else {}
        reason = meta.get("finish_reason")
        kind = reason.get("type") if isinstance(reason, dict) else reason
        end = None if kind is None else AT_LIMIT if kind == "length" else STOPPED
        if kind == "abort":
            raise ValueError(f"an abort ({reason.get('message') if isinstance(reason, dict) else reason})")
        ids = _ids(event.get("output_ids", event.get("token_ids")))
        count = meta.get("completion_tokens")
        if not (
            isinstance(count, int) and len(ids) < count
        ):  # all ids so far, unless the server is told to send only new ones
            ids = ids[self._seen :]
        self._seen += len(ids)
        matched = reason.get("matched") if isinstance(reason, dict) else None
        if end == STOPPED and isinstance(matched, int) and ids[-1:] != [matched]:
            ids = [*ids, matched]
        return ids, end


class Text(LlamaCpp):
    name, path, textual = "text", "v1/completions", True
    cure = (
        "it must hold an Orpheus model whose <custom_token_N> are shown as text; in some GGUFs they are control tokens, which are "
        "not: python -m orpheus.export writes one with which it works"
    )
    differs = (
        "the server takes text: its own tokenizer, its window for the repetition penalty (64 tokens in many) and its defaults for what "
        "it does not let a request set decide what is spoken"
    )

    def __init__(self, ask):
        super().__init__(ask)
        self._reader = TokenReader(ask.spelling.layout, bool(ask.done))

    def body(self):
        ask, sampling = self.ask, self.ask.sampling
        return {
            "model": ask.model,
            "prompt": ask.text,
            "max_tokens": ask.left + 3,  # the end of the prompt, which the model writes itself
            "stream": True,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "top_k": 0,
            "min_p": 0.0,
            "repeat_penalty": sampling.repetition_penalty,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "seed": ask.seed % 2**31,
        }

    def read(self, event):
        choice = _choice(event)
        if choice is None:
            return [], None
        end = {None: None, "": None, "length": AT_LIMIT}.get(choice.get("finish_reason"), STOPPED)
        return self._read(choice.get("text"), end)

    def _read(self, text, end):
        if text is None and end:
            text = ""
        if not isinstance(text, str):
            raise ValueError("an answer without text")
        ids = self._reader.read(text)
        if len(self._reader.other) > _LONGEST_OTHER or (end and self._reader.other and not ids):
            raise ValueError(f"the text {self._reader.other[:60]!r}, not audio tokens")
        return ids, end


class LmStudio(Text):
    name = "lm-studio"


class Ollama(Text):
    name, path = "ollama", "api/generate"

    def body(self):
        ask, sampling = self.ask, self.ask.sampling
        needed = len(ask.ids) + ask.left
        return {
            "model": ask.model,
            "prompt": ask.text,
            "raw": True,
            "stream": True,
            "options": {
                "num_predict": ask.left + 3,
                "num_ctx": max(4096, -(-needed // 1024) * 1024),  # beyond it Ollama forgets the beginning
                "temperature": sampling.temperature,
                "top_p": sampling.top_p,
                "top_k": 0,
                "min_p": 0.0,
                "repeat_penalty": sampling.repetition_penalty,
                "repeat_last_n": -1,
                "presence_penalty": 0.0,
                "frequency_penalty": 0.0,
                "seed": ask.seed % 2**31,
            },
        }

    def read(self, event):
        end = None
        if event.get("done"):
            end = AT_LIMIT if event.get("done_reason") == "length" else STOPPED
        return self._read(event.get("response"), end)


BY_NAME = {kind.name: kind for kind in (LlamaCpp, Vllm, Sglang, LmStudio, Ollama, Text)}
