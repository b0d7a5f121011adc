"""A fine-tune as files that others load.

adapter        the adapter's folder with its card
merged         base and adapter as one 16-bit model
generations    configurations that transformers 4 and 5 read alike
"""
