"""A Gaussian around each class mean: the closed-form baseline."""

from collections.abc import Mapping
from numbers import Real
from typing import Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import _fit_context
from sklearn.utils._param_validation import Interval, StrOptions

from .._blocks import check_blocks, is_blocked, refuse_blocks
from .._class_means import fit_class_means, leave_one_out_residuals
from .._scaling import scale_rows
from .._thin_covariance import ThinCovariance, check_size
from .._validation import (
    VARIANCE_CONSTRAINT,
    check_unlabeled,
    check_variance,
    fitting,
)
from ._base import BaseGenerator
from ._class_embeddings import align_class_embeddings, read_class_embeddings
from ._class_whitening import fit_class_whitening
from ._decoder import DecoderMixin
from ._label_set_generator import LabelSetMixin
from ._moment_generator import MomentGenerator
from ._moment_means import fit_blocks
from ._moments import ClassMoments
from ._unlabeled import PooledMeans, pool_class_means


class ClassGaussian(LabelSetMixin, DecoderMixin, MomentGenerator):
    r"""Gaussian generator: shrunk class means, and one covariance or one per class.

    :math:`x \mid y = c \sim N(m_c, v_c W)`, where :math:`W` is the within-class
    covariance of all classes with the shrinkage of Ledoit and Wolf [1]_ and

    .. math:: m_c = (n_c \bar{x}_c + k_0 \bar{x}) / (n_c + k_0)

    is the class mean, shrunk towards the mean of all samples by an amount estimated
    from the data (empirical Bayes). With ``covariance_type="full"`` each class has a
    covariance of its own, shrunk towards :math:`W` in the same way. Unlabelled samples
    and embeddings of the classes can improve the means of small classes; see
    :meth:`fit` and `class_embeddings`.

    Where samples have several labels, y has the shape (n_samples, n_labels) and holds 0
    or 1. The mean of a label set is then :math:`b + \sum_{l} \beta_l` over its labels,
    by ridge regression whose amount :math:`k_0` is estimated from the data as well.
    :meth:`sample` takes any label sets. If each sample has exactly one label, samples
    are those of the classes.

    There is no training loop. It is a strong
    baseline on embeddings with few samples per class; prefer :class:`CVAE` where
    classes have shapes that are not Gaussian.

    Parameters
    ----------
    mean_shrinkage : "auto" or float, default="auto"
        The number of pseudo-samples :math:`k_0 \ge 0` that pull each class mean to the
        overall mean. "auto" takes the ratio of the variance within to the variance
        between classes.

    covariance_type : {"tied", "full"}, default="tied"
        "tied" is one covariance for all classes. "full" is
        :math:`(n_c S_c + k W) / (n_c + k)` for each class, with :math:`S_c` the second
        moment of its leave-one-out residuals, and the number of pseudo-samples k
        estimated as that of the means is. It fits the samples more closely, and
        reveals more about them: audit what you publish.

    covariance_shrinkage : "auto", "oas", "factors" or float, default="auto"
        Weight in [0, 1] of the scaled identity in the covariance. "auto" takes the
        value of Ledoit and Wolf, which reads single residuals. "oas" takes that of Chen
        et al. [2]_, which reads class moments only: with it, or with a number, there
        are :meth:`partial_fit` and :meth:`from_moments`. With few samples, the small
        eigenvalues of all these tell which samples it was fitted to, and how many.
        "factors" tells much less: a few
        principal components with their variances in held-out samples, and the same
        variance in all other directions. As many components are taken as tell one half
        of the samples from the other with an AUC of 0.53. The anonymizers take
        "factors" in place of "auto", and files are released with a smooth covariance
        only.

    variance : float, dict, array-like of shape (n_classes,) or "auto", default=1.0
        Factor :math:`v_c` of the covariance at sampling: one number, one for each
        class in the order of `classes_`, or a dict from label to number (1 for the
        labels it lacks). "auto" is :math:`1 + 1 / (n_c + k_0)`: the mean of a class of
        few samples is not exactly known, and a new sample lies farther from the
        estimate.

    class_embeddings : dict, default=None
        What is known of the class means beforehand: a vector of shape (n_features,) for
        each label, in the space of `X`, for example a prototype, or the embedding of
        the name of the class. Class means are then shrunk towards
        :math:`a + b e_c` instead of :math:`\bar{x}`, by a :math:`k_0` estimated for
        it. The offset a and the slope :math:`b \ge 0` come from a regression of the
        class means on the embeddings; useless embeddings get a slope of about 0. A
        class without an embedding is shrunk towards :math:`\bar{x}`. Labels that y
        lacks are ignored.

    random_state : int, RandomState instance or None, default=None
        Seed of :meth:`sample`.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels seen in :meth:`fit`, sorted.

    class_count_ : ndarray of shape (n_classes,) or (n_sets,)
        Number of training samples of each class, or of each label set.

    class_means_ : ndarray of shape (n_classes, n_features) or (n_sets, n_features)
        Shrunk class means, in scaled units: (x - `offset_`) / `scale_`.

    label_sets_ : ndarray of shape (n_sets, n_labels)
        Distinct label sets of the training samples, bool. Only for several labels.

    intercept_, label_effects_ : ndarray of shape (n_features,), (n_labels, n_features)
        Mean of a sample without labels, and the effect of each label, in scaled units.
        A label without training samples has none. Only for several labels.

    covariance_ : ndarray of shape (n_features, n_features) or ThinCovariance
        Covariance within all classes together, in scaled units. With more than 2,048
        features and fewer degrees of freedom than features, it is kept as few
        directions and an even rest; its method `toarray` returns the array.

    moments_ : ClassMoments
        Moments of all samples, where there is :meth:`partial_fit`. :meth:`fit` to more
        than 2,048 features, and fewer samples, does not keep them.

    whitening_ : ClassWhitening or None
        Coordinates in which `covariance_` is the identity, covariances of the classes
        in them, and `k0`, the number of pseudo-samples; None for "tied".

    mean_shrinkage_ : float
        The value of :math:`k_0` in use; infinite where classes do not differ.

    embedding_slope_ : float or None
        The slope b of `class_embeddings`: 0 where they are ignored, None without them.

    n_iter_unlabeled_ : int
        Iterations of EM that moved the means by unlabelled samples. 0 where there were
        none, or they did not bring held-out samples nearer to their class mean.

    unlabeled_count_ : ndarray of shape (n_classes,)
        How many unlabelled samples each class got, a sum of probabilities.

    unlabeled_prior_ : ndarray of shape (n_classes,) or None
        Estimated class prior of the unlabelled samples that are near a class mean. None
        where `n_iter_unlabeled_` is 0.

    offset_, scale_ : ndarray of shape (n_features,)
        Mean of the features, and the scale they share (0 for constant features).

    n_features_in_ : int
        Number of features seen in :meth:`fit`.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, where `X` has names that are all strings.

    See Also
    --------
    CVAE : The conditional variational autoencoder.
    skcvae.over_sampling.GenerativeOverSampler : Fills up classes with any generator.

    References
    ----------
    .. [1] :doi:`O. Ledoit and M. Wolf, "A well-conditioned estimator for
       large-dimensional covariance matrices", Journal of Multivariate Analysis 88,
       2004. <10.1016/S0047-259X(03)00096-4>`
    .. [2] :doi:`Y. Chen, A. Wiesel, Y. C. Eldar and A. O. Hero, "Shrinkage Algorithms
       for MMSE Covariance Estimation", IEEE Transactions on Signal Processing 58, 2010.
       <10.1109/TSP.2010.2053029>`

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skcvae.generators import ClassGaussian
    >>> X, y = load_digits(return_X_y=True)
    >>> generator = ClassGaussian(random_state=0).fit(X, y)
    >>> X_new, y_new = generator.sample(y=[3, 3, 8])
    >>> X_new.shape, y_new.tolist()
    ((3, 64), [3, 3, 8])
    """

    #: The variance is that of the training samples by construction.
    _checks_generation = False

    _parameter_constraints: dict = {
        "mean_shrinkage": [
            StrOptions({"auto"}),
            Interval(Real, 0, None, closed="left"),
        ],
        "covariance_type": [StrOptions({"tied", "full"})],
        "covariance_shrinkage": [
            StrOptions({"auto", "oas", "factors"}),
            Interval(Real, 0, 1, closed="both"),
        ],
        "variance": VARIANCE_CONSTRAINT,
        "class_embeddings": [Mapping, None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        *,
        mean_shrinkage: float | str = "auto",
        covariance_type: str = "tied",
        covariance_shrinkage: float | str = "auto",
        variance: ArrayLike | dict = 1.0,
        class_embeddings: Mapping | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.mean_shrinkage = mean_shrinkage
        self.covariance_type = covariance_type
        self.covariance_shrinkage = covariance_shrinkage
        self.variance = variance
        self.class_embeddings = class_embeddings
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self, X: ArrayLike, y: ArrayLike, X_unlabeled: ArrayLike | None = None
    ) -> Self:
        """Estimate the means of the classes and the covariance around them.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training samples, at least two. Arrays of zarr, h5py and Dask, and memory
            maps of more than 1 GiB, are read in blocks, for ``covariance_type="tied"``
            without `class_embeddings`, `X_unlabeled` and "factors".

        y : array-like of shape (n_samples,) or (n_samples, n_labels)
            Class of each sample: numbers or strings. One sample for a class is enough.
            Or 1 for each label that a sample has, and 0 for the others: an array, a
            sparse matrix or a pandas frame, whose columns name the labels.

        X_unlabeled : array-like of shape (n_unlabeled, n_features), default=None
            Samples of unknown class. They move the class means by EM, as long as that
            brings held-out samples of `X` nearer to the mean of their class. Samples
            far from all classes, and copies of samples of `X`, are left out. The
            covariance remains that of `X`. Where it has as many samples as `X`,
            cross-validation takes it for a parameter of each sample and cuts it into
            folds as well: leave one out.

        Returns
        -------
        self : object
            The fitted generator.

        Raises
        ------
        ValueError
            If the input is empty, not finite, not two-dimensional, its labels are not
            classes, or `class_embeddings` do not fit to it.
        """
        with fitting(self):
            if is_blocked(X):
                unlabeled = {} if X_unlabeled is None else {"X_unlabeled": X_unlabeled}
                return self._fit_checked(check_blocks(X, y), y, **unlabeled)
            X, y = self._check_fit(X, y)
            self._learn(X, y, check_unlabeled(self, X_unlabeled, X))
        return self

    fit.for_checked_samples = BaseGenerator._fit_checked

    def _learn_blocks(self, blocks, X_unlabeled=None):
        if X_unlabeled is not None:
            refuse_blocks("a fit with X_unlabeled", "Leave it out")
        shrinkage = self.covariance_shrinkage
        if (
            self.covariance_type == "full"
            or shrinkage == "factors"
            or self.class_embeddings is not None
        ):
            refuse_blocks(
                "ClassGaussian with covariance_type='full', covariance_shrinkage="
                "'factors' or class_embeddings",
                "Use the defaults",
            )
        check_variance(self.variance, np.unique(blocks.y))
        self._keep_means(fit_blocks(self, blocks, self.mean_shrinkage, shrinkage))
        if self._reads_moments():
            self.moments_ = blocks.moments

    def _keep_means(self, means):
        """Set what class moments say."""
        self.embedding_slope_ = None
        n_classes = len(means.raw)
        self._keep(means, PooledMeans(means.shrunk, np.zeros(n_classes), None, 0))

    def _keep(self, means, pooled):
        """Set what the estimates of covariance and means say."""
        self.class_means_ = pooled.means
        self.n_iter_unlabeled_ = pooled.n_iter
        self.unlabeled_count_ = pooled.count
        self.unlabeled_prior_ = pooled.prior
        self.covariance_ = means.covariance
        self.mean_shrinkage_ = means.k0
        self.whitening_ = None

    def _check_label_set_parameters(self):
        super()._check_label_set_parameters()
        if self.covariance_type == "full" or self.class_embeddings is not None:
            raise ValueError(
                "With several labels for each sample, ClassGaussian needs "
                "covariance_type='tied' and class_embeddings=None: label sets share "
                "a covariance, and their means are sums."
            )

    def _fit(self, Z, codes, seed, Z_unlabeled=None):
        check_size(*Z.shape, "ClassGaussian")
        if hasattr(self, "label_sets_"):
            return self._fit_label_sets(Z, codes, Z_unlabeled)
        means, shift = self._estimate_means(Z, codes)
        pooled = pool_class_means(Z, codes, Z_unlabeled, means, shift)
        self._keep(means, pooled)
        matrix = means.scatter.matrix
        is_sum = Z_unlabeled is None and not isinstance(matrix, ThinCovariance)
        if self._reads_moments() and is_sum:
            counts = self.class_count_
            if len(codes) == len(counts):
                matrix = np.zeros_like(matrix)
            self.moments_ = ClassMoments(
                self.classes_,
                counts,
                self.offset_ + means.raw * self.scale_,
                matrix * self.scale_[:, None] * self.scale_,
                self._output_dtype.name,
            )
        if self.covariance_type == "full":
            residuals = leave_one_out_residuals(Z, codes, means.raw, means.k0)
            self.whitening_ = fit_class_whitening(
                residuals,
                codes,
                len(self.classes_),
                self.covariance_,
                smooth=self.covariance_shrinkage == "factors",
            )

    def _fit_label_sets(self, Z, codes, Z_unlabeled):
        if Z_unlabeled is not None:
            raise ValueError(
                "With several labels for each sample, leave X_unlabeled out: an "
                "unlabelled sample has no class to be assigned to."
            )
        how = self.mean_shrinkage, self.covariance_shrinkage
        self._keep_means(self._fit_effects(Z, codes, *how))

    def _estimate_means(self, Z, codes):
        """Return `ClassMeans`, and by how much their centres are shifted.

        Set `embedding_slope_`.
        """
        n_classes = len(self.classes_)
        how = n_classes, self.mean_shrinkage, self.covariance_shrinkage
        self.embedding_slope_ = None
        if self.class_embeddings is None:
            means = fit_class_means(Z, codes, *how)
            return means, np.zeros_like(means.raw)
        embeddings = read_class_embeddings(
            self.class_embeddings, self.classes_, Z.shape[1]
        )
        means = fit_class_means(Z, codes, *how)
        shift, self.embedding_slope_ = align_class_embeddings(
            scale_rows(embeddings, self.offset_, self.scale_), means, self.class_count_
        )
        if self.embedding_slope_:
            # Around the shifted centres, the means are shrunk to zero shift.
            means = fit_class_means(Z - shift[codes].astype(Z.dtype), codes, *how)
            means.raw += shift
            means.shrunk += shift
        return means, shift

    def _auto_variance(self):
        if self._leverage is not None:
            return super()._auto_variance()
        known = self.class_count_ + self.unlabeled_count_ + self.mean_shrinkage_
        return 1 + 1 / known

    def _make_sampler(self):
        import torch

        from ._samplers import ClassCovarianceSampler, GaussianSampler, make_factor

        if self.covariance_type == "full":
            return ClassCovarianceSampler(
                torch.tensor(self.whitening_.factor, dtype=torch.float32),
                torch.tensor(self.whitening_.colouring, dtype=torch.float32),
                self.whitening_.rest,
            )
        return GaussianSampler(make_factor(self.covariance_))
