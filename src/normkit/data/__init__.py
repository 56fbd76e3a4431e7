"""Data: the embedded sets, the lookup of others, loaders, and files that are whole or not there."""

from normkit.data.augmentation import crop_and_flip
from normkit.data.bunch import Bunch, DataNotFound, DataSet, Meta
from normkit.data.catalogue import describe, load, names, root
from normkit.data.compositions import dominated_compositions, network_compositions, paired_compositions
from normkit.data.files import atomic, writable_folder, write_atomically
from normkit.data.hierarchical_polynomial import make_hierarchical_polynomial, polynomial_feature
from normkit.data.images import as_images
from normkit.data.loaders import (
    TextWindows,
    batches,
    character_split,
    characters,
    digits,
    text,
    text_batches,
    words,
)
from normkit.data.masks import random_masks
from normkit.data.perceptron import worst_case_dataset
from normkit.data.pictures import picture_files, read_mask, read_picture, save_picture
from normkit.data.tables import Table, as_table, is_table, read_table
from normkit.data.weights import pretrained

__all__ = [
    "Bunch",
    "DataNotFound",
    "DataSet",
    "Meta",
    "Table",
    "TextWindows",
    "as_images",
    "as_table",
    "atomic",
    "batches",
    "character_split",
    "characters",
    "crop_and_flip",
    "describe",
    "digits",
    "dominated_compositions",
    "is_table",
    "load",
    "make_hierarchical_polynomial",
    "names",
    "network_compositions",
    "paired_compositions",
    "picture_files",
    "polynomial_feature",
    "pretrained",
    "random_masks",
    "read_mask",
    "read_picture",
    "read_table",
    "root",
    "save_picture",
    "text",
    "text_batches",
    "words",
    "worst_case_dataset",
    "writable_folder",
    "write_atomically",
]
