"""A real headless Chromium, driven by chromedriver, and what a person sees in it."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
from typing import Any

from selenium.webdriver import ChromeOptions, Remote
from selenium.webdriver.chromium.remote_connection import ChromiumRemoteConnection
from selenium.webdriver.remote.webelement import WebElement

from harness import process, wait_until
from harness.ports import HOST, free_port

SEEN = 20  # s, until something must have reached the page: the daemon counts the table every few seconds


class Browser:
    """One window. Each page that is opened begins with the look of a desktop and without a token."""

    def __init__(self) -> None:
        port = free_port()
        self._driver_process = process.spawn(["chromedriver", f"--port={port}"], stdin=subprocess.DEVNULL,
                                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        options = ChromeOptions()
        for flag in ("--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--lang=en"):
            options.add_argument(flag)
        if os.geteuid() == 0:
            options.add_argument("--no-sandbox")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        wait_until(lambda: self._answers(port), 60, "chromedriver")
        # The connection that knows Chromium's own commands too.
        connection = ChromiumRemoteConnection(f"http://{HOST}:{port}", "goog", "chrome", keep_alive=True)
        self.driver = Remote(connection, options=options)
        self.driver.set_script_timeout(30)

    def _answers(self, port: int) -> bool:
        if self._driver_process.poll() is not None:
            raise RuntimeError("chromedriver has ended: is it installed?")
        with socket.socket() as probe:
            return probe.connect_ex((HOST, port)) == 0

    def close(self) -> None:
        try:
            self.driver.quit()
        finally:
            process.signal_group(self._driver_process, signal.SIGKILL)
            self._driver_process.wait(10)

    def cdp(self, command: str, **parameters: Any) -> Any:
        return self.driver.execute("executeCdpCommand", {"cmd": command, "params": parameters})["value"]

    def look(self, width: int = 1200, height: int = 900, scheme: str = "light", phone: bool = False) -> None:
        self.cdp("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)
        self.cdp("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def open(self, url: str) -> Page:
        self.look()
        self.driver.get_log("browser")  # forgets what is there
        self.driver.get(url)
        return Page(self)


class Page:
    """The status page by the ids of its elements."""

    def __init__(self, browser: Browser) -> None:
        self.browser = browser

    def js(self, script: str, *arguments: Any) -> Any:
        return self.browser.driver.execute_script(script, *arguments)

    def element(self, selector: str) -> WebElement:
        return self.browser.driver.find_element("css selector", selector)

    def elements(self, selector: str) -> list[WebElement]:
        return self.browser.driver.find_elements("css selector", selector)

    def click(self, selector: str) -> None:
        self.element(selector).click()

    def type(self, selector: str, text: str) -> None:
        self.element(selector).send_keys(text)

    def text(self, id: str) -> str:
        """What can be read there: nothing, when it is hidden."""
        return str(self.js("return document.getElementById(arguments[0]).innerText", id))

    def see(self, id: str, pattern: str, timeout: float = SEEN) -> str:
        """Waits until the text of an element matches, and returns it."""
        try:
            return wait_until(lambda: (text := self.text(id)) and re.search(pattern, text) and text, timeout, pattern)
        except TimeoutError:
            raise AssertionError(f"#{id} says {self.text(id)!r}, not {pattern!r}; the page:\n"
                                 f"{self.js('return document.body.innerText')}") from None

    def letters(self) -> list[str]:
        """The ids of the dead letters that are listed."""
        return self.js("return [...document.querySelectorAll('#dead > li')].map(li => li.dataset.id)")

    def see_letters(self, *ids: int) -> None:
        wanted = [str(id) for id in ids]
        try:
            wait_until(lambda: self.letters() == wanted, SEEN, "the dead letters")
        except TimeoutError:
            raise AssertionError(f"it lists {self.letters()}, not {wanted}; {self.text('dead-note')}") from None

    def focus(self) -> str:
        """What has the keyboard, in the words of a screen reader."""
        return str(self.js("const e = document.activeElement; return e.getAttribute('aria-label') ?? e.innerText"))

    def complaints(self) -> list[str]:
        """What the browser has said of the page since it was opened or last asked, but for refused connections."""
        return [line["message"] for line in self.browser.driver.get_log("browser")
                if not re.search(r"ERR_CONNECTION_|status of 401|ERR_EMPTY_RESPONSE", line["message"])]
