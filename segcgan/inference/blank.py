"""Images with nothing to see in them, which are predicted all the same."""

from segcgan.case import Case

_ROWS = 64  # read at a time: most images differ within the first


def blank(case: Case) -> list[str]:
    """Say, in half a sentence, that an image has no values or one value everywhere; nothing where it has more.

    Rows are read from the middle outwards until two values differ, which costs a normal image one read.
    """
    middle = case.shape[0] // 2, case.shape[1] // 2
    strips = sorted(case.strips(_ROWS), key=lambda strip: [abs(strip[axis].start - middle[axis]) for axis in (0, 1)])
    first = None
    for strip in strips:
        image, valid = case.read(strip)
        values = image[:, valid[0]]
        if not values.size:
            continue
        first = values[:, :1] if first is None else first
        if (values != first).any():
            return []
    what = "voxel" if case.shape[0] > 1 else "pixel"
    if first is None:
        return [f"no {what} has a value: all are NaN, nodata or padding"]
    return [f"every {what} has the value {', '.join(f'{value:g}' for value in first[:, 0])}"]
