"""What can go wrong, as a tree.

Every error that a user's input can cause derives from [`ViPEError`][vipe.errors.ViPEError]; its
text is one line that names the file or setting and what is wrong with it. The command line prints
that line and exits with status 2.

    ViPEError
    ├── VideoError      a video, picture or folder of pictures that cannot be read
    ├── AdapterError    a saved adapter that is missing, damaged, or made for another model
    ├── ModelError      a model folder or a backbone that is missing or does not fit
    ├── StoreError      a store of seen videos that is missing, or cannot be written
    ├── DataError       a data set, row or recipe that is missing or malformed
    ├── RecipeError     a training recipe with an unknown key or a wrong value
    └── ServeError      a server that cannot start
"""


class ViPEError(Exception):
    """The root of all errors that bad input causes; its text is one line for the user."""


class VideoError(ViPEError):
    """A video, picture or folder of pictures cannot be read."""


class AdapterError(ViPEError):
    """A saved adapter is missing, damaged, or belongs to another model."""


class ModelError(ViPEError):
    """A model folder or a backbone is missing, damaged, or does not fit."""


class StoreError(ViPEError):
    """A store of seen videos, or an entry of it, is missing, damaged, or cannot be written."""


class DataError(ViPEError):
    """A data file, or a row of one, is missing or malformed."""


class RecipeError(ViPEError):
    """A training recipe holds an unknown key or a value that does not fit."""


class ServeError(ViPEError):
    """A server cannot start: its address is taken, or a folder or package is missing."""
