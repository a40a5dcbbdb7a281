// A browser, the board it looks at, and what every page must satisfy.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createRequire } from "node:module";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

// The packages lie in a cache, where scripts/browser put them.
const require = createRequire(`${process.env.REDRESS_BROWSER_MODULES}/`);
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
export const lighthouse = async () => (await import(pathToFileURL(require.resolve("lighthouse")))).default;

export const base = process.env.REDRESS_BROWSER_URL;
export const key = process.env.REDRESS_BROWSER_KEY;
export const desktop = { width: 1440, height: 900 };
export const phone = { width: 390, height: 844 };

const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
export const launch = (args = []) =>
  chromium.launch({ executablePath, args: ["--disable-gpu", "--disable-background-networking", "--no-sandbox", ...args] });

/// Whose board it is unless a test says otherwise.
export const ann = { name: "Ann Weber", roles: ["admin", "privacy_lead"] };

/// Runs the program as the operator does, who sits where the data are; of the demonstration, if no other place is named.
export const operator = (args, data = process.env.REDRESS_BROWSER_DATA) => {
  const own = Object.entries(process.env).filter(([name]) => !name.startsWith("REDRESS_"));
  return execFileSync(process.env.REDRESS_BROWSER_PROGRAM, args, { env: { ...Object.fromEntries(own), REDRESS_DATA_DIR: data }, encoding: "utf8" });
};

/// Takes in a controller's file, and makes a key that may do everything there.
export const provision = (name, toml) => {
  const path = join(process.env.REDRESS_BROWSER_FOLDER, `${name}.toml`);
  writeFileSync(path, toml);
  operator(["apply", path]);
  return JSON.parse(operator(["key", "create", "--controller", name, "--role", "controller_admin", "--json"])).api_key;
};

/// A link that lets somebody in once.
export const linkFor = ({ name, roles, controllers = [] }) => {
  const args = [...roles.flatMap((role) => ["--role", role]), ...controllers.flatMap((name) => ["--controller", name])];
  const { pathname, search } = new URL(JSON.parse(operator(["user", "link", "--name", name, ...args, "--json"])).link);
  return base + pathname + search;
};

/// Somebody opens their link and clicks, as people do.
export const signIn = async (page, who) => {
  await page.goto(linkFor(who));
  await page.getByRole("heading", { name: `Sign in as ${who.name}?` }).waitFor();
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.waitForURL((url) => !url.pathname.startsWith("/sign-in"));
};

const known = new Map();
/// The cookies of somebody who signed in; each person does so once for the tests of one file.
const cookies = (browser, who) => {
  if (!known.has(who.name)) {
    known.set(who.name, (async () => {
      const context = await browser.newContext();
      await signIn(await context.newPage(), who);
      const state = await context.storageState();
      await context.close();
      return state;
    })());
  }
  return known.get(who.name);
};

/// A window of somebody who signed in (`who`), or of whoever holds a key (`as`), or of nobody (`who: null`).
export const open = async (browser, { viewport = desktop, colorScheme = "light", javaScriptEnabled = true, who = ann, as } = {}) => {
  const extraHTTPHeaders = as ? { authorization: `Basic ${Buffer.from(`key:${as}`).toString("base64")}` } : {};
  const storageState = who && !as ? await cookies(browser, who) : undefined;
  const context = await browser.newContext({ viewport, colorScheme, javaScriptEnabled, extraHTTPHeaders, storageState, reducedMotion: "reduce" });
  context.setDefaultTimeout(15_000);
  const page = await context.newPage();
  page.faults = [];
  page.on("console", (message) => {
    // The browser tells each answer that is no success as an error of its own.
    const told = message.text();
    if (message.type() === "error" && !told.startsWith("Failed to load resource")) page.faults.push(told);
  });
  page.on("pageerror", (error) => page.faults.push(String(error)));
  page.on("requestfailed", (request) => {
    const why = request.failure()?.errorText;
    // A browser that leaves a page gives up the stream, and the icon that it was still fetching for its tab.
    const left = request.url().includes("/v1/stream") || (request.url().endsWith("/icon.svg") && why === "net::ERR_ABORTED");
    if (!left) page.faults.push(`${request.url()} ${why}`);
  });
  page.on("request", (request) => {
    if (!request.url().startsWith(base)) page.faults.push(`asks elsewhere: ${request.url()}`);
  });
  return page;
};

export const visit = async (page, path) => {
  const answer = await page.goto(base + path);
  assert.equal(answer.status(), 200, `${path}: ${answer.status()}`);
  return answer;
};

/// Asks the API, as a controller's program would.
export const api = async (path, { method = "GET", body, as = key } = {}) => {
  const headers = { authorization: `Bearer ${as}`, ...(body ? { "content-type": "application/json" } : {}) };
  const answer = await fetch(base + path, { method, headers, body: body && JSON.stringify(body) });
  const text = await answer.text();
  return { status: answer.status, text, json: () => JSON.parse(text) };
};

/// Asks the interface from the page somebody looks at, with their cookie and the token that the page holds.
export const call = (page, path, { method = "GET", body } = {}) =>
  page.evaluate(async ({ path, method, body }) => {
    const token = document.querySelector("[name=csrf]")?.value ?? "";
    const headers = { "x-csrf-token": token, ...(body ? { "content-type": "application/json" } : {}) };
    const answer = await fetch(path, { method, headers, body: body && JSON.stringify(body) });
    const text = await answer.text();
    let json = null;
    try { json = JSON.parse(text); } catch { /* a page, or nothing */ }
    return { status: answer.status, text, json };
  }, { path, method, body });

/// Opens an action by the words on it.
export const unfold = async (within, name) => {
  const summary = within.page().locator("summary", { hasText: name });
  const action = within.locator("details.action", { has: summary }).first();
  if (!(await action.evaluate((details) => details.open))) await action.locator("summary").first().click();
  return action;
};

/// Clicks a button whose form leads to a page that says what was done.
export const done = async (page, button, words) => {
  await button.click();
  const said = page.locator("p.done", { hasText: words });
  await said.waitFor();
};

/// Waits until something is so.
export const until = async (what, probe, limit = 20_000) => {
  const end = Date.now() + limit;
  for (;;) {
    const found = await probe();
    if (found) return found;
    assert.ok(Date.now() < end, `not within ${limit / 1000} s: ${what}`);
    await new Promise((done) => setTimeout(done, 100));
  }
};

/// No violation of WCAG 2.2 A and AA or of good practice.
export const accessible = async (page, what) => {
  // With style and script from elsewhere forbidden, axe is put in by the debugger and not by the page.
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() =>
    axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"], resultTypes: ["violations"] }),
  );
  const told = violations.map(({ id, help, nodes }) => `${id}: ${help}\n` + nodes.slice(0, 4).map((node) => `    ${node.html.slice(0, 200)}\n      ${node.failureSummary.replaceAll("\n", " ").slice(0, 300)}`).join("\n"));
  assert.deepEqual(told, [], `${what}\n${told.join("\n")}`);
};

/// The page itself never scrolls sideways; what is wide scrolls in a region of its own.
export const fits = async (page, what) => {
  const wide = await page.evaluate(() => {
    const { scrollWidth, clientWidth } = document.documentElement;
    if (scrollWidth <= clientWidth) return null;
    const beyond = [...document.body.querySelectorAll("*")].filter((e) => e.getBoundingClientRect().right > clientWidth + 1 && !e.closest(".scroll, .tip, .skip"));
    return `${scrollWidth} > ${clientWidth}: ${beyond.slice(0, 4).map((e) => e.outerHTML.slice(0, 120)).join(" | ")}`;
  });
  assert.equal(wide, null, what);
};

/// Every link, button, field and summary that is shown is reached by Tab, and is then seen to have the focus.
export const reachable = async (page, what) => {
  const wanted = await page.evaluate(() => {
    const shown = (e) => e.checkVisibility({ visibilityProperty: true }) && !e.disabled && e.tabIndex >= 0 && e.getClientRects().length;
    const all = [...document.querySelectorAll("a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex='0']")].filter(shown);
    const names = new Map();
    // Of one group of radio buttons Tab reaches one.
    const kept = all.filter((e) => e.type !== "radio" || (!names.has(e.name) && names.set(e.name, true)));
    kept.forEach((e, n) => (e.dataset.tab = n));
    document.activeElement.blur();
    return kept.length;
  });
  const seen = new Set();
  // A field for a date has several places.
  const limit = Math.min(wanted, 150) * 4 + 5;
  for (let n = 0; n < limit && seen.size < wanted; n += 1) {
    await page.keyboard.press("Tab");
    const at = await page.evaluate(() => {
      const e = document.activeElement;
      const { outlineStyle, outlineWidth } = getComputedStyle(e);
      // The calendar's button inside a field for a date is the browser's own, with its own ring.
      const inner = /^(date|month|datetime-local)$/.test(e.type) && !e.matches(":focus");
      return { tab: e.dataset.tab, html: e.outerHTML.slice(0, 120), ring: inner || (outlineStyle !== "none" && parseFloat(outlineWidth) >= 2) };
    });
    if (at.tab === undefined) continue;
    assert.ok(at.ring, `${what}: nobody sees that this has the focus: ${at.html}`);
    seen.add(at.tab);
  }
  if (wanted <= 150) {
    const missed = await page.evaluate((seen) => [...document.querySelectorAll("[data-tab]")].filter((e) => !seen.includes(e.dataset.tab)).map((e) => e.outerHTML.slice(0, 120)), [...seen]);
    assert.deepEqual(missed, [], `${what}: not reached by Tab`);
  }
};

/// The pages of the board: name of the picture, and path. Those of one request, system or controller are the demonstration's.
export const pages = async () => {
  const open = (await api("/v1/requests?open=true")).json().requests;
  const request = open.find((request) => request.status === "in_progress") ?? open[0];
  const all = {
    today: "/", requests: "/requests", request: `/requests/${request.id}`, queue: "/queue", holds: "/queue?kind=holds", systems: "/systems",
    system: "/systems/harbor-goods/newsletter", controllers: "/controllers", controller: "/controllers/harbor-goods",
    reports: "/reports", audit: "/audit", "audit-staff": "/audit?log=staff", settings: "/settings",
    "settings-roles": "/settings/roles", "settings-sessions": "/settings/sessions", "settings-notifications": "/settings/notifications",
    "settings-webhooks": "/settings/webhooks", "settings-installation": "/settings/installation",
  };
  const only = process.env.REDRESS_BROWSER_PAGES?.split(",");
  return Object.fromEntries(Object.entries(all).filter(([name]) => !only || only.includes(name)));
};
