from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from normkit.data import picture_files, read_mask, read_picture, save_picture


def test_a_picture_that_is_written_is_read_again(tmp_path: Path) -> None:
    image = (torch.rand(3, 6, 8) * 255).round() / 255
    written = save_picture(tmp_path / "a.png", image)
    assert torch.equal(read_picture(written), image)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_grey_and_transparent_pictures_become_colour(tmp_path: Path) -> None:
    Image.new("L", (4, 3), 51).save(tmp_path / "grey.png")
    Image.new("RGBA", (4, 3), (255, 0, 51, 10)).save(tmp_path / "alpha.png")
    assert read_picture(tmp_path / "grey.png").shape == (3, 3, 4)
    torch.testing.assert_close(read_picture(tmp_path / "alpha.png")[:, 0, 0], torch.tensor([1.0, 0.0, 0.2]))


def test_a_mask_is_white_where_the_hole_is(tmp_path: Path) -> None:
    pixels = np.zeros((4, 6), dtype=np.uint8)
    pixels[:2, :3] = 255
    Image.fromarray(pixels).save(tmp_path / "mask.png")
    mask = read_mask(tmp_path / "mask.png")
    assert torch.equal(mask[0], torch.from_numpy(pixels > 0))
    assert torch.equal(read_mask(tmp_path / "mask.png", (2, 3))[0], torch.from_numpy(pixels > 0)[::2, ::2])
    with pytest.raises(ValueError, match=r"4×6 pixels, and 6×4 are wanted, which is another ratio"):
        read_mask(tmp_path / "mask.png", (6, 4))


def test_pictures_are_found_in_folders_below_and_in_order(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("b.PNG", "sub/a.jpg"):
        Image.new("RGB", (2, 2)).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no picture")
    assert [path.name for path in picture_files(tmp_path)] == ["b.PNG", "a.jpg"]


def test_what_is_no_picture_is_said(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match="is no picture that can be read"):
        read_picture(tmp_path / "broken.png")
    with pytest.raises(FileNotFoundError, match="is no file"):
        read_picture(tmp_path / "missing.png")
    with pytest.raises(FileNotFoundError, match="is no folder"):
        picture_files(tmp_path / "missing")
    with pytest.raises(ValueError, match=r"has the ending '.gif'"):
        save_picture(tmp_path / "a.gif", torch.rand(3, 2, 2))
    (tmp_path / "broken.png").unlink()
    with pytest.raises(FileNotFoundError, match="holds no picture"):
        picture_files(tmp_path)


def test_sixteen_bits_are_scaled_not_cut_off(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    Image.fromarray(ramp).save(tmp_path / "ramp.png")
    assert np.abs(read_picture(tmp_path / "ramp.png")[0].numpy() - ramp / 65535).max() <= 0.5 / 255 + 1e-6
    assert np.array_equal(read_mask(tmp_path / "ramp.png")[0].numpy(), ramp > 32767)
    Image.fromarray(np.full((4, 4), 0.5, dtype=np.float32)).save(tmp_path / "floats.tiff")
    with pytest.raises(ValueError, match=r"mode 'F' from 0\.5 to 0\.5: wanted are grey levels of 8 or 16 bits"):
        read_picture(tmp_path / "floats.tiff")
