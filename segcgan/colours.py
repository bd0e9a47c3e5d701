"""Colours of classes that eyes of all kinds tell apart."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from segcgan.classes import ClassSpec

Rgb = tuple[int, int, int]

BACKGROUND: Rgb = (0, 0, 0)
NODATA: Rgb = (255, 255, 255)  # seen only by programs that know no nodata value
OKABE_ITO = (  # without its black, which is the background
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)
FORMER = "#e4572e"  # what older runs stored for every class that was given no colour

# Linear RGB as seen without the green or the red cones: Machado et al., "A physiologically-based model for
# simulation of color vision deficiency", IEEE TVCG 2009, severity 1.
_EYES = np.array(
    [
        [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    ]
)
_XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)
_WHITE = _XYZ.sum(axis=1)


def class_colours(classes: list[ClassSpec]) -> list[Rgb]:
    """Return a colour 0–255 for each class; index 0 is the background.

    Given colours are kept. The background is black; other classes get the colours of Okabe and Ito ("Color Universal
    Design", 2008) in turn, and after these the colours that are farthest from all used ones, also for eyes that do
    not tell red from green. No two classes share a colour unless both were given it.
    """
    given = tuple(_given(spec, index, classes) for index, spec in enumerate(classes))
    return list(_filled(given)) if given else []


def hexadecimal(colour: Rgb) -> str:
    """Return ``#rrggbb``."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


def _given(spec: ClassSpec, index: int, classes: list[ClassSpec]) -> Rgb | None:
    """Return the colour a class was given; a repeated former default was not chosen by anybody."""
    others = classes[1:] if index == 0 else classes[1:index]
    repeated = spec.colour == FORMER and any(other.colour == FORMER for other in others)
    return None if repeated else spec.rgb


@lru_cache(maxsize=16)  # a figure, a table and two masks of a case ask in turn
def _filled(given: tuple[Rgb | None, ...]) -> tuple[Rgb, ...]:
    ground = given[0] or BACKGROUND
    used = [ground, NODATA, *(colour for colour in given if colour is not None)]
    spare = [colour for colour in OKABE_ITO if colour not in used]
    missing = given[1:].count(None)
    chosen = iter([*spare, *_far([*used, *spare], missing - len(spare))])
    return (ground, *(colour or next(chosen) for colour in given[1:]))


def _far(used: list[Rgb], count: int) -> list[Rgb]:
    """Return colours, each as far as can be from its nearest in use, for the eyes that tell these two apart worst."""
    steps = np.linspace(0, 255, 9).round()
    grid = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, 3)
    seen = _seen(grid)
    apart = np.full(len(grid), np.inf)
    found: list[Rgb] = []
    for number in range(len(used) + count):
        if number < len(used):
            place = _seen(np.array([used[number]], dtype=float))
        else:
            best = int(apart.argmax())
            red, green, blue = (int(value) for value in grid[best])
            found.append((red, green, blue))
            place = seen[:, best : best + 1]
        apart = np.minimum(apart, np.linalg.norm(seen - place, axis=-1).min(axis=0))
    return found


def _seen(colours: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return CIELAB (eyes, N, 3) of sRGB colours (N, 3) in 0–255."""
    unit = colours / 255
    linear = np.where(unit <= 0.04045, unit / 12.92, ((unit + 0.055) / 1.055) ** 2.4)
    xyz = np.clip(linear @ _EYES.transpose(0, 2, 1), 0, 1) @ _XYZ.T / _WHITE
    root = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    x, y, z = np.moveaxis(root, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)

