"""All else is in setup.cfg, which cannot say that the samples and the weights are packages of another name."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["mrcnn*"]), "mrcnn_samples", "mrcnn_weights"],
    package_dir={"mrcnn_samples": "samples", "mrcnn_weights": "weights"},
    package_data={"mrcnn_weights": ["shapes/*", "figures/*"]},
)
