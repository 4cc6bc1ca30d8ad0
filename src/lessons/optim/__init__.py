"""The optimizers that the book explains, each a rule and a thin class. See :mod:`lessons.optim.base`."""

from lessons.optim.adagrad import Adagrad
from lessons.optim.adam import Adam, AdamW
from lessons.optim.ftrl import FTRLProximal
from lessons.optim.rmsprop import RMSprop
from lessons.optim.sgd import SGD

__all__ = ["SGD", "Adagrad", "Adam", "AdamW", "FTRLProximal", "RMSprop"]
