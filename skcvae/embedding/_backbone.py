"""Frozen models, those of timm above all: weights, preprocessing and pooling."""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.data import create_transform, resolve_model_data_config
from timm.models import clean_state_dict
from torch import nn
from torch.overrides import TorchFunctionMode

from .._devices import fork_torch_rng

_PREFIXES = ("model.", "module.", "backbone.", "net.", "network.", "_orig_mod.")
POOLINGS = ("default", "token", "mean", "token_mean", "map")


@dataclass
class Backbone:
    """A frozen model on its device, and the preprocessing of its images.

    `transform` turns an RGB image into a tensor of shape (3, height, width), or into
    what a `model` that is no module takes a list of. `description` names the model and
    its preprocessing. `batch_limit` is the largest batch that the memory is known to
    hold.
    """

    model: Callable
    transform: Callable
    device: torch.device
    description: str
    batch_limit: int | None = None
    example: Image.Image | None = None
    _shapes: dict = field(default_factory=dict)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of weights and description, which names the embeddings of a cache."""
        digest = hashlib.sha256(self.description.encode())
        state = self.model.state_dict() if isinstance(self.model, nn.Module) else {}
        for name, value in state.items():
            digest.update(name.encode())
            if isinstance(value, torch.Tensor):
                digest.update(f"{value.dtype} {tuple(value.shape)}".encode())
                bits = value.detach().cpu().reshape(-1).view(torch.uint8)
                digest.update(bits.numpy().tobytes())
            else:
                digest.update(repr(value).encode())
        return digest.hexdigest()

    def output_shape(self, pooling, layers):
        """Return the shape of the features of an image."""
        key = pooling, None if layers is None else tuple(layers)
        if key not in self._shapes:
            images, size = self._two_images()
            try:
                with torch.inference_mode():
                    features = embed_batch(self.model, images, pooling, layers)
            except torch.OutOfMemoryError:
                raise
            except Exception as error:
                # Each model checks its input in its own way.
                raise ValueError(
                    f"The model gives no features with pooling={pooling!r}, "
                    f"layers={layers!r} and images of {size}: {error}"
                ) from error
            if pooling != "map" and features.ndim != 2:
                raise ValueError(
                    "The model must give an array of shape (n_images, n_features), got "
                    f"the shape {tuple(features.shape)} for {len(images)} images."
                )
            self._shapes[key] = tuple(features.shape[1:])
        return self._shapes[key]

    def _two_images(self):
        """Return two images as the model takes them, and their size in words.

        A function may want images of a certain size: it gets `example`.
        """
        if not isinstance(self.model, nn.Module):
            image = self.example or Image.new("RGB", (64, 64))
            return [image, image], f"{image.size} pixels"
        sizes = (64, 64), (96, 80)
        images = [self.transform(Image.new("RGB", size)) for size in sizes]
        shapes = [tuple(getattr(image, "shape", ())) for image in images]
        if len(shapes[0]) != 3 or shapes[0] != shapes[1]:
            raise ValueError(
                "preprocess must turn any image into a tensor of one shape (channels, "
                f"height, width), got {shapes[0]} and {shapes[1]} for two images. "
                "Resize and crop the images, and convert them to tensors."
            )
        return torch.stack(images).to(self.device), f"{shapes[0][1:]} pixels"


# The cache keeps a cross-validation from building the same model for each fold.
@lru_cache(maxsize=1)
def load_backbone(model_name, weights, weights_stamp, image_size, device):
    """Build a model of timm with its weights; the same arguments give the same object.

    `weights` is a local file; None downloads those of timm. `weights_stamp` is the size
    and time of the file, so that a changed file is read again. `image_size` is the side
    of the images in pixels; None is the model's own.
    """
    if ":" not in model_name and not timm.is_model(model_name):
        raise ValueError(
            f"timm has no model {model_name!r}; timm.list_models() names them."
        )
    settings = {"pretrained": True, "num_classes": 0}
    # timm draws random weights before it loads others.
    with fork_torch_rng(0, torch.device("cpu")):
        if weights is None:
            model = _download(model_name, image_size, settings)
        else:
            settings["pretrained_cfg_overlay"] = {"state_dict": read_weights(weights)}
            model = _load(model_name, image_size, settings, weights)
    # Otherwise the state dict would stay in memory.
    model.pretrained_cfg.pop("state_dict", None)
    model.eval().requires_grad_(False)
    config = resolve_model_data_config(model)
    if image_size is not None:
        config["input_size"] = (3, image_size, image_size)
    return Backbone(
        model.to(device),
        create_transform(**config, is_training=False),
        device,
        json.dumps([model_name, config], sort_keys=True),
    )


def _create(model_name, image_size, settings):
    """Create a model, and tell it the size of the images if it takes one."""
    if image_size is not None:
        try:
            return timm.create_model(model_name, img_size=image_size, **settings)
        except TypeError:
            # Convolutional models take images of any size.
            pass
    return timm.create_model(model_name, **settings)


def _download(model_name, image_size, settings):
    """Create a model with the weights of timm."""
    try:
        return _create(model_name, image_size, settings)
    except Exception as error:
        # The errors of httpx are not subclasses of OSError.
        library = type(error).__module__.partition(".")[0]
        if not isinstance(error, OSError) and not library.startswith("httpx"):
            raise
        raise OSError(
            f"The weights of {model_name!r} could not be downloaded: {error}\n"
            "On a machine without network, give a local file: "
            "FoundationEmbedder(weights='model.safetensors'), or on the command line "
            "--weights model.safetensors, with the --model that it belongs to. With "
            "HF_HUB_OFFLINE=1 in the environment, no download is tried."
        ) from error


def _load(model_name, image_size, settings, weights):
    """Create a model with the weights of a file, which must hold all of them."""
    copied = _CopiedTensors()
    try:
        with copied:
            model = _create(model_name, image_size, settings)
    except Exception as error:
        # The type of the error depends on the model.
        raise ValueError(
            f"The weights in {weights} do not fit the model {model_name!r}: {error}"
        ) from error
    state = model.state_dict(keep_vars=True)
    missing = [key for key, value in state.items() if id(value) not in copied.tensors]
    if missing:
        raise ValueError(
            f"The weights in {weights} do not fit the model {model_name!r}: "
            f"{len(missing)} of its {len(state)} tensors are missing, such as "
            f"{missing[0]!r}."
        )
    return model


class _CopiedTensors(TorchFunctionMode):
    """Records which tensors are loaded, because timm leaves missing ones random."""

    def __init__(self):
        super().__init__()
        self.tensors = {}

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is torch.Tensor.copy_:
            # The reference keeps the tensor alive, so that its id stays unique.
            self.tensors[id(args[0])] = args[0]
        return func(*args, **(kwargs or {}))


def read_weights(path):
    """Return the state dict of a file, without running code from the file."""
    path = Path(path)
    if path.suffix == ".safetensors":
        try:
            return _without_prefix(load_file(path))
        except SafetensorError as error:
            raise ValueError(
                f"{path} is not a complete safetensors file: {error}"
            ) from error
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # torch's text advises to run the code in the file.
        found = re.search(r"GLOBAL (\S+)", str(error))
        held = f" (it holds {found[1]})" if found else ""
        raise ValueError(
            f"{path} is not a checkpoint of plain tensors{held}, and others are "
            "refused, because reading them would run code from the file. Where you "
            "trust it, save its weights anew: torch.save(model.state_dict(), path)."
        ) from error
    for key in ("state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict):
        raise ValueError(f"{path} holds a {type(state).__name__}, not a state dict.")
    return _without_prefix(clean_state_dict(state))


def _without_prefix(state):
    """Return a state dict without the names of the objects around the model.

    Lightning, torch.compile and others put them before the names of most tensors.
    """
    for prefix in _PREFIXES:
        inner = {
            key.removeprefix(prefix): value
            for key, value in state.items()
            if key.startswith(prefix)
        }
        if len(inner) > len(state) / 2:
            return _without_prefix(inner)
    return state


def embed_batch(model, images, pooling, layers):
    """Return the features of images (n, 3, height, width), by one of `POOLINGS`.

    A model that is no module takes a list of images. The features of the blocks
    `layers` are pooled and concatenated, in the model's order; None is the last block,
    normalised. The shape is (n, n_features), or that of a feature map.
    """
    if pooling == "default" and layers is None:
        return _as_features(model(images), len(images))
    needed = "forward_features" if layers is None else "forward_intermediates"
    if not hasattr(model, needed):
        raise ValueError(
            f"{type(model).__name__} has no method {needed}, as models of timm have. "
            "Use pooling='default' and layers=None"
        )
    n_prefix = getattr(model, "num_prefix_tokens", 0)
    if layers is not None:
        with_token = n_prefix and pooling in ("token", "token_mean")
        tokens = {"return_prefix_tokens": True} if with_token else {}
        maps = model.forward_intermediates(
            images, indices=list(layers), norm=True, intermediates_only=True, **tokens
        )
        return torch.cat([_pool_intermediate(m, pooling) for m in maps], dim=1)
    features = model.forward_features(images)
    if features.ndim == 4:
        return _pool_grid(features, pooling, getattr(model, "output_fmt", "NCHW"))
    return _pool_tokens(features[:, :n_prefix], features[:, n_prefix:], pooling)


def _as_features(output, n_images):
    """Return the output of a model as a tensor, and refuse other things."""
    if isinstance(output, Mapping | tuple) or not hasattr(output, "__len__"):
        raise ValueError(f"it returns a {type(output).__name__}, not an array")
    is_tensor = isinstance(output, torch.Tensor)
    features = output if is_tensor else torch.as_tensor(np.asarray(output))
    if len(features) != n_images or features.is_complex():
        raise ValueError(
            f"it returns {features.dtype} of shape {tuple(features.shape)} for "
            f"{n_images} images"
        )
    return features


def is_memory_error(error):
    """Return whether an error of torch means that memory is short."""
    return isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error)


def _pool_intermediate(feature, pooling):
    """Pool a grid (n, c, h, w) that a block returns, with or without prefix tokens."""
    if not isinstance(feature, tuple):
        return _pool_grid(feature, pooling, "NCHW")
    grid, prefix = feature
    if prefix.ndim == 2:
        prefix = prefix[:, None]
    return _pool_tokens(prefix, grid.flatten(2).transpose(1, 2), pooling)


def _pool_grid(grid, pooling, layout):
    """Pool a feature map of a model without tokens."""
    if layout == "NHWC":
        grid = grid.permute(0, 3, 1, 2)
    if pooling == "map":
        return grid
    if pooling in ("mean", "default"):
        return grid.mean(dim=(2, 3))
    raise ValueError(
        f"pooling={pooling!r} needs a model with a class token, as vision transformers "
        "have. Use pooling='mean' or 'default'."
    )


def _pool_tokens(prefix, patches, pooling):
    """Pool class and patch tokens, (n, tokens, n_features) each."""
    if pooling == "map":
        return patches
    if pooling in ("mean", "default"):
        return patches.mean(dim=1)
    if not prefix.shape[1]:
        return _pool_grid(patches.transpose(1, 2)[..., None], pooling, "NCHW")
    token = prefix[:, 0]
    if pooling == "token":
        return token
    return torch.cat([token, patches.mean(dim=1)], dim=1)
