"""The demo voice's codec: `train` takes `crops` of the corpus through `step`, with the losses and kernels beside it."""
