"""The page in headless Chromium, on a desk's and on a phone's width, in both themes."""

import pytest
from made_run import made_record

import browser_page
from scarlet_tf.report.render import page as rendered

WIDTHS, THEMES = (1440, 360), ("light", "dark")
PLOT_TEXT = "document.querySelector('#front-plot .area').layout.font.color"
PAGE_TEXT = "getComputedStyle(document.documentElement).getPropertyValue('--text').trim()"
# WCAG 2.1's contrast of two colours "rgb(r, g, b)".
CONTRAST = """([front, back]) => {
  const light = (colour) => {
    const parts = colour.match(/[\\d.]+/g).slice(0, 3).map((part) => part / 255);
    const linear = parts.map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  };
  const [low, high] = [light(front), light(back)].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
}"""


@pytest.fixture(scope="module")
def chromium():
    try:
        with browser_page.open_chromium() as browser:
            yield browser
    except browser_page.MissingProgram as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(rendered(made_record()), encoding="utf-8")
    return path.as_uri()


@pytest.fixture(scope="module", params=WIDTHS)
def tab(request, chromium, address):
    """The page as it opens; what it logged and asked for is kept on the tab."""
    viewport = {"width": request.param, "height": 900}
    context = chromium.new_context(viewport=viewport, color_scheme=THEMES[0], has_touch=request.param < 500)
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    tab = context.new_page()
    tab.complaints, tab.requests = [], []
    tab.on("console", lambda message: tab.complaints.append(message.text))
    tab.on("pageerror", lambda error: tab.complaints.append(str(error)))
    tab.on("request", lambda asked: tab.requests.append(asked.url))
    tab.goto(address)
    tab.wait_for_selector("#front-plot .main-svg")
    yield tab
    context.close()


@pytest.fixture(params=THEMES)
def themed(request, tab):
    """The tab in one of the themes, with its plots drawn anew."""
    tab.emulate_media(color_scheme=request.param)
    wait_for(tab, f"{PLOT_TEXT} === {PAGE_TEXT}")
    return tab


def wait_for(tab, condition):
    """As playwright's wait_for_function, which the page's policy forbids."""
    for _ in range(200):
        if tab.evaluate(condition):
            return
        tab.wait_for_timeout(25)
    raise AssertionError(f"never came true: {condition}")


def point(tab, trace, number):
    """The middle of a point of the front's plot on the screen."""
    tab.locator("#front-plot .area").scroll_into_view_if_needed()
    box = tab.locator(f"#front-plot .scatterlayer .trace:nth-child({trace}) .point >> nth={number}").bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def shown(tab):
    return [one.get_attribute("id") for one in tab.locator(".network:visible").all()]


def test_the_first_key_leads_past_the_navigation(tab):
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.className") == "to-content"
    assert tab.locator(".to-content").bounding_box()["y"] >= 0


def test_every_plot_is_drawn_and_the_page_never_scrolls_sideways(themed):
    plots = themed.locator(".plot .area").count()
    assert plots == 7 and themed.locator(".plot .area > .plot-container").count() == plots
    themed.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert themed.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_plots_follow_the_theme_when_it_changes(tab):
    tab.emulate_media(color_scheme="light")
    wait_for(tab, f"{PLOT_TEXT} === '#1b1e22'")
    tab.emulate_media(color_scheme="dark")
    wait_for(tab, f"{PLOT_TEXT} === '#e7e9ec'")


def test_hovering_over_a_point_says_which_network_it_is(tab):
    tab.mouse.move(*point(tab, 2, 0))
    label = tab.locator("#front-plot .hoverlayer .hovertext")
    label.wait_for()
    assert "3,3,3,3" in label.text_content() and "20.00 %" in label.text_content()
    tab.mouse.move(1, 1)


def test_clicking_a_point_shows_the_drawing_and_the_command(tab):
    tab.get_by_role("button", name="Show 2").click()
    tab.mouse.click(*point(tab, 2, 0))
    tab.locator("#network-1").wait_for(state="visible")
    assert shown(tab) == ["network-1"]
    panel = tab.locator("#network-1")
    assert panel.locator("svg.drawing").is_visible()
    assert panel.locator("code").text_content().startswith("mkdir -p runs/made_network_1 && cp -r ")
    assert tab.locator("#status").text_content() == "Network 1, pick 0 is shown."


def test_the_keyboard_shows_a_network_and_its_command_and_copies_it(tab):
    tab.get_by_role("button", name="Show 2").press("Enter")
    assert shown(tab) == ["network-2"]
    button = tab.get_by_role("button", name="Show 1")
    button.focus()
    tab.keyboard.press("Space")
    assert shown(tab) == ["network-1"]
    assert button.get_attribute("aria-pressed") == "true"
    panel = tab.locator("#network-1")
    panel.get_by_role("button", name="Copy the command").press("Enter")
    panel.get_by_text("Copied").wait_for()
    assert tab.evaluate("navigator.clipboard.readText()") == panel.locator("code").text_content()


def test_another_axis_moves_the_points(tab):
    read = "document.querySelector('#front-plot .area').data.find((trace) => trace.name === 'front').x"
    assert tab.evaluate(read) == [0.1, 0.3]
    tab.get_by_label("Horizontal axis").select_option("parameters")
    assert tab.evaluate(read) == [0.001, 0.003]
    tab.get_by_label("Horizontal axis").select_option("multiply-adds")
    assert tab.evaluate(read) == [0.1, 0.3]


def style(tab, selector, name):
    return tab.locator(selector).first.evaluate(f"element => getComputedStyle(element).{name}")


def test_text_and_drawing_have_enough_contrast(themed):
    tab = themed
    page, card = style(tab, "body", "backgroundColor"), style(tab, ".card", "backgroundColor")
    on_page = ("body", ".headline", "a", "summary", ".plot > p", "td", "thead th")
    on_card = (".card h3", ".card .value", ".network dt")
    for behind, selectors in ((page, on_page), (card, on_card)):
        for selector in selectors:
            assert tab.evaluate(CONTRAST, [style(tab, selector, "color"), behind]) >= 4.5, selector
    for number in range(3):
        bar = style(tab, f"rect.bar.kernel-{number}", "fill")
        assert min(tab.evaluate(CONTRAST, [bar, behind]) for behind in (page, card)) >= 3
        assert tab.evaluate(CONTRAST, [style(tab, f".on-kernel-{number}", "fill"), bar]) >= 4.5


def test_after_all_that_it_has_logged_nothing_and_asked_for_nothing_but_itself(tab, address):
    assert tab.complaints == []
    assert tab.requests == [address]
