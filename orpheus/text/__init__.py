"""From written text to the ids the model reads, and from speech back to words. No PyTorch.

tags, cleaning    emotion tags; text as a model reads it      pieces       long text, cut to what one generation speaks
description       what a model is like, and its file          turns        lines that begin with the names of voices
known_models      the models that people use, in one table    identify     which description a model or adapter has
overview          a description in lines, for people          markup       SSML, HTML and Markdown read as text
sentences         where they end, in all scripts; the tables of abbreviations, graphemes where nothing may be cut
languages         codes, and whose language it is             pace         how long a text takes to say
spoken            cleaned and normalised: the one way in
normalization/    numbers, dates and the like as words        prompt       the one file that knows the prompt's layout
recognition       speech recognition (faster-whisper)         comparison   what was said against what was heard
"""
