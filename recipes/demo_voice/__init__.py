"""The demo voice: `corpus` (a teacher speaks), `codec` (a small SNAC learns the sound), `language` (a small Llama learns its codes).

README.md has the commands in order.
"""
