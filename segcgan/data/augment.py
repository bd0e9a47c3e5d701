"""Augmentation of training patches; the only file that imports albumentations."""

import os
import random
from typing import Any

import numpy as np

from segcgan.case import IGNORE, Array
from segcgan.errors import SegcganError


class Augment:
    """Turn, scale and bend a patch, then change its intensities.

    Geometry is albumentations': linear for image and coarse mask, nearest for the target. Intensities are done
    here, because albumentations clips floats to [0, 1] and normalised values lie outside. albumentations 2.0.8
    also repeats itself between workers and epochs; here every call draws only from the generator it is given.

    ``flip`` mirrors left and right; with ``rotate90`` that makes all eight symmetries of a square.

    Args:
        flip: mirror with probability 1/2.
        rotate90: turn by a random multiple of 90°; right for views from above, needs square patches.
        rotate: largest angle in degrees.
        scale: largest relative change of size.
        shift: largest displacement in pixels, along rows and along columns; what comes in from outside is invalid.
        elastic: standard deviation of a smooth displacement in pixels.
        brightness: largest offset, in units of the normalised image.
        contrast: largest relative change of gain.
        noise: largest standard deviation of added normal noise, in units of the normalised image.

    Raises:
        SegcganError: a strength is negative or absurd.
    """

    def __init__(
        self,
        flip: bool = True,
        rotate90: bool = False,
        rotate: float = 15,
        scale: float = 0.15,
        shift: float = 0.0,
        elastic: float = 0.0,
        brightness: float = 0.1,
        contrast: float = 0.1,
        noise: float = 0.05,
    ) -> None:
        limits = {"rotate": (rotate, 180), "scale": (scale, 0.9), "shift": (shift, 1000), "elastic": (elastic, 100)}
        limits |= {"brightness": (brightness, 10), "contrast": (contrast, 0.9), "noise": (noise, 10)}
        for name, (value, most) in limits.items():
            if not 0 <= value <= most:
                raise SegcganError(f"augment.{name} is {value}; it must lie between 0 and {most}: set it so")
        self.rotate90 = rotate90
        self.brightness, self.contrast, self.noise = brightness, contrast, noise
        self._geometry = _geometry(flip, rotate90, rotate, scale, shift, elastic)

    def __call__(
        self, rng: np.random.Generator, image: Array, valid: Array, target: Array | None, coarse: Array | None
    ) -> tuple[Array, Array, Array | None, Array | None]:
        """Augment one patch.

        Args:
            rng: the only source of randomness.
            image: (C, H, W) float32, normalised, any number of channels.
            valid: (1, H, W) bool.
            target: class indices (H, W) uint8 with ``IGNORE``, or None.
            coarse: probabilities (K, H, W) float32, or None; one-hot masks stay one-hot.

        Returns:
            The same four. A pixel that any invalid pixel went into is invalid; pixels from outside the patch are
            invalid, 0 in image and coarse mask and ``IGNORE`` in the target.

        Raises:
            SegcganError: ``rotate90`` is on and the patch is not square.
        """
        if self.rotate90 and image.shape[1] != image.shape[2]:
            size = f"{image.shape[1]}×{image.shape[2]}"
            raise SegcganError(f"augment.rotate90 needs square patches, not {size}; make them so or turn it off")
        image, valid, target, coarse = self._move(rng, image, valid, target, coarse)
        gain = 1 + rng.uniform(-self.contrast, self.contrast)
        offset = rng.uniform(-self.brightness, self.brightness)
        sigma = rng.uniform(0, self.noise)
        image = image * np.float32(gain) + np.float32(offset)
        image += np.float32(sigma) * rng.standard_normal(image.shape, np.float32)
        return np.where(valid, image, np.float32(0)), valid, target, coarse

    def _move(
        self, rng: np.random.Generator, image: Array, valid: Array, target: Array | None, coarse: Array | None
    ) -> tuple[Array, Array, Array | None, Array | None]:
        # All that is interpolated linearly travels as one array; validity becomes the share of valid neighbours.
        parts = [image, valid] if coarse is None else [image, valid, coarse]
        stack = np.ascontiguousarray(np.concatenate(parts).astype(np.float32, copy=False).transpose(1, 2, 0))
        # One generator for all steps: albumentations' own seeding gives every step the same numbers.
        self._geometry.set_random_state(rng, random.Random(int(rng.integers(2**63))))
        inputs = {"image": stack} if target is None else {"image": stack, "mask": target}
        moved = self._geometry(**inputs)
        channels = len(image)
        planes = np.ascontiguousarray(moved["image"].transpose(2, 0, 1))
        image, share, blended = planes[:channels], planes[channels : channels + 1], planes[channels + 1 :]
        valid = share > 1 - 1e-4  # the smallest weight of one neighbour is 1/32² in OpenCV
        if target is not None:
            target = np.ascontiguousarray(moved["mask"])
        if coarse is not None and not np.any((coarse > 0) & (coarse < 1)):
            winner = blended.argmax(axis=0) == np.arange(len(blended))[:, None, None]
            blended = (winner & (blended.sum(axis=0) > 0.5)).astype(np.float32)
        return image, valid, target, None if coarse is None else blended


def _geometry(flip: bool, rotate90: bool, rotate: float, scale: float, shift: float, elastic: float) -> Any:
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # it asks the network for a newer version while being imported
    import albumentations as A  # slow to import

    steps: list[Any] = []
    if flip:
        steps.append(A.HorizontalFlip(p=0.5))
    if rotate90:
        steps.append(A.RandomRotate90(p=1))
    if rotate or scale or shift:
        turn, zoom = (-rotate, rotate), (1 - scale, 1 + scale)
        moved = {"translate_px": {"x": (-shift, shift), "y": (-shift, shift)}} if shift else {}
        steps.append(A.Affine(scale=zoom, rotate=turn, **moved, keep_ratio=True, fill_mask=IGNORE, p=1))
    if elastic:
        sigma = max(10.0, 4 * elastic)  # wide enough that the displacement does not fold
        alpha = elastic * 2 * np.sqrt(3 * np.pi) * sigma  # blurred uniform noise deviates by 1 / (2 √(3π) sigma)
        warp = A.ElasticTransform(alpha, sigma, noise_distribution="uniform", fill_mask=IGNORE, p=1)
        steps.append(warp)
    return A.Compose(steps)
