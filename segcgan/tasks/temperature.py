"""Temperatures that make probabilities mean what they say, fitted on cases that serve nothing else."""

from collections.abc import Sequence

import numpy as np

from segcgan.case import IGNORE, Case
from segcgan.chain import Chain
from segcgan.inference.engine import predict_case
from segcgan.inference.store import MemoryStore
from segcgan.metrics.calibration import LEVELS, fit_temperature

_PIXELS = 20_000  # taken from each case, at random: neighbours say much the same


def fit_temperatures(chain: Chain, cases: Sequence[Case], samples: int, seed: int) -> dict[str, float]:
    """Return the temperature of the coarse and of the refined probability (Guo et al., ICML 2017).

    With several raters it is fitted to the votes of all. Coarse masks that somebody else made say nothing of the
    segmenter's; where there are no others it has no temperature.

    Args:
        chain: without temperatures.
        cases: of the split "calibrate", with references.
        samples: masks drawn from a stochastic refiner.
        seed: of noise and pixels.
    """
    names = chain.variants
    found: dict[str, list[np.ndarray]] = {name: [] for name in names}
    truth: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for index, case in enumerate(cases):
        outcome = predict_case(case, chain, MemoryStore(), samples=samples, seed=seed)
        votes = case.read_votes(case.whole)
        stored = {name: outcome.read(f"p_{name}", case.whole).reshape(len(chain.classes), -1) for name in names}
        votes = votes.reshape(len(votes), -1)
        known = np.flatnonzero((votes != IGNORE).all(0) & (stored["coarse"][0] != IGNORE))
        taken = np.random.default_rng([seed, index]).permutation(known)[:_PIXELS]
        for name in names:
            if name == "coarse" and case.coarse is not None:
                continue
            truth[name].append(votes[:, taken].ravel())
            p = stored[name][:, taken].T / LEVELS
            logits = np.log(np.maximum(p, 0.5 / LEVELS))  # half a step for what was rounded to 0
            found[name].append(np.tile(logits, (len(votes), 1)))
    fitted = [name for name in names if found[name]]
    return {name: fit_temperature(np.concatenate(found[name]), np.concatenate(truth[name])) for name in fitted}
