"""The demo voice's language model: `train` encodes the corpus (`data`) and takes it through `step`; `tokenizer` writes its tokens."""
