"""How good a mask is: overlap, boundaries, and the tables made of them. Numpy and scipy only."""
