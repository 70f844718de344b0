"""Class moments: added, written, and learned from as from all samples at once."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.covariance import oas
from sklearn.utils.estimator_checks import check_estimator

from skcvae.generators import ClassGaussian, ClassMoments

SETTINGS = [{"covariance_shrinkage": "oas"}, {"covariance_shrinkage": 0.2}]


@pytest.fixture
def data():
    """Samples far from zero, with a constant feature and a class of one sample."""
    rng = np.random.RandomState(0)
    y = np.repeat([0, 1, 2, 7], [30, 20, 9, 1])
    X = 1000 + rng.normal(size=(60, 8)) @ rng.normal(size=(8, 8)) + y[:, None]
    X[:, 3] = 5.0
    return X, y


def assert_same(first, second):
    assert_array_equal(first.classes_, second.classes_)
    assert_array_equal(first.class_count_, second.class_count_)
    for name in ("class_means_", "covariance_", "mean_shrinkage_", "offset_", "scale_"):
        assert_allclose(
            getattr(first, name), getattr(second, name), rtol=1e-5, atol=1e-5
        )
    drawn, expected = (g.sample(200, random_state=3)[0] for g in (first, second))
    assert_allclose(drawn, expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("params", SETTINGS)
@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1]])
@pytest.mark.parametrize("n_features", [8, 100])
def test_parts_in_any_order_give_what_fit_gives(data, params, order, n_features):
    X, y = data
    rng = np.random.RandomState(1)
    X = np.tile(X, 13)[:, :n_features] + (n_features > 8) * rng.normal(
        size=(len(X), n_features)
    )
    parts = np.array_split(rng.permutation(len(X)), 3)
    added = ClassGaussian(random_state=0, **params)
    moments = []
    for part in (parts[i] for i in order):
        added.partial_fit(X[part], y[part], classes=[0, 1, 2, 7])
        moments.append(ClassMoments.from_data(X[part], y[part]))
    whole = ClassGaussian(random_state=0, **params).fit(X, y)
    assert_same(added, whole)
    merged = ClassGaussian.from_moments(
        moments[0] + (moments[1] + moments[2]), random_state=0, **params
    )
    assert_same(merged, whole)


@pytest.mark.filterwarnings("ignore:The number of unique classes")
def test_classes_of_one_sample_give_what_fit_gives(data):
    X, _ = data
    y = np.arange(len(X))
    whole = ClassGaussian(covariance_shrinkage="oas", random_state=0).fit(X, y)
    moments = ClassMoments.from_data(X, y)
    assert_same(ClassGaussian.from_moments(moments, random_state=0), whole)


def test_moments_are_those_of_numpy(data):
    X, y = data
    moments = ClassMoments.from_data(X[:20], y[:20])
    moments += ClassMoments.from_data(X[20:], y[20:])
    assert_array_equal(moments.counts, [30, 20, 9, 1])
    residuals = np.concatenate([X[y == c] - X[y == c].mean(axis=0) for c in (0, 1, 2)])
    assert_allclose(moments.scatter, residuals.T @ residuals, atol=1e-8)
    assert_allclose(moments.means[2], X[y == 2].mean(axis=0))


def test_oas_is_that_of_scikit_learn():
    Z = np.random.RandomState(0).normal(size=(40, 12))
    Z = (Z - Z.mean(axis=0)) / Z.std()
    generator = ClassGaussian(covariance_shrinkage="oas").fit(Z, np.zeros(40))
    # One of the degrees of freedom goes to the mean: a contrast replaces a sample.
    contrasts = np.linalg.qr(np.c_[np.ones(40), np.eye(40)[:, 1:]])[0][:, 1:].T @ Z
    expected, _ = oas(contrasts, assume_centered=True)
    size = np.trace(expected) / np.trace(generator.covariance_)
    assert_allclose(generator.covariance_ * size, expected, atol=1e-6)


def test_moments_survive_a_file(data, tmp_path):
    X, y = data
    y = np.array(["a", "b", "c"])[np.minimum(y, 2)]
    moments = ClassMoments.from_data(X.astype(np.float32), y)
    moments.to_file(tmp_path / "m.safetensors")
    read = ClassMoments.from_file(tmp_path / "m.safetensors")
    for name in ("classes", "counts", "means", "scatter", "dtype"):
        assert_array_equal(getattr(read, name), getattr(moments, name))


def test_small_classes_do_not_leave(data, tmp_path):
    moments = ClassMoments.from_data(*data)
    with pytest.raises(ValueError, match=r"classes \[7\] have fewer than"):
        moments.to_file(tmp_path / "m.safetensors")
    assert not list(tmp_path.iterdir())
    moments.to_file(tmp_path / "m.safetensors", min_class_size=1)


@pytest.mark.parametrize("keep", [0, 7, 60, -9])
def test_broken_files_are_refused(data, tmp_path, keep):
    path = tmp_path / "m.safetensors"
    ClassMoments.from_data(*data).to_file(path, min_class_size=1)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match="no file of class moments"):
        ClassMoments.from_file(path)


def test_moments_of_other_features_or_labels_are_not_added(data):
    X, y = data
    moments = ClassMoments.from_data(X, y)
    with pytest.raises(ValueError, match="8 features"):
        moments + ClassMoments.from_data(X[:, 1:], y)
    with pytest.raises(ValueError, match="strings"):
        moments + ClassMoments.from_data(X, y.astype(str))


@pytest.mark.parametrize(
    "params",
    [
        {"covariance_shrinkage": "auto"},
        {"covariance_shrinkage": "factors"},
        {"covariance_type": "full"},
    ],
)
def test_what_needs_single_samples_is_refused(data, params):
    with pytest.raises(ValueError, match="read single samples"):
        ClassGaussian.from_moments(ClassMoments.from_data(*data), **params)
    params = {"covariance_shrinkage": "oas", **params}
    assert not hasattr(ClassGaussian(**params), "partial_fit")


@pytest.mark.parametrize("params", SETTINGS)
def test_partial_fit_continues_what_fit_began(data, params):
    X, y = data
    generator = ClassGaussian(random_state=0, **params).fit(X[:40], y[:40])
    generator.partial_fit(X[40:], y[40:])
    assert_same(generator, ClassGaussian(random_state=0, **params).fit(X, y))


def test_partial_fit_after_a_fit_to_wide_data_is_refused(data, monkeypatch):
    monkeypatch.setattr("skcvae._thin_covariance.MAX_DENSE_FEATURES", 7)
    X, y = data[0][:6], [0, 0, 0, 1, 1, 1]
    generator = ClassGaussian(covariance_shrinkage="oas").fit(X, y)
    with pytest.raises(ValueError, match="keeps no moments"):
        generator.partial_fit(X, y)


def test_unlisted_labels_are_refused_and_change_nothing(data):
    X, y = data
    generator = ClassGaussian(covariance_shrinkage="oas").partial_fit(X, y)
    with pytest.raises(ValueError, match="unseen labels"):
        generator.partial_fit(X, y, classes=[0, 1])
    assert generator.moments_.n_samples == 60


def test_partial_fit_passes_the_checks_of_scikit_learn():
    check_estimator(ClassGaussian(covariance_shrinkage="oas"))


def test_samples_are_read_as_estimators_read_them(data):
    X, y = data
    tensor = torch.tensor(X, requires_grad=True)
    moments = ClassMoments.from_data(tensor, y)
    assert_array_equal(moments.means, ClassMoments.from_data(X, y).means)
    dates = X.astype("M8[D]")
    with pytest.raises((TypeError, ValueError), match="date"):
        ClassMoments.from_data(dates, y)
