"""The one engine: strips of segmenter windows, blended, refined with a halo, judged by the gate."""

import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from segcgan.batch import Batch, collate
from segcgan.case import IGNORE, Array, Case, Window
from segcgan.chain import Chain
from segcgan.data.patches import network_input, planes
from segcgan.errors import SegcganError
from segcgan.inference.canvas import SEAM, Canvas
from segcgan.inference.coarse import CoarseSource, GivenCoarse, SegmentedCoarse
from segcgan.inference.draws import Draws, shares
from segcgan.inference.store import Store
from segcgan.inference.windows import Plan, Windows, batches, make_plan
from segcgan.metrics.decision import decide
from segcgan.noise import case_key

Progress = Callable[[int, int], None]  # strips done, strips in all


@dataclass(frozen=True)
class Outcome:
    """What prediction found for a case.

    Args:
        case: predicted.
        store: finished strips.
        plan: their layout.
        accepted: the gate keeps the refined mask.
        reason: why, in half a sentence.
        evidence: what the gate decided on; empty without a gate.
        seconds: of work in this process.
    """

    case: Case
    store: Store
    plan: Plan
    accepted: bool
    reason: str
    evidence: Array
    seconds: float

    @property
    def layers(self) -> list[str]:
        """Names of the layers that can be read."""
        return [name for name in self.store.get(0) if name != SEAM]

    @property
    def seam(self) -> float:
        """How much windows of a refiner of unbounded reach disagree where they overlap: root mean square of the
        probability's deviation from its blend, in the worst class; NaN where tiles fit or there is only one."""
        if not self.plan.blended:
            return float("nan")
        found = [self.store.get(index).get(SEAM, np.zeros(2)) for index in range(len(self.plan.strips))]
        squares, pixels = np.sum(found, axis=0)
        return float(np.sqrt(squares / pixels)) if pixels else float("nan")

    def read(self, layer: str, window: Window) -> Array:
        """Read a layer of the finished strips.

        Args:
            layer: "coarse", "refined" or "chosen": class indices (d, h, w) uint8, 255 = nodata; with "p_" in front:
                (K, d, h, w) uint8, probability x 254, 255 = nodata. Also the layers of
                :data:`segcgan.inference.draws.EXTRA` that prediction was asked for.
            window: inside the case.
        """
        layer = layer.replace("chosen", "refined" if self.accepted else "coarse")
        axis, wanted = self.plan.axis, window[self.plan.axis]
        parts = []
        for index, (start, stop) in enumerate(self.plan.strips):
            low, high = max(start, wanted.start), min(stop, wanted.stop)
            if high > low:
                inside: list[Any] = [..., *window]
                inside[axis + 1] = slice(low - start, high - start)
                parts.append(self.store.get(index)[layer][tuple(inside)])
        return np.concatenate(parts, axis=axis - 3)


def predict_case(
    case: Case,
    chain: Chain,
    store: Store,
    *,
    windows: Windows | None = None,
    samples: int = 1,
    seed: int = 0,
    extra: Collection[str] = (),
    progress: Progress | None = None,
) -> Outcome:
    """Predict one case in strips; strips that ``store`` already has are not computed again.

    Args:
        case: image, with or without a coarse mask of its own (which then replaces the segmenter).
        chain: networks and gate.
        store: receives the strips.
        windows: overlap, memory and batch size.
        samples: masks drawn from a stochastic refiner; their mean probability is the refined mask.
        seed: of the noise.
        extra: further layers, of :data:`segcgan.inference.draws.EXTRA`; strips found in ``store`` keep what they have.
        progress: called after every strip.

    Raises:
        SegcganError: the case has another number of channels than the chain was trained on.
    """
    begin, windows = time.perf_counter(), windows or Windows()
    if case.channels != chain.channels:
        trained = f"the run was trained on {chain.channels}"
        msg = f"{case.path} has {case.channels} channel(s) but {trained}; give such images"
        raise SegcganError(msg)
    plan = make_plan(case, chain.sampling, chain.refiner, windows)
    draws = Draws(chain, plan, samples, seed, extra)
    source: CoarseSource | None = None
    evidence = np.zeros(0)
    for index, (start, stop) in enumerate(plan.strips):
        if not store.has(index):
            if source is None:
                source = _source(case, chain, plan, windows.batch, start - plan.margin)
            source.forget(start - plan.margin)
            store.put(index, _strip(case, chain, plan, source, (start, stop), windows.batch, draws))
        if chain.gate is not None and chain.refiner is not None:
            layers = store.get(index)
            found = chain.gate.evidence(layers["coarse"], layers["refined"], layers["coarse"] != IGNORE)
            evidence = found if index == 0 else evidence + found
        if progress is not None:
            progress(index + 1, len(plan.strips))
    accepted, reason = (
        chain.refiner is not None,
        "no refiner" if chain.refiner is None else "no gate: always refined",
    )
    if chain.gate is not None and chain.refiner is not None:
        accepted, reason = chain.gate.decide(evidence)
    return Outcome(case, store, plan, accepted, reason, evidence, time.perf_counter() - begin)


def _source(case: Case, chain: Chain, plan: Plan, batch: int, first: int) -> CoarseSource:
    if case.coarse is not None:
        return GivenCoarse(case, len(chain.classes))
    return SegmentedCoarse(case, chain, plan, batch, first)


def _strip(
    case: Case,
    chain: Chain,
    plan: Plan,
    source: CoarseSource,
    span: tuple[int, int],
    batch: int,
    draws: Draws,
) -> dict[str, Array]:
    """Compute all layers of one strip."""
    window = list(case.whole)
    window[plan.axis] = slice(*span)
    whole = (window[0], window[1], window[2])
    valid = case.read(whole)[1][0]
    coarse = source.read(whole)
    labels, encoded = _encode(coarse, valid, chain, "coarse" if case.coarse is None else None)
    layers = {"coarse": labels, "p_coarse": encoded}
    if chain.refiner is None:
        return layers | shares(draws.certain(coarse), valid)
    canvas = Canvas({"probability": coarse.copy()} | draws.empty(valid.shape), whole, plan)
    for tiles in batches(_tiles(whole, plan, valid, case.shape), batch):
        items = [_tile_input(case, chain, plan, source, tile) for tile in tiles]
        canvas.place(tiles, {name: values.numpy() for name, values in draws(collate(items)).items()})
    found = canvas.finish(valid)
    layers |= {SEAM: found.pop(SEAM)} if SEAM in found else {}
    layers["refined"], layers["p_refined"] = _encode(found.pop("probability"), valid, chain, "refined")
    return layers | shares(found, valid)


def _tiles(window: Window, plan: Plan, valid: Array, shape: tuple[int, int, int]) -> Iterator[tuple[int, int, int]]:
    """Yield (z, y, x) where refiner tiles start, without their halo, that any valid pixel of the window depends on."""
    (height, width), (top, left) = plan.core, plan.halo if plan.blended else (0, 0)
    more = height if plan.blended and plan.axis == 1 else 0  # tiles of the strips before and after reach over
    for z in range(window[0].start, window[0].stop):
        for y in range(max(window[1].start - more, 0), min(window[1].stop + more, shape[1]), height):
            for x in range(window[2].start, window[2].stop, width):
                y0, x0 = y - window[1].start, x - window[2].start
                rows = slice(max(y0 - top, 0), max(y0 + height + top, 0))
                if valid[z - window[0].start, rows, max(x0 - left, 0) : x0 + width + left].any():
                    yield z, y, x


def _tile_input(case: Case, chain: Chain, plan: Plan, source: CoarseSource, tile: tuple[int, int, int]) -> Batch:
    z, y, x = tile
    (top, left), (height, width) = plan.halo, plan.core
    rows, columns = slice(y - top, y - top + plan.tile[0]), slice(x - left, x - left + plan.tile[1])
    inner, border = plan.network_core, plan.network_halo
    size = (inner[0] + 2 * border, inner[1] + 2 * border)
    raw = case.read_input(planes(z, rows, columns, chain.sampling.context))
    image, valid = network_input(*raw, chain.normalisation, size)
    coarse = torch.from_numpy(source.read((slice(z, z + 1), rows, columns))[:, 0])
    if tuple(coarse.shape[1:]) != size:
        coarse = F.interpolate(coarse[None], size, mode="bilinear")[0]
    # counted in tiles, so that noise lines up from tile to tile also where images are resampled
    origin = [y // height * inner[0] - border, x // width * inner[1] - border]
    key = case_key(case.name, z)
    return Batch(
        image=image[None],
        valid=valid[None],
        spacing=torch.tensor([chain.sampling.spacing or case.geometry.spacing[1:]]),
        origin=torch.tensor([origin]),
        key=torch.tensor([key]),
        coarse=(coarse * valid)[None],
    )


def _encode(probability: Array, valid: Array, chain: Chain, variant: str | None) -> tuple[Array, Array]:
    """Return class indices (d, h, w) and probabilities (K, d, h, w), both uint8 with 255 where invalid.

    Temperature and thresholds are those of ``variant``; None = a mask that somebody else made, which stays as it is.
    """
    labels = probability.argmax(0)
    temperature = chain.temperatures.get(variant, 1.0) if variant else 1.0
    if temperature != 1:
        probability = probability ** (1 / temperature)
        probability /= np.maximum(probability.sum(0), 1e-12)
    if variant and variant in chain.thresholds:  # of the probability as it is written
        labels = decide(probability, chain.thresholds[variant])
    labels = np.where(valid, labels, IGNORE).astype(np.uint8)
    return labels, np.where(valid, np.rint(probability * 254), 255).astype(np.uint8)
