"""A LoRA adapter learns the examples: packed steps, held-out loss, states to resume from.

trainer    the loop                                  packing     which examples make a step, laid end to end
llama      the forward pass over packed examples     lora        the adapter's weights in one vector
states     what a run saves and resumes from         samples     sentences spoken, and heard, while it trains
hardware   devices, ranks, memory                    log         what a run says            options    every setting
forecast   steps, minutes and memory beforehand          check_data  --check-data
"""
