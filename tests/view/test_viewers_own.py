"""Our own pictures, looked at as those of other viewers are: `show`, and the cards of notebooks."""

import io

import looking
import numpy as np
import phantom
import pytest
from chromium import COMMAND, Chromium, ways
from pictures import keep
from PIL import Image

import sansfilm


@pytest.mark.parametrize("name", ways(phantom.ALL))
def test_show_puts_each_side_at_its_letter(tmp_path, name):
    (volume,) = sansfilm.read(phantom.series(tmp_path, phantom.ALL[name]).folder)
    picture = np.asarray(Image.open(io.BytesIO(volume.show()._repr_png_())).convert("RGB"))
    keep(f"show {name}", picture)
    looking.check(picture)


@pytest.mark.skipif(COMMAND is None, reason="there is no Chromium to draw with")
def test_cards_put_each_side_at_its_letter(tmp_path):
    cards = []
    for name in ways(phantom.ALL):
        made = phantom.series(tmp_path / name, phantom.ALL[name])
        (volume,) = sansfilm.read(made.folder)
        cards.append((name, volume._repr_html_()))
    page = tmp_path / "card.html"
    with Chromium(tmp_path / "profile", (640, 420)) as browser:
        for name, html in cards:
            page.write_text(f"<!doctype html><meta charset=utf-8><body>{html}", encoding="utf-8")
            browser.open(page.as_uri())
            browser.wait('document.images.length === 3 && document.readyState === "complete"')
            picture = browser.picture()
            keep(f"card {name}", picture)
            pictures = [
                picture[round(top) : round(bottom), round(left) : round(right)]
                for top, left, bottom, right in browser.ask(
                    """[...document.images].map(image => {
                      const place = image.getBoundingClientRect();
                      return [place.top, place.left, place.bottom, place.right];
                    })"""
                )
            ]
            looking.check(np.concatenate(pictures, axis=1))
