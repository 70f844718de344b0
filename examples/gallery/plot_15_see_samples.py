"""
See generated samples
=====================

What does a generated sample look like? Where samples are pixels, as the digits are
here, they are images themselves. Where they are embeddings, a function that renders
them takes the place of `image_shape` below, or the nearest training photos are shown.
"""

# %%
# Real and generated, by class
# ----------------------------
#
# Anything that draws samples is shown in this way, a loaded release too.
# The brightness of all images has the scale of the real ones.
import matplotlib.pyplot as plt
import numpy as np
from imblearn.over_sampling import SMOTE
from sklearn.datasets import load_digits

from skcvae.datasets import make_long_tailed
from skcvae.generators import CVAE, VAE
from skcvae.inspection import (
    ImageGridDisplay,
    InterpolationDisplay,
    NearestImagesDisplay,
)

X, y = load_digits(return_X_y=True)
X, y = make_long_tailed(X, y, imbalance_ratio=10, random_state=0)
cvae = CVAE(latent_dim=16, device="cpu", random_state=0).fit(X, y)
X_smote, y_smote = SMOTE(random_state=0).fit_resample(X, y)
is_new = np.arange(len(X_smote)) >= len(X)

pixels = {"image_shape": (8, 8)}
fig, axes = plt.subplots(1, 2, figsize=(11, 5), layout="constrained")
ImageGridDisplay.from_generator(cvae, X, y, random_state=0, ax=axes[0], **pixels)
ImageGridDisplay.from_data(X, y, X_smote[is_new], y_smote[is_new], ax=axes[1], **pixels)
axes[0].set_title("CVAE")
axes[1].set_title("SMOTE, which adds nothing to the largest class")
plt.show()

# %%
# The samples of the CVAE are grainy: it draws the noise of each pixel, which a
# classifier needs and an eye does not. Its decoder alone is smooth.
#
# Encode, decode, interpolate
# ---------------------------
#
# `decode` takes what `encode` returns. Standard normal vectors are latent vectors only
# after the latent prior, which a keyword asks for.
threes = X[y == 3]
Z = cvae.encode(threes[:5], [3] * 5)
reconstructed = cvae.decode(Z, [3] * 5)
print(np.abs(reconstructed - cvae.reconstruct(threes[:5], [3] * 5)).max())

e = np.random.RandomState(0).normal(size=(50, 16))
labels = np.repeat(np.arange(10), 5)
smooth = cvae.decode(e, labels, standard_normal=True)

fig, axes = plt.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
ImageGridDisplay.from_data(X, y, smooth, labels, ax=axes[0], **pixels)
axes[0].set_title("Decoded without noise")
InterpolationDisplay.from_estimator(
    cvae, threes[:4], threes[4:8], [3] * 4, ax=axes[1], **pixels
)
axes[1].set_title("From one three to another")
plt.show()

# %%
# The networks of a VAE see no labels, so that a way leads from class to class.
vae = VAE(latent_dim=16, device="cpu", random_state=0).fit(X, y)
firsts = [X[y == label][0] for label in (0, 1, 4)]
seconds = [X[y == label][0] for label in (6, 7, 9)]
InterpolationDisplay.from_estimator(vae, firsts, seconds, **pixels)
plt.title("From zero to six, one to seven, four to nine")
plt.show()

# %%
# Copies?
# -------
#
# For the owner of the data only: the nearest training images of generated samples, with
# their distances. The decoder's smooth samples are shown, because noise hides a copy
# from the eye. For photos and their embeddings, give the paths as third argument.
fig, ax = plt.subplots(figsize=(6, 11), layout="constrained")
NearestImagesDisplay.from_data(
    smooth[::5], X, y_synthetic=labels[::5], max_samples=10, ax=ax, **pixels
)
plt.show()
