"""Released generators: writing them to a file, and drawing samples from the file."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .._class_values import refuse_index
from .._devices import drawing_device, resolve_device
from .._label_sets import encode_label_sets
from .._thin_covariance import check_size
from ..generators import VAE, DecoderMixin
from ..generators._base import SamplingMixin
from ..generators._label_set_generator import LabelSetMixin
from ..generators._released import (
    build_sampler,
    can_be_released,
    densify,
    describe_sampler,
)
from ._release_file import (
    labels_from_json,
    labels_to_json,
    read_release_file,
    write_release_file,
)
from ._spectrum import check_spectrum, round_auto_variance
from ._streams import BatchesMixin

# Tensors of a sampler with an entry for each class.
_PER_CLASS = (
    "centre",
    "decoder.hidden.class_bias.weight",
    "noise.scale.class_bias.weight",
    "noise.scale.hidden.class_bias.weight",
)


class Release(LabelSetMixin, BatchesMixin, DecoderMixin, SamplingMixin):
    """A loaded release; it draws samples as the released generator does.

    :func:`load` creates it.

    Parameters
    ----------
    manifest : dict
        The checked manifest of the file.

    tensors : dict of str to torch.Tensor
        The checked tensors of the file.

    device : str or torch.device, default="auto"
        Device to draw on. "auto" is the GPU that torch reports, else the CPU.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,) or (n_labels,)
        Labels of the classes, or of the label sets.

    label_sets_ : ndarray of shape (n_sets, n_labels)
        Label sets that can be drawn, bool. Only of a release of label sets, where each
        is a class of what is named below.

    class_prior_ : ndarray of shape (n_classes,)
        Probability of each class when no labels are given.

    scale_ : ndarray of shape (n_features,)
        Scale of the features.

    n_features_in_ : int
        Number of features.

    manifest_ : dict
        The manifest: kind and sizes, versions, checksums and privacy statement.

    variance : ndarray of shape (n_classes,)
        Default variance of the draws.

    random_state : int, RandomState instance or None
        Seed of :meth:`sample` and :meth:`batches`; :func:`load` sets None.

    device : torch.device
        Device on which samples are drawn.
    """

    def __init__(
        self,
        manifest: dict[str, Any],
        tensors: dict[str, torch.Tensor],
        device: str | torch.device = "auto",
    ) -> None:
        self.manifest_ = manifest
        self.classes_ = labels_from_json(manifest["classes"], manifest["label_type"])
        if "label_sets" in manifest:
            self.classes_ = labels_from_json(*manifest["label_sets"])
            self.label_sets_ = tensors["label_sets"].numpy().astype(bool)
        self.n_features_in_ = manifest["n_features"]
        self.scale_ = tensors["scale"].numpy()
        self.class_prior_ = tensors["class_prior"].numpy().astype(np.float64)
        self.variance = tensors["variance"].numpy().astype(np.float64)
        self.random_state = None
        self.device = resolve_device(device)
        self._tensors = tensors
        self._output_dtype = np.dtype(manifest.get("dtype", np.float32))

    def __repr__(self) -> str:
        n_classes, n_features = len(self.class_prior_), self.n_features_in_
        kind = "label sets" if hasattr(self, "label_sets_") else "classes"
        return f"<Release of {n_classes} {kind} and {n_features} features>"

    def privacy_statement(self) -> dict[str, Any]:
        """Return the publisher's statement on the training samples.

        Returns
        -------
        statement : dict
            `guarantee` and more, as they are in the manifest. They are not verified.
        """
        return self.manifest_["privacy"]

    def _check_ready(self):
        """Do nothing: a release is complete."""

    def _make_sampler(self):
        sampler = build_sampler(self.manifest_)
        prefix = "sampler."
        state = {
            name.removeprefix(prefix): value
            for name, value in self._tensors.items()
            if name.startswith(prefix)
        }
        sampler.load_state_dict(state, assign=True)
        return sampler.eval()

    def _of_codes(self):
        if not hasattr(self, "label_sets_"):
            return self
        return self._with_codes(len(self.label_sets_))

    def _view(self, Y):
        return self._of_codes(), encode_label_sets(Y, self.classes_, self.label_sets_)

    def _class_weights(self):
        return self.class_prior_

    def _default_n_samples(self):
        raise ValueError(
            "Give n_samples or y: a release does not hold the number of training "
            "samples."
        )

    def _centres(self):
        return self._tensors["centres"].numpy()

    def _sampling_device(self):
        return drawing_device(self.device, self._output_dtype)


def load(
    path: str | os.PathLike,
    *,
    device: str | torch.device = "auto",
    max_bytes: int = 2**30,
) -> Release:
    """Read and check a release, and return an object that draws samples from it.

    No code of the file is run. Names, types and shapes of its tensors must follow from
    a few bounded numbers of its manifest, checksums must agree, and all values must be
    finite. The checksums detect damage, but not forgery: get the file from somebody
    you trust.

    Parameters
    ----------
    path : str or Path
        File that `release` of an anonymizer wrote.

    device : str or torch.device, default="auto"
        Device to draw on. "auto" is the GPU that torch reports, else the CPU.

    max_bytes : int, default=2**30
        Larger files are not read.

    Returns
    -------
    release : Release
        Has `sample(n_samples)`, `sample(y=...)`, `batches(batch_size)`, `classes_` and
        `privacy_statement()`. Over-samplers and
        :class:`~skcvae.long_tail.LongTailClassifier` take it as a generator in
        scikit-learn's FrozenEstimator.

    Raises
    ------
    ValueError
        If the file is truncated, altered, too large, or not a release.

    OSError
        If the file cannot be read.

    See Also
    --------
    merge_releases : Draws from the releases of several sites as from one.

    Examples
    --------
    >>> import tempfile
    >>> from sklearn.datasets import load_digits
    >>> from skcvae.anonymization import GenerativeAnonymizer, load
    >>> X, y = load_digits(return_X_y=True)
    >>> anonymizer = GenerativeAnonymizer(random_state=0).fit(X, y)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     release = load(anonymizer.release(f"{folder}/digits.safetensors"))
    >>> X_new, y_new = release.sample(100, random_state=0)
    >>> X_new.shape, release.privacy_statement()["guarantee"]
    ((100, 64), 'no formal guarantee')
    """
    device = resolve_device(device)
    manifest, tensors = read_release_file(Path(path), max_bytes)
    return Release(manifest, tensors, device)


def write_release(generator, path, class_prior, min_class_size, privacy):
    """Write the parts that a fitted generator draws with; see `release`."""
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"The file must end in .safetensors, got {path.name!r}.")
    of_labels, label_sets = generator.classes_, getattr(generator, "label_sets_", None)
    if label_sets is not None:
        generator = generator._of_codes()
    sampler = _open_sampler(generator)
    check_spectrum(generator)
    kept = np.flatnonzero(generator.class_count_ >= min_class_size)
    if not len(kept):
        raise ValueError(
            f"No class has min_class_size={min_class_size} samples: nothing to release."
        )
    prior = _resolve_prior(class_prior, generator, kept)
    if label_sets is None:
        labels, label_type = labels_to_json(generator.classes_[kept])
    else:
        # Anew: a gap would tell of a rare set between two others.
        labels, label_type = labels_to_json(np.arange(len(kept)))
    manifest = {
        **describe_sampler(sampler),
        "n_features": generator.n_features_in_,
        "n_classes": len(kept),
        "classes": labels,
        "label_type": label_type,
        "class_prior": class_prior if isinstance(class_prior, str) else "given",
        "privacy": privacy,
    }
    if "image_shape" in manifest:
        is_whole = generator._output_dtype == np.uint8
        manifest["dtype"] = "uint8" if is_whole else "float32"
    tensors = _gather(generator, sampler, prior, kept)
    if label_sets is not None:
        manifest["label_sets"] = labels_to_json(of_labels)
        tensors["label_sets"] = torch.tensor(label_sets[kept], dtype=torch.float32)
    write_release_file(path, manifest, tensors)
    return path


def _open_sampler(generator):
    """Return the sampler of a generator; refuse one that no file can hold."""
    if getattr(generator, "objective", None) == "reference":
        raise ValueError(
            "objective='reference' scales by the exact minimum and maximum of the "
            "data, which identify the samples that attain them. Use objective='elbo', "
            "or share samples of sample()."
        )
    if not isinstance(generator, SamplingMixin):
        raise ValueError(
            f"{type(generator).__name__} cannot be released as a file: only the "
            "generators of skcvae can. Share samples of sample() instead."
        )
    images = getattr(generator, "_images", None)
    if images is not None:
        images._check_release(generator)
    else:
        check_size(*2 * (generator.n_features_in_,), "A release")
    sampler = generator._make_sampler()
    if can_be_released(sampler):
        densify(sampler)
        return sampler
    if isinstance(generator, VAE):
        raise ValueError(
            "A VAE cannot be released as a file: a release holds a decoder that is "
            "told the class, and the networks of a VAE are not. Use a CVAE, whose "
            "samples are better, or share samples of sample()."
        )
    if callable(getattr(generator, "architecture", None)):
        raise ValueError(
            "An architecture of your own cannot be released: the file holds no code. "
            "Use 'small', 'large' or ConvBackbone, or share samples of sample()."
        )
    if getattr(generator, "covariance_type", None) == "full":
        raise ValueError(
            "covariance_type='full' of more features than samples cannot be released "
            "as a file. Use covariance_type='tied', or share samples of sample()."
        )
    raise ValueError(
        f"{type(generator).__name__} cannot be released as a file: there is a format "
        "for CVAE and ClassGaussian and their private versions only. Use one of them, "
        "or share samples of sample()."
    )


def _resolve_prior(class_prior, generator, kept):
    """Return the weight of each class, shape (n_classes,); not all kept have 0."""
    counts = np.asarray(generator.class_count_, dtype=np.float64)
    if isinstance(class_prior, str):
        if class_prior not in ("uniform", "training"):
            raise ValueError(
                "class_prior must be 'uniform', 'training' or one number for each "
                f"class, got {class_prior!r}."
            )
        return np.ones_like(counts) if class_prior == "uniform" else counts
    refuse_index(class_prior, "class_prior")
    prior = np.asarray(class_prior, dtype=np.float64)
    valid = prior.shape == counts.shape and (np.isfinite(prior) & (prior >= 0)).all()
    if not (valid and prior[kept].any()):
        raise ValueError(
            f"class_prior must have one finite number of at least 0 for each of the "
            f"{len(counts)} classes, with a sum above 0 for the {len(kept)} released."
        )
    # The sum of huge numbers would overflow.
    return prior / prior[kept].max()


def _gather(generator, sampler, prior, kept):
    """Return all tensors of a release, for the kept classes."""
    variance = generator._resolve_variance()
    if isinstance(generator.variance, str):
        variance = round_auto_variance(variance)
    prior = prior[kept] / prior[kept].sum()
    arrays = {
        "centres": generator._centres()[kept],
        "scale": generator.scale_,
        "variance": variance[kept],
        "class_prior": prior,
    }
    tensors = {n: torch.tensor(a, dtype=torch.float32) for n, a in arrays.items()}
    per_class = set(_PER_CLASS)
    if sampler.factor.ndim == 3:
        per_class.add("factor")
    codes = torch.from_numpy(kept)
    for name, value in sampler.state_dict().items():
        if name.endswith("num_batches_tracked"):
            # The number of training steps would disclose the number of samples.
            value = torch.zeros_like(value)
        if name in per_class:
            value = value.index_select(0, codes)
        tensors[f"sampler.{name}"] = value.detach().cpu()
    return tensors
