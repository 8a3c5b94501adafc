"""Weights files: the original's `.h5`, published ones, and those of other packages."""

from mrcnn.weights import imagenet
from mrcnn.weights.adapt import Pixels, adapt_channels
from mrcnn.weights.averages import averaged
from mrcnn.weights.h5 import read, read_record, weighted_layers, write, write_groups
from mrcnn.weights.loading import LoadReport, copy, load, some
from mrcnn.weights.releases import PRETRAINED, Release, default_folder, download, table
