"""Sentences of a text that is still being written, as soon as each is complete."""

import re

from orpheus.text.cleaning import is_speakable
from orpheus.text.sentences import sentence_spans

GRANULARITIES = ("none", "sentence", "clause")
_LONGEST = 2000  # characters without an end of a sentence: then it is cut at a space
_CLAUSE = re.compile(r"[,;:—–](?=\s)")
_PARAGRAPH = re.compile(r"(?:.|\n(?!\s*\n))+")  # up to an empty line
_SHORTEST_CLAUSE = 20  # characters: shorter ones are said with the next


class SentenceBuffer:
    """Text in, in any chunks; what can be spoken out.

    granularity: "sentence", "clause", or "none", which keeps everything until `finish`; language: an ISO code

    A sentence is complete when the next one has begun: 3. may become 3.5.
    """

    def __init__(self, granularity="sentence", language="en"):
        self._granularity, self._language, self._text = granularity, language or "en", ""

    @property
    def waiting(self):
        """Characters that are not given out yet."""
        return len(self._text)

    def push(self, text):
        """[sentence]: those that this chunk completes."""
        self._text += text
        if self._granularity == "none" or not self._text.strip():
            return []
        ends = [end for start, end in self._spans(self._text)][:-1]
        if self._granularity == "clause":
            ends += self._clauses(ends[-1] if ends else 0)
        if not ends and len(self._text) > _LONGEST:
            ends = [self._text.rfind(" ", 0, _LONGEST) + 1 or _LONGEST]
        return self._cut(ends)

    def finish(self):
        """[sentence]: the rest."""
        whole = self._granularity == "none"
        ends = [] if whole else [end for _, end in self._spans(self._text)][:-1]
        return self._cut([*ends, len(self._text)])

    def _spans(self, text):
        return [
            (start + paragraph.start(), end + paragraph.start())
            for paragraph in _PARAGRAPH.finditer(text)
            for start, end in sentence_spans(paragraph[0], self._language)
        ]

    def _clauses(self, begin):
        """Ends of clauses after the last sentence that is complete."""
        ends, start = [], begin
        for match in _CLAUSE.finditer(self._text, begin):
            if match.end() - start >= _SHORTEST_CLAUSE:
                ends.append(match.end())
                start = match.end()
        return ends

    def _cut(self, ends):
        parts, start = [], 0
        for end in ends:
            parts.append(self._text[start:end])
            start = end
        self._text = self._text[start:]
        return [part.strip() for part in parts if is_speakable(part)]
