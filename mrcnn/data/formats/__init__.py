"""Formats of annotations, a file each, and the folders that are in them."""

from mrcnn.data.formats.dataset import FolderDataset
from mrcnn.data.formats.detections import add_detections, as_file
from mrcnn.data.formats.known import FILES, FORMATS, find, read, write
from mrcnn.data.formats.pictures import leave_out
