// The one-minute walk of docs/board.md: a stranger, who knows only what is written on the page, finds which request will be late next,
// why, and what to do about it, and does it.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { api, launch, open, until, visit } from "./support.mjs";

let browser;

before(async () => {
  browser = await launch();
});
after(() => browser.close());

test("which request will be late next, why, and what to do: at most three clicks", async () => {
  // What is foreseen is known some seconds after the demonstration's requests came.
  const page = await open(browser);
  const lead = page.locator("main p.lead");
  await until("the first sentence tells of what will be late", async () => {
    await visit(page, "/");
    return /will be late/.test(await lead.innerText());
  }, 60_000);
  let clicks = 0;
  const click = async (what) => {
    clicks += 1;
    await what.click();
    await page.waitForLoadState();
  };

  // Which, and why: without a click.
  const said = await lead.innerText();
  const [which] = said.match(/dsr_\w+/);
  assert.match(said, /paused/, `why: ${said}`);

  // What to do: the sentence ends with a link that says so.
  await click(lead.getByRole("link", { name: "Resume the system" }));
  assert.match(await page.locator("main").innerText(), /newsletter.*\n[^]*paused/, "the link leads to the system that holds it up");
  assert.equal((await api("/v1/systems/newsletter")).json().paused, true);
  await click(page.getByRole("button", { name: "Resume" }));
  await page.locator("p.done").waitFor();
  assert.ok(clicks <= 3, `${clicks} clicks`);
  assert.equal((await api("/v1/systems/newsletter")).json().paused, false, "and it is done");

  // It helped: the request goes on.
  await until("the request goes on", async () => (await api(`/v1/requests/${which}`)).json().closed_at !== null, 30_000);
  await api("/v1/systems/newsletter/pause", { method: "POST" });
  await page.context().close();
});
