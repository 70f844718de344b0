"""Attacks by a Gaussian for each class: what means and covariance of a release tell."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import cholesky, solve, solve_triangular
from sklearn.covariance import ledoit_wolf
from sklearn.utils._param_validation import StrOptions, validate_params

from .._record_sets import array_likes, check_one_label_per_sample
from .._validation import find_codes
from ._attack_result import AttackResult, attack_result
from ._membership import scaled_sets

# Share of the mean variance that is added to each feature, for constant ones.
_JITTER = 1e-6
_SETS = ("synthetic", "members", "nonmembers", "reference")


class ClassGaussians(NamedTuple):
    """Class means of shape (n_classes, n_features), and the covariance around them."""

    means: np.ndarray
    covariance: np.ndarray


@validate_params(
    {
        **array_likes(*(f"{part}_{name}" for name in _SETS for part in "Xy")),
        "score": [StrOptions({"likelihood", "class_means"})],
    },
    prefer_skip_nested_validation=True,
)
def class_gaussian_attack(
    X_synthetic: ArrayLike,
    y_synthetic: ArrayLike,
    X_members: ArrayLike,
    y_members: ArrayLike,
    X_nonmembers: ArrayLike,
    y_nonmembers: ArrayLike,
    X_reference: ArrayLike,
    y_reference: ArrayLike,
    *,
    score: str = "likelihood",
) -> AttackResult:
    r"""Attack by the class means and the covariance of a release.

    A Gaussian for each class is fitted to the release, :math:`N(m_c, W)`, and one to
    the attacker's own data, :math:`N(\mu_c, V)`. Their covariances are common to the
    classes and shrunk as Ledoit and Wolf do, so that there may be fewer samples than
    features. The score of a sample x of class c is

    - for "likelihood" the ratio :math:`\log N(x; m_c, W) - \log N(x; \mu_c, V)`, which
      is DOMIAS [1]_ with densities that exist in the dimensions of an embedding;
    - for "class_means" :math:`(x - \mu_c)^\top (W + V)^{-1} (m_c - \mu_c)`: a member
      has pulled the mean of its class to itself, whatever generator made the release.

    From each score the mean over all attacked samples of its class is subtracted:
    only differences within a class count.

    Parameters
    ----------
    X_synthetic : array-like of shape (n_synthetic, n_features)
        Released samples.

    y_synthetic : array-like of shape (n_synthetic,)
        Their classes. A class that the release or the reference lacks has the mean of
        all their samples.

    X_members : array-like of shape (n_members, n_features)
        Samples that the release was made from.

    y_members : array-like of shape (n_members,)
        Their classes.

    X_nonmembers : array-like of shape (n_nonmembers, n_features)
        Other samples of the same distribution.

    y_nonmembers : array-like of shape (n_nonmembers,)
        Their classes.

    X_reference : array-like of shape (n_reference, n_features)
        The attacker's own samples, neither members nor non-members.

    y_reference : array-like of shape (n_reference,)
        Their classes.

    score : {"likelihood", "class_means"}, default="likelihood"
        Which score.

    Returns
    -------
    result : AttackResult
        AUC and true-positive rate with intervals; lower is better for privacy, down
        to 0.5 and 0.01. A lower bound: stronger attacks may exist.

    Raises
    ------
    ValueError
        If two of the real sets share a sample, or samples and labels do not fit
        together.

    References
    ----------
    .. [1] B. van Breugel, H. Sun, Z. Qian and M. van der Schaar, "Membership Inference
       Attacks against Synthetic Data through Overfitting Detection", AISTATS 2023,
       `arXiv 2302.12580 <https://arxiv.org/abs/2302.12580>`_.

    Examples
    --------
    >>> import numpy as np
    >>> from skcvae.privacy import class_gaussian_attack
    >>> members, others, reference = np.random.RandomState(0).randn(3, 100, 50)
    >>> y = np.arange(100) % 5
    >>> copies = members[::-1], y[::-1]
    >>> result = class_gaussian_attack(*copies, members, y, others, y, reference, y)
    >>> bool(result.auc.value > 0.8)
    True
    """
    S, M, H, R = scaled_sets(X_synthetic, X_members, X_nonmembers, X_reference)
    y_S, y_M, y_H, y_R = (
        check_one_label_per_sample(y, rows, f"y_{name}")
        for name, y, rows in zip(
            _SETS,
            (y_synthetic, y_members, y_nonmembers, y_reference),
            (S, M, H, R),
            strict=True,
        )
    )
    X, y = np.concatenate([M, H]), np.concatenate([y_M, y_H])
    labels, codes = np.unique(y, return_inverse=True)
    of_release, of_reference = (
        fit_class_gaussians(*rows, labels) for rows in ((S, y_S), (R, y_R))
    )
    scores = SCORES[score](of_release, of_reference, X, codes)
    return attack_result(score, scores[: len(M)], scores[len(M) :])


def fit_class_gaussians(X, y, labels):
    """Fit Gaussians to samples; a label that they lack gets the mean of them all."""
    X = X.astype(np.float64)
    known, codes = np.unique(y, return_inverse=True)
    means = np.stack([X[codes == code].mean(axis=0) for code in range(len(known))])
    freedom = len(X) - len(known)
    residuals = X - (means[codes] if freedom > 0 else X.mean(axis=0))
    covariance, _ = ledoit_wolf(residuals, assume_centered=True)
    covariance *= len(X) / (freedom if freedom > 0 else max(len(X) - 1, 1))
    size = np.trace(covariance) / len(covariance)
    covariance += (_JITTER * size or 1.0) * np.eye(len(covariance))
    codes = find_codes(labels, known)
    of_labels = np.where(codes[:, None] < 0, X.mean(axis=0), means[codes])
    return ClassGaussians(of_labels, covariance)


def likelihood_scores(release, reference, X, codes):
    """Return log-likelihood ratios of the Gaussians of a release and a reference."""
    return _centred(
        _squared_distances(reference, X, codes) - _squared_distances(release, X, codes),
        codes,
    )


def class_mean_scores(release, reference, X, codes):
    """Return products of deviations of samples and of released means."""
    shifts = release.means - reference.means
    metric = release.covariance + reference.covariance
    directions = solve(metric, shifts.T, assume_a="pos").T
    deviations = X - reference.means[codes]
    return _centred(np.einsum("nd,nd->n", deviations, directions[codes]), codes)


SCORES = {"likelihood": likelihood_scores, "class_means": class_mean_scores}


def _squared_distances(gaussians, X, codes):
    """Return the squared Mahalanobis distance of each sample to its class mean."""
    factor = cholesky(gaussians.covariance, lower=True)
    whitened = solve_triangular(factor, (X - gaussians.means[codes]).T, lower=True)
    return np.square(whitened).sum(axis=0)


def _centred(scores, codes):
    return scores - (np.bincount(codes, scores) / np.bincount(codes))[codes]
