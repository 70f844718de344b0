"""Log-linear pool of classifiers, with weights that held-out samples choose."""

from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_softmax
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    MetaEstimatorMixin,
    _fit_context,
    clone,
)
from sklearn.utils import Bunch, check_random_state, get_tags, indexable
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    _routing_enabled,
    process_routing,
)
from sklearn.utils.metaestimators import _BaseComposition
from sklearn.utils.validation import check_is_fitted

from .._doc_links import DocLinkMixin
from .._generation import seed_all
from .._seeds import draw_seeds
from .._validation import check_two_classes, forget_fit, read_tensors
from ._classifier import LongTailClassifier
from ._exponents import (
    add_offset,
    class_weights,
    possible_splits,
    select_exponents,
)
from ._kernel_neighbors import KernelNeighborsClassifier
from ._likelihoods import LogProbabilitiesMixin
from ._pool_members import Member, check_weights, log_likelihoods
from ._priors import resolve_target_prior
from ._trained_fit import (
    check_passed,
    copy_features,
    passed_weight,
    samples_needed,
    split_metadata,
)
from ._trained_prior import Labels


class LogLinearPool(
    LogProbabilitiesMixin,
    DocLinkMixin,
    ClassifierMixin,
    MetaEstimatorMixin,
    _BaseComposition,
):
    r"""Fuse classifiers by a weighted product of their probabilities.

    Member m has probabilities :math:`p_m(c \mid x)` for a class prior :math:`\pi_m`,
    which the pool takes out of them, so that the target prior t is counted once:

    .. math:: p(c \mid x) \propto t_c \, n_c^{-o} \exp\left(\frac{1}{T} \sum_m w_m
        \log \frac{p_m(c \mid x)}{\pi_{mc}}\right).

    The first member has the weight 1. Held-out samples choose the other weights, the
    temperature T, and the offset :math:`o \ge 0` of classes of :math:`n_c` samples,
    which members underrate where :math:`n_c` is small. A member that brings no sure
    gain gets the weight 0, so that the default, neighbours beside a classifier, does no
    harm where neighbours are bad.

    Parameters
    ----------
    estimators : list of (str, estimator) tuples, default=None
        Members, which have `predict_proba`. They are cloned; a fitted one in
        scikit-learn's FrozenEstimator is used as it is, and must not have seen the
        samples that `fit` gets. None is a
        :class:`~skcvae.long_tail.LongTailClassifier`, "classifier", and two of
        :class:`~skcvae.long_tail.KernelNeighborsClassifier`: "neighbors", and
        "near_neighbors" of ``temperature="half"``.

    weights : array-like of shape (n_estimators,) or "auto", default="auto"
        :math:`w_m`, not negative; o is then 0. Or "auto".

    temperature : float or "auto", default="auto"
        T. Where neither this nor `weights` is "auto", members are trained once only.

    target_prior : str or array-like of shape (n_classes,), default="uniform"
        Class distribution that the probabilities are for: "uniform", "train", or
        numbers in the order of `classes_`. It need not be that of the members.

    cv : int, cross-validation splitter or iterable, default=5
        Folds that choose weights and temperature, stratified if an int; see Notes.

    n_jobs : int, default=None
        Number of trainings in parallel; -1 for all processors.

    random_state : int, RandomState instance or None, default=None
        Seed of members, and parts of them, that have no integer of their own.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels seen in :meth:`fit`, sorted.

    class_count_ : ndarray of shape (n_classes,)
        Number of samples of each class, or the sum of their weights.

    estimators_ : list of estimators
        The members, fitted on all samples.

    named_estimators_ : Bunch
        The same by name.

    priors_ : ndarray of shape (n_estimators, n_classes)
        :math:`\pi_m`.

    weights_ : ndarray of shape (n_estimators,)
        :math:`w_m`.

    temperature_, rarity_exponent_ : float
        T and o.

    target_prior_ : ndarray of shape (n_classes,)
        Class distribution that the probabilities are for.

    n_features_in_ : int
        Number of features seen in :meth:`fit`, if the first member tells it.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, if the first member tells them.

    See Also
    --------
    KernelNeighborsClassifier : Neighbours, the usual second member.
    ShrunkQuadraticDiscriminant : A member for classes of different shapes.
    sklearn.ensemble.VotingClassifier : Averages probabilities.

    Notes
    -----
    **Priors.** :math:`\pi_m` is the `target_prior_` of a member that has one, as those
    of this module; else the prior that the member was trained for, as
    :class:`~skcvae.long_tail.PriorCorrectedClassifier` finds it. Where neither tells
    it, :meth:`fit` refuses the member; wrap it in a `PriorCorrectedClassifier` that
    states it.

    **Weights.** Each fold trains clones of the members and predicts the samples held
    out. Their log loss, weighted so that their classes have the target prior, is convex
    in :math:`w_m / T \ge 0`. A pull towards the first member alone, as strong as one
    sample, keeps the solution finite. Then members are left out, the least useful
    first, as long as the gain in loss that they bring is below one standard error over
    the samples. The offset is the smallest whose loss is within one standard error of
    the least.

    **Folds** leave each class at least one sample to train on, or as many as a sampler
    in a member needs. A class of one sample is therefore never held out: the weights
    come from the other classes, and hold for it, too. Where no sample can be held out,
    the first member alone has a weight.

    References
    ----------
    .. [1] G. E. Hinton, "Training Products of Experts by Minimizing Contrastive
       Divergence", Neural Computation 14, 2002.

    .. [2] D. H. Wolpert, "Stacked Generalization", Neural Networks 5, 1992.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skcvae.datasets import make_long_tailed
    >>> from skcvae.long_tail import KernelNeighborsClassifier, LogLinearPool
    >>> X, y = load_digits(return_X_y=True)
    >>> X_train, y_train = make_long_tailed(X, y, imbalance_ratio=20, random_state=0)
    >>> linear = LogisticRegression(C=0.01, class_weight="balanced", max_iter=500)
    >>> pool = LogLinearPool(
    ...     [("linear", linear), ("neighbors", KernelNeighborsClassifier())]
    ... ).fit(X_train, y_train)
    >>> bool(pool.score(X, y) > linear.fit(X_train, y_train).score(X, y))
    True
    """

    _parameter_constraints: dict = {
        "estimators": [list, None],
        "weights": ["array-like", StrOptions({"auto"})],
        "temperature": [
            Interval(Real, 0, None, closed="neither"),
            StrOptions({"auto"}),
        ],
        "target_prior": [StrOptions({"uniform", "train"}), "array-like"],
        "cv": ["cv_object"],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimators: list[tuple[str, BaseEstimator]] | None = None,
        *,
        weights: str | ArrayLike = "auto",
        temperature: float | str = "auto",
        target_prior: str | ArrayLike = "uniform",
        cv: int | Iterable | None = 5,
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = None,
    ):
        self.estimators = estimators
        self.weights = weights
        self.temperature = temperature
        self.target_prior = target_prior
        self.cv = cv
        self.n_jobs = n_jobs
        self.random_state = random_state

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters, those of the members included.

        Parameters
        ----------
        deep : bool, default=True
            Whether to return the members by name, and their parameters.

        Returns
        -------
        params : dict
            Values by the names of the parameters.
        """
        return self._get_params("estimators", deep=deep)

    def set_params(self, **params: Any) -> Self:
        """Set parameters, members by their names, or parameters of members.

        Parameters
        ----------
        **params : dict
            Such as ``classifier__tau=1.2``.

        Returns
        -------
        self : object
            The pool.
        """
        self._set_params("estimators", **params)
        return self

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: ArrayLike, y: ArrayLike, **params: Any) -> Self:
        """Choose weights and temperature on held-out samples, and fit the members.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training samples.

        y : array-like of shape (n_samples,)
            Class of each sample, at least two classes. A class may have one sample.

        **params : dict
            Further arguments of the `fit` of the first member, such as `sample_weight`,
            and `groups` for the `split` of `cv`. With metadata routing, each goes to
            the members that requested it. The `sample_weight` of the first member
            counts in the held-out losses.

        Returns
        -------
        self : object
            The fitted pool.

        Raises
        ------
        ValueError
            If the prior of a member is unknown, a member has no `predict_proba`, or
            the weights do not fit.
        """
        forget_fit(self)
        X, y, classes, codes = check_passed(X, y)
        check_two_classes(classes)
        self._check_named()
        check_weights(self.weights, len(self._named()))
        routed = self._route(params)
        members = self._make_members(routed)
        weight = passed_weight(members[0].estimator, members[0].params, X)
        labels = Labels.of(y, classes, weight)
        if np.count_nonzero(labels.mass) < 2:
            raise ValueError("sample_weight leaves fewer than two classes.")
        target_prior = resolve_target_prior(self.target_prior, labels.mass)
        for member in members:
            member.check_prior(labels)
        splits = self._make_splits(X, y, codes, members, routed)
        scores, held_out = self._cross_fit(X, y, classes, members, splits)
        weight = np.ones(len(codes)) if weight is None else weight
        rarity = -np.log(np.bincount(codes))
        weights, temperature, offset = self._choose(
            scores, codes[held_out], weight[held_out], target_prior, rarity
        )
        fitted = Parallel(n_jobs=self.n_jobs)(
            delayed(member.fit)(clone(member.estimator), X, y, classes)
            for member in members
        )
        self.classes_, self.class_count_ = classes, labels.mass
        self.target_prior_ = target_prior
        self.weights_, self.temperature_ = weights, temperature
        self.rarity_exponent_, self._shift = offset, offset * rarity
        self._keep(members, fitted)
        return self

    def predict_log_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return the log of the probabilities of the classes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples, as the members take them.

        Returns
        -------
        log_proba : ndarray of shape (n_samples, n_classes)
            In the order of `classes_`.
        """
        check_is_fitted(self)
        X = read_tensors(X)
        with np.errstate(divide="ignore"):
            scores = np.log(self.target_prior_) + self._shift
        for estimator, prior, weight in zip(
            self.estimators_, self.priors_, self.weights_, strict=True
        ):
            if weight:
                own = log_likelihoods(estimator.predict_proba(X), prior)
                scores = scores + weight / self.temperature_ * own
        return log_softmax(scores, axis=1)

    def get_metadata_routing(self) -> MetadataRouter:
        """Return where metadata goes: to the fit of members, the split of `cv`.

        Returns
        -------
        routing : MetadataRouter
        """
        to_fit = MethodMapping().add(caller="fit", callee="fit")
        router = MetadataRouter(owner=self).add_self_request(self)
        router.add(
            splitter=self.cv,
            method_mapping=MethodMapping().add(caller="fit", callee="split"),
        )
        for name, estimator in self._named():
            router.add(**{name: estimator}, method_mapping=to_fit)
        return router

    def _named(self):
        """Return the pairs of names and unfitted members."""
        if self.estimators is not None:
            return self.estimators
        return [
            ("classifier", LongTailClassifier()),
            ("neighbors", KernelNeighborsClassifier()),
            ("near_neighbors", KernelNeighborsClassifier(temperature="half")),
        ]

    def _route(self, params):
        """Return which metadata goes to which member and to the splitter."""
        params, groups = split_metadata(params)
        if _routing_enabled():
            return process_routing(self, "fit", **params, **groups)
        names = [name for name, _ in self._named()]
        routed = Bunch(**{name: Bunch(fit={}) for name in names})
        routed[names[0]] = Bunch(fit=params)
        return Bunch(**routed, splitter=Bunch(split=groups))

    def _make_members(self, routed):
        """Return copies of the members, seeded."""
        named = self._named()
        rng = check_random_state(self.random_state)
        members = []
        for name, estimator in named:
            seed = None if self.random_state is None else draw_seeds(rng, 1)[0]
            copied = seed_all(clone(estimator), seed)
            members.append(Member(name, copied, routed[name].fit))
        return members

    def _check_named(self):
        """Refuse what is no list of pairs, before any use of it."""
        named = self._named()
        pairs = [isinstance(pair, tuple) and len(pair) == 2 for pair in named]
        if not named or not all(pairs):
            raise ValueError(
                "estimators must be a list of at least one pair of a name and an "
                f"estimator, got {named!r}."
            )
        names = [name for name, _ in named]
        self._validate_names(names)
        if "splitter" in names:
            raise ValueError("A member cannot be called 'splitter': rename it.")

    def _make_splits(self, X, y, codes, members, routed):
        """Return the folds that choose weights and temperature, if these are open."""
        if not isinstance(self.weights, str) and self.temperature != "auto":
            return []
        n_kept = max(samples_needed(member.estimator) for member in members)
        groups = routed.splitter.split.get("groups")
        return possible_splits(self.cv, X, y, codes, n_kept, groups)

    def _cross_fit(self, X, y, classes, members, splits):
        """Return held-out log-likelihoods of all members, and whose they are."""
        if not splits:
            return np.empty((0, len(classes), len(members))), np.empty(0, dtype=np.intp)
        (X,) = indexable(X)
        folds = Parallel(n_jobs=self.n_jobs)(
            delayed(member.fit_fold)(clone(member.estimator), X, y, classes, *split)
            for member in members
            for split in splits
        )
        n_splits = len(splits)
        of_members = [
            np.concatenate([scores for _, scores in folds[i : i + n_splits]])
            for i in range(0, len(folds), n_splits)
        ]
        held_out = np.concatenate([test for test, _ in folds[:n_splits]])
        return np.stack(of_members, axis=2), held_out

    def _choose(self, scores, codes, weight, target_prior, rarity):
        """Return weights, temperature and offset that suit held-out samples.

        Classes that no held-out sample has are left out: of those no probability can
        be checked.
        """
        given = check_weights(self.weights, scores.shape[2])
        fixed = None if self.temperature == "auto" else self.temperature
        mass = np.bincount(codes, weight, minlength=len(target_prior))
        seen = np.flatnonzero((mass > 0) & (target_prior > 0))
        if len(seen) < 2:
            first_alone = np.eye(scores.shape[2])[0]
            return first_alone if given is None else given, fixed or 1.0, 0.0
        counted = np.isin(codes, seen) & (weight > 0)
        scores = scores[counted][:, seen]
        if given is not None:
            scores = (scores @ given)[:, :, None]
        codes, prior = np.searchsorted(seen, codes[counted]), target_prior[seen]
        weight = class_weights(codes, prior, weight[counted])
        first = None if fixed is None else 1 / fixed
        log_prior = np.log(prior)
        exponents = select_exponents(scores, codes, weight, log_prior, first).exponents
        if given is not None:
            return given, float(1 / exponents[0]), 0.0
        exponents, offset = add_offset(
            scores, codes, weight, log_prior, rarity[seen], exponents, first
        )
        return exponents / exponents[0], float(1 / exponents[0]), offset

    def _keep(self, members, fitted):
        """Set what the fitted members tell."""
        self.estimators_ = [estimator for estimator, _ in fitted]
        self.priors_ = np.array([prior for _, prior in fitted])
        names = [member.name for member in members]
        self.named_estimators_ = Bunch(
            **dict(zip(names, self.estimators_, strict=True))
        )
        copy_features(self, self.estimators_[0])

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        inner = [get_tags(estimator) for _, estimator in self._named()]
        tags.input_tags.sparse = all(t.input_tags.sparse for t in inner)
        tags.input_tags.allow_nan = all(t.input_tags.allow_nan for t in inner)
        tags.non_deterministic = any(t.non_deterministic for t in inner)
        known = [t.classifier_tags for t in inner if t.classifier_tags is not None]
        tags.classifier_tags.multi_class = all(t.multi_class for t in known)
        return tags
