"""A decision threshold per class, chosen on validation groups."""

from collections.abc import Sequence

from segcgan.case import Array, Case
from segcgan.chain import Chain
from segcgan.inference.engine import predict_case
from segcgan.inference.store import MemoryStore
from segcgan.metrics.decision import DiceCurve, Threshold, fit_threshold


def values_of(found: dict[str, dict[str, Threshold]]) -> dict[str, list[float]]:
    """Return what a chain takes of fitted thresholds."""
    return {variant: [each.value for each in per.values()] for variant, per in found.items()}


def fit_thresholds(chain: Chain, cases: Sequence[Case], samples: int, seed: int) -> dict[str, dict[str, Threshold]]:
    """Choose thresholds of the coarse and of the refined probability; see :func:`fit_threshold`.

    With several classes each is chosen while the others stay at 0.5. Coarse masks that somebody else made say nothing
    of the segmenter's threshold, so their cases choose that of the refined probability alone.

    Args:
        chain: with its temperatures, without thresholds.
        cases: of the split "val", with references.
        samples: masks drawn from a stochastic refiner.
        seed: of the noise.

    Returns:
        {"coarse" or "refined": {class: threshold}}
    """
    variants = chain.variants
    keys = [(variant, index) for variant in variants for index in range(1, len(chain.classes))]
    found: dict[tuple[str, int], list[tuple[Array, str]]] = {key: [] for key in keys}
    for case in cases:
        outcome = predict_case(case, chain, MemoryStore(), samples=samples, seed=seed)
        curves = {key: DiceCurve(key[1]) for key in keys if key[0] != "coarse" or case.coarse is None}
        for strip in case.strips():
            reference = case.read_reference(strip)
            stored = {variant: outcome.read(f"p_{variant}", strip) for variant in variants}
            for (variant, _), curve in curves.items():
                curve.add(stored[variant], reference)
        for key, curve in curves.items():
            found[key].append((curve.dice, case.group or case.name))
    chosen: dict[str, dict[str, Threshold]] = {variant: {} for variant in variants}
    for (variant, index), each in found.items():
        dices = [dice for dice, _ in each]
        groups = [group for _, group in each]
        chosen[variant][chain.classes[index].name] = fit_threshold(dices, groups)
    return chosen
