"""Carry class moments and releases from sites to a server, by Flower.

    pip install "flwr[simulation]"
    python examples/benchmarks/federated_flower.py

Each site has some of the digits. It answers one query of the server with two files,
moments of its classes and a release of its generator, and with the number of its
samples. The server adds the moments, merges the releases, and trains a head on samples
of each. No sample leaves a site, and one round suffices: nothing is trained jointly.

The sites are simulated in processes on this machine. In a deployment, `client_app` runs
at each site, `server_app` on the server, and `site_samples` reads the samples of the
site; see https://flower.ai/docs. Flower encrypts what it carries, but does not hide it
from the server: moments have no noise, and a release is what its recipient may have.
"""

import logging
import tempfile
from functools import reduce
from operator import add
from pathlib import Path
from time import sleep

import numpy as np
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.simulation import run_simulation
from sklearn.datasets import load_digits
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import train_test_split

from skcvae.anonymization import GenerativeAnonymizer, load, merge_releases
from skcvae.generators import ClassGaussian, ClassMoments
from skcvae.long_tail import LongTailClassifier

N_SITES = 3

client_app, server_app = ClientApp(), ServerApp()


def split_digits():
    """Return training and test samples of the digits."""
    X, y = load_digits(return_X_y=True)
    return train_test_split(X, y, test_size=0.5, stratify=y, random_state=0)


def site_samples(site):
    """Return the samples of a site: four digits of ten, which sites share in part."""
    X, _, y, _ = split_digits()
    owners = [[s for s in range(N_SITES) if (label - 3 * s) % 10 < 4] for label in y]
    rng = np.random.RandomState(0)
    here = np.array([rng.choice(of_label) == site for of_label in owners])
    return X[here], y[here]


@client_app.query()
def answer(message: Message, context: Context) -> Message:
    """Send the moments and a release of the samples of this site."""
    X, y = site_samples(int(context.node_config["partition-id"]))
    with tempfile.TemporaryDirectory() as folder:
        moments = Path(folder, "moments.safetensors")
        ClassMoments.from_data(X, y).to_file(moments)
        # Its limit of 0.9 refuses the means of the few samples of a class at a site.
        anonymizer = GenerativeAnonymizer(max_mean_leakage=1).fit(X, y)
        release = anonymizer.release(
            Path(folder, "release.safetensors"), class_prior="training"
        )
        files = {
            "moments": moments.read_bytes(),
            "release": release.read_bytes(),
            "n_samples": len(y),
        }
    return Message(RecordDict({"files": ConfigRecord(files)}), reply_to=message)


@server_app.main()
def collect(grid: Grid, context: Context) -> None:
    """Ask all sites, merge what they send, and print what heads learn from it."""
    while len(sites := list(grid.get_node_ids())) < N_SITES:
        sleep(1)
    queries = [
        Message(RecordDict(), dst_node_id=site, message_type="query") for site in sites
    ]
    replies = list(grid.send_and_receive(queries))
    failed = [reply.error.reason for reply in replies if reply.has_error()]
    if failed:
        raise RuntimeError(f"{len(failed)} of {len(replies)} sites failed: {failed}")
    answers = [reply.content["files"] for reply in replies]
    moments, releases = read_answers(answers)
    sizes = [answer["n_samples"] for answer in answers]
    merged = merge_releases(releases, site_sizes=sizes)
    gaussian = ClassGaussian.from_moments(reduce(add, moments), random_state=0)
    _, X_test, _, y_test = split_digits()
    print(f"{len(answers)} sites of {sizes} samples")
    for name, generator in {"moments": gaussian, "releases": merged}.items():
        X, y = generator.sample(y=np.repeat(generator.classes_, 100), random_state=0)
        head = LongTailClassifier(augment=None, random_state=0).fit(X, y)
        score = balanced_accuracy_score(y_test, head.predict(X_test))
        print(f"head on samples of the merged {name}: {100 * score:.1f} %")


def read_answers(answers):
    """Return the moments and the releases of the files in the answers."""
    moments, releases = [], []
    with tempfile.TemporaryDirectory() as folder:
        for answer in answers:
            path = Path(folder, "file.safetensors")
            path.write_bytes(answer["moments"])
            moments.append(ClassMoments.from_file(path))
            path.write_bytes(answer["release"])
            releases.append(load(path, device="cpu"))
    return moments, releases


if __name__ == "__main__":
    logging.getLogger("flwr").setLevel(logging.WARNING)
    run_simulation(server_app, client_app, num_supernodes=N_SITES)
