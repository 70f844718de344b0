"""Embedding of images, as the first step of a pipeline."""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from numbers import Integral
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import _fit_context
from sklearn.utils._param_validation import Interval, StrOptions
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from .._devices import empty_cache, half_type, resolve_device
from ._backbone import POOLINGS, embed_batch, is_memory_error, load_backbone
from ._base import BaseEmbedder
from ._encoders import (
    as_backbone,
    folder_stamp,
    is_hub_name,
    load_hub_model,
    needs_name,
)
from ._images import as_sources
from ._loading import (
    Failure,
    ImageDataset,
    cache_key,
    collate,
    describe,
    failure_error,
    first_image,
)
from ._store import fill_embeddings

# Number of images that are looked up in the cache at a time.
_BLOCK_SIZE = 1024
_NOT_FINITE = "the model gives NaN or infinity, which dtype='float32' may avoid"
_AUTO_BATCH_SIZE = {"cpu": 32}
_GPU_BATCH_SIZE = 256


class FoundationEmbedder(BaseEmbedder):
    """Embed images by a frozen foundation model.

    The embedder learns nothing from the images: :meth:`fit`, or else the first
    :meth:`transform`, builds the model. The model is always in evaluation mode.

    Parameters
    ----------
    model : str, torch.nn.Module or callable, default="vit_base_patch14_dinov2.lvd142m"
        - a name in `timm.list_models()`
        - "transformers:NAME", a vision model of Hugging Face's transformers, such as
          "transformers:facebook/dinov2-base", or a folder that `save_pretrained` wrote
        - "open_clip:MODEL/TAG", such as "open_clip:ViT-B-32/laion2b_s34b_b79k", or
          "open_clip:MODEL" with `weights`
        - a module, with `preprocess`; it is copied, and not changed. A model of
          transformers brings its own.
        - a function that takes a list of RGB images of PIL and returns an array of
          shape (n_images, n_features)

        A model that is given by name resizes, crops and normalises images according to
        its configuration.

    preprocess : callable, default=None
        For a module: turns an RGB image of PIL into a tensor of shape (channels,
        height, width). For a model of transformers, it may be an image processor.

    name : str, default=None
        For a module or function with `memory`: the name that its embeddings are kept
        under. The cache notices other weights of a module. It cannot notice other code:
        change the name with the code of the module, the function or
        `preprocess`.

    weights : str or path-like, default=None
        Local file of the weights of a model of timm or open_clip: safetensors, or a
        checkpoint of plain tensors. No code from the file is run, and no network is
        used. None downloads the weights.

    pooling : {"default", "token", "mean", "token_mean", "map"}, default="default"
        - "default": the model's own pooling, or the projection of a model of images
          and texts. Others need a model of timm or transformers.
        - "token": the class token
        - "mean": the average of the patches
        - "token_mean": class token and average, concatenated
        - "map": no pooling; each image gives a map of shape (n_patches, n_features) or
          (n_channels, height, width)

    layers : sequence of int, default=None
        Blocks whose pooled features are concatenated, in the model's order; negative
        indices count from the end. None is the last block. Others need a model of timm.

    image_size : int, default=None
        Side of the images in pixels, for a model that timm builds; None is the model's
        own.

    batch_size : int or "auto", default="auto"
        Images per batch. "auto" starts with 32 on a CPU and 256 on a GPU, and halves
        the number if the memory does not suffice.

    device : str or torch.device, default="auto"
        "auto" is the GPU that torch reports, else the CPU.

    dtype : {"auto", "float32", "float16", "bfloat16"}, default="auto"
        Type that the model computes in, by automatic mixed precision. "auto" is
        bfloat16 or float16 on a GPU of the kinds CUDA and XPU, and float32 elsewhere.
        The output is float32.

    num_workers : int, default=0
        Number of additional processes that read and transform images.

    memory : str or path-like, default=None
        Folder that keeps the embeddings. A later run reads them if the content of the
        image, the weights and the preprocessing are the same. So a run that was killed
        continues when it is started again.

    on_error : {"raise", "nan"}, default="raise"
        What to do with an image that cannot be read: raise an error, or return an
        embedding of NaN, so that embeddings stay aligned with their labels.

    verbose : int, default=0
        1 shows a progress bar with images per second and the time left.

    Attributes
    ----------
    failures_ : list of Failure
        Images that the last :meth:`transform` could not read: `index`, `source` and
        `reason`. ``pandas.DataFrame(embedder.failures_)`` is a table of them.

    See Also
    --------
    ViewOverSampler : Adds random views of the images of small classes, before this
        step.
    embed_folder : Embeds a folder or a CSV file, also if the result exceeds memory.

    Notes
    -----
    An image has the same embedding in any batch, up to rounding. A pickle does not
    contain a model that is given by its name: it is built again. Modules and functions
    are pickled.

    EXIF orientation is applied, and other metadata are ignored. The first frame of an
    animated image is used, and transparent images get a white background.

    Examples
    --------
    >>> import numpy as np, tempfile, timm, pathlib
    >>> from safetensors.torch import save_file
    >>> from skcvae.embedding import FoundationEmbedder
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "weights.safetensors"
    >>> save_file(timm.create_model("test_vit").state_dict(), path)
    >>> embedder = FoundationEmbedder("test_vit", weights=path, device="cpu")
    >>> images = np.zeros((2, 32, 32, 3), dtype=np.uint8)
    >>> embedder.fit_transform(images).shape
    (2, 64)
    """

    _parameter_constraints: dict = {
        "model": [str, callable],
        "preprocess": [callable, None],
        "name": [str, None],
        "weights": [str, Path, None],
        "pooling": [StrOptions(set(POOLINGS))],
        "layers": ["array-like", None],
        "image_size": [Interval(Integral, 1, None, closed="left"), None],
        "batch_size": [
            Interval(Integral, 1, None, closed="left"),
            StrOptions({"auto"}),
        ],
        "device": [str, torch.device],
        "dtype": [StrOptions({"auto", "float32", "float16", "bfloat16"})],
        "num_workers": [Interval(Integral, 0, None, closed="left")],
        "memory": [str, Path, None],
        "on_error": [StrOptions({"raise", "nan"})],
        "verbose": ["verbose"],
    }

    def __init__(  # noqa: PLR0913  models of four kinds, and a cache
        self,
        model: str | Callable = "vit_base_patch14_dinov2.lvd142m",
        *,
        preprocess: Callable | None = None,
        name: str | None = None,
        weights: str | os.PathLike[str] | None = None,
        pooling: str = "default",
        layers: Sequence[int] | None = None,
        image_size: int | None = None,
        batch_size: int | str = "auto",
        device: str | torch.device = "auto",
        dtype: str = "auto",
        num_workers: int = 0,
        memory: str | os.PathLike[str] | None = None,
        on_error: str = "raise",
        verbose: int = 0,
    ):
        self.model = model
        self.preprocess = preprocess
        self.name = name
        self.weights = weights
        self.pooling = pooling
        self.layers = layers
        self.image_size = image_size
        self.batch_size = batch_size
        self.device = device
        self.dtype = dtype
        self.num_workers = num_workers
        self.memory = memory
        self.on_error = on_error
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: None = None) -> Self:
        """Check the type of `X` and build the model, without reading an image.

        A function is tried on the first image.

        Parameters
        ----------
        X : sequence of images
            As in :meth:`transform`.

        y : None
            Ignored.

        Returns
        -------
        self : object
            The embedder.
        """
        self._prepare(as_sources(X))
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Embed images.

        Parameters
        ----------
        X : sequence of images
            Paths, PIL images, encoded bytes, uint8 arrays or views in a list, a pandas
            Series or a data frame of one column; an array of shape (n, height, width)
            or (n, height, width, 3); or a data set of images.

        Returns
        -------
        embeddings : ndarray of shape (n_images, n_features), float32
            One embedding for each image, in the same order.

        Raises
        ------
        ValueError
            If an image cannot be read with ``on_error="raise"``.
        """
        return np.concatenate([block for _, block in self.iter_embeddings(X)])

    def iter_embeddings(self, sources: Any) -> Iterator[tuple[range, np.ndarray]]:
        """Embed images block by block, in bounded memory.

        Parameters
        ----------
        sources : sequence of images
            As in :meth:`transform`.

        Yields
        ------
        indices : range
            Indices of the images of the block.

        embeddings : ndarray of shape (n_block, n_features), float32
            Their embeddings.
        """
        self._validate_params()
        sources = as_sources(sources)
        backbone = self._prepare(sources)
        self.failures_: list[Failure] = []
        progress = tqdm(
            total=len(sources), unit="image", desc="embedding", disable=not self.verbose
        )
        with progress:
            for start in range(0, len(sources), _BLOCK_SIZE):
                indices = range(start, min(start + _BLOCK_SIZE, len(sources)))
                yield indices, self._embed_block(backbone, sources, indices, progress)

    def get_feature_names_out(self, input_features: None = None) -> np.ndarray:
        """Return the names of the features, after `fit` or the first `transform`.

        Parameters
        ----------
        input_features : None
            Ignored.

        Returns
        -------
        names : ndarray of shape (n_features,), object
            "foundationembedder0", "foundationembedder1", ...
        """
        if self.pooling == "map":
            raise ValueError("The features of pooling='map' have no names.")
        return super().get_feature_names_out()

    def _embed_block(self, backbone, sources, indices, progress):
        """Return the embeddings of a block, from the cache if it has them."""
        shape = backbone.output_shape(self.pooling, self.layers)
        embeddings = np.full((len(indices), *shape), np.nan, dtype=np.float32)

        def compute(missing):
            progress.update(len(indices) - len(missing))
            chosen = [indices[position] for position in missing]
            for positions, batch in self._compute(backbone, sources, chosen, progress):
                yield np.array(missing)[positions], batch

        if self.memory is None:
            for positions, batch in compute(range(len(indices))):
                embeddings[positions] = batch
            return embeddings
        settings = (
            f"{backbone.fingerprint}-{self.pooling}-{self.layers}-{self._dtype()}"
        )
        settings = hashlib.sha256(settings.encode()).hexdigest()
        keys = [cache_key(sources[i], settings) for i in indices]
        fill_embeddings(self.memory, keys, embeddings, compute)
        return embeddings

    def _compute(self, backbone, sources, indices, progress):
        """Yield positions and embeddings of batches of images, and report failures."""
        if not len(indices):
            return
        loader = DataLoader(
            ImageDataset(sources, indices, backbone.transform),
            batch_size=self._start_batch_size(backbone),
            num_workers=self.num_workers,
            collate_fn=collate,
            # Otherwise the loader draws from torch's global generator.
            generator=torch.Generator(),
        )
        for positions, images, failures in loader:
            n_images = len(positions) + len(failures)
            if positions:
                batch = self._forward(backbone, images)
                finite = np.isfinite(batch).all(axis=tuple(range(1, batch.ndim)))
                failures += [
                    (position, _NOT_FINITE)
                    for position, good in zip(positions, finite, strict=True)
                    if not good
                ]
                yield np.array(positions)[finite], batch[finite]
            self._report(failures, sources, indices)
            progress.update(n_images)

    def _report(self, failures, sources, indices):
        """Record images that could not be read, or raise an error for the first."""
        for position, reason in failures:
            index = indices[position]
            failure = Failure(index, describe(sources[index]), reason)
            if self.on_error == "raise":
                raise failure_error(failure)
            self.failures_.append(failure)

    def _forward(self, backbone, images):
        """Run the model on a batch, in halves if the memory does not suffice."""
        if not isinstance(images, torch.Tensor):
            return self._call(backbone, images)
        device = backbone.device
        limit = backbone.batch_limit or len(images)
        if self.batch_size == "auto" and len(images) > limit:
            halves = images.split(limit)
            return np.concatenate([self._forward(backbone, half) for half in halves])
        dtype = self._dtype()
        mixed = torch.autocast(device.type, dtype, enabled=dtype != torch.float32)
        try:
            with torch.inference_mode(), mixed:
                features = embed_batch(
                    backbone.model, images.to(device), self.pooling, self.layers
                )
                return features.float().cpu().numpy()
        except RuntimeError as error:
            fixed = self.batch_size != "auto" or len(images) == 1
            if fixed or not is_memory_error(error):
                raise
        empty_cache(device)
        backbone.batch_limit = (len(images) + 1) // 2
        return self._forward(backbone, images)

    def _call(self, backbone, images):
        """Return what a function of the user gives for a list of images."""
        with torch.inference_mode():
            features = embed_batch(backbone.model, images, self.pooling, self.layers)
        shape = (len(images), *backbone.output_shape(self.pooling, self.layers))
        if features.shape != shape:
            raise ValueError(
                f"The function must return an array of shape {shape}, got "
                f"{tuple(features.shape)}."
            )
        return features.float().cpu().numpy()

    def _prepare(self, sources):
        """Return the model, and store its number of features."""
        backbone = self._backbone()
        if not isinstance(backbone.model, torch.nn.Module):
            backbone.example = first_image(sources)
        # scikit-learn's mixin for feature names reads this attribute.
        self._n_features_out = backbone.output_shape(self.pooling, self.layers)[0]
        return backbone

    def _backbone(self):
        """Return the model; one that is given by its name is built once per process."""
        self._check_model()
        if self.pooling == "map" and self.memory is not None:
            raise ValueError(
                "memory keeps one vector per image, and pooling='map' gives a map. Use "
                "memory=None or another pooling."
            )
        device = resolve_device(self.device)
        if not isinstance(self.model, str):
            return as_backbone(self.model, self.preprocess, self.name, device)
        weights, stamp = self.weights, None
        if weights is not None:
            if not Path(weights).is_file():
                raise FileNotFoundError(f"weights={str(weights)!r} is not a file.")
            status = Path(weights).stat()
            weights, stamp = str(weights), (status.st_size, status.st_mtime_ns)
        if is_hub_name(self.model):
            stamp = (
                folder_stamp(self.model.partition(":")[2]) if stamp is None else stamp
            )
            return load_hub_model(self.model, weights, stamp, device)
        return load_backbone(self.model, weights, stamp, self.image_size, device)

    def _check_model(self):
        """Refuse parameters that the kind of model has no use for."""
        is_name = isinstance(self.model, str)
        if is_name and self.preprocess is not None:
            raise ValueError(
                "preprocess is for a model that is a torch.nn.Module: one that is "
                "given by its name brings its own."
            )
        if not is_name and self.weights is not None:
            raise ValueError("weights is for a model that is given by its name.")
        if self.image_size is not None and (not is_name or is_hub_name(self.model)):
            raise ValueError(
                "image_size is for models that timm builds. Of others, the "
                "preprocessing says how large images are."
            )
        nameless = self.memory is not None and self.name is None
        if nameless and needs_name(self.model, self.preprocess):
            raise ValueError(
                "memory needs name= for a module or function, as it cannot tell which "
                "code makes the embeddings: name='my encoder, version 1'."
            )

    def _dtype(self):
        if self.dtype != "auto":
            return getattr(torch, self.dtype)
        return half_type(resolve_device(self.device))

    def _start_batch_size(self, backbone):
        if self.batch_size != "auto":
            return self.batch_size
        return backbone.batch_limit or _AUTO_BATCH_SIZE.get(
            backbone.device.type, _GPU_BATCH_SIZE
        )
