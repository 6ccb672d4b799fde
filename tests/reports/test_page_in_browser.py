"""The page in a real browser: Debian's chromium, driven by Playwright, checked by axe-core."""

from dataclasses import replace

import numpy as np
import pytest

from medbench.reports.assessment import assess
from medbench.reports.page import write_page
from medbench.reports.page.pictures import keep_pictures

pytestmark = pytest.mark.browser
HOSTILE = ("<script>hacked()</script>", '"><img src=http://evil.example/x onerror=hacked()>')
SCREENS = [
    (360, "light"),
    (1440, "dark"),
    pytest.param(360, "dark", marks=pytest.mark.slow),
    pytest.param(1440, "light", marks=pytest.mark.slow),
]
"""Widths and colour schemes; what is fast has each of them once."""


@pytest.fixture(scope="module")
def made(new_factory, tmp_path_factory):
    """A page of two data sets with hostile class names, pictures, failures and ties."""
    factory, folder = new_factory(), tmp_path_factory.mktemp("page")
    factory.dataset(name="films", classes=HOSTILE, redistributable=True)
    factory.dataset(name="slices", classes=("a", "b", "c", "d"), licence="unknown")
    for name in ("films", "slices"):
        for number, model in enumerate(("hog-svm", "cnn", "xgboost", "inceptionv3", "mobilenet")):
            factory.model(model, 0.6 + number / 3, dataset=name)
        for sanity in ("majority", "border", "thumbnail"):
            factory.model(sanity, 0.0, dataset=name, trials=[])
        factory.unfinished("squeezenet", "failed", "out of memory", dataset=name)
        factory.finding("One file has two labels.", "serious", dataset=name)
    run = replace(factory.run(), folder=folder)
    assessment = assess(run)
    images = np.random.default_rng(0).integers(0, 255, (180, 28, 28, 1), dtype=np.uint8)
    keep_pictures(run, assessment.datasets[0], images, np.arange(180) % 2)
    return write_page(assessment, folder)


class Opened:
    """The page in a tab, with everything that it complained of or asked for."""

    def __init__(self, browser, path, **options):
        self.context = browser.new_context(**options)
        self.tab = self.context.new_page()
        self.said, self.asked = [], []
        self.tab.on("console", lambda message: self.said.append(message.text))
        self.tab.on("pageerror", lambda error: self.said.append(str(error)))
        self.tab.on("request", lambda request: self.asked.append(request.url))
        self.tab.goto(path.as_uri())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.context.close()

    def filter(self, label):
        """One of the selections above the leaderboard."""
        return self.tab.locator(".filters").get_by_label(label)

    def models(self):
        """Names in the visible rows of the leaderboard, from top to bottom."""
        return self.tab.locator(".board tbody tr:visible th").all_inner_texts()


def test_nothing_is_asked_for_and_nothing_is_complained_of(browser, made):
    with Opened(browser, made) as page:
        page.tab.mouse.wheel(0, 5000)
        page.tab.wait_for_timeout(200)
        assert page.said == []
        # thumbnails are part of the page
        assert [url for url in page.asked if not url.startswith("data:")] == [made.as_uri()]
        assert page.tab.locator(".pictures img").count() > 4


def test_names_from_data_stay_text(browser, made):
    with Opened(browser, made) as page:
        assert page.tab.evaluate("typeof hacked") == "undefined"
        assert page.tab.locator("script").count() == 1
        assert HOSTILE[0] in page.tab.inner_text("#trust")


def test_a_column_is_sorted_by_a_click_and_back_by_a_second_one(browser, made):
    with Opened(browser, made) as page:
        head = page.tab.locator(".board th", has_text="Bal. acc.")
        head.get_by_role("button").click()
        assert head.get_attribute("aria-sort") == "descending"
        column = head.evaluate("head => head.cellIndex")
        values = page.tab.eval_on_selector_all(
            ".board tbody tr", f"rows => rows.map(row => row.cells[{column}].dataset.value)"
        )
        known = [float(value) for value in values if value]
        assert known == sorted(known, reverse=True) and len(known) == 16
        assert values[len(known) :] == [""] * (len(values) - len(known))  # unknown ones last
        head.get_by_role("button").click()
        assert head.get_attribute("aria-sort") == "ascending"


def test_the_keyboard_is_enough(browser, made):
    with Opened(browser, made) as page:
        page.tab.keyboard.press("Tab")
        assert page.tab.evaluate("document.activeElement.textContent") == "Skip to the leaderboard"
        button = page.tab.locator(".board th button").nth(1)
        button.focus()
        page.tab.keyboard.press("Enter")
        assert page.models() == sorted(page.models())


def test_rows_are_filtered_by_data_set_family_and_status(browser, made):
    with Opened(browser, made) as page:
        everything = len(page.models())
        page.filter("Data set").select_option("films")
        assert len(page.models()) == everything // 2
        page.filter("Status").select_option("unfinished")
        assert page.models() == ["squeezenet"]
        page.filter("Status").select_option("")
        page.filter("Family").select_option("cnn")
        assert page.models() == ["cnn"]
        assert page.tab.locator("[data-count]").inner_text() == f"1 of {everything} rows"
        # sorting keeps what is filtered out hidden, and rows know their data set
        page.tab.locator(".board th button").nth(3).click()
        page.filter("Family").select_option("")
        assert len(page.models()) == everything // 2


def test_curves_are_drawn_for_the_models_that_are_ticked(browser, made):
    with Opened(browser, made) as page:
        block = page.tab.locator("#data-0")

        def drawn(number):
            return block.locator(f'svg .series[data-series="{number}"]:visible').count()

        before = [drawn(number) for number in range(5)]
        assert min(before[:4]) >= 3 and before[4] == 0
        block.locator("[data-legend] input").nth(0).uncheck()
        assert [drawn(number) for number in range(5)] == [0, *before[1:]]
        block.locator("[data-legend] input").nth(4).check()
        assert drawn(4) == before[0]


def test_a_link_into_a_closed_part_opens_it_and_paper_shows_everything(browser, made):
    with Opened(browser, made) as page:
        page.tab.evaluate("document.querySelector('#data-1').open = false")
        page.tab.locator(".answers a[href='#data-1']").click()
        page.tab.locator("#data-1[open]").wait_for(state="attached")  # by an event after the click
        page.tab.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert page.tab.locator("details:not([open])").count() == 0


@pytest.mark.parametrize(("width", "scheme"), SCREENS)
def test_it_fits_the_screen_and_axe_finds_nothing_serious(browser, made, width, scheme):
    from axe_playwright_python.sync_playwright import Axe

    size = {"width": width, "height": 900}
    with Opened(browser, made, viewport=size, color_scheme=scheme) as page:
        assert page.tab.evaluate("document.documentElement.scrollWidth") <= width
        page.tab.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
        assert page.tab.evaluate("document.documentElement.scrollWidth") <= width
        found = Axe().run(page.tab).response["violations"]
        serious = {
            one["id"]: [node["html"][:200] for node in one["nodes"][:3]]
            for one in found
            if one["impact"] in ("serious", "critical")
        }
        assert serious == {}


def test_without_scripts_everything_is_there(browser, made):
    with Opened(browser, made, java_script_enabled=False) as page:
        assert page.tab.locator(".board tbody tr").count() == 18
        assert page.tab.locator("#data-0 svg .series").count() > 10


def test_the_first_screen_answers_which_model_how_sure_and_whether_to_trust(
    browser, factory, tmp_path
):
    factory.dataset()
    factory.model("hog-svm", 2.0)
    factory.model("cnn", 0.6)
    factory.model("border", 0.0)
    path = write_page(assess(factory.run()), tmp_path)
    with Opened(browser, path, viewport={"width": 1440, "height": 900}) as page:
        for what in ("#answer .best", "#answer .card:nth-child(2)", ".board tbody tr:nth-child(2)"):
            box = page.tab.locator(what).bounding_box()
            assert box is not None and box["y"] + box["height"] <= 900
