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

    With several classes each is chosen while the others stay at 0.5.

    Args:
        chain: with its temperatures, without thresholds.
        cases: of the split "val", with references.
        samples: masks drawn from a stochastic refiner.
        seed: of the noise.

    Returns:
        {"coarse" or "refined": {class: threshold}}
    """
    variants = ["coarse", *(["refined"] if chain.refiner is not None else [])]
    found: dict[tuple[str, int], list[Array]] = {(v, k): [] for v in variants for k in range(1, len(chain.classes))}
    for case in cases:
        outcome = predict_case(case, chain, MemoryStore(), samples=samples, seed=seed)
        curves = {(variant, index): DiceCurve(index) for variant, index in found}
        for strip in case.strips():
            reference = case.read_reference(strip)
            stored = {variant: outcome.read(f"p_{variant}", strip) for variant in variants}
            for (variant, _), curve in curves.items():
                curve.add(stored[variant], reference)
        for key, curve in curves.items():
            found[key].append(curve.dice)
    groups = [case.group or case.name for case in cases]
    chosen: dict[str, dict[str, Threshold]] = {variant: {} for variant in variants}
    for (variant, index), dices in found.items():
        chosen[variant][chain.classes[index].name] = fit_threshold(dices, groups)
    return chosen
