"""Figure 8 of the thesis: test samples in the latent space of CVAE and VAE."""

import typer
from _figures import (
    ARCHITECTURES,
    IMAGES,
    CacheOption,
    DataOption,
    EpochsOption,
    PNGOption,
    epochs_note,
    finish_panels,
    open_panels,
    open_setup,
    plane_models,
)
from _thesis import THESIS_CVAE_EPOCHS

from skcvae.inspection import LatentSpaceDisplay

MAX_POINTS = 1000
# Standard deviations of the prior; few points are farther.
LIMIT = 3.5


def draw(models, data, path):
    """Draw one panel for each model."""
    figure, panels = open_panels(len(models), 4.2)
    for panel, model in zip(panels, models, strict=True):
        Z = model.encode(data.X_test, data.y_test)
        display = LatentSpaceDisplay.from_data(
            Z, data.y_test, max_points=MAX_POINTS, ax=panel, marker="o", markersize=3
        )
        # Small points differ by colour alone: one for each of up to ten classes.
        for i, line in enumerate(display.lines_.values()):
            line.set_color(f"C{i}")
        panel.set(title=model.name, xlim=(-LIMIT, LIMIT), ylim=(-LIMIT, LIMIT))
        panel.set_aspect("equal", adjustable="box")
        outside = (abs(Z) > LIMIT).any(axis=1).mean()
        spread = " and ".join(f"{s:.2f}" for s in Z.std(axis=0))
        print(f"{model.name:20} standard deviations {spread}, outside {outside:.2%}")
    finish_panels(figure, panels, path, ncols=6, markerscale=2)


def main(
    data: DataOption,
    figure: PNGOption = IMAGES / "figure_8.png",
    cvae_epochs: EpochsOption = THESIS_CVAE_EPOCHS,
    cache: CacheOption = None,
):
    """Draw the latent means of the test samples, coloured by class."""
    print(__doc__, "\n")
    with open_setup(data, cvae_epochs, cache=cache) as setup:
        models = list(plane_models(setup, 0, ARCHITECTURES))
        draw(models, setup.data, figure)
    print(f"""
What differs from the thesis: the embeddings; the thesis's models are
{epochs_note(setup)}; the VAE is the same CVAE, told one
label for all samples; "ours" is not in the thesis. {MAX_POINTS:,} test
samples are drawn.
""")


if __name__ == "__main__":
    typer.run(main)
