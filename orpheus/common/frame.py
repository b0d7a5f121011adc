"""The frame, in numbers. Light on purpose: the command line's help needs no more than this."""

SAMPLE_RATE = 24_000  # Hz
FRAME_SAMPLES = 2_048  # samples per frame
CODES_PER_FRAME = 7
FRAMES_PER_SECOND = SAMPLE_RATE / FRAME_SAMPLES  # 11.72
TOKENS_PER_SECOND = FRAMES_PER_SECOND * CODES_PER_FRAME  # 82.03

VQ_STRIDES = (4, 2, 1)  # of the coarse, middle and fine level, as SNAC's configuration states them
LEVEL_CODES = tuple(max(VQ_STRIDES) // stride for stride in VQ_STRIDES)  # codes per frame: 1, 2, 4

DECODER_REACH = 4_757  # samples = 2.32 frames to each side that decide a sample, by the codec's kernels and strides
CONTEXT_FRAMES = 3  # exact on each side of a window
WINDOW_FRAMES = 24  # worked on at once: beyond, a CPU spends its time mapping and unmapping large buffers
