"""The frame in numbers. Imports nothing: `--help` needs no more than this."""

SAMPLE_RATE = 24_000  # Hz
FRAME_SAMPLES = 2_048  # samples per frame
CODES_PER_FRAME = 7
FRAMES_PER_SECOND = SAMPLE_RATE / FRAME_SAMPLES  # 11.72
TOKENS_PER_SECOND = FRAMES_PER_SECOND * CODES_PER_FRAME  # 82.03

VQ_STRIDES = (4, 2, 1)  # of the coarse, middle and fine levels, as in SNAC's configuration
LEVEL_CODES = tuple(max(VQ_STRIDES) // stride for stride in VQ_STRIDES)  # codes per frame: 1, 2, 4

DECODER_REACH = 4_757  # samples (2.32 frames) on each side that affect a sample, from the codec's kernels and strides
CONTEXT_FRAMES = 3  # on each side make a window exact
WINDOW_FRAMES = 24  # processed at once: with more, a CPU spends its time mapping and unmapping large buffers

# The first sound: with two frames and four codes of the third, which are those of its first 1,024 samples, the first 363
# samples of speech are settled.
EARLY_CODES = 2 * CODES_PER_FRAME + 4
EARLY_SAMPLES = 2 * FRAME_SAMPLES + FRAME_SAMPLES // 2 - DECODER_REACH
