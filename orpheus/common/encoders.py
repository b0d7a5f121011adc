"""Sound as files of other formats, while it is made: MP3, Opus, AAC, FLAC, WAV and raw PCM, through FFmpeg's libraries (PyAV).

What a chunk of sound becomes is handed out as soon as its format allows. A decoder gets something to play after this many chunks
of 85 ms, and in the end as many samples as went in, or a few more where a format has no place to say how many:

    format    container   first sound after   length           kbit/s, mono
    pcm       none        1 chunk             exact            384 at 24 kHz
    wav       RIFF        1 chunk             exact            384 at 24 kHz
    flac      FLAC        1 chunk             exact            about half of wav, without loss
    opus      Ogg         1 chunk             exact            48
    mp3       MPEG        1 chunk             up to 0.1 s more 96
    aac       ADTS        2 chunks            up to 0.1 s more 80
    m4a       MP4         none before the end exact            80
"""

import io

import numpy as np

from orpheus.common.audio import to_pcm16, wav_header
from orpheus.common.errors import InputError
from orpheus.common.frame import SAMPLE_RATE
from orpheus.common.media import INSTALL
from orpheus.common.options import shown

MEDIA_TYPES = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
    "m4a": "audio/mp4",
}
FORMATS = tuple(MEDIA_TYPES)
STREAMED = tuple(name for name in FORMATS if name != "m4a")  # whose first byte needs no knowledge of the last
FORMAT_OF = {".oga": "opus", ".ogg": "opus", **{f".{name}": name for name in FORMATS}}  # by a file's suffix

_RATES = {
    "opus": (8_000, 12_000, 16_000, 24_000, 48_000),
    "mp3": (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000),
}
# FFmpeg's names of encoder and container; samples; bits per second; options of the encoder, of the container while it streams.
_KINDS = {
    # Without its reservoir a frame of MP3 needs no other one. What a Xing header would say is not known yet.
    "mp3": ("libmp3lame", "mp3", "fltp", 96_000, {"reservoir": "0"}, {"write_xing": "0", "id3v2_version": "0"}),
    "opus": ("libopus", "ogg", "flt", 48_000, {"application": "audio"}, {"page_duration": "20000"}),
    "aac": ("aac", "adts", "fltp", 80_000, {}, {}),
    "m4a": ("aac", "ipod", "fltp", 80_000, {}, {}),
    # From level 3 on, a block is longer than a chunk. Padding is 8 kB, for tags that are written later.
    "flac": ("flac", "flac", "s16", None, {"compression_level": "2"}, {"metadata_header_padding": "0"}),
}
# Options of the container of a whole file. Without this, its length is rounded to 1/1000 s.
_WHOLE = {"m4a": {"movie_timescale": "48000"}}


class AudioEncoder:
    """One sound on its way into a format. For one thread at a time.

    format: one of FORMATS; sample_rate: of the samples, in Hz, 24,000 by default
    whole: whether all bytes come with `finish`, and a header says how long it is, as a file's does; else they come as they are made,
        WAV with the length 0xFFFFFFFF, which means "until it ends". m4a is always whole.

    Raises InputError for a format or a rate that there is not, or where PyAV is missing.
    """

    def __init__(self, format, sample_rate=SAMPLE_RATE, whole=False):
        if format not in FORMATS:
            raise InputError(f"there is no audio format {shown(format)}; use {', '.join(FORMATS)}")
        rates = _RATES.get(format)
        if not 1_000 <= sample_rate <= 192_000 or (rates and sample_rate not in rates):
            known = f"{', '.join(f'{rate:,}' for rate in rates)}" if rates else "1,000 to 192,000"
            raise InputError(f"{format} cannot hold {shown(sample_rate)} Hz; it takes {known} Hz")
        self.format, self.sample_rate, self.media_type = format, sample_rate, MEDIA_TYPES[format]
        self.whole = whole or format == "m4a"
        self._writer = (_Plain if format in ("wav", "pcm") else _Encoded)(format, sample_rate, self.whole)

    def encode(self, samples):
        """float32 (samples,) in -1..1 to the bytes that are ready; what is louder is clipped. b"" where none are."""
        samples = np.asarray(samples, np.float32)
        made = self._writer.add(samples) if len(samples) else self._writer.taken()
        return b"" if self.whole else made

    def finish(self):
        """The last bytes; of a whole sound, all of them. Afterwards it is closed."""
        return self._writer.finish()

    def close(self):
        """Gives up: nothing more is made of it."""
        self._writer.close()


def encode_sound(samples, format, sample_rate=SAMPLE_RATE):
    """A complete file's bytes, its length in its header. samples: float32 (samples,) in -1..1. Raises InputError."""
    encoder = AudioEncoder(format, sample_rate, whole=True)
    encoder.encode(samples)
    return encoder.finish()


class _Plain:
    """WAV and samples without a header."""

    def __init__(self, format, rate, whole):
        self._wav, self._rate, self._whole = format == "wav", rate, whole
        self._made = bytearray(b"" if whole or not self._wav else wav_header(rate=rate))

    def add(self, samples):
        self._made += to_pcm16(samples)
        return self.taken()

    def taken(self):
        if self._whole:
            return b""
        made = bytes(self._made)
        self._made.clear()
        return made

    def finish(self):
        header = wav_header(len(self._made), self._rate) if self._whole and self._wav else b""
        made = header + bytes(self._made)
        self.close()
        return made

    def close(self):
        self._made.clear()


class _Pipe:
    """A file that is only written, and emptied in between."""

    def __init__(self):
        self._made = bytearray()

    def write(self, data):
        self._made += data
        return len(data)

    def taken(self):
        made = bytes(self._made)
        self._made.clear()
        return made


class _Memory(io.BytesIO):
    """A file that is complete in the end."""

    def taken(self):
        return b""


class _Encoded:
    """What FFmpeg writes."""

    def __init__(self, format, rate, whole):
        try:
            import av
        except ImportError as error:
            raise InputError(f"{format} needs PyAV to be written: {INSTALL}") from error
        codec, container, self._samples, bits, options, streaming = _KINDS[format]
        self._av, self._rate, self._place, self._whole = av, rate, 0, whole
        self._file = _Memory() if whole else _Pipe()
        self._container = av.open(
            self._file, "w", format=container, options=_WHOLE.get(format, {}) if whole else streaming
        )
        try:
            self._stream = self._container.add_stream(codec, rate=rate, layout="mono", options=options)
            self._stream.codec_context.thread_count = 1  # many sounds are encoded side by side
            if bits:
                self._stream.bit_rate = bits
        except Exception as error:  # FFmpeg's own, where it was built without this encoder
            self._container.close()
            raise InputError(f"{format} cannot be written: this FFmpeg has no encoder {codec}: {INSTALL}") from error

    def add(self, samples):
        if self._samples == "s16":
            data = np.frombuffer(to_pcm16(samples), "<i2").astype(np.int16)
        else:
            data = np.clip(samples, -1.0, 1.0)
        frame = self._av.AudioFrame.from_ndarray(np.ascontiguousarray(data[None]), self._samples, "mono")
        frame.sample_rate, frame.pts = self._rate, self._place
        self._place += len(samples)
        self._mux(frame)
        return self.taken()

    def _mux(self, frame):
        for packet in self._stream.encode(frame):
            self._container.mux(packet)

    def taken(self):
        return self._file.taken()

    def finish(self):
        if self._container is None:
            return b""
        if not self._place:  # an encoder that has seen nothing has no header to write
            self.add(np.zeros(1, np.float32))
        self._mux(None)
        self._container.close()
        self._container = None
        return self._file.getvalue() if self._whole else self._file.taken()

    def close(self):
        if self._container is not None:
            self._container.close()
            self._container = None
