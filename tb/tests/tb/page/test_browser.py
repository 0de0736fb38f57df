"""The page in a browser: Debian's Chromium, from disk."""

import os
import shutil
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.actions.wheel_input import ScrollOrigin
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER),
    reason="not run: chromium is not installed (apt-get install chromium chromium-driver)",
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """Headless, and without a network."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    home = tmp_path_factory.mktemp("chromium")
    arguments = ["--headless=new", "--disable-gpu", "--disable-dev-shm-usage"]
    arguments += [f"--user-data-dir={home}", "--host-resolver-rules=MAP * ~NOTFOUND"]
    if os.geteuid() == 0:
        arguments.append("--no-sandbox")  # Chromium's does not run as root
    for argument in arguments:
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with webdriver.Chrome(options=options, service=Service(DRIVER)) as driver:
        driver.set_window_size(1400, 900)
        yield driver


@pytest.fixture
def opened(browser):
    """Opens a page; nothing may be wrong with it, nor with what the test then does."""

    def go(made):
        browser.get(made.path.as_uri())
        return browser

    yield go
    assert browser.get_log("browser") == []


def media(browser, scheme):
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


@pytest.fixture
def sized(opened, browser):
    """Opens a page in a window of a width."""

    def go(made, width):
        given = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", given)
        return opened(made)

    yield go
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def cursor(browser):
    """The values at the cursor of the waveform that is shown."""
    pairs = browser.find_elements(By.CSS_SELECTOR, "article:not([hidden]) .cursor div")
    shown = [pair.find_elements(By.CSS_SELECTOR, "dt, dd") for pair in pairs]
    return {name.text: value.text for name, value in shown}


def picture(browser):
    return browser.find_element(By.CSS_SELECTOR, "article:not([hidden]) .picture")


def shown(browser):
    """The titles of the waveforms that are shown."""
    titles = browser.find_elements(By.CSS_SELECTOR, "#waves h3")
    return [title.text for title in titles if title.is_displayed()]


def ticks(browser):
    """The cycles that are written above the picture."""
    script = """return [...arguments[0].querySelectorAll("svg > g > text.name")]
        .map((each) => Number(each.textContent))"""
    return browser.execute_script(script, picture(browser))


def boxes(browser, lane):
    """The boxes of a lane of the picture: the class of each."""
    script = """const [picture, lane] = arguments;
        const name = [...picture.querySelectorAll(".name")].find((e) => e.textContent === lane);
        const middle = (node) => {
            const at = node.getBoundingClientRect();
            return (at.top + at.bottom) / 2;
        };
        return [...picture.querySelectorAll(".value")]
            .filter((each) => Math.abs(middle(each) - middle(name)) < 8)
            .map((each) => each.getAttribute("class"))"""
    return browser.execute_script(script, picture(browser), lane)


@pytest.mark.parametrize("which", ["passing", "failing", "catalogue"])
def test_it_loads_from_disk(opened, request, which):
    browser = opened(request.getfixturevalue(which))
    assert browser.find_element(By.ID, "verdict").text[:4] in ("PASS", "FAIL")
    loaded = browser.execute_script("return performance.getEntriesByType('resource').length")
    assert loaded == 0
    assert browser.find_elements(By.CSS_SELECTOR, ".picture svg rect.moment")


def test_hostile_text_does_nothing(opened, failing):
    browser = opened(failing)
    assert not browser.find_elements(By.TAG_NAME, "img")
    assert "<script>alert(1)</script>" in browser.find_element(By.ID, "test-table").text


def test_keys_move_the_cursor_and_zoom(opened, failing):
    browser = opened(failing)
    keys = picture(browser).send_keys
    keys("m")
    at = int(cursor(browser)["cycle"])
    assert cursor(browser)["here"] == "where the test failed"
    keys(Keys.ARROW_LEFT)
    assert int(cursor(browser)["cycle"]) == at - 1 and "here" not in cursor(browser)
    keys(Keys.HOME)
    assert cursor(browser)["cycle"] == "0"
    keys(Keys.ARROW_RIGHT)
    assert cursor(browser)["state"] == "active-not-pending"
    keys(Keys.END)
    assert cursor(browser)["cycle"] == "30"  # the last is idle where a test ends well
    keys("0")
    whole = ticks(browser)
    assert (whole[0], whole[-1] >= 28) == (0, True)
    keys("+", "+")
    closer = ticks(browser)
    assert closer[-1] - closer[0] < (whole[-1] - whole[0]) / 2
    keys(Keys.SHIFT, Keys.ARROW_LEFT)
    assert ticks(browser)[0] < closer[0]
    keys(Keys.NULL, "-", "-", "-")
    assert ticks(browser) == whole


def test_buttons_and_the_wheel_zoom(opened, failing):
    browser = opened(failing)
    buttons = browser.find_element(By.CSS_SELECTOR, ".controls")
    press = {
        each.get_attribute("data-do"): each.click
        for each in buttons.find_elements("tag name", "button")
    }
    press["reset"]()
    whole = ticks(browser)
    press["in"]()
    assert len(ticks(browser)) and ticks(browser)[-1] - ticks(browser)[0] < whole[-1] - whole[0]
    press["right"](), press["left"](), press["out"]()
    assert ticks(browser) == whole
    press["moment"]()
    assert cursor(browser)["here"] == "where the test failed"
    press["reset"]()
    picture(browser).click()
    actions = webdriver.ActionChains(browser)
    actions.scroll_from_origin(ScrollOrigin.from_element(picture(browser)), 0, -600).perform()
    assert ticks(browser)[-1] - ticks(browser)[0] < whole[-1] - whole[0]


def test_a_click_puts_the_cursor_there_and_a_drag_moves_the_picture(opened, failing):
    browser = opened(failing)
    area = picture(browser)
    area.send_keys("0", Keys.HOME)
    webdriver.ActionChains(browser).move_to_element_with_offset(area, 50, 0).click().perform()
    assert 10 < int(cursor(browser)["cycle"]) < 22
    area.send_keys("+", "+")
    before = ticks(browser)
    drag = webdriver.ActionChains(browser)
    drag.move_to_element(area).click_and_hold().move_by_offset(150, 0).release().perform()
    assert ticks(browser)[0] < before[0]


def test_instructions_have_boxes_of_their_own(opened, passing):
    browser = opened(passing)
    browser.find_element(By.CSS_SELECTOR, "#test-table a[href='#wave-1']").click()
    picture(browser).send_keys("0")
    assert boxes(browser, "guest") == ["value"]
    assert boxes(browser, "hypervisor") == ["value"] * 28
    assert len(boxes(browser, "PC")) == 30
    assert len(boxes(browser, "EL")) == 3
    assert boxes(browser, "exception") == ["value s-alarm"]


def test_the_filter_and_the_links(opened, passing):
    browser = opened(passing)
    box = browser.find_element(By.ID, "filter")
    box.send_keys("toy steps")
    rows = browser.find_elements(By.CSS_SELECTOR, "#test-table tbody tr")
    assert [row.is_displayed() for row in rows].count(True) == 1
    assert browser.find_element(By.ID, "shown").text == "1 shown"
    box.clear()
    box.send_keys("no such test")
    assert not any(row.is_displayed() for row in rows)
    browser.execute_script("location.hash = '#test-0'")
    WebDriverWait(browser, 5).until(lambda _: rows[0].is_displayed())
    browser.find_element(By.ID, "failed-only").click()
    assert browser.find_element(By.ID, "shown").text == "0 shown"
    browser.find_element(By.ID, "failed-only").click()
    for link in browser.find_elements(By.CSS_SELECTOR, "nav a, #test-table a"):
        target = link.get_attribute("href").partition("#")[2]
        browser.execute_script("arguments[0].click()", link)
        script = "return document.getElementById(arguments[0]).getBoundingClientRect().top"
        bottom = browser.execute_script(
            "return scrollY + innerHeight >= document.documentElement.scrollHeight - 2"
        )
        assert abs(browser.execute_script(script, target)) < 80 or bottom


def test_a_link_shows_its_test_each_time(opened, passing):
    browser = opened(passing)
    row = browser.find_element(By.ID, "test-0")
    for _ in range(2):
        browser.find_element(By.ID, "filter").send_keys("no such test")
        assert not row.is_displayed()
        browser.find_element(By.CSS_SELECTOR, "#wave-0 h3 a").click()
        assert row.is_displayed()


# Which waveform is shown


def test_one_picture_is_drawn_and_another_when_it_is_linked_to(opened, passing):
    browser = opened(passing)
    assert len(shown(browser)) == 1
    assert len(browser.find_elements(By.CLASS_NAME, "picture")) == 1
    links = browser.find_elements(By.CSS_SELECTOR, "#test-table a[href^='#wave-']")
    links[1].click()
    assert shown(browser) == ["toy.steps [pysim, seed 1]"]
    assert len(browser.find_elements(By.CLASS_NAME, "picture")) == 2
    assert picture(browser).get_attribute("aria-label") == "Waveform of toy.steps [pysim, seed 1]"
    browser.back()
    browser.forward()
    assert shown(browser) == ["toy.steps [pysim, seed 1]"]


def test_a_link_from_elsewhere_shows_its_picture(opened, passing):
    browser = opened(passing)
    browser.get("about:blank")
    browser.get(passing.path.as_uri() + "#wave-2")
    assert shown(browser) == ["toy.tells [pysim, seed 1]"]
    top = "return document.getElementById('wave-2').getBoundingClientRect().top"
    assert 0 <= browser.execute_script(top) < browser.execute_script("return innerHeight")
    assert cursor(browser)["here"] == "the first step to EL2"


def test_keys_choose_the_picture(opened, passing):
    browser = opened(passing)
    choice = browser.find_element(By.ID, "choice")
    first, second, third = [each.text for each in choice.find_elements(By.TAG_NAME, "option")]
    choice.send_keys(second[:9])  # as a list is searched
    assert shown(browser) == [second]
    choice.send_keys(Keys.TAB)
    previous = browser.switch_to.active_element
    previous.send_keys(Keys.ENTER)
    assert shown(browser) == [first]
    previous.send_keys(Keys.ENTER)
    assert shown(browser) == [third]  # round the end
    assert choice.get_attribute("value") == "2"
    said = browser.find_element(By.CSS_SELECTOR, ".chooser output")
    assert said.get_attribute("textContent") == f"3 of 3: {third}"
    previous.send_keys(Keys.TAB)
    browser.switch_to.active_element.send_keys(Keys.SPACE)
    assert shown(browser) == [first]


def test_a_defects_waveform_is_marked_where_it_shows(opened, catalogue):
    browser = opened(catalogue)
    link = browser.find_element(By.CSS_SELECTOR, "#defect-table a[aria-label='waveform of M2']")
    browser.execute_script("arguments[0].click()", link)
    assert shown(browser) == ["catalogue.M2 [compiled, seed 1]"]
    row = browser.find_element(By.XPATH, "//*[@id='defect-table']//tr[contains(., 'M2:')]")
    assert cursor(browser)["cycle"] in [each.text for each in row.find_elements("tag name", "td")]
    assert cursor(browser)["here"] == "where the defect shows"
    verdict = row.find_element(By.LINK_TEXT, "caught, twin clean")
    verdict.click()
    assert browser.execute_script("return location.hash") == verdict.get_attribute("hash")
    row.find_element(By.TAG_NAME, "summary").send_keys(Keys.ENTER)
    assert "Without TDE debug exceptions go to EL1." in row.text


def test_the_proofs_open_by_keys(opened, failing):
    browser = opened(failing)
    topics = browser.find_elements(By.CSS_SELECTOR, ".topic summary")
    (state,) = [topic for topic in topics if topic.text.startswith("state: 1 refuted, ")]
    state.send_keys(Keys.ENTER)
    refuted = browser.find_element(By.CSS_SELECTOR, ".topic[open] a.refuted")
    refuted.click()
    article = browser.find_element(By.ID, "claim-state.table")
    top = "return arguments[0].getBoundingClientRect().top"
    assert abs(browser.execute_script(top, article)) < 60
    assert ["ss_after", "1", "0"] in [
        row.text.split() for row in article.find_elements(By.TAG_NAME, "tr")
    ]
    article.find_element(By.TAG_NAME, "summary").send_keys(Keys.ENTER)
    assert "cycle 0: [start]" in article.text


def test_a_command_can_be_copied(opened, failing):
    browser = opened(failing)
    button = browser.find_element(By.CSS_SELECTOR, "article button.copy")
    button.click()
    WebDriverWait(browser, 5).until(lambda _: button.text != "copy")
    assert button.text in ("copied", "selected")
    assert button.get_attribute("aria-label").lower().startswith(f"{button.text} the command")
    WebDriverWait(browser, 5).until(lambda _: button.text == "copy")
    assert button.get_attribute("aria-label").startswith("Copy the command")


def test_tab_reaches_the_picture_and_the_focus_is_seen(opened, failing):
    browser = opened(failing)
    for _ in range(60):
        browser.switch_to.active_element.send_keys(Keys.TAB)
        if browser.switch_to.active_element.get_attribute("role") == "application":
            break
    script = "return getComputedStyle(document.activeElement).outlineWidth"
    assert browser.execute_script(script) == "3px"
    browser.switch_to.active_element.send_keys(Keys.HOME)
    assert cursor(browser)["cycle"] == "0"


@pytest.mark.parametrize("width", [390, 1400])
@pytest.mark.parametrize("which", ["passing", "failing", "catalogue"])
def test_nothing_is_wider_than_the_window(sized, request, which, width):
    browser = sized(request.getfixturevalue(which), width)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("width", [1000, 1400])
@pytest.mark.parametrize("which", ["passing", "failing", "catalogue"])
def test_the_tests_fit_beside_each_other(sized, request, which, width):
    browser = sized(request.getfixturevalue(which), width)
    script = """return [...document.querySelectorAll("#tests .scroll")]
        .map((each) => [each.scrollWidth, each.clientWidth])"""
    found = browser.execute_script(script)
    assert found and all(wide <= fits for wide, fits in found)


@pytest.mark.parametrize("width", [390, 700, 1000])
def test_what_a_failure_says_has_room(sized, failing, width):
    browser = sized(failing, width)
    script = """return [...document.querySelectorAll("#test-table pre")]
        .filter((each) => each.checkVisibility()).map((each) => each.offsetWidth)"""
    found = browser.execute_script(script)
    assert found and min(found) >= 15 * 16


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("which", ["passing", "failing", "catalogue"])
def test_axe_finds_nothing(opened, request, which, scheme):
    axe = pytest.importorskip("axe_core_python", reason="not run: axe-core-python is not installed")
    browser = opened(request.getfixturevalue(which))
    media(browser, scheme)
    browser.execute_script(Path(axe.__path__[0], "axe.min.js").read_text())
    browser.execute_script(
        "for (const each of document.querySelectorAll('details')) each.open = true"
    )
    script = "axe.run().then(arguments[0], (error) => arguments[0]({violations: [String(error)]}))"
    found = browser.execute_async_script(script)
    media(browser, "")
    assert [(each["id"], each["nodes"]) for each in found["violations"]] == []
