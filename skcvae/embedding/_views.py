"""Random views of images: made when they are read, and the same each time."""

import torch
from PIL import Image

from .._training import fork_torch_rng
from ._images import read_image

_CPU = torch.device("cpu")


class View:
    """An image as a random transformation shows it.

    It keeps the image as it was given, and a seed: thousands of views need little
    memory, and each of them is the same whenever and wherever it is read.

    Parameters
    ----------
    source : str, path-like, bytes, dict, PIL image or ndarray
        The image.

    augment : callable
        From an upright RGB image of PIL to another image of PIL.

    seed : int
        Of torch's random numbers, which torchvision draws from.
    """

    def __init__(self, source, augment, seed):
        self.source = source
        self.augment = augment
        self.seed = seed

    def open(self):
        """Return the view, an RGB image of PIL."""
        image = read_image(self.source)
        with fork_torch_rng(self.seed, _CPU):
            view = self.augment(image)
        if not isinstance(view, Image.Image):
            raise TypeError(
                "augment must return an image of PIL, as the embedder reads images, "
                f"got {type(view).__name__}. Leave out steps such as ToTensor and "
                "Normalize: the embedder does what its model needs."
            )
        return view.convert("RGB")


def open_view(source):
    """Return the image of a view, and anything else as it is."""
    return source.open() if isinstance(source, View) else source


def flip_crop_jitter(image):
    """Return a random crop of an image at its own size, mirrored or not, recoloured.

    Parameters
    ----------
    image : PIL image
        RGB.

    Returns
    -------
    PIL image
    """
    from torchvision.transforms import v2

    transform = v2.Compose(
        [
            v2.RandomResizedCrop((image.height, image.width), scale=(0.5, 1.0)),
            v2.RandomHorizontalFlip(),
            v2.ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2),
        ]
    )
    return transform(image)
