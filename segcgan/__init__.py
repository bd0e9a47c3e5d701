"""A segmenter draws a coarse mask, a generative model of masks corrects it, a gate keeps the better one."""

__version__ = "0.1.0"
