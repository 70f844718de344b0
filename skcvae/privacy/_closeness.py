"""Copies of, and distances to, the rows that a release was made from."""

from numbers import Real

import numpy as np
from sklearn.utils import Bunch, check_random_state
from sklearn.utils._param_validation import Interval, validate_params

from .._neighbors import nearest_neighbors
from .._record_sets import (
    check_disjoint,
    check_record_sets,
    is_among,
    same_size,
    scale_by,
)
from .._statistics import difference, proportion, quantile

_ROWS = {
    "X_synthetic": ["array-like"],
    "X_members": ["array-like"],
    "X_nonmembers": ["array-like"],
    "X_reference": ["array-like", None],
}


@validate_params(
    {**_ROWS, "X_nonmembers": ["array-like", None]},
    prefer_skip_nested_validation=True,
)
def exact_copies(X_synthetic, X_members, X_nonmembers=None, *, X_reference=None):
    """Count synthetic rows that are copies of members, and members nearly copied.

    Rows are compared value for value, in the lower of the two precisions. With
    non-members, members with a synthetic row nearer than a threshold are counted, too:
    the 1 % quantile of the distances from a non-member to its nearest member. As many
    non-members are expected to be that near to a synthetic row by chance, where the
    synthetic rows are as many and of the same distribution: compare the two shares.

    Parameters
    ----------
    X_synthetic : array-like of shape (n_synthetic, n_features)
        Released rows.

    X_members : array-like of shape (n_members, n_features)
        Rows that the release was made from.

    X_nonmembers : array-like of shape (n_nonmembers, n_features), default=None
        Rows of the same distribution that it was not made from. None counts exact
        copies only.

    X_reference : array-like of shape (n_reference, n_features), default=None
        Rows whose spread, one number for all features, scales distances.
        None takes the non-members.

    Returns
    -------
    copies : Bunch
        `n_synthetic`, the number of synthetic rows that equal a member, and
        `synthetic`, their share; `n_members`, the number of members that a synthetic
        row equals, and `members`, their share. With non-members also `near_members`
        and `near_nonmembers`, the shares nearer than `threshold` to a synthetic row.
        Shares are in [0, 1], with Wilson's interval over the rows that they are
        shares of; lower is better. None found is no evidence of privacy.

    Raises
    ------
    ValueError
        If a member equals a non-member, or rows do not fit together.

    Examples
    --------
    >>> from skcvae.privacy import exact_copies
    >>> copies = exact_copies([[1, 2], [1, 2], [5, 5]], [[1, 2], [3, 4]])
    >>> copies.n_synthetic, copies.n_members
    (2, 1)
    """
    sets = check_record_sets(X_synthetic=X_synthetic, X_members=X_members)
    S, M = sets.values()
    n_synthetic = int(is_among(S, M).sum())
    n_members = int(is_among(M, S).sum())
    copies = Bunch(
        n_synthetic=n_synthetic,
        synthetic=proportion(n_synthetic, len(S)),
        n_members=n_members,
        members=proportion(n_members, len(M)),
    )
    if X_nonmembers is not None:
        scaled = _scaled(X_synthetic, X_members, X_nonmembers, X_reference)
        copies.update(_near_copies(*scaled))
    return copies


def _near_copies(S, M, H):
    """Return the shares of members and of non-members near to a synthetic row."""
    threshold = float(np.quantile(_closest(H, M), 0.01))
    near = (np.count_nonzero(_closest(rows, S) < threshold) for rows in (M, H))
    near_members, near_nonmembers = near
    return Bunch(
        threshold=threshold,
        near_members=proportion(near_members, len(M)),
        near_nonmembers=proportion(near_nonmembers, len(H)),
    )


@validate_params(
    {**_ROWS, "random_state": ["random_state"]}, prefer_skip_nested_validation=True
)
def distance_to_closest_record_share(
    X_synthetic, X_members, X_nonmembers, *, X_reference=None, random_state=None
):
    r"""Estimate the share of synthetic rows that are nearer to a member.

    Nearer than to any non-member, that is; ties count half. It is 0.5 for synthetic
    rows that know nothing of the members, if there are as many members as non-members:
    a random part of the larger set is used.

    .. note::
       An overfitting alarm. A share of 0.5 is not evidence of privacy: data that pass
       this test can be highly vulnerable to membership inference [1]_, and copies of
       a few members average out.

    Parameters
    ----------
    X_synthetic : array-like of shape (n_synthetic, n_features)
        Released rows.

    X_members : array-like of shape (n_members, n_features)
        Rows that the release was made from.

    X_nonmembers : array-like of shape (n_nonmembers, n_features)
        Rows of the same distribution that it was not made from.

    X_reference : array-like of shape (n_reference, n_features), default=None
        Rows whose spread, one number for all features, scales distances. None takes
        the non-members.

    random_state : int, RandomState instance or None, default=None
        Draws the part of the larger set.

    Returns
    -------
    share : Estimate
        In [0, 1]; lower is better, down to 0.5. Synthetic rows with the same nearest
        record agree, and count as one cluster: Wilson's interval is that of
        :math:`m^2 / \sum_i c_i^2` independent ones, where the record i is nearest to
        :math:`c_i` of m synthetic rows (Kish). It is wide rather than narrow.

    Raises
    ------
    ValueError
        If a member equals a non-member, or rows do not fit together.

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
    to_member, member = _closest_row(S, M)
    to_nonmember, nonmember = _closest_row(S, H)
    nearer = (to_member < to_nonmember) + (to_member == to_nonmember) / 2
    record = np.where(to_member <= to_nonmember, member, len(M) + nonmember)
    n_clusters = len(S) ** 2 / np.square(np.bincount(record)).sum()
    return proportion(nearer.mean() * n_clusters, n_clusters)


@validate_params(
    {
        **_ROWS,
        "q": [Interval(Real, 0, 1, closed="neither")],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def nndr(
    X_synthetic, X_members, X_nonmembers, *, q=0.05, X_reference=None, random_state=None
):
    """Compare nearest-neighbour distance ratios to members and to non-members.

    The ratio of a synthetic row is its distance to the nearest over that to the
    second-nearest row. A small ratio says that the row sits at one record and at no
    other. In high dimension, all ratios are near 1.

    Parameters
    ----------
    X_synthetic : array-like of shape (n_synthetic, n_features)
        Released rows.

    X_members : array-like of shape (n_members, n_features)
        Rows that the release was made from, at least two.

    X_nonmembers : array-like of shape (n_nonmembers, n_features)
        Rows of the same distribution that it was not made from, at least two. A random
        part of the larger set is used.

    q : float, default=0.05
        Quantile of the ratios to compare.

    X_reference : array-like of shape (n_reference, n_features), default=None
        Rows whose spread, one number for all features, scales distances. None takes
        the non-members.

    random_state : int, RandomState instance or None, default=None
        Draws the part of the larger set.

    Returns
    -------
    ratios : Bunch
        `members` and `nonmembers`, the quantiles in [0, 1] with intervals between
        order statistics, over synthetic rows. Lower against members than against
        non-members is an overfitting alarm; the same is no evidence of privacy. A row
        equal to two records has the ratio 0, as any copy.

    Raises
    ------
    ValueError
        If a member equals a non-member, or rows do not fit together.

    Examples
    --------
    >>> from skcvae.privacy import nndr
    >>> ratios = nndr([[0.0], [10.5]], [[0], [10]], [[1], [11]], q=0.5)
    >>> round(ratios.members.value, 3), round(ratios.nonmembers.value, 3)
    (0.024, 0.072)
    """
    S, M, H = _scaled(X_synthetic, X_members, X_nonmembers, X_reference)
    M, H = same_size(M, H, check_random_state(random_state))
    members, nonmembers = (quantile(_distance_ratios(S, rows), q) for rows in (M, H))
    return Bunch(members=members, nonmembers=nonmembers)


def _distance_ratios(S, rows):
    """Return the distance to the nearest over that to the second-nearest row."""
    nearest, second = nearest_neighbors(S, rows, 2)[0].T
    return np.divide(nearest, second, out=np.zeros_like(nearest), where=second > 0)


@validate_params(
    {**_ROWS, "random_state": ["random_state"]}, prefer_skip_nested_validation=True
)
def identifiability(
    X_synthetic, X_members, X_nonmembers, *, X_reference=None, random_state=None
):
    """Estimate the share of members with a synthetic row nearer than another member.

    The identifiability of ADS-GAN [1]_, with the same for non-members beside it: the
    share grows with the number of synthetic rows, and can be above one half for rows
    that know nothing of the members, so that only the difference says something.
    ADS-GAN weights features by their inverse entropy; here all features have the same
    weight, because those of an embedding mean nothing one by one.

    Parameters
    ----------
    X_synthetic : array-like of shape (n_synthetic, n_features)
        Released rows.

    X_members : array-like of shape (n_members, n_features)
        Rows that the release was made from, at least two.

    X_nonmembers : array-like of shape (n_nonmembers, n_features)
        Rows of the same distribution that it was not made from, at least two. A random
        part of the larger set is used: rows of a larger set are nearer to each other.

    X_reference : array-like of shape (n_reference, n_features), default=None
        Rows whose spread, one number for all features, scales distances. None takes
        the non-members.

    random_state : int, RandomState instance or None, default=None
        Draws the part of the larger set.

    Returns
    -------
    shares : Bunch
        `members` and `nonmembers` in [0, 1], and their `difference` in [-1, 1], lower
        is better, down to 0. Intervals are over members and non-members, given the
        synthetic rows.

    Raises
    ------
    ValueError
        If a member equals a non-member, or rows do not fit together.

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
    members, nonmembers = (_identifiable(S, rows) for rows in (M, H))
    gap = difference(members, nonmembers)
    return Bunch(members=members, nonmembers=nonmembers, difference=gap)


def _identifiable(S, rows):
    """Return the share of rows nearer to a synthetic row than to one another."""
    among_themselves = nearest_neighbors(rows, rows, exclude_self=True)[0][:, 0]
    return proportion(np.count_nonzero(_closest(rows, S) < among_themselves), len(rows))


def _scaled(X_synthetic, X_members, X_nonmembers, X_reference):
    """Return checked rows on the scale of the reference, or of the non-members."""
    sets = check_record_sets(
        X_synthetic=X_synthetic,
        X_members=X_members,
        X_nonmembers=X_nonmembers,
        X_reference=X_reference,
    )
    S, M, H = (sets[f"X_{name}"] for name in ("synthetic", "members", "nonmembers"))
    check_disjoint(X_members=M, X_nonmembers=H)
    return scale_by(sets.get("X_reference", H), S, M, H)


def _closest(rows, others):
    """Return the distance of each row to the nearest of the others."""
    return _closest_row(rows, others)[0]


def _closest_row(rows, others):
    """Return that distance, and which of the others it is."""
    distances, indices = nearest_neighbors(rows, others)
    return distances[:, 0], indices[:, 0]
