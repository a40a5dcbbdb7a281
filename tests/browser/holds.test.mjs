// Legal holds by clicking: on a request and on a person; what they stop is said, listed, released, or kept for good.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { accessible, api, done, fits, launch, open, phone, unfold, until, visit } from "./support.mjs";

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser.close());

let count = 0;
const address = () => `held-${Date.now()}-${(count += 1)}@example.com`;
const submit = async (email) => {
  const body = { type: "deletion", systems: ["newsletter"], subject: { identifiers: [{ type: "email", value: email }] } };
  const answer = await api("/v1/requests", { method: "POST", body });
  assert.equal(answer.status, 202, answer.text);
  return answer.json().id;
};
const show = async (id) => (await api(`/v1/requests/${id}`)).json();
const held = (id) => until(`${id} is on hold`, async () => (await show(id)).status === "on_hold");

test("a hold is set on a request, says what it stops, and is released in the list of holds", async () => {
  const id = await submit(address());
  const page = await open(browser);
  await visit(page, `/requests/${id}`);
  const card = page.locator("#holds");
  await card.getByText("No hold reaches this request").waitFor();
  const action = await unfold(card, "Set a hold on this request");
  await action.getByLabel("Basis").fill("civil procedure <b>");
  await action.getByLabel("Matter").fill("a matter of court");
  await action.getByLabel("To be looked at by").fill("2099-01-31");
  await accessible(page, "a new hold");
  await action.getByRole("button", { name: "Set the hold" }).click();
  await page.locator("p.done").waitFor();
  await held(id);
  await visit(page, `/requests/${id}`);
  await card.getByText("Not erased or changed in the meantime: newsletter").waitFor();
  await card.getByText("civil procedure <b>").waitFor();
  await accessible(page, "a request on hold");
  const [hold] = (await show(id)).holds;
  assert.ok(!(await api(`/v1/holds/${hold.id}`)).text.includes("held-"), "no identifier is told");

  const small = await open(browser, { viewport: phone, colorScheme: "dark" });
  for (const window of [page, small]) {
    await visit(window, "/queue?kind=holds");
    await window.getByText(hold.id).first().waitFor();
    await fits(window, "holds");
    await window.evaluate(() => document.querySelectorAll("main details").forEach((details) => (details.open = true)));
    await fits(window, "holds, opened");
    await accessible(window, "holds");
  }
  await small.context().close();
  await visit(page, "/queue?kind=holds");
  const row = page.locator("tr", { hasText: hold.id });
  const release = await unfold(row, "Release");
  await release.getByLabel("Reason").fill("the case is over");
  await done(page, release.getByRole("button", { name: "Release the hold" }), /./);
  assert.equal((await api(`/v1/holds/${hold.id}`)).json().state, "released");
  assert.notEqual((await show(id)).status, "on_hold");
  assert.deepEqual(page.faults, []);
  await page.context().close();
});

test("a hold on a person reaches what comes later, and the data are kept for a reason that the certificate gives", async () => {
  const email = address();
  const page = await open(browser);
  await visit(page, "/queue?kind=holds");
  const action = await unfold(page.locator("main"), "For harbor-goods");
  await action.getByLabel(/^Identifier/).selectOption("email");
  await action.getByLabel("Its value").fill(email.toUpperCase());
  await action.getByLabel("Basis").fill("an order of court");
  await action.getByLabel("To be looked at by").fill("2099-01-31");
  await done(page, action.getByRole("button", { name: "Set the hold" }), /./);
  const id = await submit(email);
  await held(id);
  const [hold] = (await show(id)).holds;
  await visit(page, `/requests/${id}`);
  const keep = await unfold(page.locator("#holds"), "Keep the data");
  await keep.getByLabel("Reason").fill("evidence");
  await keep.getByRole("button", { name: "Keep the data" }).click();
  await page.locator("p.done").waitFor();
  const ended = await until("it ends", async () => ((await show(id)).closed_at ? show(id) : null));
  assert.equal(ended.status, "partially_completed");
  assert.ok((await api(`/v1/requests/${id}/certificate`)).text.includes(`legal_hold(${hold.id})`));
  await api(`/v1/holds/${hold.id}/release`, { method: "POST", body: { reason: "the test is over" } });
  await page.context().close();
});
