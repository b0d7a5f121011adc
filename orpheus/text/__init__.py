"""From written text to the ids the model reads, and from speech back to words. No PyTorch.

tags, cleaning    emotion tags; text as a model reads it      pieces       long text, cut to what one generation speaks
spoken            cleaned and normalised: the one way in       markup       SSML, HTML and Markdown read as text
normalization/    numbers, dates and the like as words        prompt       the one file that knows the prompt's layout
recognition       speech recognition (faster-whisper)         comparison   what was said against what was heard
"""
