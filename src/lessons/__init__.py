"""Optimizers, executed: SGD, Adagrad, RMSprop, Adam, AdamW, FTRL-Proximal, each short enough to read whole."""

from lessons.flat import FlatParameters
from lessons.optim import SGD, Adagrad, Adam, AdamW, FTRLProximal, RMSprop

__all__ = ["SGD", "Adagrad", "Adam", "AdamW", "FTRLProximal", "FlatParameters", "RMSprop"]
