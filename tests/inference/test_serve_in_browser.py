"""The page that classifies, in a real browser: Debian's chromium, Playwright and axe-core."""

import io
import os
import threading
from types import SimpleNamespace

import nibabel
import numpy as np
import pytest
from PIL import Image

from medbench.datasets.task import Task
from medbench.errors import ModelError
from medbench.evaluation.calibration import Calibration
from medbench.inference.model import Model
from medbench.inference.model_info import RESEARCH_ONLY, FoldInfo, ModelInfo
from medbench.inference.serve import server
from medbench.inference.serve.app import Limits

pytestmark = [pytest.mark.browser, pytest.mark.allow_hosts(["127.0.0.1"])]
HOSTILE = ("<script>hacked()</script>", '"><img src=http://evil.example/x onerror=hacked()>')
SCREENS = [
    (360, "light"),
    (1440, "dark"),
    pytest.param(360, "dark", marks=pytest.mark.slow),
    pytest.param(1440, "light", marks=pytest.mark.slow),
]
"""Widths and colour schemes; what is fast has each of them once."""
LIMITS = Limits(n_bytes=2_000_000)
DROP = """
([name, bytes]) => {
  const data = new DataTransfer();
  data.items.add(new File([new Uint8Array(bytes)], name));
  const options = { dataTransfer: data, bubbles: true, cancelable: true };
  const beside = document.querySelector("h1");
  for (const kind of ["dragover", "drop"]) beside.dispatchEvent(new DragEvent(kind, options));
}
"""


class Corner:
    """Two fold models that look at the brightness of the upper left quarter."""

    seen = 0

    def probabilities(self, batch):
        self.seen += 1
        share = batch.images[:, :12, :12].mean(axis=(1, 2, 3)) / 255
        bright = np.clip(share, 0.05, 0.95)
        return np.stack([np.stack([1 - p, p], axis=1) for p in (bright - 0.04, bright + 0.04)])

    def networks(self):
        return None


class FarFromBlack:
    """Takes bright images for unlike those of development."""

    def score(self, images):
        return images.mean(axis=(1, 2, 3)) / 100


@pytest.fixture
def model():
    fold = FoldInfo(
        split="fold-0",
        params={},
        calibration=Calibration(temperatures=(1.0,)),
        threshold=0.4,
        sha256="",
    )
    info = ModelInfo(
        family="corner",
        dataset="chests",
        title=f"Chest films {HOSTILE[0]}",
        task=Task(classes=HOSTILE, image_shape=(24, 24, 1)),
        synthetic=False,
        why="It has the highest inner score of 8 models.",
        operating_point="youden",
        estimate={"auroc": 0.9, "auroc_low": 0.8, "auroc_high": 0.95, "n_folds": 2},
        verdicts=(
            "Shortcut risk: the border of the image alone reaches AUROC .88, within the interval "
            "of this model. It may read how an image was made instead of what it shows.",
            "3 patients have images on both sides of a published split.",
        ),
        note="",
        versions={},
        folds=(fold, fold),
    )
    return Model(info, Corner(), SimpleNamespace(out_of_distribution=FarFromBlack()))


@pytest.fixture
def address(model):
    """Where the page of the model is, while the test runs."""
    with server.listen(0) as listening:
        running = server.make_server(model, limits=LIMITS)
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]})
        thread.start()
        yield server.address(listening)
        running.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


class Opened:
    """The page in a tab, with everything that it complained of or asked for."""

    def __init__(self, browser, address, **options):
        self.context = browser.new_context(**options)
        self.tab = self.context.new_page()
        self.said, self.asked = [], []
        self.tab.on("console", lambda message: self.said.append(message.text))
        self.tab.on("pageerror", lambda error: self.said.append(str(error)))
        self.tab.on("request", lambda request: self.asked.append(request.url))
        self.tab.goto(address)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.context.close()

    def choose(self, *files):
        """Hand files over by the button; each is a name and bytes."""
        self.tab.locator(".drop input").set_input_files(
            [{"name": name, "mimeType": "", "buffer": content} for name, content in files]
        )

    def cards(self):
        """The answers, from top to bottom, once nothing is waited for."""
        self.tab.locator(".results[aria-busy=false]").wait_for()
        return self.tab.locator(".result")


def png(corner=230, rest=30, size=120, mode="L", fill=None):
    image = Image.new(mode, (size, size), rest if fill is None else fill)
    if fill is None:
        image.paste(corner, (0, 0, size // 2, size // 2))
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def volume(n_slices=5):
    voxels = np.arange(n_slices * 64, dtype=np.int16).reshape(n_slices, 8, 8).T
    return nibabel.Nifti1Image(voxels, np.eye(4)).to_bytes()


def test_a_chosen_image_is_answered_with_all_that_must_be_known(browser, address):
    with Opened(browser, address) as page:
        page.choose(("scan 1.png", png(fill=230)))
        card = page.cards()
        assert card.locator("h2").inner_text() == "scan 1.png"
        assert card.locator(".decision").inner_text() == f"Decision: {HOSTILE[1]}"
        row = card.locator("tbody tr").first
        assert row.locator("th").inner_text() == HOSTILE[1]
        said = row.locator("td").inner_text()
        assert said.strip() == ".902 (.862 to .942) decided from .400 on"
        assert row.locator(".share").evaluate(
            "bar => parseFloat(getComputedStyle(bar, '::before').width) / bar.clientWidth"
        ) == pytest.approx(0.902, abs=0.01)
        picture = card.locator("img")
        assert picture.evaluate("one => one.complete && one.naturalWidth") > 300
        assert HOSTILE[1] in picture.get_attribute("alt")
        assert HOSTILE[1] in card.locator("figcaption").inner_text()
        assert page.tab.locator("[role=status]").text_content() == f"scan 1.png: {HOSTILE[1]}"


def test_a_dropped_image_is_classified_wherever_on_the_page_it_falls(browser, address):
    with Opened(browser, address) as page:
        page.tab.evaluate(DROP, ["dropped.png", list(png())])
        assert page.cards().locator("h2").inner_text() == "dropped.png"
        assert page.tab.url == address


def test_several_files_are_all_answered_and_the_newest_is_on_top(browser, address):
    with Opened(browser, address) as page:
        page.choose(("1.png", png()), ("2.txt", b"no image"), ("3.png", png(corner=10)))
        cards = page.cards()
        assert cards.locator("h2").all_inner_texts() == ["3.png", "2.txt", "1.png"]
        assert "Not an image of a known format" in cards.nth(1).inner_text()
        assert cards.nth(0).locator(".decision").inner_text() == f"Decision: {HOSTILE[0]}"
        assert page.tab.locator("img").count() == 2


def test_it_asks_for_nothing_but_itself_and_complains_of_nothing(browser, address):
    with Opened(browser, address) as page:
        page.choose((f"{HOSTILE[1]}.png".replace("/", ":"), png()))
        page.cards()
        assert page.said == []
        own = {f"{address}{name}" for name in ("", "page.css", "page.js", "classify", "explain")}
        assert {url for url in page.asked if not url.startswith("data:")} == own


def test_names_from_files_and_data_stay_text(browser, address):
    with Opened(browser, address) as page:
        name = "<img src=x onerror=hacked()>.png"
        page.choose((name, png()))
        assert page.cards().locator("h2").inner_text() == name
        assert page.tab.locator("img").count() == 1  # the heat map
        assert page.tab.locator("script").count() == 1
        assert HOSTILE[0] in page.tab.locator("h1").inner_text()


def test_warnings_stand_with_the_image_and_verdicts_above_all(browser, address):
    with Opened(browser, address) as page:
        first = page.tab.locator(".verdicts")
        assert "Shortcut risk" in first.inner_text()
        assert first.bounding_box()["y"] < page.tab.locator(".drop").bounding_box()["y"]
        page.choose(("red.png", png(mode="RGB", fill=(255, 120, 120))))
        said = page.cards().locator(".doubts").inner_text()
        assert "This image is a colour picture" in said
        assert "This image is unlike the images" in said


def test_what_it_is_not_for_is_always_in_sight(browser, address):
    with Opened(browser, address, viewport={"width": 360, "height": 600}) as page:
        page.choose(*[(f"{i}.png", png()) for i in range(4)])
        page.cards()
        for place in ("0", "document.body.scrollHeight / 2", "document.body.scrollHeight"):
            page.tab.evaluate(f"scrollTo(0, {place})")
            box = page.tab.get_by_text(RESEARCH_ONLY).bounding_box()
            assert box["y"] >= 0 and box["y"] + box["height"] <= 600


def test_a_volume_asks_for_its_slice_and_another_one_may_follow(browser, address):
    with Opened(browser, address) as page:
        page.choose(("head.nii", volume(5)))
        card = page.cards()
        assert "say which, from 1 to 5" in card.inner_text()
        field = card.get_by_label("Slice, from 1 to 5")
        assert field.input_value() == "3"
        field.fill("4")
        field.press("Enter")
        page.tab.wait_for_selector(".decision")
        assert page.cards().locator("h2").inner_text() == "head.nii, slice 4 of 5"
        card.get_by_label("Slice, from 1 to 5").fill("2")
        card.get_by_role("button", name="Classify this slice").click()
        assert page.cards().locator("h2").inner_text() == "head.nii, slice 2 of 5"
        assert page.cards().locator("img").count() == 1


def test_a_file_above_the_limit_is_refused_before_it_is_sent(browser, address):
    with Opened(browser, address) as page:
        page.choose(("large.png", b"x" * (LIMITS.n_bytes + 1)))
        assert "above the limit of 2 MB" in page.cards().inner_text()
        assert f"{address}classify" not in page.asked


def test_without_a_heat_map_the_card_says_why(browser, address, monkeypatch):
    def fails(*_):
        raise ModelError("no gradient here.")

    monkeypatch.setattr(Model, "explain_read", fails)
    with Opened(browser, address) as page:
        page.choose(("scan.png", png()))
        card = page.cards()
        assert card.locator("figcaption").inner_text() == "No heat map: no gradient here."
        assert HOSTILE[1] in card.locator(".decision").inner_text()


def test_a_server_that_was_stopped_is_said_so(browser, address):
    with Opened(browser, address) as page:
        page.tab.route("**/classify", lambda route: route.abort())
        page.choose(("scan.png", png()))
        assert "MedBench does not answer" in page.cards().inner_text()


def test_the_keyboard_is_enough(browser, address):
    with Opened(browser, address) as page:
        page.tab.bring_to_front()  # else the system's dialogue may be another tab's
        page.tab.keyboard.press("Tab")
        page.tab.locator(".drop input:focus").wait_for(state="attached")
        assert page.tab.locator(".drop").evaluate("one => getComputedStyle(one).outlineStyle") == (
            "solid"
        )
        with page.tab.expect_file_chooser() as chooser:
            page.tab.keyboard.press("Space")
        file = {"name": "head.nii", "mimeType": "", "buffer": volume()}
        chooser.value.set_files([file])
        page.cards()
        page.tab.keyboard.press("Tab")
        page.tab.locator("input[type=number]:focus").wait_for()
        page.tab.keyboard.press("Enter")
        page.tab.wait_for_selector(".decision")


def test_without_scripts_it_says_that_it_needs_them(browser, address):
    with Opened(browser, address, java_script_enabled=False) as page:
        assert "needs JavaScript" in page.tab.locator("noscript").inner_text()
        assert "Shortcut risk" in page.tab.locator("main").inner_text()


def test_another_web_site_can_have_nothing_classified(browser, address, model):
    """A page of another origin, here a ``data:`` one, with what a browser lets it send."""
    with Opened(browser, "data:text/html,<p>another site") as page:
        got = page.tab.evaluate(
            """async (address) => {
              const asked = [{}, { headers: { "X-MedBench": "1" } }, { mode: "no-cors" }];
              const send = (way) => fetch(address, { method: "POST", body: "x", ...way });
              const ways = asked.map(send);
              return (await Promise.allSettled(ways)).map((one) => one.value?.status ?? "refused");
            }""",
            f"{address}classify",
        )
        assert 200 not in got and len(got) == 3
    assert model.fold_models.seen == 0


@pytest.mark.parametrize(("width", "scheme"), SCREENS)
def test_it_fits_the_screen_and_axe_finds_nothing_serious(browser, address, width, scheme):
    from axe_playwright_python.sync_playwright import Axe

    size = {"width": width, "height": 900}
    with Opened(browser, address, viewport=size, color_scheme=scheme) as page:
        red = png(mode="RGB", fill=(255, 120, 120))
        page.choose(("red.png", red), ("x" * 100, b""), ("head.nii", volume()), ("a.png", png()))
        page.cards()
        page.tab.evaluate("document.querySelector('details').open = true")
        assert page.tab.evaluate("document.documentElement.scrollWidth") <= width
        if folder := os.environ.get("MEDBENCH_SCREENSHOTS"):
            page.tab.screenshot(path=f"{folder}/serve-{scheme}-{width}.png", full_page=True)
        found = Axe().run(page.tab).response["violations"]
        serious = {
            one["id"]: [node["html"][:200] for node in one["nodes"][:3]]
            for one in found
            if one["impact"] in ("serious", "critical")
        }
        assert serious == {}
