import numpy as np

from segcgan.classes import ClassSpec
from segcgan.colours import _EYES, _seen, class_colours, hexadecimal


def named(*colours):
    return [ClassSpec(str(index), **({"colour": colour} if colour else {})) for index, colour in enumerate(colours)]


def test_background_is_neutral_and_classes_are_those_of_okabe_and_ito():
    assert class_colours(named(None, None, None)) == [(0, 0, 0), (230, 159, 0), (86, 180, 233)]
    assert hexadecimal((230, 159, 0)) == "#e69f00"
    assert class_colours([]) == []


def test_given_colours_are_kept_and_nobody_else_gets_them():
    assert class_colours(named("#112233", None, "#E69F00", None)) == [
        (0x11, 0x22, 0x33), (86, 180, 233), (230, 159, 0), (0, 158, 115),
    ]  # fmt: skip
    assert class_colours(named("#ff0000", "#ff0000", "#ff0000")) == [(255, 0, 0)] * 3  # who asks for it


def test_the_former_default_of_older_runs_is_nobodys_choice():
    old = "#e4572e"
    assert class_colours(named(old, old, old, "#00ff00")) == [(0, 0, 0), (228, 87, 46), (230, 159, 0), (0, 255, 0)]
    assert class_colours(named(old, "#00ff00")) == [(228, 87, 46), (0, 255, 0)]


def test_many_classes_differ_for_all_eyes():
    colours = class_colours(named(*[None] * 21))
    seen = _seen(np.array(colours, float))
    apart = np.linalg.norm(seen[:, :, None] - seen[:, None], axis=-1) + 1e9 * np.eye(21)
    assert len(_EYES) == 3
    assert apart[0].min() > 20  # with all cones, in CIELAB: 2 is just to be seen
    assert apart[1:].min() > 8
    assert len(set(class_colours(named(*[None] * 255)))) == 255


def test_colours_as_seen_without_red_or_green_cones():
    """Grey stays grey, and red and green come near to each other."""
    grey, red, green = _seen(np.array([[128, 128, 128], [190, 90, 60], [110, 130, 50]], float)).transpose(1, 0, 2)
    np.testing.assert_allclose(grey[1:], grey[[0, 0]], atol=0.5)
    far = np.linalg.norm(red - green, axis=-1)
    assert far[2] < far[0] / 2
