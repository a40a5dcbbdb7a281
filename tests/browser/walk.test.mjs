// The one-minute walk of docs/board.md: a stranger, who knows only what is written on the page, finds which request will be late next,
// why, and what to do about it, and does it.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { api, call, launch, open, until, visit } from "./support.mjs";

let browser;

before(async () => {
  browser = await launch();
});
after(() => browser.close());

/// Today of somebody, once its first sentence tells of what will be late; what they click is counted.
const begin = async (who) => {
  const page = await open(browser, { who });
  const lead = page.locator("main p.lead");
  // What is foreseen is known some seconds after the demonstration's requests came.
  await until("the first sentence tells of what will be late", async () => {
    await visit(page, "/");
    return /will be late/.test(await lead.innerText());
  }, 60_000);
  const walk = { page, lead, clicks: 0 };
  walk.click = async (what) => {
    walk.clicks += 1;
    await what.click();
    await page.waitForLoadState();
  };
  return walk;
};

test("which request will be late next, why, and what to do: at most three clicks", async () => {
  const walk = await begin({ name: "Finn Sato", roles: ["privacy_lead", "operator"], controllers: ["harbor-goods"] });
  const { page, lead, click } = walk;

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
  assert.ok(walk.clicks <= 3, `${walk.clicks} clicks`);
  assert.equal((await api("/v1/systems/newsletter")).json().paused, false, "and it is done");

  // It helped: the request goes on.
  await until("the request goes on", async () => (await api(`/v1/requests/${which}`)).json().closed_at !== null, 30_000);
  await api("/v1/systems/newsletter/pause", { method: "POST" });
  await page.context().close();
});

test("whoever answers for every controller is led to what waits for their own decision", async () => {
  const walk = await begin();
  const { page, lead, click } = walk;
  const said = await lead.innerText();
  const [which] = said.match(/dsr_\w+/);
  assert.match(said, /of harbor-outlet, due .*waits for a person's approval/, `why: ${said}`);

  await click(lead.getByRole("link", { name: /^Approve or reject it/ }));
  await click(page.getByRole("button", { name: "Approve", exact: true }));
  await page.locator("p.done", { hasText: "Approved" }).waitFor();
  assert.ok(walk.clicks <= 3, `${walk.clicks} clicks`);
  assert.equal((await call(page, `/v1/requests/${which}`)).json.status, "in_progress", "and it is done");
  await page.context().close();
});
