// Every page, in light and dark, on a phone and on a desk: it is clean, fits, and everybody can use it.
import assert from "node:assert/strict";
import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { accessible, desktop, fits, launch, open, pages, phone, reachable, visit } from "./support.mjs";

const pictures = join(import.meta.dirname, "../../docs/board");
let browser, all;

before(async () => {
  browser = await launch();
  all = await pages();
});
after(() => browser.close());

test("every section of the board is looked at, and every page has its picture", async () => {
  const page = await open(browser);
  await visit(page, "/");
  const sections = await page.locator("nav.sections a").evaluateAll((links) => links.map((link) => new URL(link.href).pathname));
  assert.deepEqual(sections.filter((path) => !Object.values(all).includes(path)), [], "sections that nobody tests");
  const files = existsSync(pictures) ? readdirSync(pictures) : [];
  assert.deepEqual(Object.keys(all).filter((name) => !files.includes(`${name}.png`)), [], "pages without a picture: REDRESS_UPDATE=1 scripts/browser takes them");
  const bytes = files.reduce((sum, name) => sum + statSync(join(pictures, name)).size, 0);
  assert.ok(bytes < 2.5e6, `the pictures have ${bytes} bytes`);
  await page.context().close();
});

for (const colorScheme of ["light", "dark"]) {
  for (const [device, viewport] of Object.entries({ desktop, phone })) {
    test(`pages are clean, fit and are accessible: ${colorScheme}, ${device}`, async (t) => {
      const page = await open(browser, { viewport, colorScheme });
      for (const [name, path] of Object.entries(all)) {
        await t.test(name, async () => {
          const what = `${path}, ${colorScheme}, ${device}`;
          await visit(page, path);
          assert.equal(await page.locator("h1").count(), 1, `${what}: one h1`);
          await page.locator("[data-live]:not([hidden])").waitFor();
          await fits(page, what);
          // What opens is looked at open.
          await page.evaluate(() => document.querySelectorAll("main details").forEach((details) => (details.open = true)));
          await fits(page, `${what}, opened`);
          await accessible(page, what);
          assert.deepEqual(page.faults.splice(0), [], what);
        });
      }
      await page.context().close();
    });
  }
}

test("everything on every page is reached by the keyboard", async (t) => {
  const page = await open(browser);
  for (const [name, path] of Object.entries(all)) {
    await t.test(name, async () => {
      await visit(page, path);
      await reachable(page, path);
    });
  }
  await page.context().close();
});

test("without a script every page reads, and opens its sections on a phone", async () => {
  const page = await open(browser, { javaScriptEnabled: false, viewport: phone });
  for (const path of Object.values(all)) {
    await visit(page, path);
    assert.ok((await page.locator("main").innerText()).length > 60, path);
  }
  await page.locator("button.menu").click();
  await page.locator("nav.sections a", { hasText: "Requests" }).click();
  assert.equal(new URL(page.url()).pathname, "/requests");
  await page.context().close();
});

test("in print there is no navigation, and what is closed is open", async () => {
  const page = await open(browser);
  await visit(page, all.request);
  await page.emulateMedia({ media: "print" });
  assert.equal(await page.locator("nav.sections").isVisible(), false);
  assert.equal(await page.locator("form.search").isVisible(), false);
  const hidden = await page.evaluate(() => [...document.querySelectorAll("main details:not(.action, .action *) > :not(summary, form)")].filter((e) => e.getClientRects().length === 0 && !e.matches("form *")).map((e) => e.outerHTML.slice(0, 100)));
  assert.deepEqual(hidden, []);
  const colours = await page.evaluate(() => [getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]);
  assert.deepEqual(colours, ["rgb(0, 0, 0)", "rgb(255, 255, 255)"]);
  await page.context().close();
});
