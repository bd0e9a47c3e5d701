"""Critics: networks that tell reference masks from drawn ones, and everything needed to train against one."""

from segcgan.critics.adversary import Adversary
from segcgan.critics.objectives import Objective
from segcgan.critics.patch import PatchCritic
from segcgan.critics.representations import (
    Autoencoded,
    Gumbel,
    Noisy,
    Representation,
    Soft,
    StraightThrough,
)

__all__ = [
    "Adversary",
    "Autoencoded",
    "Gumbel",
    "Noisy",
    "Objective",
    "PatchCritic",
    "Representation",
    "Soft",
    "StraightThrough",
]
