"""Random numbers that nobody can compute again."""

import math
import os

import numpy as np
from scipy.special import ndtri

_N_BITS = 52
# So many numbers are made at a time, to bound memory.
_BLOCK_SIZE = 2**16
_N_DRAWS = 4


class SystemNoise:
    r"""Random numbers from the operating system's cryptographic generator.

    It has two methods of :class:`numpy.random.Generator`. A normal number is the sum of
    four independent ones over 2: a single one takes one of :math:`2^{52}` values, so
    that the low-order bits of a statistic with noise can tell what the statistic was.
    To search the sums of four takes :math:`2^{156}` steps (Holohan and Braghin, arXiv
    2107.10138, section 5.1).
    """

    def random(self, size):
        """Return uniform numbers in (0, 1), as an array of this shape."""
        n_numbers = math.prod(np.atleast_1d(size).tolist())
        bits = np.frombuffer(os.urandom(8 * n_numbers), dtype=np.uint64)
        numbers = (bits >> np.uint64(64 - _N_BITS)).astype(np.float64)
        return ((numbers + 0.5) * 2.0**-_N_BITS).reshape(size)

    def standard_normal(self, size):
        """Return normal numbers of mean 0 and variance 1, as an array of this shape."""
        drawn = np.empty(size)
        flat = drawn.reshape(-1)
        for start in range(0, flat.size, _BLOCK_SIZE):
            block = flat[start : start + _BLOCK_SIZE]
            uniform = self.random((_N_DRAWS, block.size))
            block[:] = ndtri(uniform).sum(axis=0) / math.sqrt(_N_DRAWS)
        return drawn
