"""Tables as scores and states, and back."""

import copyreg

import numpy as np

from ..._tables import column_at, column_names, take
from ._columns import CategoryColumn, NumberColumn
from ._scores import OneHot

# Entries of the code of a column. Rarer categories share one.
_MAX_CODES = 50


class TableEncoding:
    """Scores of the numbers and states of all columns of a table.

    The parameters are those of :class:`TableGenerator`. `max_discrete=None` lets the
    encoding depend on nothing but the bounds and categories, which all columns then
    need.
    """

    def __init__(self, table, is_categorical, bounds, categories, max_discrete):
        names = column_names(table)
        self._check_names(names, is_categorical, bounds, categories, max_discrete)
        self._is_given = max_discrete is None
        self._columns = [
            CategoryColumn(name, categories.get(name))
            if listed
            else NumberColumn(name, bounds.get(name), max_discrete)
            for name, listed in zip(names, is_categorical, strict=True)
        ]
        self._numbers = [j for j, c in enumerate(self._columns) if c.is_number]
        self.n_numbers = len(self._numbers)
        self._empty = take(table, np.arange(0))

    @staticmethod
    def _check_names(names, is_categorical, bounds, categories, max_discrete):
        """Refuse bounds of unknown columns, and what lacks them where all need them."""
        listed = [n for n, c in zip(names, is_categorical, strict=True) if c]
        others = [n for n, c in zip(names, is_categorical, strict=True) if not c]
        for what, given, known in (
            ("bounds", bounds, others),
            ("categories", categories, listed),
        ):
            unknown = [name for name in given if name not in known]
            if unknown:
                kind = "numbers" if what == "bounds" else "categories"
                raise ValueError(
                    f"{what} names {unknown}, which are no columns of {kind}: these "
                    f"are {known}."
                )
            lacking = [name for name in known if name not in given]
            if max_discrete is None and lacking:
                raise ValueError(
                    f"encoding='given' learns nothing of the samples but by the "
                    f"generator: give {what} of the columns {lacking}, too."
                )

    def fit(self, table, rng, is_private=False):
        """Learn the columns; return scores, states and numbers of the samples.

        Scores are NaN for numbers that are states. The state is -1 for categories that
        are not listed. Missing numbers are NaN.
        """
        states = np.zeros(table.shape, dtype=np.intp)
        numbers = np.zeros((len(table), self.n_numbers))
        for j, column in enumerate(self._columns):
            found = column.fit(column_at(table, j))
            if column.is_number:
                states[:, j], numbers[:, self._numbers.index(j)] = found
            else:
                states[:, j] = found
        if not is_private:
            self._check_values(states, numbers)
        n_states = [len(column.states) for column in self._columns]
        width = max(n_states) if self._is_given else _MAX_CODES
        counted = states[:0] if self._is_given else states
        self.one_hot = OneHot(counted, n_states, width)
        scores = [
            self._columns[j].fit_scores(states[:, j], numbers[:, k], rng)
            for k, j in enumerate(self._numbers)
        ]
        return np.reshape(scores, numbers.shape[::-1]).T, states, numbers

    def _check_values(self, states, numbers):
        """Refuse training samples outside of bounds and categories."""
        for j, column in enumerate(self._columns):
            n_outside, remedy = int((states[:, j] < 0).sum()), "categories"
            if column.is_number:
                own = numbers[:, self._numbers.index(j)]
                n_missing = int(np.isnan(own).sum()) if self._is_given else 0
                if n_missing:
                    raise ValueError(
                        f"{n_missing} training samples lack a number in the column "
                        f"{column.name!r}, which encoding='given' cannot express: fill "
                        "or drop them."
                    )
                n_outside = int(((own < column.low) | (own > column.high)).sum())
                remedy = "bounds"
            if n_outside:
                raise ValueError(
                    f"{n_outside} training samples lie outside of the {remedy} of the "
                    f"column {column.name!r}. Widen them, or drop the samples."
                )

    def is_scored(self, states):
        """Mark the numbers that are no states, shape (n, n_numbers)."""
        return states[:, self._numbers] == 0

    def to_numbers(self, scores):
        """Return the numbers of scores, both of shape (n, n_numbers)."""
        numbers = np.empty(scores.shape)
        for k, j in enumerate(self._numbers):
            numbers[:, k] = self._columns[j].to_numbers(scores[:, k])
        return numbers

    def snap(self, numbers):
        """Return the nearest numbers that the columns can hold."""
        snapped = np.empty(numbers.shape)
        for k, j in enumerate(self._numbers):
            snapped[:, k] = self._columns[j].snap(numbers[:, k])
        return snapped

    def __reduce_ex__(self, protocol):
        """Return what pickle and joblib store."""
        return copyreg.__newobj__, (type(self),), vars(self)

    def __reduce__(self):
        """Refuse columns of pandas; skops asks for this method, and pickle does not."""
        if hasattr(self._empty, "iloc"):
            raise TypeError(
                "skops cannot store a TableGenerator that was fitted to a data frame, "
                "whose columns it holds. Save it by joblib, or fit it to an array."
            )
        return self.__reduce_ex__(2)

    def to_table(self, states, numbers):
        """Return a table of states, and of numbers where the state is 0."""
        place = {j: k for k, j in enumerate(self._numbers)}
        columns = [
            column.decode(states[:, j], numbers[:, place[j]] if j in place else None)
            for j, column in enumerate(self._columns)
        ]
        if hasattr(self._empty, "iloc"):
            import pandas as pd

            table = pd.concat(columns, axis=1)
            table.columns = self._empty.columns
            return table
        table = np.empty((len(states), len(columns)), dtype=self._empty.dtype)
        for j, column in enumerate(columns):
            table[:, j] = column
        return table
