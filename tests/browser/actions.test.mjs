// What people do on the board, by clicking, and its effect as the interface tells it; with a script and without.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { accessible, api, base, fits, key, launch, open, pages, phone, until, visit } from "./support.mjs";

let browser, all;

before(async () => {
  browser = await launch();
  all = await pages();
});
after(() => browser.close());

const submit = async (more = {}) => {
  const body = { type: "access", systems: ["newsletter"], subject: { identifiers: [{ type: "email", value: `act-${Date.now()}-${Math.random()}@example.com` }] }, ...more };
  const answer = await api("/v1/requests", { method: "POST", body });
  assert.equal(answer.status, 202, answer.text);
  return answer.json().id;
};
const show = async (id) => (await api(`/v1/requests/${id}`)).json();

/// Opens an action by its name, fills it and sends it.
const act = async (page, name, fill = async () => {}) => {
  const action = page.locator("details.action", { has: page.locator("summary", { hasText: new RegExp(`^\\s*${name}`) }) }).first();
  if (!(await action.evaluate((details) => details.open))) await action.locator("summary").first().click();
  await fill(action);
  await action.locator("form.act button[type=submit]").first().click();
  await page.locator("p.done").waitFor();
};

for (const javaScriptEnabled of [true, false]) {
  test(`a request is paused, resumed, acknowledged, extended and withdrawn by clicking${javaScriptEnabled ? "" : ", without a script"}`, async () => {
    const page = await open(browser, { javaScriptEnabled });
    const id = await submit();
    await visit(page, `/requests/${id}`);
    await act(page, "Pause the clock", (action) => action.locator("[name=kind]").selectOption("identity"));
    assert.equal((await show(id)).status, "awaiting_controller");
    await act(page, "Resume the clock");
    assert.notEqual((await show(id)).status, "awaiting_controller");
    await act(page, "Acknowledge receipt");
    assert.ok((await show(id)).acknowledged_at);
    const due = (await show(id)).deadlines.effective.due_on;
    await act(page, "Extend", (action) => action.locator("[name=reason]").fill("many requests at once"));
    assert.ok((await show(id)).deadlines.statutory.due_on > due);
    await act(page, "Withdraw");
    assert.equal((await show(id)).status, "withdrawn");
    assert.deepEqual(page.faults, []);
    await page.context().close();
  });
}

test("a request is rejected with a reason, and not without one", async () => {
  const page = await open(browser);
  const id = await submit();
  await visit(page, `/requests/${id}`);
  const action = page.locator("details.action", { has: page.locator("summary", { hasText: "Reject" }) });
  await action.locator("summary").click();
  await action.locator("button[type=submit]").click();
  assert.equal((await show(id)).closed_at, null, "the browser asks for the reason");
  await action.locator("[name=reason]").selectOption("excessive_or_repetitive");
  await action.locator("button[type=submit]").click();
  await page.locator("p.done").waitFor();
  assert.equal((await show(id)).status, "rejected");
  await page.context().close();
});

async function reveal(page) {
  const action = page.locator("details.action", { has: page.locator("summary", { hasText: /^\s*Reveal/ }) }).first();
  await action.locator("summary").first().click();
  const reason = action.locator("form").first().locator("[name=reason]");
  if (await reason.evaluate((field) => field.tagName === "SELECT")) await reason.selectOption({ index: 1 });
  else await reason.fill("to answer the person's call");
  await action.locator("form").first().locator("button[type=submit]").click();
  await page.waitForLoadState();
}

test("a person is masked until revealed for a reason, once", async () => {
  const page = await open(browser);
  const value = `mask-${Date.now()}@example.com`;
  const id = await submit({ subject: { identifiers: [{ type: "email", value }] } });
  await visit(page, `/requests/${id}`);
  assert.equal(await page.locator("main", { hasText: value }).count(), 0);
  const before = (await api(`/v1/requests/${id}/events`)).text;
  assert.ok(!before.includes("personal_revealed"));
  await reveal(page);
  await page.locator("main", { hasText: value }).waitFor();
  await accessible(page, "revealed");
  assert.ok((await api(`/v1/requests/${id}/events`)).text.includes("personal_revealed"));
  await visit(page, `/requests/${id}`);
  assert.equal(await page.locator("main", { hasText: value }).count(), 0, "masked again");
  await page.context().close();
});

test("a system is paused, checked and resumed by clicking", async () => {
  const page = await open(browser);
  await visit(page, "/systems/harbor-goods/mail");
  await act(page, "Pause");
  assert.equal((await api("/v1/systems/mail")).json().paused, true);
  await page.getByRole("button", { name: "Resume" }).click();
  await page.locator("p.done").waitFor();
  assert.equal((await api("/v1/systems/mail")).json().paused, false);
  await page.getByRole("button", { name: "Check it" }).click();
  await page.locator("p.done").waitFor();
  assert.ok((await api("/v1/systems/mail")).json().checked_at);
  await page.context().close();
});

test("values that mean harm are shown as what they are", async () => {
  const hostile = [
    `<img src=x onerror="window.harm=1"><script>window.harm=1</script>`,
    "</title></textarea><svg onload=window.harm=1>",
    "\u202Egnp.exe \u2066right to left\u2069 \u200F",
    "😀👩‍👩‍👧‍👦 🏴‍☠️ e\u0301\u0302\u0303",
    "x".repeat(200),
    "javascript:window.harm=1",
  ];
  const page = await open(browser, { viewport: phone });
  for (const reference of hostile) {
    const id = await submit({ reference });
    await visit(page, `/requests/${id}`);
    assert.ok(!(await page.locator("body").innerText()).includes(reference.slice(0, 12)), `it is masked: ${reference}`);
    await reveal(page);
    assert.ok((await page.locator("body").innerText()).includes(reference.slice(0, 12)), `it is shown: ${reference}`);
    await fits(page, reference);
    await visit(page, "/requests");
    await fits(page, reference);
    assert.equal(await page.evaluate(() => window.harm), undefined, reference);
  }
  const search = await page.goto(`${base}/requests?q=${encodeURIComponent("\"><script>window.harm=1</script>\u001b[31m" + "y".repeat(180))}`);
  assert.ok(search.status() < 500);
  await fits(page, "a search");
  assert.equal(await page.evaluate(() => window.harm), undefined);
  assert.deepEqual(page.faults, []);
  await page.context().close();
});

test("whose access was taken away is asked to sign in at the next click", async () => {
  const made = (await api("/v1/keys", { method: "POST", body: { role: "controller_user" } })).json();
  const page = await open(browser, { as: made.api_key });
  await visit(page, "/requests");
  await page.locator("[data-live-text]", { hasText: /^live$/ }).waitFor();
  assert.equal((await api(`/v1/keys/${made.id}`, { method: "DELETE" })).status, 204);
  await page.locator("[data-live-text]", { hasText: "access ended" }).waitFor({ timeout: 10_000 });
  await page.getByRole("link", { name: "Systems", exact: true }).click();
  // Whoever sits at this machine may still look; nobody acts.
  const answer = await page.request.post(`${base}/act/v1/systems/mail/pause`, { form: { csrf: "x" } });
  assert.ok([401, 403].includes(answer.status()), String(answer.status()));
  await page.context().close();
});

test("another site's form changes nothing", async () => {
  const page = await open(browser);
  const id = await submit();
  await page.goto("data:text/html,<form method=post></form>");
  await page.evaluate((target) => {
    document.forms[0].action = target;
    document.forms[0].submit();
  }, `${base}/act/v1/requests/${id}/withdraw`);
  await page.waitForLoadState();
  assert.equal((await show(id)).closed_at, null);
  await page.context().close();
});
