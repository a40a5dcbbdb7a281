// The pictures of docs/board.md: every page as a person sees it on the morning that the demonstration leaves behind.
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { launch, open, pages, phone, until, visit } from "./support.mjs";

const pictures = join(import.meta.dirname, "../../docs/board");
/// Whom the page of the people shows beside whoever looks.
const others = [
  { name: "Ben Okafor", roles: ["privacy_lead"] },
  { name: "Cara Nkemelu", roles: ["privacy_analyst"] },
  { name: "Eve Lindqvist", roles: ["auditor"] },
  { name: "Gus Amadi", roles: ["operator", "break_glass"] },
  { name: "Ines Roux", roles: ["controller_user"], controllers: ["harbor-outlet"] },
];
let browser;

before(async () => {
  browser = await launch();
  mkdirSync(pictures, { recursive: true });
});
after(() => browser.close());

test("pictures of every page", async () => {
  const page = await open(browser, { viewport: { width: 1280, height: 800 } });
  for (const who of others) await (await open(browser, { who })).context().close();
  await until("what is foreseen is known", async () => {
    await visit(page, "/");
    return /will be late/.test(await page.locator("main p.lead").innerText());
  }, 60_000);
  for (const [name, path] of Object.entries(await pages())) {
    await visit(page, path);
    await page.locator("[data-live]:not([hidden])").waitFor();
    await page.screenshot({ path: join(pictures, `${name}.png`) });
  }
  await page.context().close();
  const dark = await open(browser, { viewport: phone, colorScheme: "dark" });
  await visit(dark, "/");
  await dark.locator("[data-live]:not([hidden])").waitFor();
  await dark.screenshot({ path: join(pictures, "today-phone-dark.png") });
  await dark.context().close();
});
