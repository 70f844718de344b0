"""Are class priors corrected once? Compositions, false alarms, and calibration.

Each part prints a table in Markdown:

- ``compositions``: the mean probability of a class of 5.5 % after
  :class:`skcvae.long_tail.PriorCorrectedClassifier`, for compositions of classifiers
  that balance the classes, or do not;
- ``alarms``: how often its check warns of classifiers of scikit-learn that were
  trained for the prior which it takes them to have;
- ``calibration``: the expected calibration error of resampled classifiers on
  long-tailed embeddings, without a correction, by scikit-learn's
  CalibratedClassifierCV, and with ours, and of LongTailClassifier.

Run ``python prior_benchmark.py PART --data FOLDER``.
"""

import argparse
import contextlib
import tempfile
import time
import warnings
from functools import partial
from pathlib import Path

import numpy as np
from _common import global_scale
from imblearn.ensemble import (
    BalancedBaggingClassifier,
    BalancedRandomForestClassifier,
    EasyEnsembleClassifier,
)
from imblearn.over_sampling import SMOTE, RandomOverSampler
from imblearn.pipeline import make_pipeline
from imblearn.under_sampling import RandomUnderSampler
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import (
    load_breast_cancer,
    load_digits,
    load_iris,
    load_wine,
    make_classification,
)
from sklearn.discriminant_analysis import (
    LinearDiscriminantAnalysis,
    QuadraticDiscriminantAnalysis,
)
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.feature_selection import RFE
from sklearn.frozen import FrozenEstimator
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV, SGDClassifier
from sklearn.metrics import log_loss
from sklearn.model_selection import (
    FixedThresholdClassifier,
    GridSearchCV,
    TunedThresholdClassifierCV,
    train_test_split,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import BernoulliNB, GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline as make_plain_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import LabelSpreading, SelfTrainingClassifier
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

from skcvae.datasets import make_long_tailed
from skcvae.long_tail import LongTailClassifier, PriorCorrectedClassifier
from skcvae.metrics import expected_calibration_error
from skcvae.over_sampling import CVAEOverSampler, GenerativeOverSampler

# Compositions ---------------------------------------------------------------------


class BalancesInside(ClassifierMixin, BaseEstimator):
    """A classifier of one's own, of which no parameter tells that it balances."""

    def fit(self, X, y):
        self.inner_ = LogisticRegression(class_weight="balanced").fit(X, y)
        self.classes_ = self.inner_.classes_
        return self

    def predict_proba(self, X):
        return self.inner_.predict_proba(X)

    def predict(self, X):
        return self.inner_.predict(X)


def compositions(X, y):
    """Return the classifiers, by what the table calls them."""
    plain = LogisticRegression()
    balanced = LogisticRegression(class_weight="balanced")
    forest = RandomForestClassifier(
        100, min_samples_leaf=20, class_weight="balanced_subsample", random_state=0
    )
    weights = {"class_weight": [None, "balanced"]}
    smote = make_pipeline(SMOTE(random_state=0), plain)
    members = [("balanced", balanced), ("forest", forest)]
    return {
        "logistic regression (LR)": plain,
        "balanced LR": balanced,
        "LR, weights 1 and 5": LogisticRegression(class_weight={0: 1, 1: 5}),
        "balanced forest": forest,
        "balanced HistGradientBoosting": HistGradientBoostingClassifier(
            class_weight="balanced", max_iter=30, random_state=0
        ),
        "GaussianNB with equal priors": GaussianNB(priors=[0.5, 0.5]),
        "scaler, balanced LR": make_plain_pipeline(StandardScaler(), balanced),
        "SMOTE, LR": smote,
        "RandomUnderSampler, balanced LR": make_pipeline(
            RandomUnderSampler(random_state=0), balanced
        ),
        "GenerativeOverSampler, LR": make_pipeline(
            GenerativeOverSampler(random_state=0), plain
        ),
        "bagging of LR": BaggingClassifier(plain, random_state=0),
        "bagging of balanced LR": BaggingClassifier(balanced, random_state=0),
        "bagging of SMOTE, LR": BaggingClassifier(smote, random_state=0),
        "boosting of balanced trees": AdaBoostClassifier(
            DecisionTreeClassifier(max_depth=2, class_weight="balanced")
        ),
        "voting of two balanced": VotingClassifier(members, voting="soft"),
        "voting of LR and balanced LR": VotingClassifier(
            [("plain", plain), ("balanced", balanced)], voting="soft"
        ),
        "stacking of balanced, LR last": StackingClassifier(members),
        "stacking, balanced LR last": StackingClassifier(members, balanced),
        "search that chooses weights": GridSearchCV(
            balanced, weights, scoring="balanced_accuracy"
        ),
        "search in SMOTE, LR": GridSearchCV(smote, {}),
        "bagging of a search that chooses weights": BaggingClassifier(
            GridSearchCV(balanced, weights), random_state=0
        ),
        "fixed threshold on balanced LR": FixedThresholdClassifier(balanced),
        "tuned threshold on balanced LR": TunedThresholdClassifierCV(balanced),
        "one-vs-rest of balanced LR": OneVsRestClassifier(balanced),
        "feature elimination, balanced LR": RFE(balanced),
        "calibrated (sigmoid) balanced LR": CalibratedClassifierCV(balanced),
        "calibrated (temperature) balanced LR": CalibratedClassifierCV(
            balanced, method="temperature"
        ),
        "self-training, balanced LR": SelfTrainingClassifier(balanced),
        "frozen balanced LR": FrozenEstimator(clone(balanced).fit(X, y)),
        "BalancedRandomForest": BalancedRandomForestClassifier(random_state=0),
        "BalancedBagging": BalancedBaggingClassifier(random_state=0),
        "EasyEnsemble": EasyEnsembleClassifier(random_state=0),
        "LongTailClassifier": LongTailClassifier(solver="sgd", random_state=0),
        "own class that balances inside": BalancesInside(),
    }


def boosting_libraries():
    """Return balanced classifiers of other libraries, as far as they are installed."""
    found = {}
    with contextlib.suppress(ImportError):
        from lightgbm import LGBMClassifier

        lightgbm = LGBMClassifier(n_estimators=30, verbose=-1)
        for params in (
            {"class_weight": "balanced"},
            {"is_unbalance": True},
            {"scale_pos_weight": 18},
        ):
            name = f"LightGBM, {next(iter(params))}"
            found[name] = clone(lightgbm).set_params(**params)
    with contextlib.suppress(ImportError):
        from xgboost import XGBClassifier

        found["XGBoost, scale_pos_weight"] = XGBClassifier(
            n_estimators=30, scale_pos_weight=18
        )
    with contextlib.suppress(ImportError):
        from catboost import CatBoostClassifier

        for weights in ("Balanced", "SqrtBalanced"):
            found[f"CatBoost, {weights}"] = CatBoostClassifier(
                iterations=50,
                auto_class_weights=weights,
                verbose=0,
                allow_writing_files=False,
            )
    return found


def print_compositions(out):
    X, y = make_classification(
        24_000, weights=[0.95], class_sep=0.5, n_clusters_per_class=1, random_state=1
    )
    X, X_test, y, y_test = train_test_split(
        X, y, train_size=4000, stratify=y, random_state=0
    )
    table = [
        "| classifier | as trained | corrected | what happens |",
        "|---|---|---|---|",
    ]
    outcomes = []
    for name, classifier in {**compositions(X, y), **boosting_libraries()}.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            raw = clone(classifier).fit(X, y).predict_proba(X_test)[:, 1].mean()
        mean, outcome = correct(classifier, X, y, X_test)
        is_right = abs(mean / y_test.mean() - 1) <= 0.2
        outcomes.append((is_right, outcome))
        table.append(f"| {name} | {raw:.3f} | {mean:.3f} | {outcome} |")
        print(table[-1], flush=True)
    n_wrong = sum(not is_right for is_right, _ in outcomes)
    n_silent = sum(not is_right and what == "corrected" for is_right, what in outcomes)
    print(f"\nTrue share of the rare class: {y_test.mean():.4f}")
    print(
        f"{len(outcomes)} compositions, off by more than 20 %: {n_wrong}, of them "
        f"silently: {n_silent}"
    )
    if out is not None:
        out.write_text("\n".join(table) + "\n")


def correct(classifier, X, y, X_test):
    """Return the mean corrected probability of class 1, and what happened."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        outcome = "corrected"
        try:
            corrected = PriorCorrectedClassifier(classifier).fit(X, y)
        except ValueError as error:
            part = str(error).partition("distribution that ")[2]
            part, _, reason = part.partition(". Pass")[0].partition(" is trained for: ")
            reason = reason.removeprefix("it ")
            outcome = f'refused ({part} {reason}); with `trained_prior="held_out"`'
            corrected = PriorCorrectedClassifier(classifier, trained_prior="held_out")
            corrected.fit(X, y)
    if any("mean probability" in str(w.message) for w in caught):
        outcome = "measured on held-out samples, a warning says so"
    return corrected.predict_proba(X_test)[:, 1].mean(), outcome


# False alarms of the check --------------------------------------------------------


def plain_classifiers():
    """Return twenty classifiers of scikit-learn that leave the prior alone."""

    def scaled(classifier):
        return make_plain_pipeline(StandardScaler(), classifier)

    tree = DecisionTreeClassifier(max_depth=5, random_state=0)
    logistic = LogisticRegression(max_iter=300)
    return {
        "LogisticRegression": scaled(logistic),
        "LogisticRegressionCV": scaled(
            LogisticRegressionCV(
                Cs=3, cv=3, max_iter=300, l1_ratios=(0,), use_legacy_attributes=False
            )
        ),
        "SGD": scaled(SGDClassifier(loss="log_loss", random_state=0)),
        "LinearDiscriminantAnalysis": LinearDiscriminantAnalysis(),
        "QuadraticDiscriminantAnalysis": QuadraticDiscriminantAnalysis(
            solver="eigen", shrinkage=0.5
        ),
        "GaussianNB": GaussianNB(),
        "BernoulliNB": scaled(BernoulliNB()),
        "KNeighbors": scaled(KNeighborsClassifier()),
        "1 neighbor": scaled(KNeighborsClassifier(1)),
        "DecisionTree": DecisionTreeClassifier(random_state=0),
        "shallow tree": tree,
        "RandomForest": RandomForestClassifier(50, random_state=0),
        "ExtraTrees": ExtraTreesClassifier(50, random_state=0),
        "Bagging": BaggingClassifier(random_state=0),
        "AdaBoost": AdaBoostClassifier(random_state=0),
        "GradientBoosting": GradientBoostingClassifier(n_estimators=20, random_state=0),
        "HistGradientBoosting": HistGradientBoostingClassifier(
            max_iter=20, random_state=0
        ),
        "MLP": scaled(MLPClassifier(max_iter=100, random_state=0)),
        "calibrated LinearSVC": scaled(CalibratedClassifierCV(LinearSVC())),
        "GaussianProcess": scaled(GaussianProcessClassifier(random_state=0)),
        "LabelSpreading": scaled(LabelSpreading(kernel="knn")),
        "Stacking": scaled(StackingClassifier([("tree", tree), ("lr", logistic)])),
        "Dummy": DummyClassifier(),
    }


#: Tables of the file tabular_imbalanced.npz.
TABLES = ["29_Pima", "47_yeast", "22_magic.gamma", "2_annthyroid", "41_Waveform"]


def alarm_data(folder):
    """Return data sets of up to 600 samples, by name."""
    sets = {
        "iris": load_iris(return_X_y=True),
        "wine": load_wine(return_X_y=True),
        "breast cancer": load_breast_cancer(return_X_y=True),
        "digits": load_digits(return_X_y=True),
        "long-tailed digits": make_long_tailed(
            *load_digits(return_X_y=True), imbalance_ratio=20, random_state=0
        ),
    }
    for share, n_classes in ((0.95, 2), (0.8, 2), (0.5, 2), (0.7, 4)):
        sets[f"made, {n_classes} classes, {share:.0%}"] = make_classification(
            2000,
            n_features=10,
            n_informative=5,
            n_classes=n_classes,
            weights=[share] + [(1 - share) / (n_classes - 1)] * (n_classes - 2),
            class_sep=0.7,
            flip_y=0.05,
            random_state=0,
        )
    path = folder and folder / "tabular_imbalanced.npz"
    if path and path.exists():
        with np.load(path, allow_pickle=False) as file:
            for name in TABLES:
                sets[name] = file[f"{name}__X"], file[f"{name}__y"]
    for name, (X, y) in sets.items():
        if len(X) > 600:
            keep = np.random.RandomState(0).permutation(len(X))[:600]
            X, y = X[keep], y[keep]
        # A class of one sample can be neither stratified nor calibrated.
        labels, counts = np.unique(y, return_counts=True)
        common = np.isin(y, labels[counts >= 6])
        yield name, np.asarray(X, dtype=np.float64)[common], np.asarray(y)[common]


def print_alarms(folder):
    alarms, n_pairs = [], 0
    sets = list(alarm_data(folder))
    for name, classifier in plain_classifiers().items():
        for set_name, X, y in sets:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                PriorCorrectedClassifier(classifier).fit(X, y)
            messages = [str(w.message) for w in caught]
            n_pairs += 1
            if any("mean probability" in message for message in messages):
                alarms.append((name, set_name, *effect_of_check(classifier, X, y)))
    print(
        "| classifier | data | log loss | with the check | accuracy | with the check |"
    )
    print("|---|---|---|---|---|---|")
    for name, set_name, *scores in alarms:
        numbers = " | ".join(f"{score:.3f}" for score in scores)
        print(f"| {name} | {set_name} | {numbers} |")
    print(f"\n{len(alarms)} alarms in {n_pairs} fits: {len(alarms) / n_pairs:.1%}")


def effect_of_check(classifier, X, y):
    """Return log loss and accuracy on a third of the samples, without and with it."""
    X, X_test, y, y_test = train_test_split(
        X, y, test_size=0.33, stratify=y, random_state=0
    )
    losses, hits = [], []
    for check in (False, True):
        fitted = PriorCorrectedClassifier(classifier, check_prior=check).fit(X, y)
        proba = fitted.predict_proba(X_test)
        losses.append(log_loss(y_test, proba, labels=fitted.classes_))
        hits.append(fitted.score(X_test, y_test))
    return *losses, *hits


# Calibration ----------------------------------------------------------------------


def samplers(cache):
    """Return samplers that make all classes equally frequent.

    The CVAE of each training part is trained once, for all repairs.
    """
    return {
        "none": None,
        "SMOTE": SMOTE(k_neighbors=3, random_state=0),
        "RandomOverSampler": RandomOverSampler(random_state=0),
        "GenerativeOverSampler": GenerativeOverSampler(random_state=0),
        "CVAEOverSampler": CVAEOverSampler(max_epochs=30, memory=cache, random_state=0),
    }


def long_tail(folder, name):
    """Return training and test samples in units of one scale."""
    with np.load(folder / f"{name}_vit_tiny.npz") as file:
        X, X_test = global_scale(file["X_train"], file["X_test"])
        return (*(Z.astype(np.float32) for Z in (X, X_test)), file["y_train"]), file[
            "y_test"
        ]


def print_errors(split, name, repairs):
    """Print a line for each repair: error and accuracy under both priors."""
    (X, X_test, y), y_test = split
    share = np.bincount(y) / len(y)
    weights = {"uniform": None, "train": (share / np.bincount(y_test))[y_test]}
    for repair, make in repairs.items():
        start, cells = time.perf_counter(), []
        for target, weight in weights.items():
            try:
                proba = make(target).fit(X, y).predict_proba(X_test)
            except ValueError as error:
                cells.append(f"refused: {error}".splitlines()[0][:60])
                continue
            ece = expected_calibration_error(y_test, proba, sample_weight=weight)
            hit = np.average(proba.argmax(axis=1) == y_test, weights=weight)
            cells.append(f"{ece:.3f} / {100 * hit:.2f}")
        seconds = (time.perf_counter() - start) / 2
        cells = " | ".join([*cells, f"{seconds:.0f}"])
        print(f"| {name} | {repair} | {cells} |", flush=True)


def print_calibration(folder, names):
    for data in names:
        split = long_tail(folder, data)
        print(f"\n{data}: expected calibration error / accuracy in percent\n")
        print("| sampler | repair | uniform | train | s |\n|---|---|---|---|---|")
        with tempfile.TemporaryDirectory() as cache:
            for name, sampler in samplers(cache).items():
                print_errors(split, name, repairs_of(sampler))
        print_errors(split, "in the batches", heads())


def heads():
    """Return LongTailClassifier as functions of the target prior."""
    return {
        "closed form": partial(long_tail_head, solver="closed_form"),
        "SGD": partial(long_tail_head, solver="sgd"),
        "SGD, temperature": partial(
            long_tail_head, solver="sgd", calibration="temperature"
        ),
    }


def long_tail_head(target, **params):
    """Return an unfitted LongTailClassifier for a target prior."""
    return LongTailClassifier(target_prior=target, random_state=0, **params)


def repairs_of(sampler):
    """Return ways to repair LR after a sampler, as functions of the target prior."""
    classifier = LogisticRegression(max_iter=100)
    if sampler is not None:
        classifier = make_pipeline(sampler, classifier)

    def corrected(target, calibration=None):
        return PriorCorrectedClassifier(
            classifier,
            target_prior=target,
            calibration=calibration,
            cv=3,
            check_prior=False,
        )

    return {
        "none": lambda target: classifier,
        "CalibratedClassifierCV": lambda target: CalibratedClassifierCV(
            classifier, cv=3, ensemble=False
        ),
        "prior": corrected,
        "prior, temperature": lambda target: corrected(target, "temperature"),
        "prior, sigmoid": lambda target: corrected(target, "sigmoid"),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=["compositions", "alarms", "calibration"])
    parser.add_argument("--data", type=Path, help="folder of the .npz files")
    parser.add_argument("--out", type=Path, help="file for the table of compositions")
    names = ["cifar10_lt", "cifar100_lt"]
    parser.add_argument("--names", nargs="+", default=names, help="of long tails")
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    if args.part == "compositions":
        print_compositions(args.out)
    elif args.part == "alarms":
        print_alarms(args.data)
    elif args.data is None:
        parser.error("calibration needs --data")
    else:
        print_calibration(args.data, args.names)


if __name__ == "__main__":
    main()
