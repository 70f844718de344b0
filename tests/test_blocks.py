"""Samples on disk: memory maps, and arrays of zarr and Dask, read in blocks."""

import tracemalloc

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_digits
from sklearn.frozen import FrozenEstimator
from skorch.dataset import ValidSplit

from skcvae import _block_loader, _blocks
from skcvae._block_loader import BlockedSamples, BlockLoader
from skcvae._blocks import Blocks, is_blocked
from skcvae._class_means import leave_one_out_residuals, raw_class_means
from skcvae.datasets import load_embeddings, make_long_tailed
from skcvae.generators import (
    CGAN,
    CVAE,
    VAE,
    ClassGaussian,
    ClassMoments,
    FlowMatching,
)
from skcvae.generators._block_net import prior_of_blocks
from skcvae.generators._samplers import aggregate_prior
from skcvae.long_tail import LongTailClassifier
from skcvae.over_sampling import CVAEOverSampler, GenerativeOverSampler, HardOverSampler

KINDS = ["memmap", "zarr", "dask", "h5py"]


class Contiguous:
    """An array as h5py has it, without chunks. It says how much is read at most."""

    chunks = None

    def __init__(self, X):
        self._X, self.most = X, 0
        self.shape, self.dtype, self.ndim = X.shape, X.dtype, X.ndim

    def __getitem__(self, part):
        values = self._X[part]
        self.most = max(self.most, len(values))
        return values


class Unread:
    """Samples that may not be read."""

    shape, ndim, dtype, chunks = (100, 3), 2, np.dtype(np.float32), (10, 3)

    def __getitem__(self, part):
        raise AssertionError("Samples were read before a parameter was refused.")


@pytest.fixture
def on_disk(tmp_path, monkeypatch):
    """A function that stores samples as one of `KINDS`."""
    monkeypatch.setattr(_blocks, "_MAX_MAPPED", 0)

    def store(X, kind):
        if kind == "zarr":
            zarr = pytest.importorskip("zarr", reason="needs zarr")
            return zarr.array(X, chunks=(37, 2), store=str(tmp_path / "X.zarr"))
        if kind == "dask":
            array = pytest.importorskip("dask.array", reason="needs skcvae[dask]")
            return array.from_array(X, chunks=((50, 0, len(X) - 50), 2))
        if kind == "h5py":
            return Contiguous(X)
        mapped = np.memmap(tmp_path / "X.bin", X.dtype, "w+", shape=X.shape)
        mapped[:] = X
        return mapped

    return store


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of 40, buffers of 60 and pieces of 10 samples of 5 features."""
    monkeypatch.setattr(_blocks, "BLOCK_NUMBERS", 200)
    monkeypatch.setattr(_blocks, "_PIECE_NUMBERS", 50)
    monkeypatch.setattr(_block_loader, "_BUFFER_NUMBERS", 300)
    monkeypatch.setattr("skcvae.over_sampling._streaming.BLOCK_NUMBERS", 200)


@pytest.fixture
def data():
    """Samples of 5 features, one of them constant, and a class of one sample."""
    rng = np.random.RandomState(0)
    y = rng.permutation(np.repeat(["a", "b", "c", "d"], [200, 80, 19, 1]))
    X = rng.normal(size=(300, 5)) @ rng.normal(size=(5, 5)) + 3
    X[y == "b"] += 2
    X[:, 1] = 5
    return X, y


def by_class(X, y):
    """Return sorted samples of each class."""
    return {label: X[y == label][np.lexsort(X[y == label].T)] for label in np.unique(y)}


def test_only_large_memory_maps_are_read_in_blocks(tmp_path, monkeypatch):
    X = np.memmap(tmp_path / "X.bin", np.float32, "w+", shape=(10, 4))
    assert not is_blocked(X)
    monkeypatch.setattr(_blocks, "_MAX_MAPPED", X.nbytes - 1)
    assert is_blocked(X)
    assert not is_blocked(np.asarray(X))
    assert not is_blocked([[1.0]])


@pytest.mark.parametrize("shrinkage", ["auto", "oas", 0.2])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("kind", KINDS)
def test_a_gaussian_learns_the_same_from_blocks(
    data, on_disk, small_blocks, kind, dtype, shrinkage
):
    X, y = data[0].astype(dtype), data[1]
    generator = ClassGaussian(covariance_shrinkage=shrinkage, random_state=0)
    drawn, labels = generator.fit(X, y).sample(100)
    expected = generator.__dict__.copy()
    drawn_of_blocks, labels_of_blocks = generator.fit(on_disk(X, kind), y).sample(100)
    rounding = {"rtol": 1e-5, "atol": 1e-6}
    for name in ("covariance_", "class_means_", "mean_shrinkage_", "offset_", "scale_"):
        assert_allclose(getattr(generator, name), expected[name], **rounding)
    assert_array_equal(generator.classes_, expected["classes_"])
    assert hasattr(generator, "moments_") == ("moments_" in expected)
    assert generator.n_features_in_ == 5
    assert_array_equal(labels_of_blocks, labels)
    assert drawn_of_blocks.dtype == drawn.dtype
    assert_allclose(drawn_of_blocks, drawn, rtol=1e-4, atol=1e-4)


def test_classes_of_one_sample_give_the_same_from_blocks(data, on_disk):
    X, y = data[0], np.arange(300)
    with pytest.warns(UserWarning, match="number of unique classes"):
        expected = ClassGaussian().fit(X, y)
        generator = ClassGaussian().fit(on_disk(X, "zarr"), y)
    assert_allclose(generator.covariance_, expected.covariance_, rtol=1e-5, atol=1e-9)


def test_moments_of_blocks_are_those_of_the_array(data, on_disk, small_blocks):
    moments = ClassMoments.from_data(*data)
    of_blocks = ClassMoments.from_data(on_disk(data[0], "dask"), data[1])
    for name in ("counts", "means", "scatter"):
        assert_allclose(getattr(of_blocks, name), getattr(moments, name), atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_faulty_samples_are_named(data, on_disk, small_blocks, kind):
    X, y = data
    X[217, 3] = np.nan
    stored = on_disk(X, kind)
    fits = ClassGaussian().fit, CVAE().fit, LongTailClassifier().fit
    frozen = FrozenEstimator(ClassGaussian().fit(*make_finite(X, y)))

    def resample(X, y):
        return list(GenerativeOverSampler(frozen).iter_resample(X, y))

    for fit in (*fits, resample):
        with pytest.raises(ValueError, match="sample 217 and feature 3"):
            fit(stored, y)
    generator = ClassGaussian().fit(*make_finite(X, y))
    X[217, 3] = 1e38
    with pytest.raises(ValueError, match=r"too large .* features \[3\]"):
        generator.fit(Contiguous(X), y)
    assert not hasattr(generator, "classes_")


def make_finite(X, y):
    return np.nan_to_num(X), y


def test_masked_values_are_refused(data):
    array = pytest.importorskip("dask.array", reason="needs skcvae[dask]")
    masked = array.from_array(np.ma.masked_less(data[0], 0), chunks=(50, 5))
    with pytest.raises(ValueError, match="masked array with missing values"):
        ClassGaussian().fit(masked, data[1])


def test_faulty_forms_are_refused(data, on_disk):
    X, y = data
    dask = on_disk(X, "dask")
    for bad, labels, message in (
        (dask, y[:-1], "inconsistent numbers of samples"),
        (dask[:, 0], y, "two axes"),
        (dask[dask[:, 0] > 0], y, "compute_chunk_sizes"),
        (Contiguous(X.astype(str)), y, "must hold numbers"),
        (dask[:1], y[:1], "two samples"),
        (dask, X[:, 0], "continuous"),
    ):
        with pytest.raises(ValueError, match=message):
            ClassGaussian().fit(bad, labels)


@pytest.mark.parametrize(
    "estimator",
    [
        ClassGaussian(covariance_type="full"),
        ClassGaussian(covariance_shrinkage="factors"),
        ClassGaussian(class_embeddings={0: [1.0, 2.0, 3.0]}),
        CVAE(objective="reference"),
        CVAE(hidden_dim="auto"),
        CVAE(net_params={"train_split": ValidSplit(5)}),
        VAE(),
        CGAN(),
        FlowMatching(),
        CVAEOverSampler(memory="cache"),
        GenerativeOverSampler(CGAN()),
        LongTailClassifier(CGAN()),
        LongTailClassifier(solver="closed_form"),
        LongTailClassifier(l2=1.0),
        LongTailClassifier(calibration="temperature"),
        LongTailClassifier(memory="cache"),
        LongTailClassifier(net_params={"train_split": ValidSplit(5)}),
    ],
)
def test_what_needs_all_samples_is_refused_before_any_is_read(
    estimator, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    if "random_state" in estimator.get_params():
        estimator.set_params(random_state=0)
    with pytest.raises(ValueError, match="read in blocks"):
        estimator.fit(Unread(), np.arange(100) % 2)
    assert not {"classes_", "generator_"} & set(vars(estimator))


def test_what_else_needs_all_samples_is_refused(data):
    X, y = Unread(), np.arange(100) % 2
    with pytest.raises(ValueError, match="X_unlabeled"):
        ClassGaussian().fit(X, y, X_unlabeled=data[0])
    with pytest.raises(ValueError, match="sample_weight"):
        LongTailClassifier().fit(X, y, sample_weight=np.ones(100))
    with pytest.raises(ValueError, match="at least two classes"):
        LongTailClassifier().fit(X, np.zeros(100))
    assert not hasattr(HardOverSampler(None), "iter_resample")


# Batches


def samples_of(X, codes, convert=None):
    blocks = Blocks(Contiguous(X), codes)
    convert = convert or (lambda X, codes: X.astype(np.float32))
    return BlockedSamples(blocks, codes, convert, torch.device("cpu"))


def test_a_pass_gives_each_sample_once_in_random_order(small_blocks):
    X, codes = np.arange(1500.0).reshape(300, 5), np.arange(300) % 7
    samples = samples_of(X, codes)
    orders = []
    for seed in (0, 1, 0):
        torch.manual_seed(seed)
        batches = list(BlockLoader(samples, 32, shuffle=True))
        assert [len(x) for _, x in batches] == [32] * 9 + [12]
        x = torch.cat([x for _, x in batches]).numpy()
        places = (x[:, 0] / 5).astype(int)
        assert_array_equal(x, X[places])
        labels = torch.cat([batch["y"] for batch, _ in batches])
        assert_array_equal(labels, codes[places])
        assert_array_equal(np.sort(places), np.arange(300))
        orders.append(places)
    assert_array_equal(orders[0], orders[2])
    assert (orders[0] == orders[1]).mean() < 0.1
    # A buffer holds six pieces of ten samples.
    assert len(np.unique(orders[0][:60] // 10)) == 6


def test_samples_are_drawn_so_often_and_small_classes_everywhere(small_blocks):
    rng = np.random.RandomState(0)
    codes = np.repeat([0, 1], [280, 20])
    X = np.arange(1500.0).reshape(300, 5)
    times = np.where(codes == 0, rng.randint(3, size=300), 10)
    n_drawn = times.sum()
    sizes = [50] * (n_drawn // 50)
    torch.manual_seed(0)
    parts = list(samples_of(X, codes).shuffled([*sizes, n_drawn % 50], times))
    places = torch.cat([x for x, _ in parts]).numpy()[:, 0] / 5
    assert_array_equal(np.bincount(places.astype(int), minlength=300), times)
    # 200 of about 480 samples are of the small class.
    shares = [y.double().mean() for _, y in parts[:-1]]
    assert min(shares) > 0.2 and max(shares) < 0.65


def test_small_data_are_read_once(small_blocks):
    X = np.arange(250.0).reshape(50, 5)
    samples = samples_of(X, np.arange(50) % 2)
    next(iter(samples.shuffled([50])))
    samples.blocks.X = Unread()
    ((x, _),) = samples.shuffled([50])
    assert_array_equal(np.sort(x[:, 0]), X[:, 0])


def test_residuals_of_a_part_are_those_of_all(data):
    X, y = data
    codes = np.unique(y, return_inverse=True)[1]
    means = raw_class_means(X, codes, 4)
    expected = leave_one_out_residuals(X, codes, means, 2.5)
    part = leave_one_out_residuals(
        X[:70], codes[:70], means, 2.5, np.bincount(codes), X.mean(axis=0)
    )
    assert_allclose(part, expected[:70], atol=1e-12)


def test_the_latent_prior_of_blocks_is_that_of_all_latents(small_blocks):
    rng = np.random.RandomState(0)
    codes = rng.permutation(np.repeat([0, 1, 2], [200, 99, 1]))
    X = (rng.normal(size=(300, 5)) + codes[:, None] + 4).astype(np.float32)

    class Encoder:
        def encode(self, x, y):
            return x[:, :2] * 2, x[:, 2:4] / 10

    prior = prior_of_blocks(Encoder(), samples_of(X, codes), 3, 2)
    mean, variance = X[:, :2] * 2.0, np.exp(X[:, 2:4].astype(float) / 10)
    expected = aggregate_prior(mean.astype(float), variance, codes, 3)
    assert_allclose(prior.centre, expected.centre, rtol=1e-5)
    assert_allclose(prior.factor, expected.factor, rtol=1e-4, atol=1e-5)


# Networks


@pytest.mark.parametrize("kind", KINDS)
def test_a_cvae_learns_from_blocks(on_disk, small_blocks, kind):
    rng = np.random.RandomState(0)
    y = np.repeat(["a", "b"], [500, 100])
    X = (rng.normal(size=(600, 5)) * [1, 2, 3, 1, 1] + 4).astype(np.float32)
    X[y == "b", 0] += 5
    X[:, 3] += X[:, 2]
    cvae = CVAE(
        latent_dim=2, hidden_dim=16, max_epochs=15, device="cpu", random_state=0
    )
    labels = np.repeat(["a", "b"], 4000)
    expected = cvae.fit(X, y).sample(y=labels)[0]
    stored = on_disk(X, kind)
    drawn, again = (cvae.fit(stored, y).sample(y=labels)[0] for _ in range(2))
    assert drawn.dtype == np.float32
    assert_array_equal(drawn, again)
    # Batches come in another order.
    for part in (slice(4000), slice(4000, None)):
        means = drawn[part].mean(axis=0), expected[part].mean(axis=0)
        assert_allclose(*means, atol=0.2)
        assert_allclose(np.cov(drawn[part].T), np.cov(expected[part].T), atol=0.8)
    assert len(cvae.history_) == 15


def test_a_classifier_learns_from_blocks(on_disk, monkeypatch):
    X, y = load_digits(return_X_y=True)
    X_train, y_train = make_long_tailed(X, y, imbalance_ratio=20, random_state=0)
    monkeypatch.setattr(_block_loader, "_BUFFER_NUMBERS", 64 * 200)
    monkeypatch.setattr(_blocks, "_PIECE_NUMBERS", 64 * 10)
    settings = {"max_epochs": 20, "lr": 1e-2, "device": "cpu", "random_state": 0}
    in_memory = LongTailClassifier(solver="sgd", **settings).fit(X_train, y_train)
    classifier = LongTailClassifier(**settings).fit(on_disk(X_train, "memmap"), y_train)
    assert classifier.solver_ == "sgd"
    for name in ("effective_prior_", "class_count_", "offset_", "logit_correction_"):
        assert_allclose(getattr(classifier, name), getattr(in_memory, name), atol=1e-9)
    assert_allclose(classifier.scale_, in_memory.scale_, rtol=1e-6)
    assert abs(classifier.score(X, y) - in_memory.score(X, y)) < 0.02


@pytest.mark.parametrize("sampling", ["balanced", "sqrt"])
def test_classes_are_drawn_as_often_as_the_prior_says(
    on_disk, small_blocks, data, sampling
):
    seen = []

    class Head(torch.nn.Module):
        def __init__(self, n_features, n_classes):
            super().__init__()
            self.linear = torch.nn.Linear(n_features, n_classes)

        def forward(self, x):
            seen.append(x.detach().clone())
            return self.linear(x)

    X, y = data
    X[:, 0] = np.unique(y, return_inverse=True)[1]
    classifier = LongTailClassifier(
        head=Head, augment=None, sampling=sampling, max_epochs=20, device="cpu"
    ).fit(on_disk(X, "h5py"), y)
    scaled = torch.cat(seen).numpy()[:, 0]
    codes = np.rint(scaled * classifier.scale_[0] + classifier.offset_[0]).astype(int)
    assert len(codes) == 20 * 300
    shares = np.bincount(codes, minlength=4) / len(codes)
    assert_allclose(shares, classifier.effective_prior_, atol=0.03)


def test_a_split_for_validation_may_be_given_only(on_disk, data):
    from skorch.helper import predefined_split

    X, y = data
    pairs = list(zip(X[:50].astype(np.float32), y[:50], strict=True))
    given = {"train_split": predefined_split(pairs)}
    cvae = CVAE(max_epochs=2, device="cpu", net_params=given)
    cvae.fit(on_disk(X, "h5py"), y)
    assert np.isfinite(cvae.history_[-1, "valid_loss"])

    def halves(dataset, y=None, **kwargs):
        parts = np.arange(0, 300, 2), np.arange(1, 300, 2)
        return (torch.utils.data.Subset(dataset, part) for part in parts)

    cvae = CVAE(device="cpu", net_params={"train_split": halves})
    with pytest.raises(ValueError, match="train_split"):
        cvae.fit(on_disk(X, "h5py"), y)


# Over-sampling


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.uint8])
@pytest.mark.parametrize("kind", [None, *KINDS])
def test_a_stream_holds_the_samples_of_fit_resample(
    data, on_disk, small_blocks, kind, dtype
):
    X, y = (10 * data[0] + 50).astype(dtype), data[1]
    sampler = GenerativeOverSampler(random_state=0)
    expected = sampler.fit_resample(X, y)
    stored = X if kind is None else on_disk(X, kind)
    blocks = list(sampler.iter_resample(stored, y))
    resampled = [np.concatenate(part) for part in zip(*blocks, strict=True)]
    assert_array_equal(resampled[0][:300], X)
    assert_array_equal(resampled[1][:300], y)
    assert resampled[0].dtype == dtype and resampled[1].dtype == y.dtype
    assert sampler.sampling_strategy_ == {"b": 120, "c": 181, "d": 199}
    ours, theirs = by_class(*resampled), by_class(*expected)
    assert ours.keys() == theirs.keys()
    # Rounding may change the last digit of a type, and the order of samples then.
    atol = {np.float16: 0.13, np.float32: 1e-3, np.uint8: 1}[dtype]
    for label in ours:
        assert_allclose(
            np.sort(ours[label], axis=0).astype(float),
            np.sort(theirs[label], axis=0).astype(float),
            atol=atol,
        )
    if kind is not None:
        whole = sampler.fit_resample(stored, y)
        assert_array_equal(whole[0], resampled[0])
        assert_array_equal(whole[1], resampled[1])
        assert sampler.fit(stored, y).n_features_in_ == 5


def test_many_samples_are_drawn_in_blocks_as_at_once(data, small_blocks):
    X, y = data
    strategy = {"a": 5200, "b": 4000, "c": 19, "d": 1}
    sampler = GenerativeOverSampler(sampling_strategy=strategy, random_state=0)
    drawn = [X for X, _ in sampler.iter_resample(X, y)][-5:]
    assert [len(block) for block in drawn] == [2048, 2048, 2048, 2048, 728]
    expected = sampler.fit_resample(X, y)[0][300:]
    # fit_resample goes by the order of the strategy, which is that of the classes.
    assert_allclose(np.concatenate(drawn), expected, atol=1e-9)


@pytest.mark.parametrize("kind", [None, "zarr", "dask"])
def test_samples_of_a_stream_keep_large_integers(data, on_disk, kind):
    X, y = data[0].astype(np.int64), data[1]
    X[:, 0] += 2**53 + 1
    stored = X if kind is None else on_disk(X, kind)
    blocks = list(GenerativeOverSampler(random_state=0).iter_resample(stored, y))
    assert_array_equal(np.concatenate([X for X, _ in blocks])[:300], X)


def test_memory_does_not_grow_with_the_samples(small_blocks, monkeypatch):
    rng = np.random.RandomState(0)
    X = Contiguous(rng.normal(size=(60_000, 16)).astype(np.float32))
    y = np.repeat([0, 1], [59_000, 1000])
    for module in ("_blocks", "over_sampling._streaming"):
        monkeypatch.setattr(f"skcvae.{module}.BLOCK_NUMBERS", 16 * 2048)
    sampler = GenerativeOverSampler(random_state=0)
    tracemalloc.start()
    try:
        n_samples = sum(len(block) for _, block in sampler.iter_resample(X, y))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert n_samples == 118_000
    assert X.most <= 2048
    # Labels and codes are in memory, 16 bytes for each sample of 64.
    assert peak < 0.9 * X.shape[0] * 64


def test_generators_that_draw_all_at_once_are_refused(data):
    sampler = GenerativeOverSampler(Plain())
    with pytest.raises(TypeError, match="Plain draws all samples at once"):
        sampler.iter_resample(*data)
    assert not hasattr(sampler, "generator_")
    with pytest.raises(ValueError, match="Plain reads all samples at once"):
        sampler.fit(Unread(), np.arange(100) % 2)


def test_tables_are_not_drawn_in_blocks(data):
    pd = pytest.importorskip("pandas")
    table = pd.DataFrame(data[0]).assign(kind=np.where(data[0][:, 0] > 3, "u", "v"))
    sampler = GenerativeOverSampler(categorical_features="auto")
    with pytest.raises(TypeError, match="TableGenerator draws all samples at once"):
        sampler.iter_resample(table, data[1])


class Plain(ClassGaussian):
    """A generator with its own `fit` and `sample`."""

    def fit(self, X, y):
        return super().fit(X, y)

    def sample(self, n_samples=None, *, y=None, random_state=None):
        return super().sample(n_samples, y=y, random_state=random_state)


def test_shards_hold_the_stream(data, tmp_path, small_blocks):
    X, y = data[0].astype(np.float32), np.unique(data[1], return_inverse=True)[1]
    sampler = GenerativeOverSampler(random_state=0)
    paths = sampler.write_resampled(X, y, tmp_path / "shards")
    assert [path.name for path in paths] == [f"{i:05d}.npz" for i in range(len(paths))]
    assert sorted((tmp_path / "shards").iterdir()) == paths
    for path, (X_block, y_block) in zip(
        paths, sampler.iter_resample(X, y), strict=True
    ):
        shard = load_embeddings(path)
        assert_array_equal(shard.X, X_block)
        assert_array_equal(shard.y, y_block)
    with pytest.raises(ValueError, match=r"holds \.npz files"):
        sampler.write_resampled(X, y, tmp_path / "shards")
