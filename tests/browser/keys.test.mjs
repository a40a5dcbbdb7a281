// Keys, definitions, theme, and a page that tells what is new.
import assert from "node:assert/strict";
import { connect, createServer } from "node:net";
import { after, before, test } from "node:test";
import { api, base, launch, open, pages, visit } from "./support.mjs";

let browser, all;

before(async () => {
  browser = await launch();
  all = await pages();
});
after(() => browser.close());

const within = async (options, look) => {
  const page = await open(browser, options);
  try {
    await look(page);
    assert.deepEqual(page.faults, []);
  } finally {
    await page.context().close();
  }
};

test("keys find, move, open, lead to the sections and explain themselves", () => within({}, async (page) => {
  await visit(page, "/requests");
  await page.keyboard.press("/");
  assert.equal(await page.evaluate(() => document.activeElement.id), "q");
  await page.keyboard.type("j/?gt");
  assert.equal(await page.inputValue("#q"), "j/?gt", "in a field keys are letters");
  await page.evaluate(() => document.activeElement.blur());
  await page.keyboard.press("j");
  await page.keyboard.press("j");
  await page.keyboard.press("k");
  const links = page.locator("tr[data-row] a[href]");
  const first = await page.locator("tr[data-row]").first().locator("a[href]").first().getAttribute("href");
  assert.ok((await links.count()) > 1);
  assert.equal(await page.evaluate(() => document.activeElement.getAttribute("href")), first);
  await page.keyboard.press("Enter");
  await page.waitForURL(base + first);
  await page.keyboard.press("g");
  await page.keyboard.press("t");
  await page.waitForURL(`${base}/`);
  await page.keyboard.press("?");
  const dialog = page.getByRole("dialog", { name: "Keys" });
  assert.ok(await dialog.isVisible());
  await page.keyboard.press("Escape");
  assert.equal(await dialog.isVisible(), false);
}));

test("a definition shows on hover and on focus, stays under the pointer, goes with Escape and moves nothing", () => within({}, async (page) => {
  await visit(page, all.request);
  const term = page.locator("main span.term").first();
  const [button, tip] = [term.locator("button"), term.locator(".tip")];
  const before = await page.evaluate(() => document.documentElement.scrollHeight);
  assert.equal(await tip.isVisible(), false);
  await button.hover();
  await tip.waitFor({ state: "visible" });
  await tip.hover();
  assert.ok(await tip.isVisible(), "the pointer may move onto it");
  await page.keyboard.press("Escape");
  await tip.waitFor({ state: "hidden" });
  await page.mouse.move(0, 0);
  await button.focus();
  await tip.waitFor({ state: "visible" });
  assert.equal(await button.getAttribute("aria-describedby"), await tip.getAttribute("id"));
  assert.equal(await page.evaluate(() => document.documentElement.scrollHeight), before);
  await page.keyboard.press("Escape");
  await tip.waitFor({ state: "hidden" });
}));

test("a chosen theme is kept and wins over the system's", () => within({ colorScheme: "light" }, async (page) => {
  await visit(page, "/");
  const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const light = await ground();
  await page.getByLabel("Theme").selectOption("dark");
  const dark = await ground();
  assert.notEqual(dark, light);
  await visit(page, "/requests");
  assert.equal(await ground(), dark);
  await page.getByLabel("Theme").selectOption("system");
  assert.equal(await ground(), light);
}));

const submit = async () => {
  const body = { type: "access", systems: ["newsletter"], subject: { identifiers: [{ type: "email", value: `new-${Date.now()}@example.com` }] } };
  const answer = await api("/v1/requests", { method: "POST", body });
  assert.equal(answer.status, 202, answer.text);
  return answer.json().id;
};

test("what is new is told, shown when it is asked for, and caught up with after a lost connection", () => within({}, async (page) => {
  await visit(page, "/requests");
  const live = page.locator("[data-live-text]");
  await live.filter({ hasText: "live" }).waitFor();
  const one = await submit();
  const bar = page.locator(".news");
  await bar.waitFor();
  assert.match(await bar.innerText(), /^\d+ changes? · show$/);
  assert.equal(await page.locator("main", { hasText: one }).count(), 0, "nothing moves by itself");
  await page.evaluate(() => { window.kept = true; });
  await bar.click();
  await page.locator("main", { hasText: one }).waitFor();
  assert.ok(await page.evaluate(() => window.kept), "the page was not loaded anew");
  assert.equal(await bar.count(), 0);

  await page.context().setOffline(true);
  await page.evaluate(() => {
    // The connection that stands is cut too.
    Object.defineProperty(document, "hidden", { value: true, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
  });
  const two = await submit();
  await page.waitForTimeout(600);
  assert.equal(await bar.count(), 0);
  await page.context().setOffline(false);
  await page.evaluate(() => {
    delete document.hidden;
    document.dispatchEvent(new Event("visibilitychange"));
  });
  await bar.waitFor();
  await bar.click();
  await page.locator("main", { hasText: two }).waitFor();
}));

test("a connection that breaks is made again and misses nothing", () => within({}, async (page) => {
  // Between browser and service stands something that hangs up on both.
  const sockets = new Set();
  let broken = false;
  const { hostname, port } = new URL(base);
  const between = createServer((near) => {
    if (broken) return near.destroy();
    const far = connect(Number(port), hostname);
    for (const [one, other] of [[near, far], [far, near]]) {
      sockets.add(one);
      one.on("error", () => other.destroy()).on("close", () => sockets.delete(one));
      one.pipe(other);
    }
  });
  await new Promise((done) => between.listen(0, "127.0.0.1", done));
  try {
    page.removeAllListeners("request");
    page.removeAllListeners("console");
    await page.goto(`http://127.0.0.1:${between.address().port}/requests`);
    const live = page.locator("[data-live-text]");
    await live.filter({ hasText: /^live$/ }).waitFor();
    broken = true;
    sockets.forEach((socket) => socket.destroy());
    await live.filter({ hasText: "connection lost" }).waitFor();
    const missed = await submit();
    broken = false;
    await live.filter({ hasText: /^live$/ }).waitFor();
    const bar = page.locator(".news");
    await bar.waitFor();
    await bar.click();
    await page.locator("main", { hasText: missed }).waitFor();
  } finally {
    between.close();
    sockets.forEach((socket) => socket.destroy());
  }
}));
