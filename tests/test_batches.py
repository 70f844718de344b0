"""Batches with generated rows: what is drawn, replaced, mixed and weighted."""

from itertools import chain

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats
from sklearn.base import BaseEstimator, clone
from sklearn.frozen import FrozenEstimator
from skorch.dataset import ValidSplit
from torch.nn import functional

from skcvae._devices import fork_torch_rng
from skcvae._generation import make_stream
from skcvae.generators import ClassGaussian
from skcvae.long_tail import LongTailClassifier
from skcvae.long_tail._batches import (
    MixedLabels,
    PlainLoader,
    RebalancedLoader,
    WeightedTensors,
    resolve_remix,
)
from skcvae.long_tail._head_net import HeadNet
from skcvae.long_tail._priors import BatchPriors, augment_probability

_CPU = torch.device("cpu")

COUNT = np.array([1280, 512, 128, 32, 1])
CODES = np.random.RandomState(0).permutation(np.repeat(np.arange(5), COUNT))


def numbered_rows(codes=CODES, weights=None):
    """Return rows of two features: their own index, and their class."""
    codes = torch.as_tensor(codes)
    x = torch.stack([torch.arange(len(codes)), codes], dim=1).float()
    w = torch.ones(len(codes)) if weights is None else torch.as_tensor(weights)
    return WeightedTensors(x, codes, w.double())


def generated_rows(codes, torch_generator):
    """Stand for a generator, whose rows have a negative index."""
    assert (codes.diff() >= 0).all()
    return torch.stack([torch.full((len(codes),), -1), codes], dim=1).float()


def make_loader(rows=None, batch_size=128, *, stream=None, **params):
    rows = numbered_rows() if rows is None else rows
    count = np.bincount(rows.y, weights=rows.w)
    defaults = {
        "class_count": count,
        "sampling": "instance",
        "p_augment": np.zeros(len(count)),
        "generated_weight": 1.0,
        "remix": None,
        "correction": "effective",
        "tau": 1.0,
        "n_epochs": 5,
    }
    priors = BatchPriors(**{**defaults, **params})
    return RebalancedLoader(rows, batch_size, priors, stream)


def passes(loader, n_passes, seed=0):
    """Return the batches of some passes, each a list."""
    with fork_torch_rng(seed, _CPU):
        return [list(loader) for _ in range(n_passes)]


def batches_of(loader, n_passes=1, seed=0):
    return list(chain.from_iterable(passes(loader, n_passes, seed)))


def joined(batches):
    """Return rows and labels of batches, in order."""
    x = torch.cat([x for x, _ in batches]).numpy()
    return x, torch.cat([labels.y for _, labels in batches]).numpy()


def drawn_rows(loader, n_passes=1, seed=0):
    return joined(batches_of(loader, n_passes, seed))


def assert_follows(codes, prior):
    """Check class frequencies by a chi-square test."""
    observed = np.bincount(codes, minlength=len(prior))
    assert stats.chisquare(observed, prior * len(codes)).pvalue > 1e-4


# Rows that are drawn


@pytest.mark.parametrize("n_rows", [256, 300, 257, 2, 5])
def test_batches_are_full_but_for_the_last(n_rows):
    loader = make_loader(numbered_rows(np.arange(n_rows) % 2), sampling="balanced")
    sizes = [len(labels) for _, labels in batches_of(loader)]
    assert len(loader) == len(sizes)
    assert sum(sizes) == n_rows
    assert set(sizes[:-1]) <= {128}
    assert 2 <= sizes[-1] <= 129


@pytest.mark.parametrize("batch_size", [2, 100, 1000, 5000])
def test_instance_sampling_visits_each_row_once_in_each_pass(batch_size):
    loader = make_loader(batch_size=batch_size)
    first, second = (joined(batches) for batches in passes(loader, 2))
    for x, y in (first, second):
        assert_array_equal(np.sort(x[:, 0]), np.arange(len(CODES)))
        assert_array_equal(y, CODES[x[:, 0].astype(int)])
    assert not np.array_equal(first[0], second[0])
    assert not np.array_equal(first[0][:, 0], np.arange(len(CODES)))


@pytest.mark.parametrize("sampling", ["sqrt", "balanced", 0.25, 1.5, -0.5])
def test_class_shares_are_those_of_the_priors(sampling):
    loader = make_loader(sampling=sampling)
    x, y = drawn_rows(loader, 10)
    assert_array_equal(y, CODES[x[:, 0].astype(int)])
    assert_follows(y, loader.priors.drawn(0))
    # Within a class, all rows are drawn alike.
    rows = x[y == 1, 0].astype(int)
    assert_follows(
        np.searchsorted(np.flatnonzero(CODES == 1), rows), np.ones(512) / 512
    )


def test_progressive_shares_change_over_the_epochs():
    loader = make_loader(sampling="progressive")
    first, *_, last = (joined(batches)[1] for batches in passes(loader, 5))
    assert_array_equal(np.bincount(first), COUNT)
    assert_follows(last, np.full(5, 0.2))


@pytest.mark.parametrize("sampling", ["instance", "balanced"])
def test_rows_are_drawn_by_their_weights(sampling):
    weights = np.random.RandomState(1).choice([0.0, 1.0, 2.0], size=len(CODES))
    weights[CODES == 4] = 0.5
    loader = make_loader(numbered_rows(weights=weights), sampling=sampling)
    x, y = drawn_rows(loader, 20)
    index = x[:, 0].astype(int)
    assert (weights[index] > 0).all()
    assert_follows(y, loader.priors.drawn(0))
    for code in range(4):
        inside = CODES[index] == code
        share = (weights[index][inside] == 2).mean()
        own = weights[code == CODES]
        expected = own[own == 2].sum() / own.sum()
        assert abs(share - expected) < 5 * np.sqrt(0.25 / inside.sum())


@pytest.mark.parametrize("exponent", [-300, -20, 20])
def test_the_unit_of_the_weights_does_not_matter(exponent):
    weights = np.random.RandomState(1).randint(1, 4, size=len(CODES)).astype(float)
    (x, _), (expected, _) = (
        drawn_rows(make_loader(numbered_rows(weights=w), sampling="sqrt"))
        for w in (weights * 2.0**exponent, weights)
    )
    assert_array_equal(x, expected)


@pytest.mark.parametrize("stratified", [False, True])
@pytest.mark.filterwarnings("ignore:The least populated class")
def test_parts_of_a_split_keep_labels_and_weights(stratified):
    rows = numbered_rows(weights=1.0 + CODES)
    train, valid = ValidSplit(4, stratified=stratified)(rows, CODES)
    priors = make_loader(rows, sampling="balanced").priors
    held_out, y_valid = joined(list(PlainLoader(valid, 100)))
    x, y = drawn_rows(RebalancedLoader(train, 100, priors, None), 5)
    for part, codes in ((x, y), (held_out, y_valid)):
        assert_array_equal(codes, CODES[part[:, 0].astype(int)])
        assert_array_equal(codes, part[:, 1])
    assert not np.isin(held_out[:, 0], x[:, 0]).any()
    assert len(held_out) == len(valid) == pytest.approx(len(CODES) / 4, abs=2)
    # The classes that have rows in the part are drawn alike.
    present = np.unique(CODES[train.indices])
    assert_follows(np.searchsorted(present, y), np.full(len(present), 1 / len(present)))


def test_validation_keeps_the_order_and_weighs_nothing():
    batches = list(PlainLoader(numbered_rows(), 100))
    x, y = joined(batches)
    assert_array_equal(x[:, 0], np.arange(len(CODES)))
    assert_array_equal(y, CODES)
    assert {labels.weight for _, labels in batches} == {None}


# Rows that are replaced


def test_classes_are_replaced_with_their_probability():
    p_augment = augment_probability("inverse", COUNT.astype(float), 0.05, 0.7)
    loader = make_loader(
        stream=generated_rows, p_augment=p_augment, sampling="balanced"
    )
    x, y = drawn_rows(loader, 20)
    # Real or generated, rows kept to their labels.
    assert_array_equal(x[:, 1], y)
    for code, probability in enumerate(p_augment):
        share = (x[y == code, 0] < 0).mean()
        sigma = np.sqrt(probability * (1 - probability) / (y == code).sum())
        assert abs(share - probability) < 5 * sigma
    real = x[:, 0] >= 0
    assert_array_equal(CODES[x[real, 0].astype(int)], y[real])
    assert_follows(y, np.full(5, 0.2))


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_all_or_nothing_is_replaced(share):
    loader = make_loader(stream=generated_rows, p_augment=np.full(5, share))
    x, y = drawn_rows(loader)
    assert ((x[:, 0] < 0) == share).all()
    assert_array_equal(np.bincount(y), COUNT)


def test_replacing_leaves_the_training_rows_alone():
    rows = numbered_rows()
    expected = rows.x.clone()
    drawn_rows(make_loader(rows, stream=generated_rows, p_augment=np.ones(5)))
    assert torch.equal(rows.x, expected)


@pytest.mark.parametrize("remix", [None, resolve_remix(True)])
def test_batches_depend_on_the_seed_alone(remix):
    def draw(seed):
        generator = ClassGaussian().fit(1 + numbered_rows().x.numpy(), CODES)
        stream = make_stream(generator, np.arange(5), _CPU, seed=0)
        params = {"p_augment": np.full(5, 0.5), "sampling": "sqrt", "remix": remix}
        return drawn_rows(make_loader(stream=stream, **params), 2, seed)[0]

    assert_array_equal(draw(3), draw(3))
    assert not np.array_equal(draw(3), draw(4))


# Weights and mixtures


def test_generated_rows_have_their_weight():
    params = {"p_augment": np.full(5, 0.5), "generated_weight": 0.25}
    for x, labels in batches_of(make_loader(stream=generated_rows, **params)):
        weight = torch.where(x[:, 0] < 0, 0.25, 1.0)
        torch.testing.assert_close(labels.weight, weight)


@pytest.mark.parametrize("remix", [{}, {"kappa": 100.0}, {"alpha": 0.3, "tau": 0.9}])
def test_remix_mixes_rows_and_labels_alike(remix):
    # One column for each row: a mixture shows what it is made of.
    codes = np.repeat(np.arange(3), [40, 12, 4])
    rows = WeightedTensors(
        torch.eye(56), torch.as_tensor(codes), torch.ones(56).double()
    )
    count, settings = np.bincount(codes), resolve_remix({"tau": 0.5, **remix})
    moved = 0
    for x, labels in batches_of(make_loader(rows, 28, remix=settings), 20):
        assert_allclose(x.sum(dim=1), 1, rtol=1e-6)
        assert ((x > 0).sum(dim=1) <= 2).all()
        mass = torch.zeros(len(x), 3)
        mass.index_add_(1, torch.as_tensor(codes), x)
        for row, y, partner, share in zip(
            mass, labels.y, labels.partner_y, labels.share, strict=True
        ):
            if y == partner:
                continue
            ratio, in_row = count[y] / count[partner], row[y].item()
            expected = in_row
            if ratio >= settings["kappa"] and in_row < settings["tau"]:
                expected = 0
            if ratio <= 1 / settings["kappa"] and 1 - in_row < settings["tau"]:
                expected = 1
            moved += expected != in_row
            assert share.item() == pytest.approx(expected, abs=1e-6)
    assert (moved > 0) == (settings["kappa"] < 10)


def test_partners_bring_their_own_weight():
    params = {"p_augment": np.full(5, 0.5), "generated_weight": 3.0}
    remix = resolve_remix({"tau": 0.0})
    rows = numbered_rows()
    rows.x[:, 0] = 0
    loader = make_loader(rows, stream=generated_rows, remix=remix, **params)
    for x, labels in batches_of(loader):
        # Real rows hold 0 and generated ones -1.
        own, partner = labels.weight == 3, labels.partner_weight == 3
        expected = labels.share * own + (1 - labels.share) * partner
        torch.testing.assert_close(-x[:, 0], expected)
        assert own.any() and not own.all()


def test_effective_prior_is_what_the_batches_weigh():
    codes = np.repeat(np.arange(3), [1000, 250, 50])
    loader = make_loader(
        numbered_rows(codes),
        stream=generated_rows,
        sampling="sqrt",
        p_augment=np.array([0.1, 0.4, 0.9]),
        generated_weight=0.5,
        remix=resolve_remix({"alpha": 0.5, "tau": 0.8}),
    )
    mass = np.zeros(3)
    for _, labels in batches_of(loader, 200):
        mass += np.bincount(labels.y, labels.share * labels.weight, 3)
        rest = (1 - labels.share) * labels.partner_weight
        mass += np.bincount(labels.partner_y, rest, 3)
    assert_allclose(mass / mass.sum(), loader.priors.effective(0), atol=0.005)


@pytest.mark.parametrize("weighted", [False, True])
def test_loss_of_mixed_labels_is_that_of_soft_ones(weighted):
    rng = torch.Generator().manual_seed(0)
    logits, share = torch.randn(6, 3, generator=rng), torch.rand(6, generator=rng)
    y, partner = torch.tensor([0, 1, 2, 0, 1, 2]), torch.tensor([1, 1, 0, 2, 0, 2])
    weights = torch.tensor([[1.0, 2, 1, 2, 1, 1], [2.0, 1, 1, 1, 2, 1]])
    if not weighted:
        weights = torch.ones(2, 6)
    labels = MixedLabels(y, partner, share, *(weights if weighted else (None, None)))
    own, other = functional.one_hot(y), functional.one_hot(partner)
    soft = (weights[0] * share)[:, None] * own
    soft = soft + (weights[1] * (1 - share))[:, None] * other
    expected = -(soft * logits.log_softmax(dim=1)).sum() / soft.sum()
    criterion = torch.nn.CrossEntropyLoss(reduction="none")
    net = HeadNet(torch.nn.Linear(1, 1), criterion, n_classes=3).initialize()
    torch.testing.assert_close(net.get_loss(logits, labels, training=True), expected)
    plain = net.get_loss(logits, MixedLabels(y), training=True)
    torch.testing.assert_close(plain, functional.cross_entropy(logits, y))


@pytest.mark.parametrize(
    "remix", [{"alpha": 0}, {"kappa": 1}, {"tau": 1.1}, {"tau": np.nan}, {"beta": 1}]
)
def test_settings_of_remix_are_checked(remix):
    with pytest.raises(ValueError, match="remix must be a bool or a dict"):
        resolve_remix(remix)
    assert resolve_remix(False) is None
    assert resolve_remix({"alpha": 2}) == {"alpha": 2, "kappa": 3.0, "tau": 0.5}


# Generators


class MeanGenerator(BaseEstimator):
    """Another generator, with the least that is asked for."""

    def fit(self, X, y):
        self.means_ = {label: X[y == label].mean(axis=0) for label in np.unique(y)}
        return self

    def sample(self, n_samples=None, *, y=None, random_state=None):
        noise = np.random.RandomState(random_state).uniform(size=(len(y), 1))
        return np.array([self.means_[label] for label in y]) + 1e-3 * noise, y


CENTRES = 100 * np.eye(3, 4)
LABELS = np.array(["c", "a", "b"])[np.repeat([0, 1, 2], [20, 6, 2])]
ROWS = CENTRES[np.repeat([0, 1, 2], [20, 6, 2])]


@pytest.mark.parametrize(
    "generator",
    [ClassGaussian(mean_shrinkage=0, variance=0), MeanGenerator()],
    ids=lambda g: type(g).__name__,
)
def test_the_classifier_draws_scaled_rows_of_the_class(generator):
    classifier = LongTailClassifier(FrozenEstimator(clone(generator).fit(ROWS, LABELS)))
    offset, scale = np.array([1.0, 2.0, 3.0, 0.0]), np.array([10.0, 20.0, 5.0, 0.0])
    # Fewer classes than the generator has, so that their codes differ.
    classifier.classes_, classifier.device_ = LABELS[[26, 0]], _CPU
    classifier.offset_, classifier.scale_ = offset, scale
    classifier._fit_generator(ROWS, LABELS, 0, None)
    stream = classifier._make_stream(0)
    rows = stream(torch.tensor([0, 0, 1]), torch.Generator().manual_seed(0))
    expected = (CENTRES[[2, 2, 0], :3] - offset[:3]) / scale[:3]
    assert_allclose(rows[:, :3], expected, atol=1e-3)
    assert rows.dtype == torch.float32
    assert (rows[:, 3] == 0).all()


def test_each_call_of_a_stream_draws_anew():
    for generator in (ClassGaussian(random_state=0), MeanGenerator()):
        X = ROWS + np.random.RandomState(0).normal(size=ROWS.shape)
        fitted = generator.fit(X, LABELS)
        stream = make_stream(fitted, np.unique(LABELS), _CPU, seed=0)
        torch_generator = torch.Generator().manual_seed(0)
        first, second = (stream(torch.tensor([0]), torch_generator) for _ in range(2))
        assert not torch.equal(first, second)


def test_the_seed_of_a_stream_is_for_generators_that_are_not_ours():
    fitted = MeanGenerator().fit(ROWS, LABELS)
    first, second, other = (
        make_stream(fitted, np.unique(LABELS), _CPU, seed=seed) for seed in (0, 0, 1)
    )
    codes = torch.tensor([0, 1, 2])
    assert torch.equal(first(codes, None), second(codes, None))
    assert not torch.equal(first(codes, None), other(codes, None))
