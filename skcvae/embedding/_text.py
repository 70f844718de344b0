"""Embedding of texts, as the first step of a pipeline."""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import lru_cache
from numbers import Integral
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import _fit_context
from sklearn.utils._param_validation import Interval
from torch import nn
from tqdm.auto import tqdm

from .._devices import fork_torch_rng, resolve_device
from .._extras import import_extra
from ._backbone import Backbone
from ._base import BaseEmbedder
from ._encoders import folder_stamp
from ._store import fill_embeddings


class TextEmbedder(BaseEmbedder):
    """Embed texts by a frozen model of sentence-transformers.

    The embedder learns nothing from the texts: :meth:`fit`, or else the first
    :meth:`transform`, builds the model.

    Parameters
    ----------
    model : str, SentenceTransformer or callable, \
            default="sentence-transformers/all-MiniLM-L6-v2"
        - the name of a model of sentence-transformers, or a folder that holds one;
          names need a network the first time. `pip install "skcvae[text]"` installs
          the library.
        - such a model; it is copied, and not changed
        - a function that takes a list of str and returns an array of shape
          (n_texts, n_features)

    name : str, default=None
        For a model or function that is given as an object with `memory`: the name that
        its embeddings are kept under. The cache notices other weights of a model. It
        cannot notice other code: change the name with it.

    batch_size : int, default=32
        Texts per batch.

    device : str or torch.device, default="auto"
        "auto" is the GPU that torch reports, else the CPU. Functions choose their own.

    memory : str or path-like, default=None
        Folder that keeps the embeddings. A later run reads them if text and model are
        the same.

    verbose : int, default=0
        1 shows a progress bar.

    See Also
    --------
    FoundationEmbedder : Embeds images.

    Notes
    -----
    Texts are cut to the number of tokens that the model takes (its `max_seq_length`).

    Examples
    --------
    A function in the place of a model, which counts the letters "a" and "e":

    >>> import numpy as np
    >>> from skcvae.embedding import TextEmbedder
    >>> def count_letters(texts):
    ...     return np.array([[text.count(letter) for letter in "ae"] for text in texts])
    >>> TextEmbedder(count_letters).fit_transform(["a text", "another one"])
    array([[1., 1.],
           [1., 2.]], dtype=float32)
    """

    _parameter_constraints: dict = {
        "model": [str, callable],
        "name": [str, None],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "device": [str, torch.device],
        "memory": [str, Path, None],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        model: str | Callable = "sentence-transformers/all-MiniLM-L6-v2",
        *,
        name: str | None = None,
        batch_size: int = 32,
        device: str | torch.device = "auto",
        memory: str | os.PathLike[str] | None = None,
        verbose: int = 0,
    ):
        self.model = model
        self.name = name
        self.batch_size = batch_size
        self.device = device
        self.memory = memory
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: None = None) -> Self:
        """Check the texts and build the model.

        Parameters
        ----------
        X : sequence of str
            As in :meth:`transform`.

        y : None
            Ignored.

        Returns
        -------
        self : object
            The embedder.
        """
        _as_texts(X)
        self._n_features_out = _encode(self._backbone(), ["text"]).shape[1]
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Embed texts.

        Parameters
        ----------
        X : sequence of str
            Texts in a list, an array, a Series or a data frame of one column.

        Returns
        -------
        embeddings : ndarray of shape (n_texts, n_features), float32
            One embedding for each text, in the same order.

        Raises
        ------
        TypeError
            If an entry is no text.

        ValueError
            If the model gives NaN or infinity, or no embeddings.
        """
        self._validate_params()
        texts = _as_texts(X)
        backbone = self._backbone()
        self._n_features_out = _encode(backbone, ["text"]).shape[1]
        embeddings = np.empty((len(texts), self._n_features_out), dtype=np.float32)
        with tqdm(
            total=len(texts), unit="text", desc="embedding", disable=not self.verbose
        ) as progress:

            def compute(missing):
                progress.update(len(texts) - len(missing))
                for start in range(0, len(missing), self.batch_size):
                    positions = missing[start : start + self.batch_size]
                    chosen = [texts[position] for position in positions]
                    yield positions, _encode(backbone, chosen, self._n_features_out)
                    progress.update(len(positions))

            if self.memory is None:
                for positions, batch in compute(range(len(texts))):
                    embeddings[positions] = batch
            else:
                prefix = backbone.fingerprint
                digests = (
                    hashlib.sha256(t.encode(errors="surrogatepass")).hexdigest()
                    for t in texts
                )
                keys = [f"{digest}-{prefix}" for digest in digests]
                fill_embeddings(self.memory, keys, embeddings, compute)
        return embeddings

    def _backbone(self):
        """Return the model; one that is given by its name is built once per process."""
        device = resolve_device(self.device)
        if isinstance(self.model, str):
            return _load(self.model, folder_stamp(self.model), device)
        if self.memory is not None and self.name is None:
            raise ValueError(
                "memory needs name= for a model that is given as an object, as it "
                "cannot tell which code makes the embeddings: name='my encoder, "
                "version 1'."
            )
        model = self.model
        if isinstance(model, nn.Module):
            # Mode and device must not change for the user.
            model = deepcopy(model).eval().to(device)
        return Backbone(model, str, device, json.dumps(["text", self.name]))


# The cache spares a cross-validation to build the same model in each fold.
@lru_cache(maxsize=1)
def _load(name, stamp, device):
    """Build a model of sentence-transformers; `stamp` tells versions apart."""
    library = import_extra("sentence_transformers", "text", "TextEmbedder")
    try:
        # Missing weights would be drawn from the global random state.
        with fork_torch_rng(0, torch.device("cpu")):
            model = library.SentenceTransformer(name, device=str(device))
    except (OSError, ValueError) as error:
        raise OSError(
            f"sentence-transformers cannot load {name!r}: {error}\nOn a machine "
            "without network, give the folder of the model: TextEmbedder('FOLDER')."
        ) from error
    tokenizer = getattr(model.tokenizer, "backend_tokenizer", None)
    description = [
        *(repr(model), model.max_seq_length, model.prompts, model.default_prompt_name),
        repr(model.tokenizer) if tokenizer is None else tokenizer.to_str(),
    ]
    return Backbone(model.eval(), str, device, json.dumps(description))


def _as_texts(X):
    """Return texts as a list, and refuse everything else."""
    if isinstance(X, str | bytes | Mapping) or not hasattr(X, "__len__"):
        raise TypeError(
            f"X must be a list of texts, got {type(X).__name__}. Give [text]."
        )
    if hasattr(X, "columns"):
        if X.shape[1] != 1:
            raise ValueError(
                f"X must be one column of texts, got {X.shape[1]} columns: "
                f"{list(X.columns)[:10]}. Select the column of texts."
            )
        X = X[X.columns[0]]
    if isinstance(X, np.ndarray) and X.ndim == 2 and X.shape[1] == 1:
        X = X[:, 0]
    texts = list(X)
    if not texts:
        raise ValueError("Found 0 sample(s): X holds no text.")
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(
                f"Entry {index} of X is {type(text).__name__}, not a text. Leave it "
                "out, or replace what is missing by ''."
            )
    return [str(text) for text in texts]


def _encode(backbone, texts, n_features=None):
    """Return the embeddings of a batch of texts as a float32 array.

    They must have `n_features`, where that is given.
    """
    model = backbone.model
    with torch.inference_mode():
        if hasattr(model, "encode"):
            output = model.encode(texts, batch_size=len(texts), show_progress_bar=False)
        else:
            output = model(texts)
    if isinstance(output, torch.Tensor):
        output = output.float().cpu()
    embeddings = np.asarray(output)
    good = embeddings.ndim == 2 and len(embeddings) == len(texts)
    if not good or n_features not in (None, embeddings.shape[1]):
        raise ValueError(
            "The model must return an array of shape (n_texts, n_features), got the "
            f"shape {embeddings.shape} for {len(texts)} texts."
        )
    embeddings = embeddings.astype(np.float32)
    if not np.isfinite(embeddings).all():
        raise ValueError("The model gives NaN or infinity.")
    return embeddings
