"""All else is in setup.cfg, which cannot say that the samples are a package of another name."""

from setuptools import find_packages, setup

setup(packages=[*find_packages(include=["mrcnn*"]), "mrcnn_samples"], package_dir={"mrcnn_samples": "samples"})
