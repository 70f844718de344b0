"""Frozen models of transformers and open_clip, modules of torch, and functions."""

import json
from copy import deepcopy
from functools import lru_cache, partial
from math import prod
from pathlib import Path

import torch
from PIL import Image
from torch import nn

from .._devices import CPU, fork_torch_rng
from .._extras import import_extra
from ._backbone import Backbone

_TRANSFORMERS, _OPEN_CLIP = "transformers:", "open_clip:"


class TransformersVision(nn.Module):
    """A vision model of transformers with the methods of a model of timm.

    `has_pooler` is False if the weights of its pooling are missing.
    """

    def __init__(self, model, transform, has_pooler=True):
        super().__init__()
        self.model = model
        self.has_pooler = has_pooler
        self.num_prefix_tokens = 0
        image = transform(Image.new("RGB", (64, 64)))[None]
        with torch.inference_mode():
            features = self.forward_features(image)
        patch = getattr(self._tower.config, "patch_size", None)
        if features.ndim == 3 and isinstance(patch, int):
            n_patches = prod(side // patch for side in image.shape[2:])
            self.num_prefix_tokens = max(0, features.shape[1] - n_patches)

    @property
    def _tower(self):
        """The part that sees images, of a model of images and texts."""
        return getattr(self.model, "vision_model", self.model)

    def forward(self, images):
        """Return the features as the model pools or projects them."""
        if hasattr(self.model, "get_image_features"):
            output = self.model.get_image_features(pixel_values=images)
        else:
            output = self.model(pixel_values=images)
        pooled = getattr(output, "pooler_output", None)
        if isinstance(output, torch.Tensor):
            # As in transformers 4.
            pooled = output
        if pooled is None or not self.has_pooler:
            raise ValueError(
                "the model, or its checkpoint, has no pooling of its own: use "
                "pooling='token' or 'mean'"
            )
        return pooled.flatten(1)

    def forward_features(self, images):
        """Return the tokens, or the feature map, of the last block."""
        return self._tower(pixel_values=images).last_hidden_state


class OpenClipVision(nn.Module):
    """The images' part of a model of open_clip, called as other modules are."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, images):
        """Return the projected features, not scaled to unit length."""
        return self.model.encode_image(images)


def is_hub_name(model):
    """Return whether a name is one of transformers or open_clip, not of timm."""
    return model.startswith((_TRANSFORMERS, _OPEN_CLIP))


def folder_stamp(folder):
    """Return what changes with the files of a local model; None for other models."""
    files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    stats = [(path, path.stat()) for path in files]
    return tuple((str(p), s.st_size, s.st_mtime_ns) for p, s in stats) or None


# As for models of timm, the cache spares a cross-validation to build it in each fold.
@lru_cache(maxsize=1)
def load_hub_model(name, weights, stamp, device):
    """Build a model from "transformers:..." or "open_clip:...".

    `weights` is a local file or None; `stamp` tells versions of local files apart.
    """
    library, _, source = name.partition(":")
    # Both draw random weights before they load others.
    with fork_torch_rng(0, CPU):
        if library == "transformers":
            if weights is not None:
                raise ValueError(
                    f"weights is not for {name!r}: give the folder that "
                    "save_pretrained wrote, 'transformers:FOLDER'."
                )
            model, transform, description = _load_transformers(source)
        else:
            model, transform, description = _load_open_clip(source, weights)
    model.eval().requires_grad_(False)
    return Backbone(model.to(device), transform, device, description)


def as_backbone(model, transform, name, device):
    """Return the backbone of a module or function of a user, which stay unchanged."""
    if not isinstance(model, nn.Module):
        if transform is not None:
            raise ValueError(
                "preprocess is for a model that is a torch.nn.Module. A function gets "
                "a list of RGB images of PIL, and prepares them itself."
            )
        return Backbone(model, _unchanged, device, json.dumps(["function", name]))
    # Evaluation mode and device must not change for the user.
    model = deepcopy(model).eval().requires_grad_(False)
    if _is_of_transformers(model):
        transform = _processor_of(model) if transform is None else transform
        model, transform, description = _wrap_transformers(model, transform)
        if name is not None:
            description = json.dumps([name, description])
    elif transform is None:
        raise ValueError(
            "A torch.nn.Module needs preprocess=: a function from an RGB image of PIL "
            "to a tensor of shape (channels, height, width)."
        )
    else:
        description = json.dumps(["module", name, repr(model)])
    return Backbone(model.to(device), transform, device, description)


def needs_name(model, transform):
    """Return whether a cache cannot tell from a model which embeddings it gives."""
    if isinstance(model, str):
        return False
    of_transformers = isinstance(model, nn.Module) and _is_of_transformers(model)
    return not (of_transformers and (transform is None or _is_processor(transform)))


def _unchanged(image):
    return image


def _load_transformers(source):
    """Return a model of transformers, its transform and a description of both."""
    transformers = import_extra(
        "transformers", "transformers", "FoundationEmbedder('transformers:...')"
    )
    try:
        model, info = transformers.AutoModel.from_pretrained(
            source, output_loading_info=True, dtype=torch.float32
        )
        processor = transformers.AutoImageProcessor.from_pretrained(source)
    except (OSError, ValueError) as error:
        raise OSError(
            f"transformers cannot load the vision model {source!r}: {error}\nOn a "
            "machine without network, give the folder that save_pretrained wrote: "
            "FoundationEmbedder('transformers:FOLDER')."
        ) from error
    missing = sorted(info["missing_keys"])
    # Many checkpoints have no pooler, and transformers would draw a random one.
    lost = [key for key in missing if "pooler" not in key]
    if lost:
        raise ValueError(
            f"The weights in {source!r} miss {len(lost)} tensors of the model, such as "
            f"{lost[0]!r}."
        )
    return _wrap_transformers(model.eval(), processor, has_pooler=not missing)


def _wrap_transformers(model, transform, has_pooler=True):
    """Return a model with timm's methods, its transform and a description of both."""
    description = [type(model).__name__, model.config.to_json_string(), has_pooler]
    if _is_processor(transform):
        description.append(transform.to_json_string())
        transform = partial(_process, transform)
    model = TransformersVision(model.cpu(), transform, has_pooler)
    return model, transform, json.dumps(description)


def _process(processor, image):
    """Return the tensor that an image processor of transformers makes of an image."""
    return processor(images=image, return_tensors="pt")["pixel_values"][0]


def _processor_of(model):
    """Return the image processor that belongs to a model of transformers."""
    import transformers

    try:
        return transformers.AutoImageProcessor.from_pretrained(model.name_or_path)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"No image processor is known for this {type(model).__name__}. Give one by "
            "preprocess=, such as transformers.AutoImageProcessor.from_pretrained(...)."
        ) from error


def _is_of_transformers(model):
    return hasattr(model, "name_or_path") and hasattr(model.config, "to_json_string")


def _is_processor(transform):
    return hasattr(transform, "to_json_string") and hasattr(
        transform, "model_input_names"
    )


def _load_open_clip(source, weights):
    """Return a model of open_clip, its transform and a description of both."""
    open_clip = import_extra(
        "open_clip", "open-clip", "FoundationEmbedder('open_clip:...')"
    )
    name, tag = source, None
    if not source.startswith(("hf-hub:", "local-dir:")):
        name, _, tag = source.partition("/")
    if name == source and tag == "" and weights is None:
        raise ValueError(
            f"'open_clip:{source}' needs the tag of its weights, such as "
            "'open_clip:ViT-B-32/laion2b_s34b_b79k', or weights=; "
            "open_clip.list_pretrained() names them."
        )
    try:
        model, transform = open_clip.create_model_from_pretrained(
            name, pretrained=weights or tag
        )
    except (OSError, RuntimeError, ValueError) as error:
        raise OSError(
            f"open_clip cannot load {source!r}: {error}\nOn a machine without network, "
            "give a local file: FoundationEmbedder('open_clip:ViT-B-32', "
            "weights='model.safetensors')."
        ) from error
    return OpenClipVision(model), transform, json.dumps([name, repr(transform)])
