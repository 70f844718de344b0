"""Attacks that tell whether a record was among those that a release was made from."""

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, clone
from sklearn.utils import Bunch
from sklearn.utils._param_validation import (
    HasMethods,
    StrOptions,
    validate_params,
)

from .._neighbors import nearest_distances, nearest_neighbors
from .._record_sets import (
    array_likes,
    check_common_labels,
    check_disjoint,
    check_one_label_per_sample,
    check_record_sets,
    scale_by,
)
from .._statistics import difference, share_of
from ._attack_result import AttackResult, attack_result


@validate_params(
    {
        **array_likes("X_synthetic", "X_members", "X_nonmembers"),
        "X_reference": ["array-like", None],
        "calibrate": ["boolean"],
        "scale": [StrOptions({"common", "feature"})],
    },
    prefer_skip_nested_validation=True,
)
def nearest_neighbor_attack(
    X_synthetic: ArrayLike,
    X_members: ArrayLike,
    X_nonmembers: ArrayLike,
    X_reference: ArrayLike | None = None,
    *,
    calibrate: bool = True,
    scale: str = "common",
) -> AttackResult:
    r"""Attack by the distance to the nearest synthetic sample.

    The score of a record x is :math:`-d(x, S) / d(x, R)`, the distance to the nearest
    synthetic sample over that to the nearest sample of the attacker's own data [1]_.
    Without calibration it is :math:`-d(x, S)`, by which records in dense regions look
    like members, whether they are or not.

    Parameters
    ----------
    X_synthetic : array-like of shape (n_synthetic, n_features)
        Released samples.

    X_members : array-like of shape (n_members, n_features)
        Samples that the release was made from.

    X_nonmembers : array-like of shape (n_nonmembers, n_features)
        Samples of the same distribution that it was not made from, and of other groups,
        such as other patients.

    X_reference : array-like of shape (n_reference, n_features), default=None
        The attacker's own samples of the same distribution, neither members nor
        non-members. Their standard deviations scale the features. A small set makes
        the calibration noisy. None takes the scale of the synthetic samples, and is for
        `calibrate=False`.

    calibrate : bool, default=True
        Whether to divide by the distance to the reference.

    scale : {"common", "feature"}, default="common"
        Whether distances are taken with one scale for all features, as those of an
        embedding have it, or each feature is divided by its standard deviation.

    Returns
    -------
    result : AttackResult
        AUC and true-positive rate with intervals; lower is better for privacy, down
        to 0.5 and 0.01. A lower bound: stronger attacks may exist.

    Raises
    ------
    ValueError
        If `calibrate` is without a reference, two of the real sets share a sample, or
        samples do not fit together.

    References
    ----------
    .. [1] D. Chen, N. Yu, Y. Zhang and M. Fritz, "GAN-Leaks: A Taxonomy of Membership
       Inference Attacks against Generative Models", CCS 2020, `arXiv 1909.03935
       <https://arxiv.org/abs/1909.03935>`_.

    Examples
    --------
    >>> import numpy as np
    >>> from skcvae.privacy import nearest_neighbor_attack
    >>> rng = np.random.RandomState(0)
    >>> X, X_nonmembers, X_reference = rng.randn(3, 100, 5)
    >>> X_synthetic = X + 0.1 * rng.randn(*X.shape)
    >>> result = nearest_neighbor_attack(X_synthetic, X, X_nonmembers, X_reference)
    >>> round(result.auc.value, 2)
    0.99
    """
    if X_reference is None and calibrate:
        raise ValueError(
            "calibrate=True needs X_reference, samples that are neither members nor "
            "non-members. Without them, use calibrate=False."
        )
    sets = (X_synthetic, X_members, X_nonmembers, X_reference)
    S, M, H, R = scaled_sets(*sets, scale)
    scores = (_nearest_scores(S, R if calibrate else None, rows) for rows in (M, H))
    name = "nearest_neighbor" if scale == "common" else "nearest_by_feature"
    return attack_result(name if calibrate else f"{name}_uncalibrated", *scores)


def _nearest_scores(S, R, X):
    """Return minus the distance to S, over that to R."""
    distance = nearest_distances(X, S)
    return -distance if R is None else distance_ratio(distance, nearest_distances(X, R))


def distance_ratio(to_release, to_reference):
    """Return minus the distance to the release, over that to the reference."""
    # Not 0, or the samples would not be disjoint, but for an underflow.
    return -to_release / np.maximum(to_reference, np.finfo(np.float32).tiny)


@validate_params(
    array_likes("minimum", "maximum", "X_members", "X_nonmembers"),
    prefer_skip_nested_validation=True,
)
def scaler_attack(
    minimum: ArrayLike,
    maximum: ArrayLike,
    X_members: ArrayLike,
    X_nonmembers: ArrayLike,
) -> Bunch:
    r"""Attack by the extremes that a min-max scaler shipped with a model.

    A record that attains the released minimum or maximum of a feature was in the
    training set. Of n records with d independent features, a share of about
    :math:`1 - e^{-2 d / n}` attains one: nearly all of a small data set of embeddings.
    No release of skcvae holds such extremes.

    Parameters
    ----------
    minimum, maximum : array-like of shape (n_features,)
        Released extremes of the features. Where both are the same, the feature is
        left out.

    X_members : array-like of shape (n_members, n_features)
        Samples that the extremes were taken from.

    X_nonmembers : array-like of shape (n_nonmembers, n_features)
        Samples of the same distribution that they were not taken from.

    Returns
    -------
    rates : Bunch
        `tpr`, the share of members accused, and `fpr`, that of non-members, in [0, 1],
        with Wilson's intervals. Lower is better for privacy.

    Raises
    ------
    ValueError
        If members and non-members share a sample, or shapes do not fit together.

    Examples
    --------
    >>> from skcvae.privacy import scaler_attack
    >>> X = [[0.0, 5.0], [1.0, 7.0], [0.5, 6.0]]
    >>> rates = scaler_attack([0.0, 5.0], [1.0, 7.0], X, [[0.2, 5.5], [0.1, 6.1]])
    >>> rates.tpr.value, rates.fpr.value
    (0.6666666666666666, 0.0)
    """
    sets = check_record_sets(
        minimum=np.atleast_2d(minimum),
        maximum=np.atleast_2d(maximum),
        X_members=X_members,
        X_nonmembers=X_nonmembers,
    )
    low, high, M, H = sets.values()
    check_disjoint(X_members=M, X_nonmembers=H)
    varying = (low < high).ravel()
    accused = [((low == X) | (high == X))[:, varying].any(axis=1) for X in (M, H)]
    tpr, fpr = map(share_of, accused)
    return Bunch(tpr=tpr, fpr=fpr)


@validate_params(
    {
        **array_likes("X_synthetic", "y_synthetic", "X_members", "y_members"),
        **array_likes("X_nonmembers", "y_nonmembers"),
        "estimator": [HasMethods(["fit", "predict"]), None],
        "X_reference": ["array-like", None],
    },
    prefer_skip_nested_validation=True,
)
def label_inference_gap(
    X_synthetic: ArrayLike,
    y_synthetic: ArrayLike,
    X_members: ArrayLike,
    y_members: ArrayLike,
    X_nonmembers: ArrayLike,
    y_nonmembers: ArrayLike,
    *,
    estimator: BaseEstimator | None = None,
    X_reference: ArrayLike | None = None,
) -> Bunch:
    """Compare how well labels of members and of non-members can be inferred.

    A classifier of synthetic samples predicts the label of a record whose features the
    attacker knows. To predict the labels of anybody is the purpose of a release. A
    higher accuracy for members than for others is leakage.

    Parameters
    ----------
    X_synthetic : array-like of shape (n_synthetic, n_features)
        Released samples.

    y_synthetic : array-like of shape (n_synthetic,)
        Their labels: classes, or another secret attribute.

    X_members : array-like of shape (n_members, n_features)
        Samples that the release was made from.

    y_members : array-like of shape (n_members,)
        Their labels.

    X_nonmembers : array-like of shape (n_nonmembers, n_features)
        Samples of the same distribution that it was not made from. Of another
        distribution, the difference would be one of utility.

    y_nonmembers : array-like of shape (n_nonmembers,)
        Their labels.

    estimator : classifier, default=None
        Classifier to train on the synthetic samples. None takes the label of the
        nearest one, which detects copies; a linear model does not.

    X_reference : array-like of shape (n_reference, n_features), default=None
        Samples whose spread scales all features. None takes that of the synthetic
        samples.

    Returns
    -------
    accuracies : Bunch
        `members` and `nonmembers` in [0, 1], and their `difference` in [-1, 1]; lower
        is better for privacy, down to 0. Intervals are over records, given the
        release.

    Raises
    ------
    ValueError
        If members and non-members share a sample, or samples and labels do not fit
        together.

    Examples
    --------
    >>> from skcvae.privacy import label_inference_gap
    >>> y = ["a", "b"]
    >>> accuracies = label_inference_gap(
    ...     [[0], [1]], y, [[0.1], [0.9]], y, [[0.2], [0.3]], y)
    >>> accuracies.members.value, accuracies.nonmembers.value
    (1.0, 0.5)
    """
    S, M, H, _ = scaled_sets(X_synthetic, X_members, X_nonmembers, X_reference)
    y_S, y_M, y_H = (
        check_one_label_per_sample(y, rows, name)
        for y, rows, name in (
            (y_synthetic, S, "y_synthetic"),
            (y_members, M, "y_members"),
            (y_nonmembers, H, "y_nonmembers"),
        )
    )
    check_common_labels(y_S, y_M)
    if estimator is None:
        predicted = [y_S[nearest_neighbors(X, S)[1][:, 0]] for X in (M, H)]
    else:
        fitted = clone(estimator).fit(S, y_S)
        predicted = [fitted.predict(X) for X in (M, H)]
    members, nonmembers = (
        share_of(labels == y) for labels, y in zip(predicted, (y_M, y_H), strict=True)
    )
    gap = difference(members, nonmembers)
    return Bunch(members=members, nonmembers=nonmembers, difference=gap)


def scaled_sets(X_synthetic, X_members, X_nonmembers, X_reference, scale="common"):
    """Return checked samples, scaled by the reference or else by the synthetic ones."""
    sets = check_record_sets(
        X_synthetic=X_synthetic,
        X_members=X_members,
        X_nonmembers=X_nonmembers,
        X_reference=X_reference,
    )
    check_disjoint(**{n: rows for n, rows in sets.items() if n != "X_synthetic"})
    reference = sets.get("X_reference", sets["X_synthetic"])
    scaled = scale_by(reference, *sets.values(), scale=scale)
    return scaled if X_reference is not None else [*scaled, None]
