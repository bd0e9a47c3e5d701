"""Training windows: a pure function of (seed, epoch, index), whatever the number of workers or GPUs."""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset, Sampler

from segcgan.batch import Batch
from segcgan.case import Array, Case, Window
from segcgan.data.augment import Augment
from segcgan.data.corruptions import Corruption, blend
from segcgan.data.normalisation import Normalisation
from segcgan.errors import at_least

_REMEMBERED = 2000  # foreground positions kept per case and class


@dataclass
class Sampling:
    """How windows are cut.

    Args:
        patch: [height, width] the network sees; divisible by its total stride (32 for smp networks).
        context: neighbouring slices on either side given as further channels (2.5-D).
        spacing: [row, column] physical pixel size images are resampled to before the network; None = as they are.
        foreground: share of windows centred on a foreground pixel.
        batch_size: windows per step and process.
        steps: steps per epoch.
        workers: loader processes.
    """

    patch: tuple[int, int] = (256, 256)
    context: int = 0
    spacing: tuple[float, float] | None = None
    foreground: float = 0.33
    batch_size: int = 8
    steps: int = 50
    workers: int = 0

    def __post_init__(self) -> None:
        at_least("data.sampling.", 1, batch_size=self.batch_size, steps=self.steps, patch=min(self.patch))
        at_least("data.sampling.", 0, context=self.context, workers=self.workers, foreground=self.foreground)
        at_least("data.sampling.", 1e-6, spacing=min(self.spacing or (1,)))

    def extent(self, case: Case) -> tuple[int, int]:
        """Return (height, width) in pixels of the case that fill one patch."""
        if self.spacing is None:
            return self.patch
        sizes = [
            round(n * t / s) for n, t, s in zip(self.patch, self.spacing, case.geometry.spacing[1:], strict=True)
        ]
        return max(1, sizes[0]), max(1, sizes[1])


def planes(z: int, rows: slice, columns: slice, context: int) -> Window:
    """Return the window of slice ``z`` with its neighbours."""
    return slice(z - context, z + context + 1), rows, columns


def network_input(
    image: Array, valid: Array, normalisation: Normalisation, size: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Turn what a case returned into what a 2-D network sees; training and prediction both come through here.

    Args:
        image: (C, d, h, w) raw; the d slices become channels.
        valid: (1, d, h, w) bool.
        normalisation: of the run.
        size: (height, width) to resample to.

    Returns:
        image (C * d, *size) float32 and validity of the middle slice (1, *size) bool.
    """
    pixels, mask = torch.from_numpy(np.ascontiguousarray(image)), torch.from_numpy(np.ascontiguousarray(valid))
    pixels = normalisation(pixels, mask).flatten(0, 1)
    mask = mask[:, mask.shape[1] // 2]
    if tuple(pixels.shape[1:]) != tuple(size):
        smaller = size[0] < pixels.shape[1]
        pixels = F.interpolate(pixels[None], size, mode="bilinear", antialias=smaller)[0]
        mask = F.interpolate(mask[None].float(), size, mode="bilinear", antialias=smaller)[0] > 0.999
    return pixels * mask, mask


def harden(probability: Tensor) -> Tensor:
    """Turn probabilities (K, H, W) into a one-hot mask; pixels without any probability stay zero."""
    hard = F.one_hot(probability.argmax(0), len(probability)).permute(2, 0, 1).float()
    return hard * (probability.sum(0, keepdim=True) > 0)


class PatchDataset(Dataset[Batch]):
    """Windows of training cases, augmented; for a refiner with coarse masks as it will meet them.

    A case's own coarse mask (predicted by a network that never saw it, or made by somebody else) is mixed with
    corruptions of the reference (of all raters, at random weights); half of all coarse masks are hardened to one-hot.

    Args:
        cases: with references.
        sampling: see :class:`Sampling`.
        normalisation: of the run.
        augment: None = none.
        corruption: given when a refiner is trained.
        corrupted: share of windows whose coarse mask is a corruption; 1 for cases without a coarse mask.
        classes: K.
        seed: of the run.
    """

    def __init__(
        self,
        cases: Sequence[Case],
        sampling: Sampling,
        normalisation: Normalisation,
        *,
        augment: Augment | None = None,
        corruption: Corruption | None = None,
        corrupted: float = 0.5,
        classes: int = 2,
        seed: int = 0,
    ) -> None:
        self.cases, self.sampling, self.normalisation = list(cases), sampling, normalisation
        self.augment, self.corruption, self.corrupted = augment, corruption, corrupted
        self.classes, self.seed = classes, seed
        self._foreground: dict[str, Array] = {}

    def __getitem__(self, at: tuple[int, int]) -> Batch:
        """Return the window of (epoch, index) as a batch of one."""
        epoch, index = at
        rng = np.random.default_rng([self.seed, epoch, index])
        turn, place = divmod(index, len(self.cases))
        case = self.cases[np.random.default_rng([self.seed, epoch, turn, 1]).permutation(len(self.cases))[place]]
        z, rows, columns = self._place(rng, case)
        raw, raw_valid = case.read_input(planes(z, rows, columns, self.sampling.context))
        image, valid = network_input(raw, raw_valid, self.normalisation, self.sampling.patch)
        flat = (slice(z, z + 1), rows, columns)
        if case.raters is None:
            target = self._resample_labels(case.read_reference(flat)[0])
        else:  # one rater per step: the loss of all together is that of each in turn (Kohl et al. 2018)
            raters = case.read_raters(flat)
            target = self._resample_labels(raters[rng.integers(len(raters))][0])
        coarse = None
        if self.corruption is not None and case.coarse is not None and rng.random() >= self.corrupted:
            coarse = self._resample(torch.from_numpy(case.read_coarse(flat)[:, 0])).numpy()
        if self.corruption is not None and case.raters is not None and coarse is None:
            # of all raters, as a segmenter sees them: made from the rater to be met, it would give that rater away
            drawn = [self.corruption(rng, self._resample_labels(rater[0]), self.classes) for rater in raters]
            coarse = blend(np.random.default_rng([self.seed, epoch, index, 2]), drawn)
        arrays = (image.numpy(), valid.numpy(), target, coarse)
        if self.augment is not None:
            arrays = self.augment(rng, *arrays)  # type: ignore[assignment]
        return self._batch(rng, case, *arrays)

    def _batch(
        self,
        rng: np.random.Generator,
        case: Case,
        image: Array,
        valid: Array,
        target: Array,
        coarse: Array | None,
    ) -> Batch:
        mask = torch.from_numpy(np.ascontiguousarray(valid))
        soft = None
        if self.corruption is not None:
            drawn = self.corruption(rng, target, self.classes) if coarse is None else coarse
            soft = torch.from_numpy(np.ascontiguousarray(drawn)) * mask
            soft = (harden(soft) if rng.random() < 0.5 else soft)[None]
        spacing = self.sampling.spacing or case.geometry.spacing[1:]
        return Batch(
            image=torch.from_numpy(np.ascontiguousarray(image))[None],
            valid=mask[None],
            spacing=torch.tensor([spacing]),
            origin=torch.zeros((1, 2), dtype=torch.int64),
            key=torch.from_numpy(rng.integers(2**62, size=1)),
            target=torch.from_numpy(target.astype(np.int64))[None],
            coarse=soft,
            several=torch.tensor([case.raters is not None]),
        )

    def _place(self, rng: np.random.Generator, case: Case) -> tuple[int, slice, slice]:
        extent = self.sampling.extent(case)
        found = self._positions(case)
        if len(found) and rng.random() < self.sampling.foreground:
            z, *centre = (int(v) for v in found[rng.integers(len(found))])
            start = [self._near(rng, c, n, e) for c, n, e in zip(centre, case.shape[1:], extent, strict=True)]
        else:
            z = int(rng.integers(case.shape[0]))
            start = [int(rng.integers(max(n - e, 0) + 1)) for n, e in zip(case.shape[1:], extent, strict=True)]
        # a case smaller than the patch sits in its middle
        start = [s if n >= e else (n - e) // 2 for s, n, e in zip(start, case.shape[1:], extent, strict=True)]
        return z, slice(start[0], start[0] + extent[0]), slice(start[1], start[1] + extent[1])

    @staticmethod
    def _near(rng: np.random.Generator, centre: int, length: int, extent: int) -> int:
        """Draw a start, evenly, of those that keep ``centre`` in the window's middle half if the case allows."""
        most = max(length - extent, 0)
        low, high = centre - 3 * extent // 4, centre - extent // 4
        return int(rng.integers(min(max(low, 0), most), min(max(high, 0), most) + 1))

    def _positions(self, case: Case) -> Array:
        """Foreground positions (n, 3) of a case, found slice by slice on first use."""
        if case.name not in self._foreground:
            rng = np.random.default_rng([self.seed, zlib.crc32(case.name.encode())])
            found = [np.zeros((0, 3), np.int64)]
            strips = case.strips()
            for strip in strips:
                labels, corner = case.read_reference(strip)[0], [strip[0].start, strip[1].start, 0]
                for index in range(1, self.classes):
                    places = np.argwhere(labels == index)
                    places = places[rng.permutation(len(places))[: max(1, _REMEMBERED // len(strips))]]
                    found.append(np.insert(places, 0, 0, axis=1) + corner)
            self._foreground[case.name] = np.concatenate(found)
        return self._foreground[case.name]

    def _resample(self, values: Tensor) -> Tensor:
        if tuple(values.shape[1:]) == tuple(self.sampling.patch):
            return values
        return F.interpolate(values[None], self.sampling.patch, mode="bilinear")[0]

    def _resample_labels(self, labels: Array) -> Array:
        if labels.shape == tuple(self.sampling.patch):
            return labels
        wide = torch.from_numpy(labels)[None, None].float()
        return F.interpolate(wide, self.sampling.patch, mode="nearest-exact")[0, 0].numpy().astype(np.uint8)


class EpochSampler(Sampler[tuple[int, int]]):
    """Yields (epoch, index); processes take turns, so all together see what a single process would.

    Args:
        count: samples per epoch over all processes.
        rank: of this process.
        world: number of processes.
    """

    def __init__(self, count: int, rank: int = 0, world: int = 1) -> None:
        self.count, self.rank, self.world, self.epoch = count, rank, world, 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning at the start of every epoch, also after a resume."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter([(self.epoch, index) for index in range(self.rank, self.count, self.world)])

    def __len__(self) -> int:
        return len(range(self.rank, self.count, self.world))
