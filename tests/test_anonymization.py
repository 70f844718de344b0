"""Anonymizers: labels, transform as identity, min_distance, streams, no rows kept."""

import copy
import pickle
import warnings
from itertools import islice

import numpy as np
import pandas as pd
import pytest
import torch
from imblearn.pipeline import make_pipeline as make_imblearn_pipeline
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, clone
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from torch.utils.data import DataLoader

from skcvae.anonymization import (
    CVAEAnonymizer,
    GenerativeAnonymizer,
    SyntheticDataset,
    load,
)
from skcvae.generators import CVAE, DPCVAE, ClassGaussian, DPClassGaussian
from skcvae.over_sampling import RemixSampler

FAST = {
    "max_epochs": 2,
    "latent_dim": 4,
    "device": "cpu",
    "net_params": {"module__hidden_dim": 16},
    "random_state": 0,
}
ALLOW = {"small_classes": "allow"}
ANONYMIZERS = [CVAEAnonymizer(**FAST), GenerativeAnonymizer(random_state=0)]

pytestmark = pytest.mark.filterwarnings("ignore:The CVAE uses none of its latent")


def for_each(anonymizers):
    return pytest.mark.parametrize(
        "anonymizer", anonymizers, ids=lambda a: type(a).__name__
    )


@pytest.fixture(scope="module")
def blobs():
    """Three classes, far apart, in the order of no class."""
    rng = np.random.RandomState(0)
    y = rng.permutation(np.repeat(["a", "b", "c"], [60, 30, 10]))
    centre = {"a": 0.0, "b": 20.0, "c": -20.0}
    X = rng.normal(size=(100, 5)) + np.array([[centre[c]] for c in y])
    return X, y


def contains_row(content, X):
    """Tell whether bytes hold any row, in float32 or float64."""
    return any(
        row.astype(dtype).tobytes() in content
        for row in X
        for dtype in (np.float32, np.float64)
    )


@for_each(ANONYMIZERS)
def test_each_row_gets_a_stand_in_of_its_own_class(anonymizer, blobs):
    X, y = blobs
    synthetic = clone(anonymizer).fit_transform(X, y)
    assert synthetic.shape == X.shape
    nearest = NearestNeighbors(n_neighbors=1).fit(X).kneighbors(synthetic)[1][:, 0]
    assert_array_equal(y[nearest], y)
    assert not (synthetic[:, None] == X[None]).all(axis=2).any()


@for_each(ANONYMIZERS)
def test_fit_transform_is_what_sample_draws_for_the_labels(anonymizer, blobs):
    X, y = blobs
    fitted = clone(anonymizer)
    synthetic = fitted.fit_transform(X, y)
    rows, labels = fitted.sample(y=y)
    assert_array_equal(rows, synthetic)
    assert_array_equal(labels, y)


@for_each(ANONYMIZERS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_transform_returns_the_rows_as_they_are(anonymizer, blobs, dtype):
    X, y = (blobs[0].astype(dtype), blobs[1])
    fitted = clone(anonymizer).fit(X, y)
    other = X + 1
    transformed = fitted.transform(other)
    assert transformed.dtype == dtype
    assert_array_equal(transformed, other)


def test_transform_warns_about_the_rows_of_fit_and_returns_them(blobs):
    X, y = blobs
    anonymizer = GenerativeAnonymizer(random_state=0).fit(X, y)
    with pytest.warns(UserWarning, match="anonymizes nothing: 100 of 100") as record:
        assert_array_equal(anonymizer.transform(X), X)
    assert record[0].filename == __file__
    with pytest.warns(UserWarning, match="anonymizes nothing"):
        anonymizer.transform(X.astype(np.float32))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        anonymizer.transform(X + 1)
        anonymizer.transform(np.concatenate([X[:10], X[:20] + 1]))


def test_unpickled_and_copied_anonymizers_transform_alike(blobs):
    X, y = blobs
    anonymizer = GenerativeAnonymizer(random_state=0).fit(X, y)
    for other in (pickle.loads(pickle.dumps(anonymizer)), copy.deepcopy(anonymizer)):
        assert_array_equal(other.transform(X), X)
        assert_array_equal(other.sample(20)[0], anonymizer.sample(20)[0])


@for_each(ANONYMIZERS)
def test_documentation_says_three_times_that_transform_anonymizes_nothing(anonymizer):
    kind = type(anonymizer)
    for text in (kind.__doc__, kind.fit.__doc__, kind.fit_transform.__doc__):
        assert "anonymize" in text
        assert "nothing" in text


@pytest.mark.parametrize("make", [make_pipeline, make_imblearn_pipeline])
@for_each(ANONYMIZERS)
def test_pipelines_train_on_synthetic_rows_and_test_on_real_ones(
    anonymizer, make, blobs
):
    X, y = blobs
    pipeline = make(clone(anonymizer), Spy()).fit(X, y)
    synthetic = clone(anonymizer).fit_transform(X, y)
    assert_array_equal(pipeline[-1].fitted_on_, synthetic)
    pipeline.predict(X + 1)
    assert_array_equal(pipeline[-1].predicted_on_, X + 1)


class Spy(BaseEstimator):
    """A classifier that remembers what it was given."""

    def fit(self, X, y):
        self.fitted_on_ = X
        return self

    def predict(self, X):
        self.predicted_on_ = X
        return np.zeros(len(X))


def test_works_beside_a_sampler_in_imblearns_pipeline(blobs):
    X, y = blobs
    steps = (
        GenerativeAnonymizer(random_state=0, **ALLOW),
        RemixSampler(random_state=0),
    )
    pipeline = make_imblearn_pipeline(*steps, LogisticRegression())
    assert cross_val_score(pipeline, X, y, cv=3).mean() > 0.9


def test_pandas_frames_keep_their_columns(blobs):
    X, y = blobs
    frame = pd.DataFrame(X, columns=list("vwxyz"), index=np.arange(100) + 7)
    anonymizer = GenerativeAnonymizer(random_state=0).set_output(transform="pandas")
    synthetic = anonymizer.fit_transform(frame, y)
    assert list(synthetic.columns) == list("vwxyz")
    assert_array_equal(synthetic.index, frame.index)
    assert_array_equal(
        synthetic.to_numpy(), GenerativeAnonymizer(random_state=0).fit_transform(X, y)
    )
    assert_array_equal(anonymizer.get_feature_names_out(), list("vwxyz"))


def test_grid_search_over_variance_trains_once_per_fold(blobs, tmp_path, monkeypatch):
    X, y = blobs
    fits = []
    original = CVAE._fit
    monkeypatch.setattr(
        CVAE, "_fit", lambda self, *args: fits.append(1) or original(self, *args)
    )
    anonymizer = CVAEAnonymizer(**FAST, **ALLOW, memory=str(tmp_path))
    pipeline = make_pipeline(anonymizer, LogisticRegression())
    grid = {"cvaeanonymizer__variance": [0.25, 1.0, 2.0]}
    GridSearchCV(pipeline, grid, cv=3, refit=False).fit(X, y)
    assert len(fits) == 3


def test_variance_widens_the_rows(blobs):
    X, y = blobs
    anonymizer = GenerativeAnonymizer(random_state=0).fit(X, y)
    narrow, _ = anonymizer.sample(y=["a"] * 2000, variance=0.01)
    wide, _ = anonymizer.sample(y=["a"] * 2000, variance=4.0)
    assert_allclose(wide.std(axis=0) / narrow.std(axis=0), 20, rtol=0.02)


def test_sample_follows_the_class_distribution(blobs):
    X, y = blobs
    _, labels = GenerativeAnonymizer(random_state=0).fit(X, y).sample(20_000)
    shares = [(labels == c).mean() for c in "abc"]
    assert_allclose(shares, [0.6, 0.3, 0.1], atol=0.015)


def test_a_generator_that_shuffles_its_labels_is_refused(blobs):
    class Shuffling(ClassGaussian):
        def sample(self, n_samples=None, *, y=None, **settings):
            return super().sample(n_samples, y=y[::-1], **settings)

    with pytest.raises(ValueError, match="in the order of y"):
        GenerativeAnonymizer(Shuffling()).fit_transform(*blobs)


def test_classes_of_one_row_are_warned_about(blobs):
    X, y = blobs
    y = y.astype(object)
    y[0] = "rare"
    with pytest.warns(UserWarning, match=r"\['rare'\] have a single sample") as record:
        GenerativeAnonymizer(random_state=0, **ALLOW).fit(X, y)
    assert record[0].filename == __file__
    with pytest.warns(UserWarning, match=r"\['rare'\] have a single sample") as record:
        anonymizer = GenerativeAnonymizer(random_state=0, max_mean_leakage=1, **ALLOW)
        anonymizer.fit_transform(X, y)
    # set_output wraps fit_transform once more.
    assert len(record) == 1


@pytest.mark.parametrize("floor", [1.5, ("quantile", 0.5)])
@for_each(ANONYMIZERS)
def test_min_distance_keeps_every_row_away_from_all_training_rows(
    anonymizer, floor, blobs
):
    X, y = blobs
    own, _ = NearestNeighbors(n_neighbors=2).fit(X).kneighbors(X)
    distance = np.quantile(own[:, 1], 0.5) if isinstance(floor, tuple) else floor
    index = NearestNeighbors(n_neighbors=1).fit(X)
    free = clone(anonymizer).fit_transform(X, y)
    n_close = (index.kneighbors(free)[0] < distance).sum()
    assert n_close > 0, "without a floor there is nothing to test"
    fitted = clone(anonymizer).set_params(min_distance=floor)
    kept = fitted.fit_transform(X, y)
    assert fitted.n_redrawn_ >= n_close
    assert index.kneighbors(kept)[0].min() >= distance - 1e-6
    far = index.kneighbors(free)[0][:, 0] >= distance
    assert_array_equal(kept[far], free[far])
    assert_array_equal(clone(fitted).fit_transform(X, y), kept)
    for rows, labels in islice(fitted.batches(50), 2):
        assert index.kneighbors(rows)[0].min() >= distance - 1e-6
        nearest = index.kneighbors(rows)[1][:, 0]
        assert_array_equal(y[nearest], labels)


def test_min_distance_that_cannot_be_kept_fails(blobs):
    anonymizer = GenerativeAnonymizer(min_distance=1000.0, random_state=0)
    with pytest.raises(
        ValueError, match="100 of 100 samples were still closer than 1000"
    ):
        anonymizer.fit_transform(*blobs)


def test_min_distance_needs_the_rows_and_does_not_pickle_them(blobs):
    X, y = blobs
    anonymizer = GenerativeAnonymizer(min_distance=0.5, random_state=0).fit(X, y)
    restored = pickle.loads(pickle.dumps(anonymizer))
    with pytest.raises(ValueError, match="not pickled: fit again"):
        restored.sample(5)
    assert "depends on the data" in anonymizer.privacy_statement()["filter"]


@pytest.mark.parametrize(
    "floor", [-1.0, ("quantile", 2.0), ("share", 0.5), ("quantile",), True]
)
def test_min_distance_is_checked_before_training(floor, blobs, monkeypatch):
    monkeypatch.setattr(ClassGaussian, "_fit", None)
    with pytest.raises(ValueError, match="min_distance"):
        GenerativeAnonymizer(min_distance=floor).fit(*blobs)


@for_each(
    [
        CVAEAnonymizer(**FAST),
        CVAEAnonymizer(**FAST, min_distance=0.01),
        GenerativeAnonymizer(random_state=0, min_distance=("quantile", 0.01)),
    ]
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_pickles_hold_no_training_row(anonymizer, dtype):
    X, y = load_digits(return_X_y=True)
    X = (X + np.random.RandomState(0).uniform(size=X.shape)).astype(dtype)
    fitted = clone(anonymizer)
    fitted.fit_transform(X, y)
    fitted.sample(50)
    content = pickle.dumps(fitted)
    assert not contains_row(content, X)
    assert contains_row(pickle.dumps((fitted, X[7])), X), "the search finds rows"
    minimum, maximum = X.min(axis=0), X.max(axis=0)
    for extreme in (minimum, maximum):
        for kind in (np.float32, np.float64):
            assert extreme.astype(kind).tobytes() not in content


def test_batches_are_endless_and_new(blobs):
    X, y = blobs
    anonymizer = GenerativeAnonymizer(random_state=0).fit(X, y)
    batches = list(islice(anonymizer.batches(3000), 7))
    assert {(rows.shape, labels.shape) for rows, labels in batches} == {
        ((3000, 5), (3000,))
    }
    rows = np.concatenate([rows for rows, _ in batches])
    assert len(np.unique(rows, axis=0)) == len(rows)
    labels = np.concatenate([labels for _, labels in batches])
    assert_allclose((labels == "a").mean(), 0.6, atol=0.02)
    index = NearestNeighbors(n_neighbors=1).fit(X)
    assert_array_equal(y[index.kneighbors(rows)[1][:, 0]], labels)


def test_batches_are_reproduced_by_their_seed(blobs):
    anonymizer = GenerativeAnonymizer().fit(*blobs)
    first = [rows for rows, _ in islice(anonymizer.batches(10, random_state=3), 3)]
    again = [rows for rows, _ in islice(anonymizer.batches(10, random_state=3), 3)]
    other = [rows for rows, _ in islice(anonymizer.batches(10, random_state=4), 3)]
    assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("batch_size", [0, -1, 2.5, "all"])
def test_batch_sizes_are_checked_at_once(batch_size, blobs):
    anonymizer = GenerativeAnonymizer().fit(*blobs)
    with pytest.raises(ValueError, match="batch_size"):
        anonymizer.batches(batch_size)


@pytest.mark.parametrize("n_workers", [0, 2])
def test_dataset_gives_each_worker_rows_of_its_own(n_workers, blobs):
    X, y = blobs
    anonymizer = GenerativeAnonymizer(random_state=0).fit(X, y)
    dataset = SyntheticDataset(anonymizer, batch_size=40, random_state=1)
    loader = DataLoader(dataset, batch_size=None, num_workers=n_workers)
    x, codes = (torch.cat(parts) for parts in zip(*islice(loader, 6), strict=True))
    assert x.dtype == torch.float32 and codes.dtype == torch.int64
    assert len(x.unique(dim=0)) == len(x) == 240
    nearest = NearestNeighbors(n_neighbors=1).fit(X).kneighbors(x.numpy())[1][:, 0]
    assert_array_equal(np.array(["a", "b", "c"])[codes.numpy()], y[nearest])


def test_dataset_without_a_seed_draws_new_rows_each_epoch(blobs):
    dataset = SyntheticDataset(GenerativeAnonymizer().fit(*blobs), batch_size=8)
    first, second = (next(iter(dataset))[0] for _ in range(2))
    assert not torch.equal(first, second)


def test_statement_says_that_there_is_no_guarantee(blobs):
    statement = GenerativeAnonymizer(random_state=0).fit(*blobs).privacy_statement()
    assert statement.pop("guarantee") == "no formal guarantee"
    assert statement.keys() == {"class means"}


def test_interrupted_training_keeps_whole_epochs(blobs):
    def stop(net, *args, **kwargs):
        if len(net.history) == 2:
            raise KeyboardInterrupt

    from skorch.callbacks import Callback

    class Stop(Callback):
        on_batch_end = staticmethod(stop)

    settings = {**FAST, "net_params": {"callbacks": [("stop", Stop())]}}
    anonymizer = CVAEAnonymizer(**settings)
    with pytest.raises(KeyboardInterrupt):
        anonymizer.fit(*blobs)
    assert len(anonymizer.generator_.history_) == 1
    assert anonymizer.sample(3)[0].shape == (3, 5)


def test_synthetic_digits_train_a_classifier_for_real_ones():
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(
        X, y, test_size=0.5, stratify=y, random_state=0
    )
    anonymizer = CVAEAnonymizer(max_epochs=60, device="cpu", random_state=0)
    synthetic = anonymizer.fit_transform(X_train, y_train)
    probe = LogisticRegression(max_iter=3000).fit(synthetic, y_train)
    assert probe.score(X_test, y_test) > 0.9
    nearest, _ = NearestNeighbors(n_neighbors=1).fit(X_train).kneighbors(synthetic)
    assert nearest.min() > 0


PRIVATE = {
    "max_epochs": 2,
    "batch_size": 20,
    "latent_dim": 2,
    "device": "cpu",
    "random_state": 0,
}
noisy = pytest.mark.filterwarnings(
    "ignore:For .* classes the noise", "ignore:.*needs a noise multiplier"
)


@noisy
def test_epsilon_trains_a_private_cvae_with_its_defaults(blobs):
    dp_params = {"classes": ["a", "b", "c"], "hidden_dim": 4}
    settings = {"epsilon": 8.0, "delta": 1e-3, "dp_params": dp_params}
    anonymizer = CVAEAnonymizer(**PRIVATE, **settings).fit(*blobs)
    expected = DPCVAE(epsilon=8.0, delta=1e-3, **dp_params, **PRIVATE).fit(*blobs)
    assert type(anonymizer.generator_) is DPCVAE
    assert anonymizer.generator_.get_params() == expected.get_params()
    assert_array_equal(anonymizer.sample(50)[0], expected.sample(50)[0])
    statement = anonymizer.privacy_statement()
    assert statement["epsilon"] <= 8.0
    assert statement["guarantee"].startswith("no guarantee: fit had a random_state")
    assert "keeps the labels" in statement["labels"]
    # As a worker of a grid search receives it.
    restored = pickle.loads(pickle.dumps(clone(anonymizer)))
    assert_array_equal(restored.fit(*blobs).sample(50)[0], expected.sample(50)[0])


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"epsilon": 1.0}, "epsilon needs delta"),
        ({"delta": 1e-5}, "need epsilon"),
        ({"dp_params": {"classes": [0]}}, "need epsilon"),
        ({"epsilon": 1.0, "delta": 1e-5, "prior": "standard"}, r"\['prior'\]"),
        ({"epsilon": 1.0, "delta": 1e-5, "net_params": {}}, r"\['net_params'\]"),
        ({"epsilon": 1.0, "delta": 1e-5, "min_distance": 0.1}, "min_distance"),
        ({"epsilon": 1.0, "delta": 1e-5, "lr": 0.1, "dp_params": {"lr": 1}}, "'lr'"),
    ],
)
def test_parameters_that_contradict_privacy_are_refused(settings, message, blobs):
    with pytest.raises(ValueError, match=message):
        CVAEAnonymizer(**settings).fit(*blobs)


@noisy
@pytest.mark.parametrize("kind", ["gaussian", "cvae"])
def test_private_generators_can_be_released(kind, blobs, tmp_path):
    settings = {"classes": ["a", "b", "c"], "random_state": 0, "delta": 1e-3}
    generator = DPClassGaussian(epsilon=20.0, **settings)
    if kind == "cvae":
        generator = DPCVAE(epsilon=20.0, **{**PRIVATE, **settings})
    anonymizer = GenerativeAnonymizer(generator).fit(*blobs)
    release = load(anonymizer.release(tmp_path / "private.safetensors"))
    labels = ["a", "b", "c"] * 20
    expected, _ = anonymizer.sample(y=labels, random_state=1)
    drawn, _ = release.sample(y=labels, random_state=1)
    assert_allclose(drawn, expected, rtol=1e-4, atol=1e-3)
    statement = release.privacy_statement()
    assert statement["epsilon"] <= 20.0
    assert statement["guarantee"].startswith("no guarantee")
