"""
Paste what makes a rare class into frequent pictures
====================================================

:class:`~skcvae.over_sampling.HeadTailFusionSampler` puts the parts of a rare picture
that tell its class into a frequent one. We give it pictures of which we know the parts.
"""

# %%
# Shapes before walls
# -------------------
#
# Red discs and green crosses are frequent, blue squares are rare. Walls have any colour
# between yellow and grey, and say nothing about the class. The sampler takes feature
# maps, (n, c, h, w); here the features are colours, so that we can look at its samples.
import matplotlib.pyplot as plt
import numpy as np

from skcvae.over_sampling import HeadTailFusionSampler

COLORS = {"disc": (0.9, 0.1, 0.1), "cross": (0.1, 0.7, 0.1), "square": (0.1, 0.2, 0.9)}
size = 14
rows, columns = np.mgrid[:size, :size]


def draw_shape(name, rng):
    """Return where a shape is in a picture, in a random place."""
    across, down = (axis - rng.randint(3, size - 3) for axis in (rows, columns))
    if name == "disc":
        return across**2 + down**2 <= 5
    if name == "cross":
        return (np.minimum(abs(across), abs(down)) == 0) & (abs(across + down) <= 3)
    return np.maximum(abs(across), abs(down)) <= 2


def make_picture(name, rng):
    """Return a picture, (3, h, w), and where its shape is."""
    wall = np.array([0.6, 0.6, 0.6]) + rng.uniform(size=1) * np.array([0.3, 0.2, -0.4])
    picture = wall[:, None, None] + 0.05 * rng.normal(size=(3, size, size))
    shape = draw_shape(name, rng)
    picture[:, shape] = np.array(COLORS[name])[:, None]
    return picture.clip(0, 1), shape


rng = np.random.RandomState(0)
y = np.repeat(["disc", "cross", "square"], [100, 80, 10])
pictures, shapes = zip(*(make_picture(name, rng) for name in y), strict=True)
X, shapes = np.array(pictures, dtype=np.float32), np.array(shapes)

# %%
# Maps, masks and new samples
# ---------------------------
#
# A map shows how much a position adds to the logit of the class. Positions above the
# quantile are specific. Those of the tail come along, and those of the head do not:
# where its shape was, the wall of the tail is seen. Few steps are enough here.
sampler = HeadTailFusionSampler(
    quantile=0.8,
    n_generations=1,
    interaction_steps=60,
    imitation_steps=20,
    device="cpu",
    random_state=0,
)
X_resampled, y_resampled = sampler.fit_resample(X, y)
new = np.flatnonzero(y_resampled[len(y) :] == "square")[:4]
titles = ("tail", "its map", "head", "its map", "from the tail", "new sample")
figure, axes = plt.subplots(len(new), 6, figsize=(9, 6.2), layout="constrained")
for row, index in zip(axes, new, strict=True):
    parents = sampler.parents_[index]
    maps = sampler.activation_maps(X[parents], y[parents])
    mask = np.broadcast_to(sampler.masks_[index], (3, size, size)).astype(float)
    images = (X[parents[0]], maps[0], X[parents[1]], maps[1], mask)
    for ax, image in zip(row, (*images, X_resampled[len(y) + index]), strict=True):
        ax.imshow(image.transpose(1, 2, 0) if image.ndim == 3 else image)
        ax.set_axis_off()
for ax, title in zip(axes[0], titles, strict=True):
    ax.set_title(title)
plt.show()

# %%
# How well are the shapes found?
# ------------------------------
#
# Of each picture, the positions that are specific to its class, and those of its shape.
maps = sampler.activation_maps(X, y)
n_positions = shapes.sum(axis=(1, 2))
overlaps = {}
for name in COLORS:
    found = []
    for index in np.flatnonzero(y == name):
        top = np.sort(maps[index], axis=None)[-n_positions[index]]
        specific = maps[index] >= top
        both, either = specific & shapes[index], specific | shapes[index]
        found.append(both.sum() / either.sum())
    overlaps[name] = np.mean(found)
print({name: round(float(value), 2) for name, value in overlaps.items()})
