"""Class means from unlabelled samples, and from embeddings of the classes."""

import numpy as np
import pandas as pd
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import multivariate_normal
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import cross_validate
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from skcvae import CVAE, ClassGaussian, GenerativeOverSampler, LongTailClassifier
from skcvae.generators import DPClassGaussian
from skcvae.generators._class_embeddings import align_class_embeddings
from skcvae.generators._unlabeled import _Mixture

CENTRES = 2.5 * np.eye(4, 8)
COUNTS = [120, 60, 8, 5]


def draw(counts, seed, centres=CENTRES):
    """Return samples of Gaussian classes, and their codes, in a random order."""
    rng = np.random.RandomState(seed)
    codes = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    return centres[codes] + rng.normal(size=(len(codes), centres.shape[1])), codes


def error(generator, centres=CENTRES):
    """Return the mean squared error of the class means, in the units of X."""
    means = generator.offset_ + generator.class_means_ * generator.scale_
    return np.mean((means - centres) ** 2, axis=1)


@pytest.fixture
def labelled():
    return draw(COUNTS, seed=0)


@pytest.fixture
def unlabeled():
    return draw([500] * 4, seed=1)[0]


# Unlabelled samples


def test_means_of_two_gaussians_come_near_the_truth():
    centres = np.array([[-2.0, 0, 0], [2.0, 0, 0]])
    X, y = draw([60, 4], 0, centres)
    errors = [
        error(ClassGaussian().fit(X, y, draw([n, n], 1, centres)[0]), centres)[1]
        for n in (20, 200, 5000)
    ]
    without = error(ClassGaussian().fit(X, y), centres)[1]
    assert without > 5 * errors[1]
    assert errors[2] < 0.02


def test_step_agrees_with_densities_of_scipy():
    Z, codes = draw([6, 3, 2], 0, CENTRES[:3])
    U, _ = draw([5, 5, 5], 1, CENTRES[:3])
    k0 = 2.0
    mixture = _Mixture.of(Z, codes, 3, Z.mean(axis=0), k0)
    mixture.temperature = 1.7
    counts = np.bincount(codes)
    sums = np.array([Z[codes == code].sum(axis=0) for code in range(3)])
    prior = np.full(3, 1 / 3)
    received = moved = np.zeros((3, 1))
    for _ in range(3):
        total = counts[:, None] + received + k0
        means = (sums + moved + k0 * Z.mean(axis=0)) / total
        density = [
            p * multivariate_normal(m, 1.7 * np.eye(8)).pdf(U)
            for p, m in zip(prior, means, strict=True)
        ]
        share = np.array(density) / np.sum(density, axis=0)
        received, moved = share.sum(axis=1, keepdims=True), share @ U
        prior = (received[:, 0] + 1) / (len(U) + 3)
        mixture.step(U)
    assert_allclose(mixture.received, received[:, 0])
    assert_allclose(mixture.prior, prior)
    expected = (sums + moved + k0 * Z.mean(axis=0)) / (counts[:, None] + received + k0)
    assert_allclose(mixture.means(), expected)


def test_prior_of_the_unlabelled_samples_is_estimated(labelled):
    U, codes = draw([100, 200, 400, 300], seed=3)
    generator = ClassGaussian().fit(*labelled, U)
    assert generator.n_iter_unlabeled_ > 0
    assert_allclose(generator.unlabeled_prior_, np.bincount(codes) / 1000, atol=0.05)
    assert_allclose(generator.unlabeled_prior_.sum(), 1)
    # A hundredth of the labelled samples is farther from its mean, too.
    assert 950 < generator.unlabeled_count_.sum() <= 1000


def test_samples_far_from_all_classes_change_nothing(labelled, unlabeled):
    plain = ClassGaussian().fit(*labelled)
    far = 30 + unlabeled
    alone = ClassGaussian().fit(*labelled, far)
    assert alone.n_iter_unlabeled_ == 0
    assert alone.unlabeled_prior_ is None
    assert_array_equal(alone.unlabeled_count_, np.zeros(4))
    assert_array_equal(alone.class_means_, plain.class_means_)
    mixed = ClassGaussian().fit(*labelled, np.concatenate([far, unlabeled]))
    clean = ClassGaussian().fit(*labelled, unlabeled)
    assert_allclose(mixed.class_means_, clean.class_means_)


@pytest.mark.parametrize("seed", range(5))
def test_samples_of_other_classes_hardly_hurt(seed):
    X, y = draw(COUNTS, seed)
    rng = np.random.RandomState(seed)
    others = X.mean(axis=0) + rng.normal(size=(1000, 8)) @ np.diag([0.5] * 4 + [1] * 4)
    without = error(ClassGaussian().fit(X, y)).mean()
    assert error(ClassGaussian().fit(X, y, others)).mean() < 1.1 * without


@pytest.mark.parametrize("seed", range(5))
def test_long_tailed_pool_does_not_hurt(seed):
    X, y = draw(COUNTS, seed)
    U, _ = draw([400, 100, 20, 5], seed + 10)
    without = error(ClassGaussian().fit(X, y)).mean()
    assert error(ClassGaussian().fit(X, y, U)).mean() <= without


def test_no_samples_and_copies_of_labelled_ones_change_nothing(labelled):
    X, y = labelled
    plain = ClassGaussian().fit(X, y)
    for nothing in (X, X[::-1], X[:0]):
        generator = ClassGaussian().fit(X, y, nothing)
        assert generator.n_iter_unlabeled_ == 0
        assert_array_equal(generator.class_means_, plain.class_means_)


@pytest.mark.parametrize(
    "counts", [[1, 1, 1], [2, 2], [7], [1, 1, 3]], ids=lambda counts: str(counts)
)
def test_tiny_sets_pass(counts):
    X, y = draw(counts, 0)
    generator = ClassGaussian().fit(X, y, draw([50] * 4, 1)[0])
    assert np.isfinite(generator.class_means_).all()


def test_classes_without_variance_pass():
    X = np.repeat(np.eye(3), 4, axis=0)
    generator = ClassGaussian().fit(X, np.repeat([0, 1, 2], 4), X + 0.5)
    assert_allclose(generator._centres(), np.eye(3), atol=1e-6)


def test_names_and_order_of_labels_do_not_matter(labelled, unlabeled):
    X, y = labelled
    names = np.array(["d", "b", "a", "c"])
    by_number = ClassGaussian().fit(X, y, unlabeled)
    by_name = ClassGaussian().fit(X, names[y], unlabeled)
    order = np.argsort(names)
    assert by_number.n_iter_unlabeled_ == by_name.n_iter_unlabeled_
    assert_allclose(by_name.class_means_, by_number.class_means_[order], rtol=1e-6)
    assert_allclose(by_name.unlabeled_count_, by_number.unlabeled_count_[order])


def test_order_of_unlabelled_samples_does_not_matter(labelled, unlabeled):
    one = ClassGaussian().fit(*labelled, unlabeled)
    other = ClassGaussian().fit(*labelled, unlabeled[::-1])
    assert_allclose(one.class_means_, other.class_means_, rtol=1e-6)


def test_blocks_do_not_matter(labelled, unlabeled, monkeypatch):
    one = ClassGaussian().fit(*labelled, unlabeled)
    monkeypatch.setattr("skcvae.generators._unlabeled._blocks", small_blocks)
    other = ClassGaussian().fit(*labelled, unlabeled)
    assert_allclose(one.class_means_, other.class_means_, rtol=1e-6)


def small_blocks(U, means):
    return [slice(i, i + 7) for i in range(0, len(U), 7)]


def test_auto_variance_counts_unlabelled_samples(labelled, unlabeled):
    generator = ClassGaussian(variance="auto").fit(*labelled, unlabeled)
    known = COUNTS + generator.unlabeled_count_ + generator.mean_shrinkage_
    assert_allclose(generator._resolve_variance(), 1 + 1 / known)


@pytest.mark.parametrize("covariance_type", ["tied", "full"])
def test_covariance_is_that_of_the_labelled_samples(
    labelled, unlabeled, covariance_type
):
    generator = ClassGaussian(covariance_type=covariance_type)
    plain = clone(generator).fit(*labelled)
    pooled = generator.fit(*labelled, unlabeled)
    assert_array_equal(pooled.covariance_, plain.covariance_)
    assert pooled.sample(y=[0, 3], random_state=0)[0].shape == (2, 8)


def test_later_fit_forgets_the_unlabelled_samples(labelled, unlabeled):
    generator = ClassGaussian().fit(*labelled, unlabeled).fit(*labelled)
    assert generator.unlabeled_prior_ is None
    assert generator.n_iter_unlabeled_ == 0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (np.full((2, 8), np.nan), "X_unlabeled contains NaN"),
        (np.ones((2, 7)), "7 features"),
        (np.full((2, 8), 1e38), "too large"),
        ([["a"] * 8], "strings"),
        (np.ones(8), "1D array"),
    ],
)
@pytest.mark.parametrize("estimator", [ClassGaussian(), LongTailClassifier()])
def test_wrong_samples_are_refused(labelled, estimator, wrong, message):
    with pytest.raises(ValueError, match=message):
        clone(estimator).fit(*labelled, X_unlabeled=wrong)


def test_names_of_features_are_checked(labelled, unlabeled):
    X, y = labelled
    X = pd.DataFrame(X, columns=list("abcdefgh"))
    U = pd.DataFrame(unlabeled, columns=list("abcdefgh"))
    assert ClassGaussian().fit(X, y, U).n_iter_unlabeled_ > 0
    with pytest.raises(ValueError, match="feature names"):
        ClassGaussian().fit(X, y, U[list("hgfedcba")])


# The classifier, and what else fits a generator


@pytest.mark.parametrize("params", [{"l2": 0.01}, {"max_epochs": 1}])
def test_both_solvers_use_the_means(labelled, unlabeled, params):
    classifier = LongTailClassifier(device="cpu", random_state=0, **params)
    plain = clone(classifier).fit(*labelled)
    pooled = classifier.fit(*labelled, X_unlabeled=unlabeled)
    generator = ClassGaussian().fit(*labelled, unlabeled)
    assert_array_equal(pooled.generator_.class_means_, generator.class_means_)
    proba = [fitted.predict_proba(labelled[0]) for fitted in (plain, pooled)]
    assert not np.allclose(*proba)


def test_ridge_and_temperature_are_chosen_with_unlabelled_samples(
    labelled, unlabeled, monkeypatch
):
    seen = []
    fit = ClassGaussian._fit

    def record(self, Z, codes, seed, Z_unlabeled=None):
        seen.append(Z_unlabeled is not None)
        fit(self, Z, codes, seed, Z_unlabeled)

    monkeypatch.setattr(ClassGaussian, "_fit", record)
    LongTailClassifier(
        device="cpu", random_state=0, calibration="temperature", cv=2
    ).fit(*labelled, X_unlabeled=unlabeled)
    # Of the classifier itself, three splits twice at most, and two folds.
    assert len(seen) >= 6 and all(seen)


def test_samples_of_weight_zero_are_left_out(labelled, unlabeled):
    X, y = labelled
    weight = np.ones(len(X))
    weight[::5] = 0
    classifier = LongTailClassifier(l2=0.01, device="cpu", random_state=0)
    one = clone(classifier).fit(X, y, weight, X_unlabeled=unlabeled)
    kept = weight > 0
    other = classifier.fit(X[kept], y[kept], X_unlabeled=unlabeled)
    assert_allclose(one.coef_, other.coef_)


@pytest.mark.parametrize(
    ("params", "error_type", "message"),
    [
        ({"augment": None}, ValueError, "augment=None"),
        ({"generator": CVAE()}, TypeError, "CVAE.fit does not take"),
        (
            {"generator": DPClassGaussian(epsilon=1.0)},
            TypeError,
            "DPClassGaussian.fit does not take",
        ),
    ],
)
def test_samples_without_a_use_are_refused(
    labelled, unlabeled, params, error_type, message
):
    with pytest.raises(error_type, match=message):
        LongTailClassifier(**params).fit(*labelled, X_unlabeled=unlabeled)


def test_private_generators_take_no_unlabelled_samples(labelled, unlabeled):
    with pytest.raises(TypeError, match="X_unlabeled"):
        DPClassGaussian(epsilon=1.0).fit(*labelled, X_unlabeled=unlabeled)


def test_frozen_generator_is_refused_with_them_and_taken_without(labelled, unlabeled):
    frozen = FrozenEstimator(ClassGaussian().fit(*labelled, unlabeled))
    with pytest.raises(ValueError, match="FrozenEstimator is not fitted"):
        LongTailClassifier(frozen).fit(*labelled, X_unlabeled=unlabeled)
    X, y = GenerativeOverSampler(frozen, random_state=0).fit_resample(*labelled)
    assert_array_equal(np.bincount(y), [120] * 4)
    drawn = X[len(labelled[0]) :][y[len(labelled[0]) :] == 3]
    assert np.linalg.norm(drawn.mean(axis=0) - CENTRES[3]) < 0.6


def test_cache_tells_unlabelled_samples_apart(labelled, unlabeled, tmp_path):
    classifier = LongTailClassifier(
        ClassGaussian(random_state=0),
        l2=0.01,
        device="cpu",
        random_state=0,
        memory=str(tmp_path),
    )
    plain = clone(classifier).fit(*labelled).generator_
    for _ in range(2):
        pooled = clone(classifier).fit(*labelled, X_unlabeled=unlabeled).generator_
        assert plain.n_iter_unlabeled_ == 0
        assert pooled.n_iter_unlabeled_ > 0


def test_pipeline_transforms_them(labelled, unlabeled):
    X, y = labelled
    with sklearn.config_context(enable_metadata_routing=True):
        classifier = LongTailClassifier(l2=0.01, device="cpu", random_state=0)
        classifier.set_fit_request(X_unlabeled=True)
        pipeline = Pipeline(
            [("scale", StandardScaler()), ("classify", classifier)],
            transform_input=["X_unlabeled"],
        )
        pipeline.fit(X, y, X_unlabeled=unlabeled)
    scaler = StandardScaler().fit(X)
    expected = clone(classifier).fit(
        scaler.transform(X), y, X_unlabeled=scaler.transform(unlabeled)
    )
    assert_allclose(
        pipeline.predict_proba(X), expected.predict_proba(scaler.transform(X))
    )


@pytest.mark.parametrize(("n_left_out", "is_whole"), [(0, False), (1, True)])
def test_cross_validation_slices_as_many_samples_as_there_are_in_x(
    labelled, n_left_out, is_whole
):
    X, y = labelled
    U = draw([60, 60, 60, 13], seed=1)[0][n_left_out:]
    assert (len(U) == len(X)) is not is_whole
    sizes = []

    class Recording(ClassGaussian):
        def fit(self, X, y, X_unlabeled=None):
            sizes.append(len(X_unlabeled))
            return super().fit(X, y, X_unlabeled)

    classifier = LongTailClassifier(Recording(), l2=0.01, device="cpu", random_state=0)
    cross_validate(classifier, X, y, params={"X_unlabeled": U}, cv=2)
    assert sizes == ([len(U)] * 2 if is_whole else [len(X) // 2, len(X) - len(X) // 2])


# Embeddings of the classes


def embedded(centres, noise=0.0, seed=99):
    """Return embeddings with an offset, another scale, and noise."""
    rng = np.random.RandomState(seed)
    return 5 + 3 * (centres + noise * rng.normal(size=centres.shape))


def many_classes(seed=0):
    """Return 40 classes of 2 to 41 samples, and their centres."""
    centres = np.random.RandomState(seed).normal(size=(40, 8))
    return *draw(np.arange(2, 42), seed + 1, centres), centres


def fit_with(X, y, vectors):
    return ClassGaussian(class_embeddings=dict(enumerate(vectors))).fit(X, y)


def test_good_embeddings_improve_the_means():
    X, y, centres = many_classes()
    without = error(ClassGaussian().fit(X, y), centres)
    generator = fit_with(X, y, embedded(centres, noise=0.1))
    assert_allclose(generator.embedding_slope_, 1 / 3, rtol=0.1)
    with_embeddings = error(generator, centres)
    assert with_embeddings[:10].mean() < without[:10].mean() / 4
    assert with_embeddings.mean() < without.mean() / 2


def test_exact_embeddings_are_the_means():
    X, y, centres = many_classes()
    generator = fit_with(X, y, embedded(centres))
    assert error(generator, centres)[:10].mean() < 0.02


@pytest.mark.parametrize("seed", range(5))
def test_useless_embeddings_change_little(seed):
    X, y, centres = many_classes(seed)
    without = ClassGaussian().fit(X, y)
    vectors = np.random.RandomState(seed + 100).normal(size=centres.shape)
    generator = fit_with(X, y, 5 + 3 * vectors)
    assert 0 <= generator.embedding_slope_ < 0.05
    assert error(generator, centres).mean() < 1.05 * error(without, centres).mean()


def test_opposite_embeddings_are_ignored():
    X, y, centres = many_classes()
    generator = fit_with(X, y, -centres)
    assert generator.embedding_slope_ == 0
    assert_array_equal(generator.class_means_, ClassGaussian().fit(X, y).class_means_)


def test_slope_agrees_with_a_weighted_regression():
    rng = np.random.RandomState(0)
    counts = np.array([30, 20, 10, 3, 2])
    e = rng.normal(size=(5, 4))
    raw = 1.5 + 0.7 * e + 0.3 * rng.normal(size=(5, 4))

    class Means:
        covariance, k0 = np.eye(4), 2.0

    Means.raw = raw
    shifts, slope = align_class_embeddings(e, Means, counts)
    weight = counts / (counts + 2.0)
    # An offset for each feature, and one slope for all.
    design = np.column_stack([e.ravel(), np.tile(np.eye(4), (5, 1))])
    weights = np.repeat(weight, 4)
    fitted = LinearRegression(fit_intercept=False).fit(design, raw.ravel(), weights)
    rest = weights @ (raw.ravel() - fitted.predict(design)) ** 2 / (20 - 5)
    centred = e - np.average(e, axis=0, weights=weight)
    f_statistic = fitted.coef_[0] ** 2 * weight @ (centred**2).sum(axis=1) / rest
    assert_allclose(slope, fitted.coef_[0] * (1 - 1 / f_statistic))
    assert_allclose(shifts, slope * (e - np.average(e, axis=0, weights=counts)))


def test_offset_and_scale_of_embeddings_do_not_matter():
    X, y, centres = many_classes()
    vectors = embedded(centres, noise=0.3)
    one = fit_with(X, y, vectors)
    other = fit_with(X, y, 0.01 * vectors - 7)
    assert_allclose(one.class_means_, other.class_means_, rtol=1e-3, atol=1e-4)


def test_class_without_an_embedding_is_shrunk_towards_the_mean_of_all():
    X, y, centres = many_classes()
    embeddings = dict(enumerate(embedded(centres, noise=0.1)))
    del embeddings[0]
    generator = ClassGaussian(class_embeddings=embeddings).fit(X, y)
    k0 = generator.mean_shrinkage_
    expected = (X[y == 0].sum(axis=0) + k0 * X.mean(axis=0)) / (np.sum(y == 0) + k0)
    assert_allclose(generator._centres()[0], expected, atol=1e-5)


def test_order_of_embeddings_and_other_labels_do_not_matter():
    X, y, centres = many_classes()
    vectors = embedded(centres, noise=0.3)
    names = np.array([f"class {i}" for i in range(40)])
    reverse = dict(zip(names[::-1], vectors[::-1], strict=True))
    reverse["another"] = np.zeros(8)
    by_name = ClassGaussian(class_embeddings=reverse).fit(X, names[y])
    by_number = fit_with(X, y, vectors)
    order = np.argsort(names)
    assert_allclose(by_name._centres(), by_number._centres()[order], atol=1e-5)


@pytest.mark.parametrize(
    ("embeddings", "message"),
    [
        ({0: np.zeros(7)}, r"class_embeddings\[0\] must have the shape \(8,\)"),
        ({1: np.full(8, np.nan)}, r"class_embeddings\[1\] must be finite"),
        ({1: np.full(8, 1e38)}, r"class_embeddings\[1\] must be finite"),
        ({"0": np.zeros(8)}, "none of the classes"),
        ({}, "none of the classes"),
    ],
)
def test_wrong_embeddings_are_refused(labelled, embeddings, message):
    with pytest.raises(ValueError, match=message):
        ClassGaussian(class_embeddings=embeddings).fit(*labelled)


@pytest.mark.parametrize("counts", [[3], [1, 1], [2, 1], [5, 5, 5]])
def test_embeddings_of_few_classes_pass(counts):
    X, y = draw(counts, 0)
    generator = fit_with(X, y, CENTRES[: len(counts)])
    assert np.isfinite(generator.class_means_).all()


def test_both_kinds_of_knowledge_add_up():
    X, y, centres = many_classes()
    U, _ = draw([50] * 40, 7, centres)
    vectors = dict(enumerate(embedded(centres, noise=0.4)))
    tail = slice(10)
    one = error(ClassGaussian(class_embeddings=vectors).fit(X, y), centres)[tail]
    both = error(ClassGaussian(class_embeddings=vectors).fit(X, y, U), centres)[tail]
    assert both.mean() < one.mean()


def test_classifier_reaches_embeddings_through_its_generator(labelled):
    classifier = LongTailClassifier(ClassGaussian(), l2=0.01, device="cpu")
    classifier.set_params(generator__class_embeddings=dict(enumerate(CENTRES)))
    slope = classifier.fit(*labelled).generator_.embedding_slope_
    assert 0 < slope < 1.5
