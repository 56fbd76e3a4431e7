"""Data: the embedded sets, the lookup of others, loaders, and files that are whole or not there."""

from normkit.data.augmentation import crop_and_flip
from normkit.data.bunch import Bunch, DataNotFound, DataSet, Meta
from normkit.data.catalogue import describe, load, names, root
from normkit.data.files import atomic, writable_folder, write_atomically
from normkit.data.images import as_images
from normkit.data.loaders import TextWindows, batches, characters, digits, text, text_batches, words

__all__ = [
    "Bunch",
    "DataNotFound",
    "DataSet",
    "Meta",
    "TextWindows",
    "as_images",
    "atomic",
    "batches",
    "characters",
    "crop_and_flip",
    "describe",
    "digits",
    "load",
    "names",
    "root",
    "text",
    "text_batches",
    "words",
    "writable_folder",
    "write_atomically",
]
