"""The generator of the guide, in everything that takes a generator."""

import re
import sys
import warnings
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import BaseEstimator, clone
from sklearn.frozen import FrozenEstimator
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity

from skcvae.anonymization import GenerativeAnonymizer
from skcvae.generators import (
    CGAN,
    CVAE,
    VAE,
    ClassGaussian,
    DensityGenerator,
    DPClassGaussian,
    FlowMatching,
    check_generator,
)
from skcvae.long_tail import LongTailClassifier
from skcvae.over_sampling import (
    GenerativeOverSampler,
    HardOverSampler,
    ProgressiveOverSampler,
    QualityFilter,
)
from skcvae.privacy import privacy_audit
from skcvae.report import report

PAGE = Path(__file__).parents[1] / "docs" / "user_guide" / "write_a_generator.md"
BLOCKS = re.findall(
    r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
)
# A module, so that what the page defines can be pickled.
GUIDE = sys.modules["guide"] = ModuleType("guide")
exec(BLOCKS[0], vars(GUIDE))
KernelGenerator = GUIDE.KernelGenerator

rng = np.random.RandomState(0)
y = np.repeat(["a", "b"], [60, 30])
X, X_TEST, X_REFERENCE = (
    rng.normal(size=(90, 4)) + 4 * (y == "b")[:, None] for _ in range(3)
)


def over_sample(generator):
    return GenerativeOverSampler(generator, random_state=0).fit_resample(X, y)[0]


def over_sample_hard_samples(generator):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*has no decoder")
        return HardOverSampler(generator, random_state=0).fit_resample(X, y)[0]


def classify(generator):
    classifier = LongTailClassifier(
        generator, max_epochs=20, device="cpu", random_state=0
    )
    return classifier.fit(X, y).predict_proba(X_TEST)


def anonymize(generator):
    anonymizer = GenerativeAnonymizer(generator, random_state=0).fit(X, y)
    return np.concatenate([anonymizer.sample(y=y)[0], anonymizer.sample(20)[0]])


def audit(generator):
    fitted = clone(generator).set_params(random_state=0).fit(X, y)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Few records")
        found = privacy_audit(fitted, X, y, X_TEST, y, X_REFERENCE, y, random_state=0)
    return np.array([attack.result.auc.value for attack in found.attacks])


CONSUMERS = [over_sample, over_sample_hard_samples, classify, anonymize, audit]
GENERATORS = {
    "of the guide": KernelGenerator(),
    "kernel density": DensityGenerator(),
    "mixture": DensityGenerator(GaussianMixture(2, reg_covar=1e-2)),
}
FAST = {"max_epochs": 20, "device": "cpu"}


@pytest.mark.parametrize("name", GENERATORS)
@pytest.mark.parametrize("use", CONSUMERS, ids=lambda use: use.__name__)
def test_every_user_of_generators_takes_it(use, name):
    found = use(clone(GENERATORS[name]))
    assert np.isfinite(found).all()
    assert_array_equal(use(clone(GENERATORS[name])), found)


def test_the_report_takes_it(tmp_path):
    fitted = KernelGenerator(random_state=0).fit(X, y)
    path = report(
        tmp_path / "page.html", fitted, X, y, X_test=X_TEST, y_test=y, random_state=0
    )
    assert "Linear probe" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "generator",
    [
        *GENERATORS.values(),
        ClassGaussian(),
        ClassGaussian(covariance_type="full"),
        CVAE(**FAST),
        VAE(max_epochs=100, device="cpu"),
        CGAN(**FAST),
        FlowMatching(**FAST),
        DensityGenerator(KernelDensity(bandwidth=0.1), min_class_size=1),
    ],
    ids=lambda generator: type(generator).__name__,
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_generators_pass_the_public_check(generator):
    check_generator(generator)


@pytest.mark.parametrize("block", range(len(BLOCKS)))
def test_the_blocks_of_the_page_run(block):
    # The first has run: a second class of its name would break pickles of the first.
    for code in BLOCKS[1 : block + 1]:
        exec(code, vars(GUIDE))


class Broken(KernelGenerator):
    """A generator with one promise broken, by name."""

    def __init__(self, fault=None, bandwidth=0.3, random_state=None):
        super().__init__(bandwidth, random_state)
        self.fault = fault

    def fit(self, X, y):
        super().fit(X, y)
        return None if self.fault == "self" else self

    def sample(self, n_samples=None, *, y=None, random_state=None):
        if self.fault == "seed":
            random_state = 0
        if self.fault == "global":
            np.random.uniform()
        if self.fault == "order" and y is not None:
            y = np.sort(y)
        if self.fault == "unknown" and y is not None and "no such class" in y:
            return self.X_[:1], np.array(y)
        X, y = super().sample(n_samples, y=y, random_state=random_state)
        if self.fault == "dtype":
            X = X.astype(np.float64)
        if self.fault == "nan":
            X[:1] = np.nan
        if self.fault == "class":
            X = X[::-1]
        return X, y


@pytest.mark.parametrize(
    "fault, message",
    [
        ("self", "fit must return self"),
        ("seed", "other seeds must draw anew"),
        ("global", "global random state"),
        ("order", "in the order of y"),
        ("unknown", "must refuse a label"),
        ("dtype", "must be float32"),
        ("nan", "contains NaN"),
        ("class", "must resemble those of their class"),
    ],
)
def test_a_broken_promise_is_named(fault, message):
    with pytest.raises((AssertionError, ValueError), match=message):
        check_generator(Broken(fault))


class OnlyOfGivenLabels(KernelGenerator):
    def sample(self, n_samples=None, *, y=None, random_state=None):
        return super().sample(y=[*y], random_state=random_state)


def test_a_generator_that_chooses_no_labels_is_told_so():
    with pytest.raises(AssertionError, match=r"without y failed: .*iterable"):
        check_generator(OnlyOfGivenLabels())


class NoSample(BaseEstimator):
    def fit(self, X, y):
        raise AssertionError("must not be fitted")


class NoLabels(NoSample):
    def sample(self, n_samples=1):
        raise AssertionError("must not be asked")


WRAPPERS = {
    "sampler": lambda g: GenerativeOverSampler(g).fit_resample(X, y),
    "hard": lambda g: HardOverSampler(g).fit_resample(X, y),
    "classifier": lambda g: LongTailClassifier(g).fit(X, y),
    "anonymizer": lambda g: GenerativeAnonymizer(g).fit(X, y),
    "filter": lambda g: QualityFilter(
        GenerativeOverSampler(g), quantile=0.1
    ).fit_resample(X, y),
    "steps": lambda g: ProgressiveOverSampler(
        [("only", GenerativeOverSampler(g))]
    ).fit_resample(X, y),
    "check": check_generator,
}


@pytest.mark.parametrize("name", WRAPPERS)
@pytest.mark.parametrize(
    "generator", [GaussianMixture(), KernelDensity(), NoLabels()], ids=str
)
def test_what_draws_no_given_classes_is_refused_before_any_training(name, generator):
    expected = rf"{type(generator).__name__}.sample does not take .*DensityGenerator"
    with pytest.raises(TypeError, match=expected):
        WRAPPERS[name](generator)


def test_the_audit_and_the_report_refuse_it_too(tmp_path):
    mixture = GaussianMixture().fit(X)
    parts = X, y, X_TEST, y, X_REFERENCE, y
    with pytest.raises(TypeError, match=r"GaussianMixture\.sample does not take y"):
        privacy_audit(mixture, *parts)
    with pytest.raises(TypeError, match=r"GaussianMixture\.sample does not take y"):
        report(tmp_path / "a.html", mixture, X, y, X_test=X_TEST, y_test=y)


def test_the_audit_says_that_there_is_no_decoder_to_attack():
    with pytest.warns(UserWarning, match="Few records"):
        found = {
            kind: privacy_audit(
                generator.fit(X, y), X, y, X_TEST, y, X_REFERENCE, y, random_state=0
            )
            for kind, generator in {
                "without": KernelGenerator(random_state=0),
                "with": FrozenEstimator(ClassGaussian(random_state=0).fit(X, y)),
            }.items()
        }
    assert "has no decoder: latent_search was left out" in str(found["without"])
    assert "no decoder" not in str(found["with"])
    names = [attack.result.name for attack in found["with"].attacks]
    assert "latent_search" in names


FROZEN = {
    "sampler": lambda g: GenerativeOverSampler(g, random_state=0).fit(X, y),
    "hard": lambda g: HardOverSampler(g, random_state=0).fit(X, y),
    "classifier": lambda g: LongTailClassifier(
        g, max_epochs=5, device="cpu", random_state=0
    ).fit(X, y),
    "anonymizer": lambda g: GenerativeAnonymizer(g, random_state=0).fit(X, y),
}


@pytest.mark.parametrize("name", FROZEN)
def test_a_frozen_generator_is_kept_and_a_fitted_one_is_copied(name):
    generator = ClassGaussian(random_state=3).fit(X + 100, y)
    wrapped = FROZEN[name](FrozenEstimator(generator))
    assert wrapped.generator_.estimator is generator
    again = clone(wrapped).fit(X, y)
    assert again.generator_.estimator is generator
    copied = FROZEN[name](generator)
    assert copied.generator_ is not generator
    assert abs(copied.generator_.offset_ - X.mean(axis=0)).max() < 1e-9


@pytest.mark.parametrize("name", FROZEN)
@pytest.mark.parametrize(
    "other, message",
    [
        ((X[:, :2], y), "was fitted to 2 features, and X has 4"),
        ((X, np.where(y == "a", "c", "b")), "without the classes"),
    ],
)
def test_a_frozen_generator_of_other_data_is_refused(name, other, message):
    with pytest.raises(ValueError, match=message):
        FROZEN[name](FrozenEstimator(ClassGaussian().fit(*other)))


@pytest.mark.parametrize("frozen", [False, True])
def test_hidden_mixins_of_a_frozen_generator_are_found(frozen):
    generator = CVAE(max_epochs=2, device="cpu", random_state=0).fit(X, y)
    model = FrozenEstimator(generator) if frozen else generator
    sampler = HardOverSampler(model, random_state=0)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*has no decoder")
        sampler.fit_resample(X, y)
    assert sampler.latent_norm_.max() <= sampler.max_norm_


@pytest.mark.parametrize("name", FROZEN)
def test_an_own_integer_seed_wins_and_any_other_is_replaced(name):
    kept = FROZEN[name](ClassGaussian(random_state=7)).generator_
    assert kept.random_state == 7
    for own in (None, np.random.RandomState(0)):
        seeded = FROZEN[name](ClassGaussian(random_state=own)).generator_
        assert isinstance(seeded.random_state, int)


def test_draws_of_a_frozen_generator_follow_the_seeds_of_the_wrapper():
    generator = FrozenEstimator(ClassGaussian().fit(X, y))

    def drawn(seed):
        sampler = GenerativeOverSampler(generator, random_state=seed)
        return sampler.fit_resample(X, y)[0]

    assert_array_equal(drawn(0), drawn(0))
    assert not np.array_equal(drawn(0), drawn(1))


def test_a_seed_of_a_wrapper_is_named_by_a_private_statement():
    def outside(seed):
        generator = DPClassGaussian(classes=["a", "b"])
        model = GenerativeAnonymizer(generator, random_state=seed).fit(X, y)
        return str(model.privacy_statement())

    assert "random_state" in outside(0)
    assert "random_state" not in outside(None)


# The adapter


def test_each_class_and_each_call_draws_anew_though_the_density_has_a_seed():
    same = np.tile(X[:60], (2, 1)), np.repeat([0, 1], 60)
    density = GaussianMixture(1, random_state=0)
    generator = DensityGenerator(density, random_state=0).fit(*same)
    drawn, _ = generator.sample(y=[0] * 5 + [1] * 5)
    assert not np.isclose(drawn[:5], drawn[5:]).any()
    calls = [generator.sample(y=[0] * 5, random_state=s)[0] for s in (1, 1, 2)]
    assert_array_equal(calls[0], calls[1])
    assert not np.isclose(calls[0], calls[2]).any()


def test_a_gaussian_of_each_class_has_the_moments_of_the_class():
    generator = DensityGenerator(GaussianMixture(1), random_state=0).fit(X, y)
    drawn, labels = generator.sample(y=np.repeat(["a", "b"], 50_000))
    for label in "ab":
        real, fake = X[y == label], drawn[labels == label]
        np.testing.assert_allclose(fake.mean(axis=0), real.mean(axis=0), atol=0.03)
        expected = np.cov(real.T, bias=True)
        np.testing.assert_allclose(np.cov(fake.T), expected, atol=0.05)


def test_small_classes_share_a_density_around_their_mean():
    small = np.concatenate([X, [[50.0, 50, 50, 50], [50.5, 50, 50, 50]]])
    labels = np.concatenate([y, ["few", "few"]])
    generator = DensityGenerator(GaussianMixture(1), random_state=0)
    generator.fit(small, labels)
    assert [d is None for d in generator.densities_] == [False, False, True]
    drawn, _ = generator.sample(y=["few"] * 5000)
    np.testing.assert_allclose(drawn.mean(axis=0), 50, atol=1.5)
    within = np.concatenate([X[y == c] - X[y == c].mean(axis=0) for c in "ab"])
    np.testing.assert_allclose(drawn.std(axis=0), within.std(axis=0), rtol=0.25)


def test_samples_of_a_mixture_do_not_come_by_component():
    two = np.concatenate([X[:30] - 50, X[:30] + 50])
    generator = DensityGenerator(GaussianMixture(2), random_state=0)
    drawn, _ = generator.fit(two, np.zeros(60)).sample(y=np.zeros(400))
    assert 0.2 < (drawn[:200, 0] > 0).mean() < 0.8


def test_a_density_that_cannot_be_fitted_names_the_class():
    generator = DensityGenerator(GaussianMixture(40), min_class_size=1)
    with pytest.raises(ValueError, match="the 30 samples of the class 'b'"):
        generator.fit(X, y)
