"""Copies of members, and distances of synthetic samples to them."""

from numbers import Real

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import Bunch, check_random_state
from sklearn.utils._param_validation import Interval, validate_params

from .._neighbors import nearest_distances, nearest_neighbors
from .._record_sets import (
    array_likes,
    check_disjoint,
    check_record_sets,
    is_among,
    same_size,
    scale_by,
)
from .._statistics import Estimate, difference, proportion, quantile, share_of

_SETS = {
    **array_likes("X_synthetic", "X_members", "X_nonmembers"),
    "X_reference": ["array-like", None],
}


@validate_params(
    {**_SETS, "X_nonmembers": ["array-like", None]},
    prefer_skip_nested_validation=True,
)
def exact_copies(
    X_synthetic: ArrayLike,
    X_members: ArrayLike,
    X_nonmembers: ArrayLike | None = None,
    *,
    X_reference: ArrayLike | None = None,
) -> Bunch:
    """Count synthetic samples that are copies of members, and members nearly copied.

    Samples are compared value for value, in the lower of the two precisions. With
    non-members, members with a synthetic sample nearer than a threshold are counted,
    too: the 1 % quantile of the distances from a non-member to its nearest member. As
    many non-members are expected to be that near to a synthetic sample by chance, where
    the synthetic samples are as many and of the same distribution: compare the two
    shares.

    Parameters
    ----------
    X_synthetic : array-like of shape (n_synthetic, n_features)
        Released samples.

    X_members : array-like of shape (n_members, n_features)
        Samples that the release was made from.

    X_nonmembers : array-like of shape (n_nonmembers, n_features), default=None
        Samples of the same distribution that it was not made from. None counts exact
        copies only.

    X_reference : array-like of shape (n_reference, n_features), default=None
        Samples whose spread, one number for all features, scales distances.
        None takes the non-members.

    Returns
    -------
    copies : Bunch
        `n_synthetic`, the number of synthetic samples that equal a member, and
        `synthetic`, their share; `n_members`, the number of members that a synthetic
        sample equals, and `members`, their share. With non-members also `near_members`
        and `near_nonmembers`, the shares nearer than `threshold` to a synthetic sample.
        Shares are in [0, 1], with Wilson's interval over the samples that they are
        shares of; lower is better. None found is no evidence of privacy.

    Raises
    ------
    ValueError
        If a member equals a non-member, or samples do not fit together.

    Examples
    --------
    >>> from skcvae.privacy import exact_copies
    >>> copies = exact_copies([[1, 2], [1, 2], [5, 5]], [[1, 2], [3, 4]])
    >>> copies.n_synthetic, copies.n_members
    (2, 1)
    """
    S, M = check_record_sets(X_synthetic=X_synthetic, X_members=X_members).values()
    n_synthetic, n_members = int(is_among(S, M).sum()), int(is_among(M, S).sum())
    copies = Bunch(
        n_synthetic=n_synthetic,
        synthetic=proportion(n_synthetic, len(S)),
        n_members=n_members,
        members=proportion(n_members, len(M)),
    )
    if X_nonmembers is not None:
        S, M, H = _scaled(X_synthetic, X_members, X_nonmembers, X_reference)
        copies.threshold = float(np.quantile(nearest_distances(H, M), 0.01))
        copies.near_members, copies.near_nonmembers = (
            share_of(nearest_distances(X, S) < copies.threshold) for X in (M, H)
        )
    return copies


@validate_params(
    {**_SETS, "random_state": ["random_state"]}, prefer_skip_nested_validation=True
)
def distance_to_closest_record_share(
    X_synthetic: ArrayLike,
    X_members: ArrayLike,
    X_nonmembers: ArrayLike,
    *,
    X_reference: ArrayLike | None = None,
    random_state: int | np.random.RandomState | None = None,
) -> Estimate:
    r"""Estimate the share of synthetic samples that are nearest to a member.

    The share of those that are nearer to a member than to any non-member; ties count
    half. It is 0.5 for synthetic samples that do not depend on the members: a random
    part of the larger set is used, so that both are as large.

    .. note::
       An overfitting alarm. A share of 0.5 is not evidence of privacy: data that pass
       this test can be highly vulnerable to membership inference [1]_, and copies of
       a few members average out.

    Parameters
    ----------
    X_synthetic : array-like of shape (n_synthetic, n_features)
        Released samples.

    X_members : array-like of shape (n_members, n_features)
        Samples that the release was made from.

    X_nonmembers : array-like of shape (n_nonmembers, n_features)
        Samples of the same distribution that it was not made from.

    X_reference : array-like of shape (n_reference, n_features), default=None
        Samples whose spread, one number for all features, scales distances. None takes
        the non-members.

    random_state : int, RandomState instance or None, default=None
        Draws the part of the larger set.

    Returns
    -------
    share : Estimate
        In [0, 1]; lower is better, down to 0.5. Synthetic samples with the same nearest
        record agree, and count as one cluster: Wilson's interval is that of
        :math:`m^2 / \sum_i c_i^2` independent ones, where the record i is nearest to
        :math:`c_i` of m synthetic samples (Kish). It is rather too wide than too
        narrow.

    Raises
    ------
    ValueError
        If a member equals a non-member, or samples do not fit together.

    References
    ----------
    .. [1] Z. Yao, N. Krčo, G. Ganev and Y.-A. de Montjoye, "The DCR Delusion: Measuring
       the Privacy Risk of Synthetic Data", 2025, `arXiv 2505.01524
       <https://arxiv.org/abs/2505.01524>`_.

    Examples
    --------
    >>> from skcvae.privacy import distance_to_closest_record_share
    >>> distance_to_closest_record_share([[1], [2], [9]], [[0], [3]], [[8], [11]]).value
    0.6666666666666666
    """
    S, M, H = _scaled(X_synthetic, X_members, X_nonmembers, X_reference)
    M, H = same_size(M, H, check_random_state(random_state))
    (to_member, member), (to_nonmember, nonmember) = (
        (found[:, 0] for found in nearest_neighbors(S, X)) for X in (M, H)
    )
    nearer = (to_member < to_nonmember) + (to_member == to_nonmember) / 2
    record = np.where(to_member <= to_nonmember, member, len(M) + nonmember)
    n_clusters = len(S) ** 2 / np.square(np.bincount(record)).sum()
    return proportion(nearer.mean() * n_clusters, n_clusters)


@validate_params(
    {
        **_SETS,
        "q": [Interval(Real, 0, 1, closed="neither")],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def nndr(
    X_synthetic: ArrayLike,
    X_members: ArrayLike,
    X_nonmembers: ArrayLike,
    *,
    q: float = 0.05,
    X_reference: ArrayLike | None = None,
    random_state: int | np.random.RandomState | None = None,
) -> Bunch:
    """Compare nearest-neighbour distance ratios to members and to non-members.

    The ratio of a synthetic sample is its distance to the nearest over that to the
    second-nearest sample. A small ratio says that the sample sits at one record and at
    no other. In high dimension, all ratios are near 1.

    Parameters
    ----------
    X_synthetic : array-like of shape (n_synthetic, n_features)
        Released samples.

    X_members : array-like of shape (n_members, n_features)
        Samples that the release was made from, at least two.

    X_nonmembers : array-like of shape (n_nonmembers, n_features)
        Samples of the same distribution that it was not made from, at least two. A
        random part of the larger set is used.

    q : float, default=0.05
        Quantile of the ratios to compare.

    X_reference : array-like of shape (n_reference, n_features), default=None
        Samples whose spread, one number for all features, scales distances. None takes
        the non-members.

    random_state : int, RandomState instance or None, default=None
        Draws the part of the larger set.

    Returns
    -------
    ratios : Bunch
        `members` and `nonmembers`, the quantiles in [0, 1] with intervals between order
        statistics, over synthetic samples. Lower against members than against
        non-members is an overfitting alarm; the same is no evidence of privacy. A
        sample equal to two records has the ratio 0, as any copy.

    Raises
    ------
    ValueError
        If a member equals a non-member, or samples do not fit together.

    Examples
    --------
    >>> from skcvae.privacy import nndr
    >>> ratios = nndr([[0.0], [10.5]], [[0], [10]], [[1], [11]], q=0.5)
    >>> round(ratios.members.value, 3), round(ratios.nonmembers.value, 3)
    (0.024, 0.072)
    """
    S, M, H = _scaled(X_synthetic, X_members, X_nonmembers, X_reference)
    M, H = same_size(M, H, check_random_state(random_state))
    members, nonmembers = (quantile(_distance_ratios(S, X), q) for X in (M, H))
    return Bunch(members=members, nonmembers=nonmembers)


def _distance_ratios(S, rows):
    nearest, second = nearest_neighbors(S, rows, 2)[0].T
    return np.divide(nearest, second, out=np.zeros_like(nearest), where=second > 0)


@validate_params(
    {**_SETS, "random_state": ["random_state"]}, prefer_skip_nested_validation=True
)
def identifiability(
    X_synthetic: ArrayLike,
    X_members: ArrayLike,
    X_nonmembers: ArrayLike,
    *,
    X_reference: ArrayLike | None = None,
    random_state: int | np.random.RandomState | None = None,
) -> Bunch:
    """Estimate the share of members with a synthetic sample nearer than another member.

    The identifiability of ADS-GAN [1]_, with the same for non-members beside it: the
    share grows with the number of synthetic samples, and can be above one half without
    any leak, so that only the difference counts. ADS-GAN weights features by their
    inverse entropy; here all features have the same weight, because single features of
    an embedding have no meaning.

    Parameters
    ----------
    X_synthetic : array-like of shape (n_synthetic, n_features)
        Released samples.

    X_members : array-like of shape (n_members, n_features)
        Samples that the release was made from, at least two.

    X_nonmembers : array-like of shape (n_nonmembers, n_features)
        Samples of the same distribution that it was not made from, at least two. A
        random part of the larger set is used: samples of a larger set are nearer to
        each other.

    X_reference : array-like of shape (n_reference, n_features), default=None
        Samples whose spread, one number for all features, scales distances. None takes
        the non-members.

    random_state : int, RandomState instance or None, default=None
        Draws the part of the larger set.

    Returns
    -------
    shares : Bunch
        `members` and `nonmembers` in [0, 1], and their `difference` in [-1, 1], lower
        is better, down to 0. Intervals are over members and non-members, given the
        synthetic samples.

    Raises
    ------
    ValueError
        If a member equals a non-member, or samples do not fit together.

    References
    ----------
    .. [1] J. Yoon, L. N. Drumright and M. van der Schaar, "Anonymization Through Data
       Synthesis Using Generative Adversarial Networks (ADS-GAN)", IEEE Journal of
       Biomedical and Health Informatics 24, 2020.

    Examples
    --------
    >>> from skcvae.privacy import identifiability
    >>> shares = identifiability([[0.5], [3.5]], [[0], [3]], [[6], [8]])
    >>> shares.members.value, shares.nonmembers.value
    (1.0, 0.0)
    """
    S, M, H = _scaled(X_synthetic, X_members, X_nonmembers, X_reference)
    M, H = same_size(M, H, check_random_state(random_state))
    members, nonmembers = (
        share_of(nearest_distances(X, S) < nearest_distances(X, X, exclude_self=True))
        for X in (M, H)
    )
    gap = difference(members, nonmembers)
    return Bunch(members=members, nonmembers=nonmembers, difference=gap)


def _scaled(X_synthetic, X_members, X_nonmembers, X_reference):
    """Return checked samples on the scale of the reference, or of the non-members."""
    sets = check_record_sets(
        X_synthetic=X_synthetic,
        X_members=X_members,
        X_nonmembers=X_nonmembers,
        X_reference=X_reference,
    )
    S, M, H = (sets[f"X_{name}"] for name in ("synthetic", "members", "nonmembers"))
    check_disjoint(X_members=M, X_nonmembers=H)
    return scale_by(sets.get("X_reference", H), S, M, H)
