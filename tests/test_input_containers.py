"""What estimators and commands make of each container: the right result, or our error.

`outcome` says of a call whether it is right or refused, or what is wrong with it.
"""

import linecache
import re
import warnings
from collections import Counter
from datetime import date
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from scipy import sparse
from sklearn.base import clone
from test_common import CHECKING, EVERYTHING, PRIVATE, SAMPLERS, draw
from typer.testing import CliRunner

from skcvae._training import TrainingNet
from skcvae.cli import app
from skcvae.cli._databases import read_samples
from skcvae.generators import BaseGenerator
from skcvae.long_tail import KernelNeighborsClassifier

RIGHT, TAKES = "right", "taken, with missing values replaced"
# Numbers that floats of 8 bits hold exactly.
EXACT = np.array([1, 2, 3, 5, 7, 8, 10, 14, 16, 20, 28, 32, 48, 56, 80, 96, 112.0])
X = np.random.RandomState(0).choice(EXACT, size=(24, 3))
X[0] = [2, 5, 2]
y = np.repeat([0, 1], [14, 10])
FRAME = pd.DataFrame(X, columns=list("abc"))
DAYS = pd.date_range("2020", periods=24)
FAST_NET = {"net_params": {"module__hidden_dim": 4}}


def cheap(estimator):
    """Return a copy that fits in milliseconds."""
    params = estimator.get_params(deep=False)
    estimator = clone(estimator)
    if type(estimator).__name__ == "LogLinearPool":
        members = [("1", KernelNeighborsClassifier(temperature=1.0))]
        estimator.set_params(estimators=members, cv=2)
    elif type(estimator).__name__ == "PriorCorrectedClassifier":
        estimator.set_params(estimator=KernelNeighborsClassifier(temperature=1.0))
        estimator.set_params(trained_prior="uniform", check_prior=False)
    elif type(estimator).__name__ == "ShrunkQuadraticDiscriminant":
        estimator.set_params(shrinkage=0.5, n_neighbors=3)
    elif "temperature" in params:
        estimator.set_params(temperature=1.0)
    elif "max_epochs" in params:
        estimator.set_params(max_epochs=1)
    return estimator


CHEAP = {type(e).__name__: cheap(e) for e in EVERYTHING}
OVER_SAMPLERS = {type(e).__name__ for e in SAMPLERS}
# They pass samples on, which an estimator inside of them checks.
PASSING_ON = {type(e).__name__ for e in EVERYTHING if e not in CHECKING}
# They replace missing values: an error would tell of a sample.
TAKING_ANY = {type(e).__name__ for e in PRIVATE}
# A table holds dates, categories and missing values.
TAKEN_BY_TABLES = {
    "bool",
    "tensor bool",
    "dates",
    "durations",
    "texts",
    "bytes",
    "object None",
    "object NaN",
    "object NA",
    "object NaT",
    "NA",
    "Arrow text",
    "Arrow times",
    "text column",
    "object text column",
    "bytes column",
    "date column",
    "time-zone column",
    "duration column",
    "dates alone",
    "categorical texts",
    "categorical numbers",
    "dictionary",
    "polars dates",
    "polars texts",
    "polars categories",
    "polars texts alone",
}
TAKEN = {"object None", "object NaN", "object NA", "NA", "one sample"}


def column(values):
    """Return the frame with other values in the column b."""
    return FRAME.assign(b=values)


def objects(value):
    """Return samples as objects, one of which is another value."""
    mixed = X.astype(object)
    mixed[3, 1] = value
    return mixed


def arrow(kind):
    return FRAME.astype(pd.ArrowDtype(kind))


def structured():
    return np.array([tuple(row) for row in X], dtype=[(c, float) for c in "abc"])


def memory_map(folder):
    np.save(folder / "X.npy", X)
    return np.load(folder / "X.npy", mmap_mode="r")


def read_only():
    values = X.copy()
    values.flags.writeable = False
    return values


def tensor(dtype):
    return torch.tensor(X).to(dtype)


NUMERIC = "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32"
TENSORS = "bool uint8 int8 int16 int32 int64 uint16 uint32 uint64 float16 bfloat16"
FLOAT8 = [name for name in ("float8_e4m3fn", "float8_e5m2") if hasattr(torch, name)]
IN_B = r"in the columns \['b'\]"
EMPTY = "minimum of|at least two classes"
# A function of a folder that makes the samples, and what is expected: the result for
# an array of floats, or an error with these words.
VARIANTS = {
    **{t: (lambda _, t=t: X.astype(t), RIGHT) for t in NUMERIC.split()},
    "longdouble": (lambda _: X.astype(np.longdouble), RIGHT),
    "other byte order": (lambda _: X.astype(">f4"), RIGHT),
    "Fortran order": (lambda _: np.asfortranarray(X), RIGHT),
    "strides": (lambda _: np.repeat(X, 2, axis=1)[:, ::2], RIGHT),
    "read-only": (lambda _: read_only(), RIGHT),
    "memory map": (memory_map, RIGHT),
    "lists": (lambda _: X.tolist(), RIGHT),
    "tuples": (lambda _: tuple(map(tuple, X)), RIGHT),
    "list of arrays": (lambda _: list(X), RIGHT),
    "numpy matrix": (lambda _: np.asmatrix(X), "np.matrix is not supported"),
    "objects": (lambda _: X.astype(object), RIGHT),
    "fractions": (lambda _: objects(Fraction(2)), RIGHT),
    "object of a whole number": (lambda _: objects(2), RIGHT),
    "complex64": (lambda _: X.astype("c8"), "Complex data not supported"),
    "complex128": (lambda _: X + 0j, "Complex data not supported"),
    "dates": (lambda _: X.astype("M8[D]"), "X contains dates or times"),
    "durations": (lambda _: X.astype("m8[s]"), "X contains dates or times"),
    "texts": (lambda _: X.astype("U"), "X contains strings"),
    "bytes": (lambda _: X.astype("S"), "X contains strings"),
    "void": (lambda _: X.view("V8"), "X contains raw bytes"),
    "structured": (lambda _: structured(), "structured_to_unstructured"),
    "records": (lambda _: FRAME.to_records(), "structured_to_unstructured"),
    "object text": (lambda _: objects("2"), "X contains strings"),
    "object bytes": (lambda _: objects(b"2"), "X contains strings"),
    "object date": (lambda _: objects(date(2020, 1, 1)), "dates or times"),
    "object time": (lambda _: objects(np.datetime64("2020")), "dates or times"),
    "object complex": (lambda _: objects(2j), "X contains complex numbers"),
    "object decimal": (lambda _: objects(Decimal(2)), "X contains decimal numbers"),
    "object dict": (lambda _: objects({2: 3}), "dict.*must be .* number"),
    "object set": (lambda _: objects({2}), "set.*must be .* number"),
    "object list": (lambda _: objects([2]), "list.*must be .* number"),
    "object array": (lambda _: objects(np.ones(2)), "ndarray.*must be .* number"),
    "object tensor": (lambda _: objects(torch.ones(1)), "Tensor.*must be .* number"),
    "object None": (lambda _: objects(None), "X contains NaN"),
    "object NaN": (lambda _: objects(np.nan), "X contains NaN"),
    "object NA": (lambda _: objects(pd.NA), "X contains NaN"),
    "object NaT": (lambda _: objects(pd.NaT), "dates or times|X contains NaN"),
    "masked": (lambda _: np.ma.masked_equal(X, 2), "X is a masked array"),
    "nothing masked": (lambda _: np.ma.masked_equal(X, 9), RIGHT),
    "frame": (lambda _: FRAME, RIGHT),
    "frame of integers": (lambda _: FRAME.astype(int), RIGHT),
    "polars": (lambda _: pl.DataFrame(X, schema=list("abc")), RIGHT),
    "polars integers": (lambda _: pl.DataFrame(X.astype(int)), RIGHT),
    "frame of several types": (lambda _: FRAME.astype({"a": "i2", "b": "f4"}), RIGHT),
    "nullable floats": (lambda _: FRAME.astype("Float32"), RIGHT),
    "nullable integers": (lambda _: FRAME.astype("Int16"), RIGHT),
    "one nullable column": (lambda _: FRAME.astype({"b": "Int16"}), RIGHT),
    "NA": (lambda _: FRAME.astype("Int64").where(FRAME < 5), "X contains NaN"),
    "Arrow floats": (lambda _: arrow(pa.float32()), RIGHT),
    "Arrow integers": (lambda _: arrow(pa.int8()), RIGHT),
    "Arrow column": (lambda _: column(arrow(pa.float64())["b"]), RIGHT),
    "Arrow decimals": (lambda _: column(arrow(pa.decimal128(9, 2))["b"]), IN_B),
    "Arrow text": (lambda _: column(FRAME["b"].astype("string[pyarrow]")), IN_B),
    "Arrow dates": (lambda _: column(DAYS).astype({"b": "date32[pyarrow]"}), IN_B),
    "Arrow times": (
        lambda _: column(DAYS).astype({"b": "timestamp[ns][pyarrow]"}),
        IN_B,
    ),
    "Arrow lists": (
        lambda _: column(
            pd.Series([[2]] * 24, dtype=pd.ArrowDtype(pa.list_(pa.int8())))
        ),
        IN_B,
    ),
    "text column": (lambda _: column(FRAME["b"].astype(str)), IN_B),
    "object text column": (lambda _: column("2").astype({"b": object}), IN_B),
    "bytes column": (lambda _: column([b"2"] * 24), IN_B),
    "complex column": (lambda _: column(FRAME["b"] + 0j), "Complex|" + IN_B),
    "date column": (lambda _: column(DAYS), IN_B),
    "time-zone column": (lambda _: column(DAYS.tz_localize("UTC")), IN_B),
    "duration column": (lambda _: column(DAYS - DAYS[0]), IN_B),
    "period column": (lambda _: column(DAYS.to_period("D")), IN_B),
    "interval column": (lambda _: column(pd.interval_range(0, 24)), IN_B),
    "decimal column": (lambda _: column([Decimal(2)] * 24), IN_B),
    "dates alone": (lambda _: pd.DataFrame({"b": DAYS}), IN_B),
    "categorical texts": (
        lambda _: column(FRAME["b"].astype(str).astype("category")),
        IN_B,
    ),
    "sparse column": (lambda _: FRAME.astype({"b": pd.SparseDtype(float, 2)}), RIGHT),
    "sparse integers": (lambda _: FRAME.astype({"b": pd.SparseDtype(int, 0)}), RIGHT),
    "sparse columns": (lambda _: FRAME.astype(pd.SparseDtype(float, 2)), RIGHT),
    "numbers as names": (lambda _: pd.DataFrame(X), RIGHT),
    "index of several levels": (
        lambda _: FRAME.set_index(pd.MultiIndex.from_product([range(4), range(6)])),
        RIGHT,
    ),
    "names of several levels": (
        lambda _: pd.DataFrame(
            X, columns=pd.MultiIndex.from_product([["a"], [*"xyz"]])
        ),
        RIGHT,
    ),
    "names of several types": (
        lambda _: pd.DataFrame(X, columns=["a", 1, 2]),
        "string names",
    ),
    "two columns of one name": (lambda _: FRAME.set_axis(list("aba"), axis=1), "'a'"),
    "Arrow table": (lambda _: pa.table(dict(FRAME)), RIGHT),
    "series": (lambda _: FRAME["a"], "2-dimensional|2D"),
    "index": (lambda _: pd.Index(X[:, 0]), "2-dimensional|2D"),
    "tensor": (lambda _: torch.tensor(X), RIGHT),
    **{
        f"tensor {t}": (lambda _, t=t: tensor(getattr(torch, t)), RIGHT)
        for t in [*TENSORS.split(), *FLOAT8]
    },
    "tensor with gradient": (lambda _: torch.tensor(X).requires_grad_(), RIGHT),
    "result with gradient": (
        lambda _: 1 * torch.tensor(X, dtype=torch.bfloat16).requires_grad_(),
        RIGHT,
    ),
    "transposed tensor": (lambda _: torch.tensor(X.T.copy()).T, RIGHT),
    "negated view": (lambda _: torch.tensor(1j * X).conj().imag.neg(), RIGHT),
    "list of tensors": (lambda _: list(torch.tensor(X).requires_grad_()), RIGHT),
    "complex tensor": (lambda _: torch.tensor(X + 0j), "Complex data not supported"),
    "conjugated tensor": (lambda _: torch.tensor(X + 0j).conj(), "Complex data"),
    "sparse tensor": (lambda _: torch.tensor(X).to_sparse(), "to_dense"),
    "sparse tensor by rows": (lambda _: torch.tensor(X).to_sparse_csr(), "to_dense"),
    "meta tensor": (lambda _: torch.tensor(X, device="meta"), "no values"),
    "csr": (lambda _: sparse.csr_matrix(X), r"\.toarray\(\)"),
    "sparse array": (lambda _: sparse.coo_array(X), r"\.toarray\(\)"),
    "generator": (lambda _: (row for row in X), "X is a generator.*list"),
    "iterator": (lambda _: iter(X.tolist()), "list_iterator.*list"),
    "map": (lambda _: map(list, X), "X is a map.*list"),
    "set": (lambda _: {1.0, 2.0}, "X is a set"),
    "dict": (lambda _: dict(FRAME), "X is a dict"),
    "one text": (lambda _: "samples.csv", "X is a str"),
    "path": (lambda _: Path("samples.csv"), "X is a .*Path"),
    "None": (lambda _: None, "X"),
    "number": (lambda _: 3.0, "2D array"),
    "ragged lists": (lambda _: [[2.0, 5.0], *X.tolist()[1:]], "different lengths"),
    "ragged arrays": (lambda _: [X[0, :2], *X[1:]], "different lengths"),
    "no columns": (lambda _: X[:, :0], "0 feature|none of them 0"),
    "frame of no columns": (
        lambda _: FRAME[[]],
        "0 feature|none of them 0|at least one",
    ),
    "no samples": (lambda _: (X[:0], y[:0]), EMPTY),
    "frame of no samples": (lambda _: (FRAME[:0], y[:0]), EMPTY),
    "no samples in a list": (lambda _: ([], []), "2D array|Expected"),
    "one sample": (lambda _: (X[:1], y[:1]), EMPTY + "|at least"),
}
# Of these, classes that only draw take the values, and over-samplers refuse them.
GENERATED_ANEW = {
    "categorical numbers": (
        lambda _: column(FRAME["b"].astype("category")),
        "categorical",
    ),
    "dictionary": (
        lambda _: column(
            pd.arrays.ArrowExtensionArray(pa.array(X[:, 1]).dictionary_encode())
        ),
        "categorical|" + IN_B,
    ),
}
POLARS = pl.DataFrame(X, schema=list("abc"))
REFUSED_POLARS = {
    "polars dates": lambda _: POLARS.with_columns(b=pl.Series(DAYS)),
    "polars texts": lambda _: POLARS.cast({"b": pl.String}),
    "polars decimals": lambda _: POLARS.cast({"b": pl.Decimal(9, 2)}),
    "polars categories": lambda _: POLARS.cast({"b": pl.String}).cast(
        {"b": pl.Categorical}
    ),
    "polars lists": lambda _: POLARS.with_columns(b=pl.Series([[2]] * 24)),
    "polars objects": lambda _: POLARS.with_columns(
        b=pl.Series([{2}] * 24, dtype=pl.Object)
    ),
    "polars texts alone": lambda _: POLARS.cast(pl.String)[["b"]],
}


def expected_of(name, variant):
    """Return how to make a variant, and what an estimator is to do with it."""
    if name == "TableGenerator":
        make, expectation = expected_of("ClassGaussian", variant)
        if variant in TAKEN_BY_TABLES:
            return make, TAKES
        refusal = f"{expectation}|neither numbers nor dates"
        return make, RIGHT if expectation == RIGHT else refusal
    if variant in VARIANTS:
        make, expectation = VARIANTS[variant]
        if name == "ResampledClassifier" and "uint" in variant:
            # Its sampler gives no negative numbers in such columns.
            return make, TAKES
        if variant in TAKEN and name in TAKING_ANY:
            return make, TAKES
        passes = name in PASSING_ON and expectation != RIGHT
        return make, "" if passes else expectation
    if variant in REFUSED_POLARS:
        return REFUSED_POLARS[variant], f"{IN_B}|categorical"
    make, refusal = GENERATED_ANEW[variant]
    resamples = name in OVER_SAMPLERS or name == "ResampledClassifier"
    return make, refusal if resamples else RIGHT


def is_ours(error):
    """Tell whether an error was raised by skcvae, or by scikit-learn's checks."""
    traceback = error.__traceback__
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    file = Path(traceback.tb_frame.f_code.co_filename)
    line = linecache.getline(str(file), traceback.tb_lineno)
    place = "skcvae" in file.parts or file.parts[-3:] in (
        ("sklearn", "utils", "validation.py"),
        ("sklearn", "utils", "_array_api.py"),
    )
    return place and "raise" in line


def outcome(call, expectation, is_right):
    """Return "right", "refused", or what is wrong with a call."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = call()
    except Exception as error:
        text = f"{type(error).__name__}: {error}"
        if not isinstance(error, ValueError | TypeError) or not is_ours(error):
            return f"error from inside another library: {text}"
        if expectation == RIGHT or not re.search(expectation, str(error)):
            return f"another error: {text}"
        return "refused"
    if expectation == TAKES:
        return RIGHT
    if expectation != RIGHT:
        return "silent"
    return RIGHT if is_right(result) else "wrong values"


@pytest.fixture(scope="module")
def plain():
    """Return a function: what an estimator draws for plain floats, kept."""
    kept = {}

    def result(name, values):
        key = name, values.tobytes()
        if key not in kept:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                kept[key] = draw(clone(CHEAP[name]), values, y)
        return kept[key]

    return result


def as_floats(samples):
    if isinstance(samples, pl.DataFrame):
        return samples.to_numpy().astype(float)
    if hasattr(samples, "sparse") or hasattr(samples, "dtypes"):
        samples = samples.astype(float)
    return np.asarray(samples, dtype=float)


def same_as_plain(name, samples, drawn, plain):
    """Tell whether a result is that of plain floats, rounded as its types need it."""
    if isinstance(samples, pl.DataFrame):
        samples = samples.to_numpy()
    is_bool = str(getattr(samples, "dtype", "")) in ("bool", "torch.bool")
    expected, labels = plain(name, np.ones_like(X) if is_bool else X)
    values = as_floats(drawn[0])
    if name in OVER_SAMPLERS:
        whole = (values == np.rint(values)).all(axis=0)
        expected = np.where(whole, np.rint(expected), expected)
        if is_bool:
            expected = expected.clip(0, 1)
        if (
            "uint"
            in str(getattr(samples, "dtype", getattr(samples, "dtypes", ""))).lower()
        ):
            expected = np.where(whole, expected.clip(0), expected)
    return (
        np.array_equal(np.asarray(drawn[1]), labels)
        and values.shape == expected.shape
        and np.allclose(values, expected, rtol=2e-3, atol=2e-3)
    )


@pytest.fixture(scope="module", autouse=True)
def fits():
    """Fit a generator once for the same samples, and list the fits and trainings."""
    started, kept = [], {}
    learn, fit_loop = BaseGenerator._learn, TrainingNet.fit_loop

    def learn_once(generator, samples, labels, unlabeled=None):
        assert unlabeled is None
        started.append(generator)
        settings = type(generator).__name__, repr(generator.get_params())
        key = *settings, samples.tobytes(), samples.dtype.str, labels.tobytes()
        if key not in kept:
            before = set(vars(generator))
            learn(generator, samples, labels)
            kept[key] = {k: v for k, v in vars(generator).items() if k not in before}
        vars(generator).update(kept[key])

    def train(net, *args, **kwargs):
        started.append(net)
        return fit_loop(net, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BaseGenerator, "_learn", learn_once)
        patch.setattr(TrainingNet, "fit_loop", train)
        yield started


@pytest.fixture(scope="module")
def table():
    """Outcomes of all tests of this file, to be counted at the end."""
    outcomes = Counter()
    yield outcomes
    print(f"\nInput containers: {dict(outcomes)}")


@pytest.mark.parametrize("variant", [*VARIANTS, *GENERATED_ANEW, *REFUSED_POLARS])
def test_containers_are_read_right_or_refused(variant, plain, table, tmp_path, fits):
    found = {}
    for name, estimator in CHEAP.items():
        make, expectation = expected_of(name, variant)
        made = make(tmp_path)
        samples, labels = (
            made if isinstance(made, tuple) and len(made) == 2 else (made, y)
        )
        fits.clear()
        found[name] = outcome(
            lambda e=estimator, s=samples, t=labels: draw(clone(e), s, t),
            expectation,
            lambda drawn, n=name, s=samples: same_as_plain(n, s, drawn, plain),
        )
        if found[name] == "refused" and fits:
            found[name] = "refused after training"
    table.update(text.partition(":")[0] for text in found.values())
    wrong = {n: text for n, text in found.items() if text not in (RIGHT, "refused")}
    assert not wrong


def test_sparse_columns_keep_their_types():
    dummies = pd.get_dummies(pd.Series([*"xyz"] * 8), sparse=True)
    samples = pd.concat([FRAME, dummies], axis=1)
    for name in OVER_SAMPLERS:
        drawn, _ = draw(clone(CHEAP[name]), samples, y)
        assert drawn.dtypes.equals(samples.dtypes)
        pd.testing.assert_frame_equal(drawn[:24], samples)


def test_labels_may_be_tensors(plain):
    for name, estimator in CHEAP.items():
        drawn = draw(clone(estimator), X, torch.tensor(y))
        assert same_as_plain(name, X, drawn, plain)


# Types of arrays in a file, and whether a command may read them as samples.
IN_FILES = {
    **{t: X.astype(t) for t in NUMERIC.split()[1:]},
    "longdouble": X.astype(np.longdouble),
    "Fortran order": np.asfortranarray(X),
    "other byte order": X.astype(">f8"),
    "bool": X > 5,
}
NOT_IN_FILES = {
    "complex": X + 0j,
    "dates": X.astype("M8[D]"),
    "durations": X.astype("m8[s]"),
    "texts": X.astype("U"),
    "bytes": X.astype("S"),
    "void": X.view("V8"),
    "structured": structured(),
    "objects": X.astype(object),
    "one axis": X[:, 0],
    "three axes": X[:, :, None],
    "no samples": X[:0],
    "lengths": X[1:],
    "one number": np.float64(3),
}


@pytest.mark.parametrize("kind", IN_FILES)
def test_commands_read_numbers_of_any_type(kind, tmp_path):
    np.savez(tmp_path / "a.npz", X=IN_FILES[kind], y=y)
    samples = read_samples(tmp_path / "a.npz", "train")
    assert samples.X.dtype in (np.float32, np.float64)
    np.testing.assert_array_equal(samples.X, IN_FILES[kind].astype(float))


@pytest.mark.parametrize("kind", NOT_IN_FILES)
def test_commands_refuse_what_is_no_number_in_one_line(kind, tmp_path):
    file, out = str(tmp_path / "a.npz"), str(tmp_path / "out")
    np.savez(file, X=NOT_IN_FILES[kind], y=y)
    others = [f"--{name}={file}" for name in ("members", "nonmembers", "reference")]
    for command in (
        ["anonymize", file, "-o", f"{out}.npz", "--method=gaussian"],
        ["release", file, "-o", f"{out}.safetensors", "--method=gaussian"],
        ["audit", file, *others],
        ["probe", file, "--validation", file, "--test", file],
        ["report", file, "-o", f"{out}.html"],
    ):
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 1, (command, result.output)
        assert result.output.startswith("Error: ")
        assert result.output.count("\n") == 1
