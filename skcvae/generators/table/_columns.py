"""Columns of a table as states and normal scores, and back."""

from numbers import Integral

import numpy as np
from scipy.special import ndtr, ndtri

from ..._tables import find_missing, take

# Values that are told apart by more decimals count as not rounded.
_MAX_DECIMALS = 6
# The largest float below 2**64.
_LARGEST = np.nextafter(2.0**64, 0)


class CategoryColumn:
    """Categories: each is a state, and so is a missing value.

    Without `categories`, they are read from the training samples. `states` holds a
    value of each state.
    """

    is_number = False

    def __init__(self, name, categories=None):
        self.name, self._categories = name, categories

    def fit(self, values):
        """Learn the states, and return that of each value: -1 if it is not listed."""
        if self._categories is None:
            states, first = _find_states(values, self.name)
            self.states = take(values, first)
            return states
        self.states = self._make_states(values)
        listed = {key: code for code, key in enumerate(_keys(self.states))}
        return np.array([listed.get(key, -1) for key in _keys(values)], dtype=np.intp)

    def _make_states(self, values):
        """Return the categories in the type of the column, which must hold them all."""
        listed = _to_objects(list(self._categories))
        present = listed[~find_missing(listed)].tolist()
        known = getattr(values.dtype, "categories", None)
        if known is None or set(present) <= set(known):
            states = like(values, listed.tolist())
            if take(states, ~find_missing(listed)).tolist() == present:
                return states
        raise ValueError(
            f"The column {self.name!r} of type {values.dtype} cannot hold all of its "
            f"categories {listed.tolist()}."
        )

    def decode(self, states, _):
        """Return a value for each state."""
        return take(self.states, states)


class NumberColumn:
    """Numbers, dates or durations: scores between the states.

    State 0 is a number with a score. A number that many samples share is a state of its
    own, and so is a missing value: they have no score.

    `bounds` are the lowest and the highest value, by default those observed.
    `max_discrete` is the least number of distinct values that are not all states;
    without it, none is a state, and scores are linear within the bounds. `states` holds
    a value of each state; `low` and `high` are counted from the lowest integer, date or
    duration.
    """

    is_number = True

    def __init__(self, name, bounds=None, max_discrete=None):
        self.name, self._bounds, self._max_discrete = name, bounds, max_discrete

    def fit(self, values):
        """Return the state of each value, and its number, NaN for missing ones."""
        missing = find_missing(values)
        present = take(values, ~missing)
        self._is_integer = _holds_integers(present, self.name)
        is_given = self._max_discrete is None
        # What is learned of given columns must not depend on the samples.
        self._zone = None if is_given else _zone_of_days(present)
        limits = present
        if self._bounds is not None:
            limits = _to_limits(values, self._bounds, self.name, self._is_integer)
        self._origin, self._step, self._decimals = 0, None, None
        if self._is_integer:
            self._fit_steps(present[:0] if is_given else present, limits)
        numbers = np.full(len(values), np.nan)
        numbers[~missing] = found = self._to_floats(present)
        if not (is_given or np.isfinite(found).all()):
            raise ValueError(
                f"Input X contains infinity in the column {self.name!r}: values must "
                "be finite or missing."
            )
        if not self._is_integer:
            ends = self._to_floats(limits) if len(limits) else np.zeros(1)
            self.low, self.high = ends.min(), ends.max()
            if not is_given:
                self._fit_decimals(_float_type(present), found)
        if is_given:
            # A value of the bounds, and none of the samples.
            self.states = take(limits, [0])
            return np.zeros(len(values), dtype=np.intp), numbers
        states, first = self._find_states(numbers, missing)
        self.states = take(values, first)
        return states, numbers

    def _fit_steps(self, present, limits):
        """Learn the grid of integers, and its part within the bounds.

        Whole days, or multiples of a hundred, stay such.
        """
        # Counted from the lowest: dates in nanoseconds have no exact float.
        lowest, _ = self._ends(present)
        self._origin = lowest
        self._step = step = int(np.gcd.reduce(self._to_steps(present))) or 1
        low, high = self._ends(limits)
        self._origin = low + (lowest - low) % step
        self._last = (high - self._origin) // step * step
        self.low, self.high = 0.0, float(self._last)

    def _fit_decimals(self, dtype, numbers):
        """Learn to which decimals numbers are rounded, also those at the bounds."""
        self._decimals = decimals = _count_decimals(dtype, numbers)
        if decimals is None:
            return
        ends = np.array([self.low, self.high]).astype(dtype)
        rounded = np.round(ends.astype(float), decimals).astype(dtype)
        outside = np.array([rounded[0] < ends[0], rounded[1] > ends[1]])
        inwards = np.round(rounded + 0.1**decimals * np.array([1, -1]), decimals)
        ends = np.where(outside, inwards.astype(dtype), ends)
        self.low, self.high = ends.astype(float)

    def _find_states(self, numbers, missing):
        """Return the state of each number, and a place of each state."""
        states = np.zeros(len(missing), dtype=np.intp)
        first = [np.argmin(missing)]
        for value in _shared_values(numbers[~missing], self._max_discrete):
            held = numbers == value
            states[held] = len(first)
            first.append(np.argmax(held))
        if missing.any():
            states[missing] = len(first)
            first.append(np.argmax(missing))
        return states, np.array(first)

    def fit_scores(self, states, numbers, rng):
        """Return the score of each training sample, NaN where it has none."""
        if self._max_discrete is None:
            spread = self.high - self.low or 1.0
            return (2 * (numbers - self.low) / spread - 1).clip(-1, 1)
        scores = np.full(len(numbers), np.nan)
        scored = states == 0
        numbers = numbers[scored]
        # Ranks within ties are drawn, so that a number shared by some samples has a
        # range of scores, and is as frequent among decoded ones.
        order = np.lexsort((rng.uniform(size=len(numbers)), numbers))
        ranks = np.empty(len(numbers))
        ranks[order] = (np.arange(len(numbers)) + 0.5) / max(len(numbers), 1)
        scores[scored] = ndtri(ranks)
        self._sorted = np.concatenate([[self.low], numbers[order], [self.high]])
        return scores

    def to_numbers(self, scores):
        """Return numbers for scores, on the grid of the column and in its range."""
        if self._max_discrete is None:
            return self.snap(self.low + (scores + 1) / 2 * (self.high - self.low))
        n = len(self._sorted) - 2
        shares = np.r_[0, (np.arange(n) + 0.5) / max(n, 1), 1]
        return self.snap(np.interp(ndtr(scores), shares, self._sorted))

    def snap(self, numbers):
        """Return the nearest numbers on the grid of the column, in its range."""
        if self._step:
            numbers = np.rint(numbers / self._step) * self._step
        elif self._decimals is not None:
            numbers = np.round(numbers, self._decimals)
        return numbers.clip(self.low, self.high)

    def decode(self, states, numbers):
        """Return a value for each state, and for state 0 the number."""
        column = take(self.states, states)
        plain = np.flatnonzero(states == 0)
        if len(plain):
            values = self._to_type(numbers[plain])
            if hasattr(column, "iloc"):
                column.iloc[plain] = values
            else:
                column[plain] = values
        return column

    def _to_floats(self, present):
        """Return values without missing ones as floats, counted from the origin."""
        if not self._is_integer:
            return np.asarray(present, dtype=np.float64)
        steps = self._to_steps(present)
        below = self._to_integers(present) < self._origin
        return np.where(below, -(-steps).astype(float), steps.astype(float))

    def _to_steps(self, present):
        """Return the difference of integers from the origin."""
        # Modulo 2**64, so that no difference of 64-bit integers overflows.
        steps = self._to_integers(present).view(np.uint64)
        return steps - np.uint64(self._origin % 2**64)

    def _to_integers(self, present):
        """Return integers, dates or durations as 64-bit integers."""
        if self._zone is not None:
            present = present.dt.tz_localize(None)
        is_unsigned = getattr(present.dtype, "kind", "O") == "u"
        return np.asarray(present.astype("uint64" if is_unsigned else "int64"))

    def _ends(self, present):
        """Return the lowest and the highest of integers, 0 of none."""
        integers = self._to_integers(present)
        return (int(integers.min()), int(integers.max())) if len(integers) else (0, 0)

    def _to_type(self, numbers):
        """Return numbers in the type of the column."""
        if self._is_integer:
            steps = np.rint(numbers.clip(0, _LARGEST) / self._step).astype(np.uint64)
            steps = np.minimum(steps * np.uint64(self._step), np.uint64(self._last))
            whole = steps + np.uint64(self._origin % 2**64)
            numbers = whole if self._origin >= 2**63 else whole.view(np.int64)
        if hasattr(self.states, "iloc"):
            import pandas as pd

            dtype = self.states.dtype
            if self._zone is None:
                return pd.Series(numbers).astype(dtype).array
            days = pd.Series(numbers).astype(f"datetime64[{dtype.unit}]")
            # A midnight that the clock passes twice is the first one.
            is_first = np.ones(len(days), dtype=bool)
            return days.dt.tz_localize(self._zone, is_first, "shift_forward").array
        if self.states.dtype == object:
            return _to_objects(numbers.tolist())
        return numbers.astype(self.states.dtype)


def _keys(values):
    """Yield what tells values apart: 1, True and "1" are three categories."""
    missing = find_missing(values)
    for value, is_missing in zip(values.tolist(), missing, strict=True):
        yield None if is_missing else (type(value), value)


def _find_states(values, name):
    """Return a code for each value, in the order of appearance, and first places."""
    known: dict = {}
    try:
        codes = [known.setdefault(key, len(known)) for key in _keys(values)]
    except TypeError as error:
        raise TypeError(
            f"The column {name!r} holds values that cannot be categories ({error})."
        ) from error
    codes = np.array(codes, dtype=np.intp)
    return codes, np.unique(codes, return_index=True)[1]


def like(values, listed):
    """Return a list of values in the container and type of a column."""
    if hasattr(values, "iloc"):
        import pandas as pd

        return pd.Series(listed, dtype=values.dtype)
    return _to_objects(listed).astype(values.dtype)


def _to_objects(listed):
    """Return a list as an array of objects."""
    objects = np.empty(len(listed), dtype=object)
    objects[:] = listed
    return objects


def _to_limits(values, bounds, name, is_integer):
    """Return the bounds of a column in its type."""
    try:
        limits = like(values, list(bounds))
        in_order = len(limits) == 2 and bool(
            take(limits, [0])[0] <= take(limits, [1])[0]
        )
        is_date = getattr(limits.dtype, "kind", "O") in "mM"
        if is_integer and not is_date and [int(end) for end in bounds] != [*bounds]:
            raise ValueError("integers have no fraction")
        if not (is_integer or np.isfinite(np.asarray(limits, dtype=float)).all()):
            raise ValueError("they must be finite")
    except (OverflowError, TypeError, ValueError) as error:
        raise ValueError(
            f"bounds of {name!r} must be two values of its type, got {bounds!r} "
            f"({error})."
        ) from error
    if not in_order:
        raise ValueError(
            f"bounds of {name!r} must be two values, the lower first, got {bounds!r}."
        )
    return limits


def _holds_integers(present, name):
    """Tell whether a column holds integers, dates or durations by its type."""
    if getattr(present.dtype, "kind", "O") in "iumM":
        return True
    values = present.tolist() if present.dtype == object else []
    if not values or not all(isinstance(v, Integral) for v in values):
        return False
    if not -(2**63) <= min(values) <= max(values) < 2**63:
        raise ValueError(
            f"The column {name!r} holds integers beyond 64 bits. Name it in "
            "categorical_features, or convert it by astype(float)."
        )
    return True


def _zone_of_days(present):
    """Return the time zone of dates that are whole days there, and None for others."""
    zone = getattr(present.dtype, "tz", None)
    if zone is None:
        return None
    local = present.dt.tz_localize(None)
    return zone if (local == local.dt.normalize()).all() else None


def _float_type(column):
    """Return the type of NumPy of a column of floats, float64 for objects."""
    dtype = getattr(column.dtype, "numpy_dtype", column.dtype)
    return dtype if dtype.kind == "f" else np.dtype(np.float64)


def _count_decimals(dtype, numbers):
    """Return how many decimals the values of a column have, or None for many."""
    exact = numbers.astype(dtype)
    for decimals in range(_MAX_DECIMALS + 1):
        with np.errstate(over="ignore", invalid="ignore"):
            if (np.round(numbers, decimals).astype(dtype) == exact).all():
                return decimals
    return None


def _shared_values(numbers, max_discrete):
    """Return the values that are states: all of few, else those of large shares."""
    values, counts = np.unique(numbers, return_counts=True)
    if len(values) <= max_discrete and 2 * len(values) <= len(numbers):
        return values
    return values[(counts > 1) & (counts * max_discrete >= len(numbers))]
