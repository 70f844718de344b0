"""Releases of several sites that draw as one."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from numbers import Real
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from .._class_values import refuse_index
from .._drawing import DrawingMixin
from .._validation import check_variance, find_codes
from ._release import Release
from ._streams import BatchesMixin

_DP = "(epsilon, delta)-differential privacy"
# What two statements must agree on, so that one can stand for both.
_SAME = ("unit", "adjacency")
_DISJOINT = (
    "People with samples at several sites: the guarantee holds where each person is at "
    "one site only, because the privacy losses of a person's sites add up."
)
_COUNTS = "site_sizes and weights, as they were given: they must be noisy, or public."


class MergedRelease(BatchesMixin, DrawingMixin):
    """Several releases that draw as one; :func:`merge_releases` creates it.

    Parameters
    ----------
    releases : list of Release
        The releases.

    counts : ndarray of shape (n_releases, n_classes)
        Number of samples of each class at each site. NaN where a release lacks the
        class.

    Attributes
    ----------
    releases : list of Release
        The releases, in the order in which they were given.

    classes_ : ndarray of shape (n_classes,)
        Labels of all releases, sorted.

    class_prior_ : ndarray of shape (n_classes,)
        Probability of each class when no labels are given: its share of all samples.

    site_shares_ : ndarray of shape (n_releases, n_classes)
        Probability that a sample of a class is drawn from a release.

    n_features_in_ : int
        Number of features.

    random_state : int, RandomState instance or None
        Seed of :meth:`sample` and :meth:`batches`; :func:`merge_releases` sets None.
    """

    def __init__(self, releases: Sequence[Release], counts: NDArray) -> None:
        self.releases = list(releases)
        self.classes_ = unite_classes(releases)
        self.n_features_in_ = releases[0].n_features_in_
        self.random_state = None
        total = np.nansum(counts, axis=0)
        self.class_prior_ = total / total.sum()
        # Where no site has a sample, all that have a model of the class are alike.
        counts = np.where(total > 0, counts, np.where(np.isnan(counts), np.nan, 1.0))
        self.site_shares_ = np.nan_to_num(counts / np.nansum(counts, axis=0))
        self._output_dtype = np.result_type(*(r._output_dtype for r in releases))

    def privacy_statement(self) -> dict[str, Any]:
        """Return what the statements of all releases together say.

        Differential privacy of disjoint sets of people composes in parallel: `epsilon`
        and `delta` are the largest of all releases [1]_. This needs a statement of it
        in each release, for the same unit; otherwise there is no guarantee.

        Returns
        -------
        statement : dict
            `guarantee`; `epsilon`, `delta`, `unit`, `adjacency` and `outside`, what is
            not covered, where each release has differential privacy; and `releases`,
            the guarantee of each. The statements of the files are not verified.

        References
        ----------
        .. [1] F. McSherry, "Privacy Integrated Queries", SIGMOD 2009, theorem 4.
        """
        parts = [release.privacy_statement() for release in self.releases]
        guarantees = [str(part.get("guarantee")) for part in parts]
        without = [i for i, part in enumerate(parts) if not _is_private(part)]
        statement: dict[str, Any] = {}
        if without:
            statement["guarantee"] = (
                f"no guarantee: the releases {without} have no differential privacy"
            )
        elif any(part.get(n) != parts[0].get(n) for part in parts for n in _SAME):
            statement["guarantee"] = (
                "no guarantee: the statements of the releases are for different units"
            )
        else:
            outside = [s for part in parts for s in part.get("outside", ())]
            statement = {
                "guarantee": _DP,
                **{n: max(part[n] for part in parts) for n in ("epsilon", "delta")},
                **{n: parts[0].get(n) for n in _SAME},
                "outside": list(dict.fromkeys([_DISJOINT, _COUNTS, *outside])),
            }
        return {**statement, "releases": guarantees}

    def _check_ready(self):
        """Do nothing: the releases are complete."""

    def _class_weights(self):
        return self.class_prior_

    def _default_n_samples(self):
        return self.releases[0]._default_n_samples()

    def _sampling_device(self):
        return self.releases[0]._sampling_device()

    def _make_draw(self, device, variance, dtype):
        codes_of, draws = [], []
        if variance is not None and not isinstance(variance, str):
            variance = check_variance(variance, self.classes_)
        for release in self.releases:
            codes = find_codes(self.classes_, release.classes_)
            codes_of.append(torch.from_numpy(codes).to(device))
            is_given = isinstance(variance, np.ndarray)
            own = variance[codes >= 0] if is_given else variance
            draws.append(release._make_draw(device, own, dtype))
        shares = torch.tensor(self.site_shares_.T, dtype=torch.float32, device=device)

        def draw(codes, generator):
            sites = torch.multinomial(
                shares.index_select(0, codes), 1, generator=generator
            )[:, 0]
            size = len(codes), self.n_features_in_
            X = torch.empty(size, dtype=dtype, device=device)
            for site, draw_site in enumerate(draws):
                places = (sites == site).nonzero()[:, 0]
                if len(places):
                    of_site = codes_of[site].index_select(0, codes[places])
                    X.index_copy_(0, places, draw_site(of_site, generator))
            return X

        return draw


def merge_releases(
    releases: Iterable[Release],
    *,
    site_sizes: ArrayLike | None = None,
    weights: Iterable[Mapping[Any, float]] | None = None,
) -> MergedRelease:
    r"""Return the releases of several sites as one generator of all their classes.

    Each site fits a generator to its own samples and sends a release; no sample leaves
    it. For each sample of a class c that is asked for, a site s is drawn with the
    probability :math:`n_{sc} / \sum_t n_{tc}`, and then a sample of its release: the
    mixture that the samples of all sites together have, if each release has the
    distribution of its site [1]_.

    A release does not tell how many samples it was made of. Give either `site_sizes` or
    `weights`. The result cannot be written to a file: keep the releases, and merge them
    again.

    Parameters
    ----------
    releases : iterable of Release
        What :func:`load` returned for the file of each site. Sites may have different
        classes.

    site_sizes : array-like of shape (n_releases,), default=None
        Number of samples of each site in the classes of its release, above 0. The
        number of samples of a class is this times the class prior of the release, which
        must have been written with ``class_prior="training"`` or with numbers. That of
        a private generator is noisy, and covered by its guarantee.

    weights : list of dict, default=None
        For each release, a dict from label to number of samples of that class at the
        site, at least 0. It must name all classes of the release, and may name more:
        those are left out. Where no site has a sample of a class, all sites that can
        draw it do so alike.

    Returns
    -------
    merged : MergedRelease
        Has `sample(n_samples)`, `sample(y=...)`, `batches(batch_size)`, `classes_` and
        `privacy_statement()`. In scikit-learn's FrozenEstimator, over-samplers and
        :class:`~skcvae.long_tail.LongTailClassifier` take it as a generator.

    Raises
    ------
    TypeError
        If something else than a loaded release is given.

    ValueError
        If there is no release, two of them have different numbers of features or types
        of labels or are of the same samples, or the numbers of samples are missing or
        do not fit.

    See Also
    --------
    skcvae.generators.ClassMoments : For Gaussians, moments of all sites can be added.

    References
    ----------
    .. [1] C. E. Heinbaugh, E. Luz-Ricca and H. Shao, "Data-Free One-Shot Federated
       Learning Under Very High Statistical Heterogeneity", ICLR 2023.

    Examples
    --------
    >>> import tempfile
    >>> from sklearn.datasets import load_digits
    >>> from skcvae.anonymization import GenerativeAnonymizer, load, merge_releases
    >>> X, y = load_digits(return_X_y=True)
    >>> releases = []
    >>> for site in (y < 6, y > 3):
    ...     anonymizer = GenerativeAnonymizer(random_state=0).fit(X[site], y[site])
    ...     with tempfile.TemporaryDirectory() as folder:
    ...         path = f"{folder}/site.safetensors"
    ...         path = anonymizer.release(path, class_prior="training")
    ...         releases.append(load(path))
    >>> merged = merge_releases(releases, site_sizes=[1083, 1077])
    >>> merged.classes_.tolist()
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    >>> merged.site_shares_[:, [0, 4, 9]].round(1).tolist()
    [[1.0, 0.5, 0.0], [0.0, 0.5, 1.0]]
    >>> X_new, y_new = merged.sample(y=[0, 4, 9], random_state=0)
    >>> X_new.shape
    (3, 64)
    """
    releases = list(releases)
    _check_releases(releases)
    return MergedRelease(releases, _count_samples(releases, site_sizes, weights))


def unite_classes(releases):
    """Return the labels of all releases, sorted."""
    return np.unique(np.concatenate([release.classes_ for release in releases]))


def _is_private(statement):
    """Tell whether a statement is one of differential privacy, with its numbers."""
    numbers = [statement.get(name) for name in ("epsilon", "delta")]
    return statement.get("guarantee") == _DP and all(
        isinstance(n, Real) and not isinstance(n, bool) and 0 <= n < np.inf
        for n in numbers
    )


def _check_release(release):
    """Refuse what is no loaded release of classes."""
    if not isinstance(release, Release):
        raise TypeError(
            "merge_releases takes what skcvae.anonymization.load returns, got "
            f"{type(release).__name__}."
        )
    if hasattr(release, "label_sets_"):
        raise ValueError(
            "Releases of label sets cannot be merged: draw from each of them."
        )


def _check_releases(releases):
    """Refuse what is no loaded release, and releases that do not fit together."""
    if not releases:
        raise ValueError("merge_releases needs at least one release.")
    for release in releases:
        _check_release(release)
    sizes = [release.n_features_in_ for release in releases]
    if len(set(sizes)) > 1:
        raise ValueError(
            f"The releases have different numbers of features, {sizes}: all sites must "
            "embed their data by the same model."
        )
    types = [release.manifest_["label_type"] for release in releases]
    if len(set(types)) > 1:
        raise ValueError(
            f"The releases have labels of different types, {types}: all sites must use "
            "the same labels."
        )
    for (i, first), (j, second) in combinations(enumerate(releases), 2):
        if _have_same_means(first, second):
            raise ValueError(
                f"The releases {i} and {j} have the same class means: they are of the "
                "same samples, which would count twice. Leave one of them out."
            )


def _have_same_means(first, second):
    """Tell whether two releases have the same mean for each class that both have.

    Images have no means; there, whether they are the same release.
    """
    if "image_shape" in first.manifest_.keys() & second.manifest_.keys():
        return first.manifest_["tensors"] == second.manifest_["tensors"]
    codes = find_codes(first.classes_, second.classes_)
    both = codes >= 0
    same = np.array_equal(first._centres()[both], second._centres()[codes[both]])
    return both.any() and same


def _count_samples(releases, site_sizes, weights):
    """Return numbers of samples, (n_releases, n_classes), NaN for lacking classes."""
    if (site_sizes is None) == (weights is None):
        raise ValueError(
            "Give either site_sizes, the number of samples of each site, or weights, a "
            "dict from label to number of samples for each site: a release does not "
            "tell how many samples it was made of."
        )
    if weights is None:
        of_sites = _counts_by_prior(releases, site_sizes)
    else:
        of_sites = _counts_by_label(releases, weights)
    classes = unite_classes(releases)
    counts = np.full((len(releases), len(classes)), np.nan)
    for row, release, values in zip(counts, releases, of_sites, strict=True):
        row[find_codes(release.classes_, classes)] = values
    if not np.nansum(counts) > 0:
        raise ValueError("weights are 0 for all classes of all releases.")
    return counts


def _counts_by_prior(releases, site_sizes):
    """Return the class counts of each site, from its size and its class prior."""
    refuse_index(site_sizes, "site_sizes", "releases", "loc[sites]")
    sizes = np.asarray(site_sizes, dtype=np.float64)
    if sizes.shape != (len(releases),) or not (np.isfinite(sizes) & (sizes > 0)).all():
        raise ValueError(
            f"site_sizes must have one number above 0 for each of the {len(releases)} "
            "releases."
        )
    for i, release in enumerate(releases):
        if release.manifest_["class_prior"] == "uniform":
            raise ValueError(
                f"Release {i} has class_prior='uniform', which does not tell how "
                "frequent its classes are. Write it with class_prior='training', or "
                "give weights in place of site_sizes."
            )
    priors = [release.class_prior_ for release in releases]
    return [n * p / p.sum() for n, p in zip(sizes, priors, strict=True)]


def _counts_by_label(releases, weights):
    """Return the class counts of each site, from dicts by label."""
    weights = list(weights)
    if len(weights) != len(releases) or not all(
        isinstance(given, Mapping) for given in weights
    ):
        raise ValueError(
            f"weights must have one dict for each of the {len(releases)} releases, got "
            f"{len(weights)} values: {weights[:3]}."
        )
    of_sites = []
    for i, (release, given) in enumerate(zip(releases, weights, strict=True)):
        labels = release.classes_.tolist()
        lacking = [label for label in labels if label not in given]
        if lacking:
            raise ValueError(
                f"weights[{i}] lacks the classes {lacking[:5]} of its release."
            )
        values = np.array([given[label] for label in labels], dtype=np.float64)
        if not (np.isfinite(values) & (values >= 0)).all():
            raise ValueError(f"weights[{i}] must be finite and at least 0.")
        of_sites.append(values)
    return of_sites
