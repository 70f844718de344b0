"""What the class means of a release tell about its members, known before it leaves."""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from ._factor_covariance import contrasts
from ._warnings import warn_user

#: Above it, `fit_transform` warns: three pairs of four are told apart.
WARNING_LIMIT = 0.75
# More samples of a class hardly change the effective dimension.
_MAX_ROWS = 2_000


@dataclass
class MeanLeakage:
    """Predicted success of the attack by class means, before anything is released.

    Attributes
    ----------
    effective_dimension : float
        Number of directions in which samples vary within their classes.

    classes : ndarray of shape (n_classes,) or (n_sets, n_labels)
        Labels, or label sets.

    class_count : ndarray of shape (n_classes,)
        Number of training samples of each class.

    mean_count : ndarray of shape (n_classes,)
        Number of samples that the mean of each class rests on: `class_count`, or more
        for a label set, whose mean is a sum of effects that other sets share.
    """

    effective_dimension: float
    classes: np.ndarray
    class_count: np.ndarray
    mean_count: np.ndarray

    @property
    def samples(self):
        """Largest AUC of a class, if as many samples are published as there were."""
        return float(self.auc(self.mean_count).max())

    @property
    def decoder(self):
        """Largest AUC of a class, if a decoder or an endless stream is published."""
        return float(self.auc().max())

    def auc(self, n_synthetic=np.inf, n_reference=np.inf):
        """Return the predicted AUC of each class, shape (n_classes,).

        Parameters
        ----------
        n_synthetic : float or array-like of shape (n_classes,), default=inf
            Number of synthetic samples of each class; infinite for a decoder.

        n_reference : float or array-like of shape (n_classes,), default=inf
            Number of samples of each class that the attacker has; infinite for one who
            knows the true means.

        Returns
        -------
        auc : ndarray of shape (n_classes,)
            Probability that a member scores above a non-member of its class.
        """
        return mean_attack_auc(
            self.mean_count, self.effective_dimension, n_synthetic, n_reference
        )

    def sentence(self):
        """Return the line of a privacy statement, rounded up: counts stay untold."""
        own = self.mean_count
        known = self.samples, self.decoder
        equal = self.auc(own, own).max(), self.auc(np.inf, own).max()
        known, equal = (" and ".join(map(rounded_up, p)) for p in (known, equal))
        return (
            "Class means tell members of the smallest class from others to an attacker "
            f"who knows the true means with an expected AUC of up to {known} (as many "
            "synthetic samples; a decoder or stream), to one who has as many other "
            f"samples of the class with up to {equal}."
        )


def rounded_up(auc):
    """Return an AUC as text, rounded up to 0.05, from which no count follows."""
    return f"{np.ceil(auc * 20) / 20:.2f}"


def estimate_mean_leakage(X, y):
    """Return the `MeanLeakage` of samples and labels, or label sets of bool."""
    of_sets = {"axis": 0} if y.ndim == 2 else {}
    classes, codes, counts = np.unique(
        y, return_inverse=True, return_counts=True, **of_sets
    )
    means = _mean_counts_of_sets(classes, counts) if of_sets else counts
    return MeanLeakage(effective_dimension(X, codes.ravel()), classes, counts, means)


def _mean_counts_of_sets(sets, counts):
    """Return the inverse leverage of a sample in the fitted mean of its label set.

    An intercept and effects of labels are fitted to all samples by least squares. The
    fitted mean of a set is a sufficient statistic for whether a sample of the set took
    part: its mean moves by the leverage h times the sample, its error has h times the
    covariance. It tells as much as the mean of 1 / h samples. Shrinkage is linear, so
    that an attacker can undo it.
    """
    design = np.column_stack([np.ones(len(sets)), sets]) * np.sqrt(counts)[:, None]
    vectors, values, _ = np.linalg.svd(design, full_matrices=False)
    vectors = vectors[:, values > values.max() * 1e-7]
    return counts / np.square(vectors).sum(axis=1)


def warn_of_leakage(leakage):
    """Warn if as many samples as there were tell members too well; None is private."""
    if leakage is not None and leakage.samples > WARNING_LIMIT:
        warn_user(
            f"{_describe(leakage, leakage.auc(leakage.mean_count))} Merge or drop "
            "small classes, or use a private generator. max_mean_leakage=1 turns this "
            "warning off."
        )


def check_mean_leakage(leakage, limit, n_synthetic=np.inf, min_class_size=1):
    """Refuse what tells members too well; None is private and passes.

    Raise ValueError if the AUC of a class of at least `min_class_size` samples is above
    `limit`.
    """
    if leakage is None:
        return
    auc = np.where(leakage.class_count >= min_class_size, leakage.auc(n_synthetic), 0.5)
    if auc.max() > limit:
        raise ValueError(
            f"{_describe(leakage, auc)} This is more than max_mean_leakage={limit:g}. "
            "Merge or drop small classes, publish fewer samples, use a private "
            "generator, or set max_mean_leakage=1 to publish it nevertheless."
        )


def _describe(leakage, auc):
    worst = auc.argmax()
    label = leakage.classes[worst : worst + 1].tolist()[0]
    # The labels of a rare set are not named.
    named = "a label set" if isinstance(label, list) else f"the class {label!r}"
    return (
        "Class means tell members from others to an attacker who knows the true means: "
        f"an AUC of {auc[worst]:.2f} is expected for {named} of "
        f"{leakage.class_count[worst]} samples."
    )


def mean_attack_auc(
    n_members, effective_dimension, n_synthetic=np.inf, n_reference=np.inf
):
    r"""Return the expected AUC of the attack by class means, within a class.

    The samples of a class are :math:`\mu + u`, where u has the covariance W. A release
    tells the mean :math:`\mu + a + b`: a is the mean of u over the :math:`n` members,
    b the error of the mean of :math:`m` synthetic samples, with the covariance
    :math:`W / m`. An attacker whose :math:`r` own samples have the mean
    :math:`\mu + e` scores a sample by

    .. math:: (u - e)^\top (a + b - e).

    The error e enters both factors. In the first it adds :math:`-e^\top (a + b - e)`,
    the same for all samples of the class, which changes no order within the class. In
    the second it adds variance. Of non-members, u is independent of a, b and e, and
    :math:`u^\top (a + b - e)` has the mean 0 and the variance
    :math:`\operatorname{tr} W^2 \, (1/n + 1/m + 1/r)`. Over the members, the mean of u
    is a, so that their mean score is :math:`|a|^2`, which is
    :math:`\operatorname{tr} W / n`. With
    :math:`d = (\operatorname{tr} W)^2 / \operatorname{tr} W^2`, their difference in
    standard deviations is

    .. math:: \delta = \sqrt{d / (n \, (1 + n/m + n/r))},

    and the AUC is :math:`\Phi(\delta / \sqrt 2)`.

    Scores are taken as normal and the means as not shrunk. An attacker who also knows
    W, and weights the product by its inverse, has the number of features in place
    of d.

    The numbers n, m and r are `n_members`, `n_synthetic`, infinite for a decoder, and
    `n_reference`, infinite for an attacker who knows the true mean.
    """
    n_members = np.asarray(n_members, dtype=np.float64)
    spread = 1 + n_members / n_synthetic + n_members / n_reference
    return ndtr(np.sqrt(effective_dimension / (n_members * spread) / 2))


def effective_dimension(X, codes):
    r"""Estimate :math:`(\operatorname{tr} W)^2 / \operatorname{tr} W^2` within classes.

    Both terms are means over pairs of different rows e, f of one class, of those of
    `skcvae._factor_covariance.contrasts`: of :math:`|e|^2 |f|^2` and of
    :math:`(e^\top f)^2`. They have no bias, unlike the squared traces of a sample
    covariance. W may differ from class to class: pairs of one class see its own. The
    number of features where no class has three samples, or none that differ.
    """
    n_features = X.shape[1]
    of_trace = of_square = 0.0
    scale = np.abs(X).max(initial=0) or 1
    for code in range(codes.max() + 1):
        own = np.flatnonzero(codes == code)[:_MAX_ROWS]
        E = contrasts(X[own] / scale, np.zeros_like(own), 1)
        if len(E) < 2:
            continue
        norms = np.einsum("ij,ij->i", E, E)
        products = E.T @ E if len(E) > n_features else E @ E.T
        squares = np.sum(norms**2)
        of_trace += (norms.sum() ** 2 - squares) / (len(E) - 1)
        of_square += (np.sum(products**2) - squares) / (len(E) - 1)
    if not (of_trace > 0 and of_square > of_trace / n_features):
        return float(n_features)
    return float(max(of_trace / of_square, 1))
