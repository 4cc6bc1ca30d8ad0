"""Optimizers, executed: SGD with L1, Adagrad, RMSprop, Adam and AdamW, each short enough to read whole."""

from lessons.optim import SGD, Adagrad, Adam, AdamW, RMSprop

__all__ = ["SGD", "Adagrad", "Adam", "AdamW", "RMSprop"]
