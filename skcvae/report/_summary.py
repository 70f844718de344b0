"""The summary of a report: sentences that follow from its numbers by stated rules."""

from dataclasses import dataclass
from math import sqrt
from typing import NamedTuple

from sklearn.utils import Bunch

from .._statistics import Estimate
from ..privacy import PrivacyAudit

# A ratio of the variances within classes outside of these bounds is doubtful.
_VARIANCE_BOUNDS = (2 / 3, 1.5)
# Generated samples reach the training samples with this share of their number.
_NEARLY = 0.9
# A sentence names so many columns.
_N_NAMED = 5

RULES = (
    "Training and test samples are alike if training samples cover at least 90 % of "
    "what two random halves of one set cover of each other, which is 1 - 2^-k for k "
    "nearest neighbours. Where they are not, nearness to test samples is not judged.",
    "Coverage and precision of generated samples are good from 90 % of those of "
    "training samples on.",
    "The variance of generated samples within their classes is good from 2/3 to 1.5 "
    "times that of test samples.",
    "Generated samples are too near to training samples if the median of their "
    "distances is below that of test samples, and the 95 % intervals do not overlap.",
    "Two probes differ if the 95 % interval of the difference of their balanced "
    "accuracies on the same test samples excludes 0. It is over test samples, not over "
    "trainings.",
    "The attacks find something if a figure of the headline is beyond chance.",
)

COLUMN_RULES = (
    "A column is good if its distance from test samples, or the difference in the "
    "share of missing values, is above that of training samples by at most "
    "1.95 √(2 / n), n samples in each set. Chance alone exceeds it in fewer than one "
    "of 1,000 columns of numbers.",
    "Pairs of columns are good if the share within three standard errors of the "
    "association in test samples is at least 90 % of that of training samples.",
    "Rules are good if no generated sample breaks them.",
    "Detection is good if its AUC is above that of training samples by at most "
    "√(3 / n), three standard errors of the difference of two AUCs near 0.5.",
)


class Finding(NamedTuple):
    """A sentence on what is good or doubtful, and what to do about it."""

    is_good: bool
    sentence: str
    remedy: str = ""


@dataclass(frozen=True)
class Measured:
    """The numbers of a report that its summary judges; None where there is none.

    `held_out_scores` are the log-likelihoods of held-out samples under a Gaussian and
    under the CVAE. `medians` are those of the distances of generated and of test
    samples to the nearest training sample, with intervals. `coverage` and `precision`
    are of generated and of training samples. `difference` is the balanced accuracy of
    the probe on synthetic or added samples minus that on real ones. `columns` is what
    `measure_columns` returns. `messages` are
    warnings that arose while the report was made.
    """

    is_release: bool
    n_active_dims: int | None = None
    held_out_scores: tuple[float, float] | None = None
    unknown_classes: str = ""
    n_neighbors: int = 5
    coverage: tuple[float, float] | None = None
    precision: tuple[float, float] | None = None
    variance: float | None = None
    medians: tuple[Estimate, Estimate] | None = None
    columns: Bunch | None = None
    difference: Estimate | None = None
    audit: PrivacyAudit | None = None
    not_audited: str = ""
    guarantee: str = "no formal guarantee"
    messages: tuple[str, ...] = ()


def summarise(measured: Measured) -> list[Finding]:
    """Return what is good and what is doubtful, in the order of the sections."""
    findings = [
        *_judge_model(measured),
        *_judge_nearness(measured),
        *(_judge_columns(measured.columns) if measured.columns else []),
        *_judge_utility(measured),
        *(_judge_privacy(measured) if measured.is_release else []),
    ]
    return findings + [Finding(False, message) for message in measured.messages]


def next_steps(findings: list[Finding]) -> list[str]:
    """Return each remedy once, or what to do where nothing is doubtful."""
    remedies = dict.fromkeys(f.remedy for f in findings if f.remedy)
    return list(remedies) or [
        "Fit the model with another seed and write the report again: it shows one "
        "training only."
    ]


def _judge_model(measured):
    if measured.n_active_dims == 0:
        yield Finding(
            False,
            "Posterior collapse: the CVAE uses none of its latent dimensions. Its "
            "samples are independent noise around their class mean.",
            "Train longer, or lower beta.",
        )
    if measured.held_out_scores is not None:
        gaussian, cvae = measured.held_out_scores
        scores = f"({cvae:.1f} against {gaussian:.1f} nats a sample)"
        if cvae >= gaussian:
            yield Finding(
                True,
                "Held-out samples are more likely under the CVAE than under a "
                f"ClassGaussian {scores}.",
            )
        else:
            yield Finding(
                False,
                "Held-out samples are less likely under the CVAE than under a "
                f"ClassGaussian {scores}: the CVAE does not pay.",
                "Use a ClassGaussian: it is simpler, and fitted in one step.",
            )


def _judge_nearness(measured):
    """Judge training samples by test samples, and then generated ones."""
    if measured.unknown_classes:
        yield Finding(
            False,
            "Some classes of the test samples have no training samples: "
            f"{measured.unknown_classes}.",
            "Give training samples of all classes, or leave these classes out.",
        )
    of_halves = 1 - 0.5**measured.n_neighbors
    coverage, precision = measured.coverage, measured.precision
    if coverage is not None and coverage[1] < _NEARLY * of_halves:
        yield Finding(
            False,
            f"Training samples cover {_percent(coverage[1])} of the test samples, and "
            f"two halves of one set would cover {_percent(of_halves)}: the sets differ "
            "in distribution.",
            "Split all samples at random into training, validation and test samples, "
            "whole groups together, and fit the model again.",
        )
        return
    if coverage is not None:
        yield _judge_share(
            coverage,
            "Generated samples cover {} of the test samples, and training samples {}",
            ": parts of the classes are missing.",
        )
    if precision is not None:
        yield _judge_share(
            precision,
            "{} of the generated samples lie among test samples, and {} of the "
            "training samples do",
            ": some look like no real sample.",
        )
    if measured.variance is not None:
        yield _judge_variance(measured.variance)
    if measured.medians is not None:
        yield from _judge_distances(*measured.medians)


def _judge_share(shares, text, doubt):
    """Compare a share of generated samples with that of training samples."""
    sentence = text.format(*map(_percent, shares))
    if shares[0] >= _NEARLY * shares[1]:
        return Finding(True, f"{sentence}.")
    return Finding(
        False, sentence + doubt, "Compare this report with those of other generators."
    )


def _percent(share):
    return f"{100 * share:.0f} %"


def _judge_variance(ratio):
    low, high = _VARIANCE_BOUNDS
    sentence = (
        "The variance of generated samples within their classes is "
        f"{ratio:.3g} times that of test samples"
    )
    if ratio < low:
        return Finding(False, f"{sentence}: they are too alike.", "Raise the variance.")
    if ratio > high:
        return Finding(
            False, f"{sentence}: they are too scattered.", "Lower the variance."
        )
    return Finding(True, f"{sentence}.")


def _judge_distances(generated, test):
    if generated.high < test.low:
        yield Finding(
            False,
            "Generated samples are nearer to training samples than test samples are: "
            f"the median distance is {generated.value:.4g} against {test.value:.4g}. "
            "They may resemble single samples too much.",
            "Look at the distances and the attacks before you publish the samples or "
            "trust a gain in accuracy.",
        )


def _judge_columns(measured):
    """Judge columns, pairs and rules of a table, and how well it is detected."""
    yield _judge_marginals(measured)
    if measured.within is not None:
        yield _judge_share(
            measured.within,
            "{} of the pairs of columns have the association of test samples, within "
            "three standard errors, and {} do in training samples",
            ": some associations are lost.",
        )
    for name, share in measured.generated.violations.items():
        of_training = measured.training.violations[name]
        if not share:
            yield Finding(True, f"No generated sample breaks the rule {name}.")
            continue
        yield Finding(
            False,
            f"{100 * share:.3g} % of the generated samples break the rule {name}, and "
            f"{100 * of_training:.3g} % of the training samples do.",
            # Training samples must keep the rules of a generator.
            "Give broken rules to the TableGenerator as constraints."
            if not of_training
            else "",
        )
    generated, training = (
        found.detection_auc for found in (measured.generated, measured.training)
    )
    is_good = generated - training <= sqrt(3 / measured.n_samples)
    yield Finding(
        bool(is_good),
        f"Gradient boosting tells generated from test samples with an AUC of "
        f"{generated:.2f}, and training from test samples with {training:.2f}.",
        "" if is_good else "Look for what differs in the section on columns.",
    )


def _judge_marginals(measured):
    """Name the columns that are farther from test samples than chance makes them."""
    generated, training = (
        found.columns.assign(
            missing=(found.columns["missing_synthetic"] - found.columns["missing_real"])
        )[["distance", "missing"]].abs()
        for found in (measured.generated, measured.training)
    )
    excess = (generated - training).max(axis=1)
    far = excess[excess > 1.95 * sqrt(2 / measured.n_samples)]
    if far.empty:
        return Finding(
            True,
            "Each column is as near to that of test samples as training samples are, "
            "up to chance.",
        )
    worst = far.sort_values(ascending=False, kind="stable").index[:_N_NAMED]
    return Finding(
        False,
        f"{len(far)} of {len(excess)} columns are farther from test samples than "
        f"training samples are: {', '.join(map(str, worst))}"
        f"{', ...' if len(far) > _N_NAMED else ''}.",
        "Compare this report with those of other generators.",
    )


def _judge_utility(measured):
    """Judge the probe on synthetic or added samples against that on real ones."""
    if measured.difference is None:
        return
    value, low, high = (100 * bound for bound in measured.difference)
    interval = f"{value:+.1f} points of balanced accuracy [{low:+.1f}, {high:+.1f}]"
    if measured.is_release:
        text = "In place of real samples, synthetic ones give the linear probe"
        remedy = (
            "Allow for this loss, or try another generator or more synthetic samples."
        )
    else:
        text = "Beside real samples, generated ones give the linear probe"
        remedy = "Do not add these samples for a linear model."
    if high < 0:
        yield Finding(False, f"{text} {interval}: a loss.", remedy)
    elif low > 0:
        yield Finding(True, f"{text} {interval}: a gain.")
    elif measured.is_release:
        yield Finding(True, f"{text} {interval}: no difference beyond chance.")
    else:
        yield Finding(
            False,
            f"{text} {interval}: too close to call.",
            "Compare methods over several splits, with `skcvae compare`.",
        )


def _judge_privacy(measured):
    audit = measured.audit
    if audit is None:
        yield Finding(
            False,
            f"The release was {measured.not_audited}",
            "Mend what stopped the audit before you publish the release.",
        )
    else:
        yield from _judge_attacks(audit)
    has_none = measured.guarantee.startswith("no ")
    yield Finding(
        not has_none,
        f"The release has {measured.guarantee}.",
        "Where you must promise privacy, use a method with differential privacy."
        if has_none
        else "",
    )


def _judge_attacks(audit):
    if audit.dead_end:
        yield Finding(False, *audit.dead_end)
        return
    beyond = [
        f"{figure.name}{f' by {figure.attack}' if figure.attack else ''} "
        f"{figure.value:.3g}, by chance up to {figure.by_chance:.3g}"
        for figure in audit.headline
        if figure.beyond_chance
    ]
    if beyond:
        yield Finding(
            False,
            f"The attacks find more than chance gives: {'; '.join(beyond)}.",
            "Make the release disclose less before you publish it: average over more "
            "samples, merge small classes, or use differential privacy. Then audit it "
            "again.",
        )
    else:
        yield Finding(
            True,
            "No attack finds more about membership than chance gives. Stronger attacks "
            "may exist.",
        )
    missed = [leak for leak, figure in audit.planted.items() if not figure]
    missed = [leak for leak in missed if leak != "nothing"]
    if missed:
        yield Finding(
            False,
            f"The audit would not have shown these planted leaks: {', '.join(missed)}.",
            "Give the audit more test and reference samples.",
        )
