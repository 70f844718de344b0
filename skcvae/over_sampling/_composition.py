"""What samplers with a list of named samplers inside share."""

from typing import Any, Self

import numpy as np
from sklearn.utils import check_random_state, get_tags
from sklearn.utils.metaestimators import _BaseComposition

from .._seeds import draw_seeds
from ._base import BaseDenseOverSampler
from ._wrapping import check_sampler


class BaseComposedOverSampler(BaseDenseOverSampler, _BaseComposition):
    """Over-sampler with a list of (name, sampler) and a seed.

    A subclass says in `_named` which parameter the list is, in `_member` what errors
    call one of its samplers, and draws in `_draw_samples`.
    """

    _named: str
    _member: str

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters, those of the samplers inside included.

        Parameters
        ----------
        deep : bool, default=True
            Whether to return the samplers by name, and their parameters, too.

        Returns
        -------
        params : dict
            From name to value.
        """
        return self._get_params(self._named, deep=deep)

    def set_params(self, **params: Any) -> Self:
        """Set parameters; samplers and their parameters are set by the name given.

        Parameters
        ----------
        **params : dict
            From name to value.

        Returns
        -------
        self : object
            The sampler.
        """
        self._set_params(self._named, **params)
        return self

    def _members(self):
        return getattr(self, self._named)

    def _check_members(self):
        members, owner = self._members(), type(self).__name__
        if not members or not all(map(_is_named, members)):
            raise ValueError(
                f"{self._named} must be a list of at least one (name, sampler), got "
                f"{members!r}."
            )
        self._validate_names([name for name, _ in members])
        for name, sampler in members:
            check_sampler(sampler, owner, f"{self._member} {name!r}")
            tagged = hasattr(sampler, "__sklearn_tags__")
            if tagged and not get_tags(sampler).input_tags.two_d_array:
                raise ValueError(
                    f"The {self._member} {name!r} of {owner} makes images, not samples "
                    "of features. Put it before the embedder, with "
                    "sampling_strategy=RatioStrategy(missing_share=...) for its share, "
                    f"and {owner} behind the embedder."
                )

    def _draw_member_seeds(self):
        """Return a seed for each: equal samplers must draw different samples."""
        n_members = len(self._members())
        if self.random_state is None:
            return [None] * n_members
        return draw_seeds(check_random_state(self.random_state), n_members)


def _is_named(member):
    return isinstance(member, tuple) and len(member) == 2 and isinstance(member[0], str)


def largest_remainder(shares, total):
    """Split a whole number by shares that sum to 1; ties go to the first.

    Each part is its share of the number, rounded down, and the parts that lost most get
    one more.
    """
    exact = np.asarray(shares) * total
    # Rounding errors must not take one from a whole number.
    parts = np.floor(exact + 1e-9).astype(int)
    order = np.argsort(parts - exact, kind="stable")
    parts[order[: total - parts.sum()]] += 1
    return parts
