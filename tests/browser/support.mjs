// A browser, the board it looks at, and what every page must satisfy.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
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

/// A window of somebody who signed in with the demonstration's key; `anybody` did not.
export const open = async (browser, { viewport = desktop, colorScheme = "light", javaScriptEnabled = true, as = key } = {}) => {
  const extraHTTPHeaders = as ? { authorization: `Basic ${Buffer.from(`key:${as}`).toString("base64")}` } : {};
  const context = await browser.newContext({ viewport, colorScheme, javaScriptEnabled, extraHTTPHeaders, reducedMotion: "reduce" });
  const page = await context.newPage();
  page.faults = [];
  page.on("console", (message) => {
    // The browser tells each answer that is no success as an error of its own.
    const told = message.text();
    if (message.type() === "error" && !told.startsWith("Failed to load resource")) page.faults.push(told);
  });
  page.on("pageerror", (error) => page.faults.push(String(error)));
  page.on("requestfailed", (request) => {
    if (!request.url().includes("/v1/stream")) page.faults.push(`${request.url()} ${request.failure()?.errorText}`);
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
    today: "/", requests: "/requests", request: `/requests/${request.id}`, queue: "/queue", systems: "/systems",
    system: "/systems/harbor-goods/newsletter", controllers: "/controllers", controller: "/controllers/harbor-goods",
    reports: "/reports", audit: "/audit", settings: "/settings",
  };
  const only = process.env.REDRESS_BROWSER_PAGES?.split(",");
  return Object.fromEntries(Object.entries(all).filter(([name]) => !only || only.includes(name)));
};
