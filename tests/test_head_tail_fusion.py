"""Head-tail fusion: sparse codes, their maps, what new rows are made of, and labels."""

from collections import Counter

import numpy as np
import pytest
import torch
from imblearn.pipeline import make_pipeline
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import spearmanr
from sklearn.base import BaseEstimator, clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import NearestCentroid
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils.validation import check_is_fitted
from skorch.callbacks import Callback
from skorch.dataset import ValidSplit

from skcvae.over_sampling import HeadTailFusionSampler
from skcvae.over_sampling.fusion._activation_maps import (
    PositionScaler,
    class_activation,
    draw_partners,
    head_samples,
    pool_positions,
    specific_units,
)
from skcvae.over_sampling.fusion._iterated_learning import SimplicialAutoencoder

FAST = {
    "n_groups": 6,
    "group_size": 3,
    "n_generations": 1,
    "imitation_steps": 5,
    "interaction_steps": 20,
    "device": "cpu",
    "random_state": 0,
    "net_params": {"module__hidden_dim": 16},
}
COUNTS = np.array([30, 12, 5])
CODES = np.repeat(np.arange(3), COUNTS)
NAMES = np.array(["zebra", "ape", "mole"])
VECTORS = np.random.RandomState(0).normal(size=(47, 8)) + 2 * np.eye(3, 8)[CODES]
MAPS = np.random.RandomState(1).normal(size=(47, 5, 4, 3)) + CODES[:, None, None, None]
TOKENS = np.moveaxis(MAPS, 1, -1).reshape(47, 12, 5)
LAYOUTS = {"vectors": VECTORS, "tokens": TOKENS, "maps": MAPS}
N_UNITS = {"vectors": (6,), "tokens": (12,), "maps": (4, 3)}

each_layout = pytest.mark.parametrize("layout", LAYOUTS)


def fuse(X, labels=CODES, **params):
    """Return the sampler, its new rows and their labels."""
    sampler = HeadTailFusionSampler(**{**FAST, **params})
    X_resampled, y_resampled = sampler.fit_resample(X, labels)
    return sampler, X_resampled[len(X) :], y_resampled[len(X) :]


def test_simplices_by_hand():
    module = SimplicialAutoencoder(3, 2, 2, 2)
    h = torch.tensor([[0.0, np.log(2.0)], [1.0, 1.0]])
    expected = [[1 / 3, 2 / 3], [1 / 2, 1 / 2]]
    assert_allclose(module.to_simplices(h), expected, rtol=1e-6)
    # Half the temperature squares the ratios.
    module.temperature = 0.5
    assert_allclose(module.to_simplices(h)[0], [1 / 5, 4 / 5], rtol=1e-6)


@each_layout
def test_codes_lie_on_simplices_and_are_sparser_when_colder(layout):
    X = LAYOUTS[layout]
    largest = []
    for temperature in (2.0, 0.1):
        sampler = HeadTailFusionSampler(**FAST, temperature=temperature).fit(X, CODES)
        codes = sampler.encode(X)
        grid = () if layout == "vectors" else N_UNITS[layout]
        assert codes.shape == (47, *grid, 6, 3)
        assert_allclose(codes.sum(axis=-1), 1, rtol=1e-5)
        assert codes.min() >= 0
        largest.append(codes.max(axis=-1).mean())
    assert largest[0] < largest[1] - 0.2, largest


@pytest.mark.parametrize("n_positions", [1, 7])
def test_activation_maps_add_up_to_the_logits(n_positions, torch_seed):
    module = SimplicialAutoencoder(5, 4, n_groups=6, group_size=3)
    codes = module.encode(torch.randn(20, n_positions, 5))
    mean = module.encode(torch.randn(1, 1, 5))[0, 0].detach()
    labels = torch.arange(20) % 4
    maps = class_activation(module, codes, labels, mean)
    assert maps.shape == (20, 6 if n_positions == 1 else 7)
    logits = module.classify(codes) - module.classify(mean[None, None])
    relative = (logits - logits.mean(dim=1, keepdim=True))[range(20), labels].detach()
    total = maps.sum(dim=1) if n_positions == 1 else maps.mean(dim=1)
    assert_allclose(total, relative, atol=1e-5)


@pytest.mark.parametrize(
    "quantile, marked",
    [(0, [1, 1, 1, 1]), (0.5, [0, 1, 0, 1]), (0.9, [0, 1, 0, 0]), (1, [0, 1, 0, 0])],
)
def test_specific_units_by_hand(quantile, marked):
    assert_array_equal(
        specific_units(np.array([[-2.0, 5.0, 0.0, 1.0]]), quantile)[0],
        np.array(marked, dtype=bool),
    )


def test_head_samples_are_of_larger_classes():
    codes = np.array([0, 0, 0, 1, 1, 2, 2, 3])
    assert_array_equal(head_samples(codes, 3), np.arange(7))
    assert_array_equal(head_samples(codes, 1), [0, 1, 2])
    # No class is larger than the largest: all others are its head.
    assert_array_equal(head_samples(codes, 0), np.arange(3, 8))


def test_partners_are_the_nearest_by_direction():
    rng = np.random.RandomState(0)
    maps, tails = rng.normal(size=(47, 6)), rng.choice(np.flatnonzero(CODES), 300)
    partners = draw_partners(maps, CODES, tails, 3, rng)
    directions = maps / np.linalg.norm(maps, axis=1, keepdims=True)
    cosine = directions @ directions.T
    for tail in np.unique(tails):
        heads = np.flatnonzero(COUNTS[CODES] > COUNTS[CODES[tail]])
        nearest = heads[np.argsort(-cosine[tail, heads])[:3]]
        assert set(partners[tails == tail]) <= set(nearest)
    assert len(np.unique(partners[tails == tails[0]])) > 1
    # Their length does not count.
    scaled = draw_partners(maps * rng.uniform(1, 9, (47, 1)), CODES, tails, 1, rng)
    assert_array_equal(scaled, draw_partners(maps, CODES, tails, 1, rng))


@each_layout
def test_counts_parents_and_masks(layout):
    X = LAYOUTS[layout]
    sampler, new, labels = fuse(X, NAMES[CODES])
    assert new.shape == (43, *X.shape[1:])
    assert Counter(labels.tolist()) == {"ape": 18, "mole": 25}
    tails, heads = sampler.parents_.T
    assert_array_equal(NAMES[CODES[tails]], labels)
    assert (COUNTS[CODES[heads]] > COUNTS[CODES[tails]]).all()
    assert sampler.masks_.shape == (43, *N_UNITS[layout])
    # A unit comes from the head where it is generic in both rows.
    maps = sampler.activation_maps(X, NAMES[CODES]).reshape(47, -1)
    generic = maps < np.median(maps, axis=1, keepdims=True)
    expected = ~(generic[tails] & generic[heads])
    assert_array_equal(sampler.masks_.reshape(43, -1), expected)
    assert 0.5 <= sampler.masks_.mean() < 0.95


@pytest.mark.parametrize("layout", ["tokens", "maps"])
def test_positions_of_maps_come_from_the_row_that_the_mask_names(layout):
    X = LAYOUTS[layout]
    sampler, new, _ = fuse(X)
    mask = np.expand_dims(sampler.masks_, -1 if layout == "tokens" else 1)
    tails, heads = sampler.parents_.T
    assert_allclose(new, np.where(mask, X[tails], X[heads]), atol=1e-5)


@each_layout
def test_codes_are_mixed_by_unit_and_decoded(layout):
    X = LAYOUTS[layout]
    sampler, new, _ = fuse(X, noise=None)
    codes = torch.from_numpy(sampler.encode(X).reshape(47, -1, 6, 3))
    masks = torch.from_numpy(sampler.masks_.reshape(43, -1))
    masks = masks[:, None] if layout == "vectors" else masks[..., None]
    tails, heads = sampler.parents_.T
    mixed = torch.where(masks[..., None], codes[tails], codes[heads])
    with torch.no_grad():
        decoded = sampler.net_.module_.decode(mixed).numpy()
    scaler = PositionScaler.fit(X)
    assert_allclose(new, scaler.to_samples(decoded), atol=1e-5)


def test_new_vectors_scatter_around_the_mean_of_the_tail():
    rng = np.random.RandomState(0)
    codes = np.repeat([0, 1, 2], [300, 60, 30])
    X = 3 * np.eye(3, 6)[codes] + rng.normal(size=(390, 6))
    # Nothing of the code comes from the head, and noise from any row of it.
    sampler, new, _ = fuse(
        X, codes, quantile=0, n_neighbors=400, sampling_strategy={2: 2030}
    )
    assert sampler.masks_.all()
    assert_allclose(new.mean(axis=0), X[codes == 2].mean(axis=0), atol=0.25)
    assert_allclose(new.std(axis=0), 1, atol=0.4)


def test_feature_maps_and_their_tokens_give_the_same_rows():
    _, of_maps, _ = fuse(MAPS)
    _, of_tokens, _ = fuse(TOKENS)
    assert_allclose(
        np.moveaxis(of_maps, 1, -1).reshape(of_tokens.shape), of_tokens, atol=1e-6
    )


def test_maps_of_one_position_are_vectors():
    sampler, of_vectors, _ = fuse(VECTORS)
    for X in (VECTORS[:, None], VECTORS[:, :, None, None]):
        other, new, _ = fuse(X)
        assert_allclose(new.reshape(of_vectors.shape), of_vectors, atol=1e-6)
        assert_array_equal(other.masks_, sampler.masks_)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int64])
def test_layouts_keep_their_type(layout, dtype):
    X = (10 * LAYOUTS[layout]).astype(dtype)
    X_resampled, _ = HeadTailFusionSampler(**FAST).fit_resample(X, CODES)
    assert X_resampled.dtype == dtype
    assert X_resampled[:47].tobytes() == X.tobytes()
    assert np.isfinite(X_resampled).all()


@pytest.mark.parametrize("layout", ["tokens", "maps"])
def test_scaler_and_back(layout):
    X = LAYOUTS[layout]
    scaler = PositionScaler.fit(X)
    Z = scaler.to_positions(X)
    assert Z.shape == (47, 12, 5)
    assert_allclose(Z.mean(axis=(0, 1)), 0, atol=1e-6)
    assert_allclose(np.mean(Z**2), 1, rtol=1e-5)
    assert_allclose(scaler.to_samples(Z), X, atol=1e-5)
    assert_allclose(pool_positions(X), TOKENS.mean(axis=1))


@each_layout
def test_soft_labels_are_shared_as_the_units_are(layout):
    X = LAYOUTS[layout]
    sampler, _, labels = fuse(X, NAMES[CODES], label_policy="soft")
    soft, new = sampler.soft_labels_, sampler.soft_labels_[47:]
    assert_array_equal(sampler.classes_, ["ape", "mole", "zebra"])
    assert_array_equal(sampler.classes_[soft[:47].argmax(axis=1)], NAMES[CODES])
    assert_allclose(soft[:47].max(axis=1), 1)
    assert_allclose(soft.sum(axis=1), 1, rtol=1e-6)
    share = sampler.masks_.reshape(43, -1).mean(axis=1)
    tails, heads = np.searchsorted(sampler.classes_, NAMES[CODES[sampler.parents_.T]])
    assert_array_equal(sampler.classes_[tails], labels)
    assert_allclose(new[np.arange(43), tails], share, rtol=1e-6)
    assert_allclose(new[np.arange(43), heads], 1 - share, atol=1e-6)
    assert not hasattr(fuse(X)[0], "soft_labels_")


@pytest.mark.parametrize("layout", ["vectors", "maps"])
@pytest.mark.parametrize("policy", ["agreement", NearestCentroid()])
def test_rows_are_agreed_on_or_repeat_their_tail(layout, policy):
    X = LAYOUTS[layout]
    hard = fuse(X)[1]
    sampler, new, labels = fuse(X, label_policy=policy)
    tails = X[sampler.parents_[:, 0]]
    repeats = (new == tails).reshape(43, -1).all(axis=1)
    assert repeats.sum() == sampler.n_repeated_ < 43
    assert sampler.masks_[repeats].all()
    if policy != "agreement":
        classifier = clone(policy).fit(pool_positions(X), CODES)
        agrees = classifier.predict(pool_positions(new)) == labels
        assert agrees[~repeats].all()
        before = classifier.predict(pool_positions(hard)) == labels
        assert before.mean() < 1
    assert not hasattr(fuse(X)[0], "n_repeated_")


class Naysayer(BaseEstimator):
    """Takes every row for one of the first class."""

    def fit(self, X, y):
        self.label_ = y[0]
        return self

    def predict(self, X):
        return np.full(len(X), self.label_)


def test_rows_that_are_always_refused_are_copies_with_the_right_label():
    policy = Naysayer()
    sampler, new, labels = fuse(VECTORS, NAMES[CODES], label_policy=policy)
    assert sampler.n_repeated_ == 43
    assert_array_equal(new, VECTORS[sampler.parents_[:, 0]])
    assert_array_equal(NAMES[CODES[sampler.parents_[:, 0]]], labels)
    assert not hasattr(policy, "label_")


def test_the_classifier_follows_the_rule_of_seeds():
    forest = RandomForestClassifier(n_estimators=3, max_depth=1)
    for policy in (forest, make_pipeline(StandardScaler(), forest)):
        _, new, _ = fuse(VECTORS, label_policy=policy)
        assert_array_equal(fuse(VECTORS, label_policy=policy)[1], new)
    seeds = []

    class Noting(RandomForestClassifier):
        def fit(self, X, y):
            seeds.append(self.random_state)
            return super().fit(X, y)

    fuse(VECTORS, label_policy=Noting(n_estimators=3, random_state=7))
    fuse(VECTORS, label_policy=Noting(n_estimators=3))
    assert seeds[0] == 7
    assert isinstance(seeds[1], int)


def test_a_frozen_classifier_is_used_as_it_is():
    # It was fitted to other labels, and never agrees but with the first class.
    frozen = FrozenEstimator(NearestCentroid().fit(VECTORS, np.roll(CODES, 12)))
    _, new, labels = fuse(VECTORS, label_policy=frozen)
    sampler, again, _ = fuse(VECTORS, label_policy=NearestCentroid())
    assert not np.array_equal(new, again)
    agrees = frozen.predict(new) == labels
    sampler, new, _ = fuse(VECTORS, label_policy=frozen)
    repeats = (new == VECTORS[sampler.parents_[:, 0]]).all(axis=1)
    assert 0 < repeats.sum() == sampler.n_repeated_
    assert agrees[~repeats].all()
    for fitted, message in (
        (NearestCentroid().fit(VECTORS[:, :3], CODES), "fitted to 3 features"),
        (NearestCentroid().fit(VECTORS[:42], CODES[:42]), r"without the classes \[2\]"),
    ):
        with pytest.raises(ValueError, match=message):
            fuse(VECTORS, label_policy=FrozenEstimator(fitted))


def test_decoder_renders_the_new_rows_in_parts():
    sizes = []

    def decoder(rows):
        sizes.append(len(rows))
        return 2 * rows[:, :2]

    sampler, new, _ = fuse(MAPS, decoder=decoder, sampling_strategy={2: 105})
    assert_array_equal(sampler.images_, 2 * new[:, :2])
    assert sum(sizes) == 100 and max(sizes) == 64
    with pytest.raises(ValueError, match="got 2 images for 43 samples"):
        fuse(MAPS, decoder=lambda rows: rows[:2])


def test_phases_of_iterated_learning_are_in_the_history():
    sampler = fuse(VECTORS, n_generations=2)[0]
    phases = [(row["generation"], row["phase"]) for row in sampler.history_]
    assert phases == [
        (0, "interaction"),
        (1, "imitation"),
        (1, "interaction"),
        (2, "imitation"),
        (2, "interaction"),
    ]
    assert [len(row["batches"]) for row in sampler.history_] == [20, 5, 20, 5, 20]
    for row in sampler.history_:
        terms = {"train_reconstruction", "train_classification"} & set(row)
        assert len(terms) == (2 if row["phase"] == "interaction" else 0)
    once = fuse(VECTORS, n_generations=0)[0]
    assert [row["phase"] for row in once.history_] == ["interaction"]


class Snapshots(Callback):
    """Keep weights and codes at both ends of each phase."""

    def __init__(self, X, kept):
        self.X, self.kept = X, kept

    def _keep(self, net):
        with torch.no_grad():
            codes = net.module_.encode(self.X)
        weights = torch.cat([p.detach().ravel() for p in net.module_.parameters()])
        self.kept.append((codes, weights.clone()))

    def on_epoch_begin(self, net, **kwargs):
        self._keep(net)

    def on_epoch_end(self, net, **kwargs):
        self._keep(net)


class Shared(list):
    """A list that copies of its owner share."""

    def __deepcopy__(self, memo):
        return self


def test_students_start_anew_and_imitate_the_codes_of_their_teacher():
    rows = torch.from_numpy(PositionScaler.fit(VECTORS).to_positions(VECTORS))
    kept = Shared()
    fuse(
        VECTORS,
        imitation_steps=200,
        net_params={
            "module__hidden_dim": 16,
            "callbacks": [("snapshots", Snapshots(rows, kept))],
            "lr": 0.01,
        },
    )
    codes, weights = zip(*kept, strict=True)
    _, taught, student, imitated, start, _ = codes
    assert torch.equal(imitated, start)

    def distance(codes):
        return float((codes - taught).abs().mean())

    assert distance(imitated) < 0.5 * distance(student)
    # Not a weight of the student is its teacher's, biases of zero aside.
    assert (weights[1] == weights[2]).float().mean() < 0.01


def factor_images(seed):
    """Return all combinations of four factors of four values, and a mixture of them.

    The mixture is non-linear and has 24 features.
    """
    rng = np.random.RandomState(seed)
    factors = np.stack(np.meshgrid(*[np.arange(4)] * 4), axis=-1).reshape(-1, 4)
    one_hot = np.eye(4)[factors].reshape(256, 16)
    X = np.tanh(one_hot @ rng.normal(size=(16, 64))) @ rng.normal(size=(64, 24))
    return factors, X, rng


def topographic_similarity(factors, codes):
    """Return the correlation of ranks of Hamming distances between all pairs.

    Brighton and Kirby, "Understanding linguistic evolution by visualizing the
    emergence of topographic mappings", Artificial Life, 2006.
    """
    pairs = np.triu_indices(len(factors), 1)
    distances = [(of[pairs[0]] != of[pairs[1]]).sum(axis=1) for of in (factors, codes)]
    return spearmanr(*distances).statistic


@pytest.mark.parametrize("seed", [0, 1])
def test_codes_of_later_generations_are_more_compositional(seed):
    factors, X, rng = factor_images(seed)
    noisy = np.repeat(X, 4, axis=0)
    noisy = noisy + 0.05 * noisy.std() * rng.normal(size=noisy.shape)
    labels = np.repeat(factors[:, 0], 4)
    similarity = {}
    # The same number of steps on the task, in seven generations and in one.
    for n_generations, steps in ((6, 100), (0, 700)):
        sampler = HeadTailFusionSampler(
            n_groups=8,
            group_size=4,
            n_generations=n_generations,
            imitation_steps=50,
            interaction_steps=steps,
            device="cpu",
            random_state=seed,
            net_params={"module__hidden_dim": 64, "lr": 0.01},
        ).fit(noisy, labels)
        codes = sampler.encode(X).argmax(axis=-1)
        similarity[n_generations] = topographic_similarity(factors, codes)
    assert similarity[6] > similarity[0] + 0.05


def corner_images(rng, counts):
    """Return noise with a block of the colour of the class in the lower left corner."""
    y = np.repeat(np.arange(3), counts)
    X = rng.normal(size=(len(y), 6, 8, 8))
    X[:, :, -3:, :3] += 6 * np.eye(3, 6)[y][:, :, None, None]
    return X, y


def test_maps_find_the_corner_with_the_evidence():
    rng = np.random.RandomState(0)
    X, y = corner_images(rng, [80, 40, 15])
    sampler = HeadTailFusionSampler(
        n_groups=8,
        group_size=4,
        n_generations=1,
        imitation_steps=30,
        interaction_steps=100,
        device="cpu",
        random_state=0,
        net_params={"module__hidden_dim": 32, "lr": 0.01},
    ).fit(X, y)
    X_new, y_new = corner_images(rng, [30, 30, 30])
    maps = sampler.activation_maps(X_new, y_new).reshape(90, 64)
    corner = np.zeros((8, 8), dtype=bool)
    corner[-3:, :3] = True
    found = specific_units(maps, 1 - 9 / 64)
    union = (found | corner.ravel()).sum(axis=1)
    overlap = (found & corner.ravel()).sum(axis=1) / union
    for label in range(3):
        assert overlap[y_new == label].mean() > 0.7


class Interrupt(Callback):
    """Press Ctrl-C at the first batch of an epoch."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_batch_begin(self, net, **kwargs):
        if len(net.history) == self.epoch:
            raise KeyboardInterrupt


@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_interrupted_training_leaves_the_sampler_unfitted(epoch):
    sampler = HeadTailFusionSampler(**FAST).fit(VECTORS, CODES)
    sampler.set_params(net_params={"callbacks": [("stop", Interrupt(epoch))]})
    for method in (sampler.fit, sampler.fit_resample):
        with pytest.raises(KeyboardInterrupt):
            method(VECTORS, CODES)
        with pytest.raises(NotFittedError):
            check_is_fitted(sampler)


def test_diverged_training_leaves_the_sampler_unfitted():
    sampler = HeadTailFusionSampler(**FAST).fit(VECTORS, CODES)
    sampler.set_params(net_params={"lr": 1e30})
    with pytest.raises(FloatingPointError, match="smaller lr"):
        sampler.fit_resample(VECTORS, CODES)
    with pytest.raises(NotFittedError):
        check_is_fitted(sampler)


@pytest.mark.parametrize(
    "X, params, message",
    [
        (MAPS[..., None], {}, r"got \(47, 5, 4, 3, 1\)"),
        (MAPS[:, :, :0], {}, "none of them 0"),
        (np.where(MAPS > 3, np.nan, MAPS), {}, "contains NaN"),
        (1e37 * MAPS, {}, "too large"),
        (VECTORS, {"net_params": {"max_epochs": 3}}, "max_epochs.*Head"),
        (VECTORS, {"temperature": 0}, "'temperature'"),
        (VECTORS, {"group_size": 1}, "'group_size'"),
        (VECTORS, {"quantile": 1.1}, "'quantile'"),
        (VECTORS, {"label_policy": "none"}, "'label_policy'"),
        (VECTORS, {"device": "gpu"}, "no.? .*torch device|not a torch device"),
    ],
)
def test_faulty_input_is_refused(X, params, message):
    sampler = HeadTailFusionSampler(**{**FAST, **params})
    for method in (sampler.fit, sampler.fit_resample):
        with pytest.raises(ValueError, match=message):
            method(X, CODES)


def test_new_rows_must_fit_those_of_training():
    sampler = HeadTailFusionSampler(**FAST).fit(MAPS, CODES)
    with pytest.raises(ValueError, match=r"\(5, 4, 3\), got \(5, 3, 4\)"):
        sampler.encode(np.swapaxes(MAPS, 2, 3))
    with pytest.raises(ValueError, match=r"unseen labels: \[7\]"):
        sampler.activation_maps(MAPS[:2], [0, 7])
    with pytest.raises(ValueError, match="inconsistent"):
        sampler.activation_maps(MAPS[:2], [0])
    with pytest.raises(NotFittedError):
        HeadTailFusionSampler().encode(MAPS)


def test_classes_of_one_row_are_filled():
    kept = np.r_[:30, 30, 42]
    _, new, labels = fuse(VECTORS[kept], CODES[kept])
    assert Counter(labels.tolist()) == {1: 29, 2: 29}
    assert np.isfinite(new).all()
    # Of one tail row each, and many head rows.
    assert len(np.unique(new, axis=0)) > 30
    _, new, _ = fuse(VECTORS[kept], CODES[kept], n_neighbors=3)
    assert len(np.unique(new, axis=0)) == 6


def test_pipelines_from_maps_to_labels():
    pipeline = make_pipeline(
        HeadTailFusionSampler(**FAST, label_policy="agreement"),
        FunctionTransformer(pool_positions),
        LogisticRegression(),
    )
    scores = cross_val_score(
        pipeline, MAPS, CODES, cv=3, scoring="balanced_accuracy", error_score="raise"
    )
    assert scores.min() > 0.8


def test_validation_split_and_verbose_of_skorch(capsys):
    sampler = fuse(
        VECTORS,
        verbose=2,
        net_params={"train_split": ValidSplit(0.2, random_state=0)},
    )[0]
    assert {"valid_loss", "valid_imitation"} <= set(sampler.history_[1])
    assert "valid_reconstruction" in sampler.history_[2]
    assert "imitation" in capsys.readouterr().out
