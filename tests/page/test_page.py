"""The status page in a real browser, served by the daemon, with a real PostgreSQL and a real Elasticsearch."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from typing import Any

import pytest
from browser import Page
from conftest import HOSTILE, TOKEN, Pinned, Site
from selenium.webdriver import ActionChains
from selenium.webdriver.common.keys import Keys

from harness import Database, Elastic, FaultProxy, wait_until
from harness.outboxd import ROOT
from integration.helpers import dead, publish, publish_many

MakeSite = Callable[..., Site]
OpenPage = Callable[[Site], Page]

FIX = "UPDATE outbox SET data = '{\"price\": 7}' WHERE dead_at IS NOT NULL"
# Every text that can be seen, with its contrast against what is behind it (WCAG 2).
CONTRASTS = """
const light = c => { const [r, g, b] = c.match(/[\\d.]+/g).map(v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
	return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
const back = e => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor; if (!/, 0\\)$/.test(c)) return c; } };
const found = [], walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walk.nextNode()) {
	const e = walk.currentNode.parentElement;
	if (!walk.currentNode.data.trim() || !e.checkVisibility() || e.closest('script, noscript')) continue;
	const a = light(getComputedStyle(e).color), b = light(back(e));
	found.push([walk.currentNode.data.trim(), (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)]);
}
return found;
"""


def kill_letters(db: Database, index: str, *names: str) -> None:
    """Events that this index refuses for good, once delivered."""
    publish_many(db, index, [(name, {"price": "much"}) for name in names])


# Whether anything of HOSTILE ran, and how many elements there are of the kinds that could make it run.
STRANGE = "return [window.hacked ?? null, document.querySelectorAll('img, iframe, object, script').length]"


def statuses_asked(page: Page) -> int:
    return int(page.js("return performance.getEntriesByType('resource').filter(e => e.name.endsWith('/status')).length"))


# -- what it shows


def test_figures(db: Database, elastic: Elastic, index: str, site: MakeSite, open_page: OpenPage) -> None:
    blocked = f"{index}-blocked"
    elastic.create_index(blocked)
    elastic.call("PUT", f"/{blocked}/_settings", {"index.blocks.write": True})
    try:
        page = open_page(site(relay_workers=3))
        publish_many(db, index, [(str(n), {"price": n}) for n in range(5)])
        publish_many(db, blocked, [(str(n), {"price": n}) for n in range(7)])

        page.see("about", r"^\d+\.\d+\.\d+ · table outbox · running for \d")
        page.see("pending", r"^7$")
        page.see("dead-count", r"^0$")
        page.see("lag", r"^(?!0 s)\d+(\.\d)? s$")
        page.see("counted", r"^counted \d.* ago$")
        page.see("events", r"Delivered\s+5\b|delivered\s+5\b")
        page.see("rate", r"^(?!0$)[\d.]+$")
        page.see("delivery", r"^[\d.]+ (ms|s) / [\d.]+ (ms|s)$")
        page.see("bulk", r"^[\d.]+ (ms|s) / [\d.]+ (ms|s)$")
        page.see("last", r"^\d.* ago$")
        page.see("workers", r"^\d [a-z]")
        page.see("servers", r"(?s)PostgreSQL\s+up\s+for \d.*Elasticsearch\s+up\s+for \d")
        assert elastic.url in page.text("servers")
        page.see("indexes", re.escape(blocked))
        assert "cluster_block_exception" in page.text("indexes")
        page.see("state", r"^1 index paused")
        page.see("dead-note", "There are none")
        assert page.browser.driver.title == "1 index paused - outboxd"
        # What there is nothing to say of is not there.
        assert page.text("reasons") == "" and not page.element("#requeue-all").is_displayed()
        assert sum(int(n) for n in re.findall(r"\d+", page.text("workers"))) == 3
        assert page.js("return document.querySelector('#spark path').getAttribute('d')").startswith("M")

        elastic.call("PUT", f"/{blocked}/_settings", {"index.blocks.write": None})
        page.see("state", r"^Delivering\s+Nothing is pending")
        assert page.text("lag") == "0 s" and page.text("pending") == "0" and page.text("indexes") == ""
    finally:
        elastic.delete_index(blocked)


def test_a_server_that_is_away(elastic: Elastic, site: MakeSite, open_page: OpenPage, db: Database, index: str) -> None:
    with FaultProxy(elastic.port) as proxy:
        page = open_page(site(elasticsearch_url=proxy.url))
        proxy.refuse()
        publish(db, index, "1", {"price": 1})
        page.see("servers", r"Elasticsearch\s+away\s+for \d")
        page.see("state", r"^Not ready\s+\S")
        page.see("errors", r"elasticsearch_away")
        page.see("pending", r"^1$")

        proxy.pass_all()
        page.see("servers", r"Elasticsearch\s+up")
        page.see("state", r"^Delivering")


def test_daemon_gone_and_back(site: MakeSite, open_page: OpenPage) -> None:
    there = site()
    page = open_page(there)
    page.see("state", r"^Delivering")
    there.daemon.kill9()
    page.see("state", r"^No answer\s+for \d+ s \(no connection\)\. What is below is from \d")
    page.see("state", r"for [3-9] s")  # it counts
    assert page.browser.driver.title == "No answer - outboxd"

    there.start()
    page.see("state", r"^Delivering")
    assert page.browser.driver.title == "Delivering - outboxd"


def test_nobody_asks_while_nobody_looks(site: MakeSite, open_page: OpenPage) -> None:
    page = open_page(site())
    driver = page.browser.driver
    seen = statuses_asked(page)
    wait_until(lambda: statuses_asked(page) > seen, 20, "the page to ask again")
    driver.minimize_window()
    try:
        wait_until(lambda: page.js("return document.hidden"), 10, "the page to be hidden")
        asked = wait_until(lambda: page.js("return !asking") and statuses_asked(page), 10, "the last answer")
        # A slow machine can only make fewer questions of this.
        driver.execute_async_script("setTimeout(arguments[0], 3 * EVERY)")
        assert statuses_asked(page) == asked
    finally:
        driver.set_window_rect(0, 0, 1200, 900)
    wait_until(lambda: statuses_asked(page) > asked, 20, "it to ask again")


# -- what strangers wrote


def test_what_strangers_wrote_is_text(db: Database, index: str, site: MakeSite, open_page: OpenPage) -> None:
    page = open_page(site())
    publish(db, index, HOSTILE, {"price": HOSTILE})
    publish(db, HOSTILE.replace(" ", ""), "2", {"price": 2})  # no index can be called that
    page.see_letters(1, 2)
    page.see("reasons", r"document_parsing_exception")
    shown = page.text("dead")
    assert f"{index} / {HOSTILE}" in shown and HOSTILE.replace(" ", "") + " / 2" in shown
    assert dead(db)[1]["reason"][:60] in shown and HOSTILE[:20] in dead(db)[1]["reason"]
    assert page.js(STRANGE) == [None, 1]  # the page's own script


def test_policy(site: MakeSite, open_page: OpenPage) -> None:
    """The browser runs what was built in, and nothing else."""
    there = site()
    source = (ROOT / "src" / "run" / "page.html").read_bytes()
    policy = there.headers()["Content-Security-Policy"]
    for name in (b"script", b"style"):
        (text,) = re.findall(b"<%s>(.*)</%s>" % (name, name), source, re.DOTALL)
        hashed = base64.b64encode(hashlib.sha256(text).digest()).decode()
        assert f"{name.decode()}-src 'sha256-{hashed}'" in policy
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert len(source) < 25_000

    page = open_page(there)
    page.see("dead-note", "There are none")
    page.js("const s = document.createElement('script'); s.textContent = 'window.hacked = 1'; document.body.append(s)")
    assert page.js("return window.hacked") is None
    assert any("Content Security Policy" in line for line in page.complaints())
    page.see("dead-note", "There are none")
    # Self-contained: all that it ever asked for is the daemon's own answers.
    asked = page.js("return performance.getEntriesByType('resource').map(e => e.name)")
    assert {url.split("?")[0] for url in asked} == {there.url + "status", there.url + "dead"}


# -- what it does


def test_requeue_one(db: Database, elastic: Elastic, index: str, site: MakeSite, open_page: OpenPage) -> None:
    page = open_page(site())
    kill_letters(db, index, "a", "b", "c")
    page.see_letters(1, 2, 3)
    page.see("state", r"^3 dead letters")
    page.see("reasons", r"^3\s+document_parsing_exception\s+1$")
    assert re.search(rf"2\s*{index} / b\s+document_parsing_exception(?s:.*)HTTP 400, 1 attempt, dead since \d{{4}}-",
                     page.text("dead"))
    db.execute(FIX)

    page.element("#dead > li:nth-child(2) button").send_keys(Keys.ENTER)

    page.see("said", r"^1 event requeued\.$")
    page.see_letters(1, 3)
    wait_until(lambda: page.focus() == "Requeue event 3", 10, "the keyboard to be at the next letter")
    wait_until(lambda: elastic.get(index, "b"), 20, "the event to be delivered")
    page.see("dead-count", r"^2$")
    assert not page.element("#token-form").is_displayed()


def test_requeue_all_asks_first(db: Database, index: str, site: MakeSite, open_page: OpenPage) -> None:
    page = open_page(site())
    kill_letters(db, index, *(f"k{n}" for n in range(60)))
    page.see("dead-note", r"first 50; there are more")
    assert len(page.letters()) == 50
    page.click("#requeue-all")
    assert "all dead letters" in page.text("confirm-text")
    assert page.focus() == "Cancel"
    ActionChains(page.browser.driver).send_keys(Keys.ESCAPE).perform()
    assert not page.element("#confirm").is_displayed()
    assert page.focus() == "Requeue all"
    assert len(dead(db)) == 60
    db.execute(FIX)

    page.click("#requeue-all")
    page.click("#confirm-yes")

    page.see("said", r"^60 events requeued\.$")
    page.see_letters()
    page.see("state", r"^Delivering")
    assert not page.element("#requeue-all").is_displayed()


def test_a_letter_that_is_refused_again_comes_back(db: Database, index: str, site: MakeSite,
                                                   open_page: OpenPage) -> None:
    there = site()
    kill_letters(db, index, "a")
    wait_until(lambda: dead(db), 30, "a dead letter")
    db.execute("UPDATE outbox SET dead_at = dead_at - interval '1 day'")
    page = open_page(there)
    page.see_letters(1)
    first = page.text("dead")
    page.click("#dead button")
    wait_until(lambda: page.letters() == ["1"] and page.text("dead") != first, 30, "the letter with its new time")


def test_ids_are_64_bits_wide(db: Database, index: str, site: MakeSite, open_page: OpenPage) -> None:
    """A double has 53: these two would be one."""
    ids = (2**53, 2**53 + 1)
    page = open_page(site())
    for id in ids:
        db.execute("INSERT INTO outbox (id, aggregate_type, aggregate_id, data) OVERRIDING SYSTEM VALUE "
                   "VALUES (%s, %s, %s, '{\"price\": \"much\"}')", [id, index, str(id)])
    page.see_letters(*ids)
    db.execute(FIX)
    page.click("#dead > li:last-child button")
    page.see_letters(ids[0])
    assert list(dead(db)) == [ids[0]]


def test_pause_and_resume(db: Database, elastic: Elastic, index: str, site: MakeSite, open_page: OpenPage) -> None:
    page = open_page(site())
    page.see("pause", "^Pause$")
    page.click("#pause")
    page.see("state", r"^Paused")
    page.see("said", r"^Paused\.$")
    page.see("pause", "^Resume$")
    publish(db, index, "1", {"price": 1})
    page.see("pending", "^1$")
    assert elastic.get(index, "1") is None
    page.click("#pause")
    page.see("state", r"^Delivering")
    wait_until(lambda: elastic.get(index, "1"), 20, "the event to be delivered")


def test_token(db: Database, elastic: Elastic, index: str, site: MakeSite, open_page: OpenPage) -> None:
    page = open_page(site(token=True))
    kill_letters(db, index, "a", "b")
    page.see("token-note", "This needs the token")
    assert page.letters() == []
    page.type("#token", "wrong\n")
    page.see("token-note", "not accepted")
    assert page.letters() == []

    page.type("#token", TOKEN + "\n")
    page.see_letters(1, 2)
    page.see("dead-count", "^2$")
    assert not page.element("#token-form").is_displayed()
    assert page.js("return [localStorage.length, document.cookie, document.documentElement.outerHTML.includes("
                   "arguments[0]), location.href.includes(arguments[0])]", TOKEN) == [0, "", False, False]

    db.execute(FIX)
    page.browser.driver.refresh()  # the tab still knows it
    page.see_letters(1, 2)
    page.click("#dead button")
    page.see_letters(2)
    wait_until(lambda: elastic.get(index, "a"), 20, "the event to be delivered")

    page.click("#forget")
    page.see("token-note", "This needs the token")
    assert page.letters() == [] and list(dead(db)) == [2]
    assert page.js("return sessionStorage.length") == 0


def test_a_button_when_the_token_was_changed(db: Database, index: str, site: MakeSite, open_page: OpenPage) -> None:
    there = site(token=True)
    page = open_page(there)
    page.type("#token", TOKEN + "\n")
    kill_letters(db, index, "a")
    page.see_letters(1)
    there.daemon.settings["admin_token_file"].write_text("another-token\n")
    page.click("#dead button")
    page.see("said", "not accepted")
    wait_until(lambda: page.js("return document.activeElement.id") == "token", 10, "the keyboard to be at the token")
    assert page.letters() == [] and list(dead(db)) == [1]


def test_a_button_when_the_daemon_is_gone(db: Database, index: str, site: MakeSite, open_page: OpenPage) -> None:
    there = site()
    page = open_page(there)
    kill_letters(db, index, "a")
    page.see_letters(1)
    there.daemon.kill9()
    page.click("#dead button")
    page.see("said", r"\S")
    assert page.js("return document.getElementById('said').className") == "bad"
    page.see("state", "^No answer")
    assert page.letters() == ["1"] and list(dead(db)) == [1]


# -- how it looks


@pytest.fixture
def busy(db: Database, elastic: Elastic, index: str, pinned: Pinned, site: MakeSite, open_page: OpenPage) -> Any:
    """A page with something in every section, of the kind that breaks layouts: long, and without a place to break."""
    blocked = f"{index}-{'blocked' * 15}"
    elastic.create_index(blocked)
    elastic.call("PUT", f"/{blocked}/_settings", {"index.blocks.write": True})
    page = open_page(site(token=True, **pinned.settings))
    page.type("#token", TOKEN + "\n")
    kill_letters(db, index, "k" * 400, "a")
    publish(db, blocked, "b", {"price": 1})
    page.see_letters(1, 2)
    page.see("indexes", "blocked")
    page.see("horizon", "transaction", timeout=30)
    yield page
    elastic.delete_index(blocked)


@pytest.mark.parametrize("width", [360, 768, 1200])
def test_no_sideways_scrolling(busy: Page, width: int) -> None:
    busy.browser.look(width=width, height=740, phone=width == 360)
    inner, seen, needed = busy.js("const e = document.documentElement; return [innerWidth, e.clientWidth, e.scrollWidth]")
    assert inner == width and seen == needed
    # Nothing is cut off either, and a finger hits every button.
    outside = busy.js("return [...document.querySelectorAll('body *')].filter(e => e.checkVisibility() && "
                      "e.getBoundingClientRect().right > innerWidth).map(e => e.outerHTML.slice(0, 80))")
    assert outside == []
    heights = busy.js("return [...document.querySelectorAll('button')].filter(e => e.checkVisibility())"
                      ".map(e => Math.round(e.getBoundingClientRect().height))")
    assert 32 <= min(heights) and max(heights) < 40, "one line each"
    # Nor is text squeezed into a column of letters.
    squeezed = busy.js("return [...document.querySelectorAll('td')].filter(e => e.checkVisibility() && "
                       "e.innerText.length > 20 && e.getBoundingClientRect().width < 150).map(e => e.innerText)")
    assert squeezed == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark(busy: Page, scheme: str) -> None:
    busy.browser.look(scheme=scheme)
    back = [int(n) for n in re.findall(r"\d+", busy.js("return getComputedStyle(document.body).backgroundColor"))]
    assert min(back) > 230 if scheme == "light" else max(back) < 40
    found = busy.js(CONTRASTS)
    assert len(found) > 40
    assert [line for line in found if line[1] < 4.5] == []


def test_for_a_screen_reader(busy: Page) -> None:
    """By the browser's own accessibility tree."""
    nodes = busy.browser.cdp("Accessibility.getFullAXTree")["nodes"]
    roles = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if not node["ignored"]]
    controls = [name for role, name in roles if role in ("button", "textbox", "link")]
    assert {"Pause", "Requeue all", "Requeue event 1", "Requeue event 2", "Forget it"} <= set(controls)
    assert all(controls)
    headings = [name for role, name in roles if role == "heading"]
    assert headings == ["outboxd", "Servers", "Events since the start", "Paused indexes",
                        "What holds back the horizon", "Last errors", "Dead letters"]
    assert sum(role == "status" for role, _ in roles) == 2
    assert {"main", "banner", "table", "row", "columnheader"} <= {role for role, _ in roles}
    assert busy.js("return document.documentElement.lang") == "en"


def test_by_keyboard_alone(busy: Page) -> None:
    keys = ActionChains(busy.browser.driver)
    reached = []
    for _ in range(16):  # at least twice around
        keys.send_keys(Keys.TAB).perform()
        reached.append(busy.focus())
    reached = reached[reached.index("Pause"):]
    assert reached[:6] == ["Pause", "Forget it", "list", "Requeue all", "Requeue event 1", "Requeue event 2"]
    # A refresh moves nothing.
    busy.js("document.querySelector('#dead > li:nth-child(2) button').focus()")
    seen = statuses_asked(busy)
    wait_until(lambda: statuses_asked(busy) > seen + 1, 20, "two refreshes")
    assert busy.focus() == "Requeue event 2"
    assert busy.js("return getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_the_holder_of_the_horizon(pinned: Pinned, site: MakeSite, open_page: OpenPage) -> None:
    page = open_page(site(**pinned.settings))
    shown = page.see("horizon", "transaction", timeout=30)
    assert shown.startswith(f"open transaction, {HOSTILE[:60]}, user ")
    assert f"pid {pinned.connection.info.backend_pid}, for " in shown
    assert page.js(STRANGE) == [None, 1]
    pinned.connection.rollback()
    wait_until(lambda: not page.element("#s-horizon").is_displayed(), 30, "the section to go")
