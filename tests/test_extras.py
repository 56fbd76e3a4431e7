"""A missing package names the extra that brings it."""

import pytest

from normkit.extras import MissingExtraError, require


def test_a_missing_package_names_its_extra() -> None:
    with pytest.raises(
        MissingExtraError, match=r'package_that_is_not_there is not installed: pip install "normkit\[text\]"'
    ):
        require("package_that_is_not_there.part", extra="text")
    with pytest.raises(MissingExtraError, match=r"not installed: pip install package_that_is_not_there$"):
        require("package_that_is_not_there")


def test_a_package_that_is_there_is_imported() -> None:
    assert require("json", extra="text").dumps({}) == "{}"
