"""A matplotlib figure that shows itself in a notebook, also where pyplot was never imported."""

import io

from matplotlib.figure import Figure


class Sheet(Figure):
    """A figure with a picture of itself for IPython."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=110)
        return buffer.getvalue()
