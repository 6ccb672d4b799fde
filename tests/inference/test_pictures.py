"""Pictures of explanations: one look, plain text, equal bytes, from any thread."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor

import matplotlib
import numpy as np
import pytest
from PIL import Image

from medbench.inference.pictures import drawable, explanation_picture, fitted_lines, overlay

TITLE, SUBTITLE = "lesion", "image 1; occlusion"


def grey(height=32, width=32):
    return np.random.default_rng(0).integers(0, 256, (height, width, 1)).astype(np.uint8)


def bump(height=32, width=32):
    y, x = np.mgrid[:height, :width]
    heat = np.exp(-((y - 8) ** 2 + (x - 20) ** 2) / 30)
    return np.where(heat > 0.05, heat / heat.max(), 0).astype(np.float32)


def drawn(image=None, heat=None, title=TITLE, subtitle=SUBTITLE):
    image = grey() if image is None else image
    heat = bump() if heat is None else heat
    return explanation_picture(image, heat, title=title, subtitle=subtitle)


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


@pytest.mark.parametrize(
    ("height", "width", "channels"),
    [(32, 32, 1), (32, 32, 3), (20, 50, 1), (600, 600, 3), (8, 8, 1)],
)
def test_every_image_gives_a_picture_of_one_size(height, width, channels):
    image = np.repeat(grey(height, width), channels, axis=2)
    png = drawn(image, bump(height, width))
    assert png.startswith(b"\x89PNG")
    assert pixels(png).shape == (450, 900, 3)


def test_the_image_is_on_the_left_as_it_is_and_on_the_right_coloured_where_there_is_heat():
    found = pixels(drawn()).astype(int)
    colour = np.ptp(found, axis=2) > 30
    assert not colour[67:430, :400].any()
    panel = colour[67:429, 410:772]
    y, x = np.nonzero(panel)
    assert abs(y.mean() / 362 - 8.5 / 32) < 0.05
    assert abs(x.mean() / 362 - 20.5 / 32) < 0.05
    assert colour[67:429, 786:800].any()  # the colour bar


def test_the_overlay_leaves_pixels_without_heat_alone():
    image, heat = grey(), bump()
    covered = overlay(image, heat)
    assert covered.dtype == np.uint8
    assert covered.shape == (32, 32, 3)
    np.testing.assert_array_equal(covered[heat == 0], np.repeat(image, 3, axis=2)[heat == 0])
    assert (np.ptp(covered[heat > 0.5], axis=1) > 30).all()
    np.testing.assert_array_equal(overlay(image[..., 0], heat), covered)


def test_a_map_without_heat_is_drawn_and_said_to_be_empty():
    empty = np.zeros((32, 32), np.float32)
    np.testing.assert_array_equal(overlay(grey(), empty), np.repeat(grey(), 3, axis=2))
    faint = empty.copy()
    faint[0, 0] = 1e-9  # drawn like nothing, so only the text below tells them apart
    assert drawn(heat=empty) != drawn(heat=faint)


def test_equal_input_gives_equal_bytes_whatever_the_settings_of_matplotlib_are():
    first = drawn()
    with matplotlib.rc_context(
        {
            "font.family": "serif",
            "font.size": 20,
            "figure.facecolor": "red",
            "axes.facecolor": "blue",
            "savefig.dpi": 30,
            "savefig.bbox": "tight",
            "image.origin": "lower",
            "image.cmap": "gray",
            "text.color": "red",
            "figure.constrained_layout.use": True,
        }
    ):
        assert drawn() == first
    assert b"matplotlib" not in first.lower()


def test_several_threads_draw_what_one_draws_and_leave_no_figure_behind():
    import matplotlib.pyplot as plt

    titles = [f"image {i}" for i in range(4)]
    alone = [drawn(title=title) for title in titles]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda title: drawn(title=title), titles))
    assert together == alone
    assert plt.get_fignums() == []


@pytest.mark.parametrize(
    "name",
    [
        "$x^2$",
        r"$\frac{1}$",
        "<b>bold</b> & co",
        "two\nlines\tand \x1b[31m a bell \x07",
        "\u202eright to left",
        "医学 \U0001f9e0",
        "_hidden",
        r"back\slash",
        "",
        "W" * 1000,
        "many words " * 100,
    ],
)
def test_any_name_is_drawn_as_plain_text_within_the_picture(name):
    found = pixels(drawn(title=name, subtitle=name))
    margins = np.concatenate([found[:60, :20].reshape(-1, 3), found[:60, -20:].reshape(-1, 3)])
    assert (margins == 255).all()
    np.testing.assert_array_equal(
        found[62:66], np.full((4, 900, 3), 255)
    )  # nothing reaches into the panels


def test_control_characters_and_letters_that_the_font_lacks_are_replaced():
    assert drawable("a\n\x1b[31mb\u202ec") == "a [31mb c"
    assert drawable("医a") == "\N{REPLACEMENT CHARACTER}a"
    assert drawable("$x$ <i> ü") == "$x$ <i> ü"


@pytest.mark.parametrize(
    ("text", "width", "most", "lines"),
    [
        ("", 5, 2, []),
        ("short", 9, 1, ["short"]),
        ("one two three", 8, 2, ["one two", "three"]),
        ("one two three four", 8, 2, ["one two", "three f…"]),
        ("abcdefghij", 4, 2, ["abcd", "efg…"]),
        ("abcdefghij", 4, 1, ["abc…"]),
    ],
)
def test_lines_break_between_words_and_the_last_is_cut_off(text, width, most, lines):
    assert fitted_lines(text, width, most, len) == lines


@pytest.mark.parametrize(
    ("image", "heat", "said"),
    [
        (grey().astype(float), bump(), "uint8"),
        (grey()[None], bump(), "shape"),
        (np.repeat(grey(), 2, axis=2), bump(), "1 or 3"),
        (grey(), bump(8, 8), r"\(8, 8\)"),
        (grey(), bump() * 2, "from 0 to 1"),
        (grey(), bump() * np.nan, "from 0 to 1"),
    ],
)
def test_images_and_maps_of_another_kind_are_refused(image, heat, said):
    with pytest.raises(ValueError, match=said):
        drawn(image, heat)
