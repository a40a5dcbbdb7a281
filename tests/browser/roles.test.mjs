// What each role is shown, on pages and by the interface: pseudonyms for who audits and operates, one's own controller for who is its.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { accessible, api, base, call, done, launch, open, operator, unfold, visit } from "./support.mjs";

const email = `rosa.${Date.now() % 100_000}@example.com`;
const reference = `CASE-${Date.now() % 100_000}`;
let browser, id, outletKey, outletId;

before(async () => {
  browser = await launch();
  const body = { type: "access", reference, systems: ["newsletter"], subject: { identifiers: [{ type: "email", value: email }] } };
  const paused = (await api("/v1/systems/newsletter")).json().paused;
  if (!paused) await api("/v1/systems/newsletter/pause", { method: "POST" });
  id = (await api("/v1/requests", { method: "POST", body })).json().id;
  outletKey = JSON.parse(operator(["key", "create", "--controller", "harbor-outlet", "--role", "controller_admin", "--json"])).api_key;
  outletId = (await api("/v1/requests?open=true", { as: outletKey })).json().requests[0].id;
});
after(() => browser.close());

const paths = () => ["/", "/requests", `/requests/${id}`, "/queue", "/systems", "/systems/harbor-goods/mail", "/controllers", "/controllers/harbor-goods", "/reports", "/audit", `/audit?request=${id}`];

/// Nothing on the board names the person or what the controller calls the request, whatever is opened.
const namesNobody = async (page) => {
  for (const path of paths()) {
    await visit(page, path);
    const text = await page.content();
    for (const secret of [email, email.split("@")[0], reference]) assert.ok(!text.includes(secret), `${path} shows ${secret}`);
  }
  const list = await call(page, "/v1/requests?controller=harbor-goods");
  const one = await call(page, `/v1/requests/${id}`);
  const csv = await call(page, "/requests.csv");
  for (const answer of [list, one, csv]) {
    assert.equal(answer.status, 200);
    assert.ok(!answer.text.includes(email) && !answer.text.includes(reference));
  }
};
/// The names of the buttons of forms, but for those by which everybody leaves or filters.
const offered = (page) => page.locator("main form[method=post] button").allInnerTexts();
const refused = async (page, calls) => {
  for (const [path, body] of calls) {
    const answer = await call(page, path, { method: "POST", body });
    assert.equal(answer.status, 403, `${path}: ${answer.status}`);
  }
};

test("an auditor sees pseudonyms and is offered nothing to do", async () => {
  const page = await open(browser, { who: { name: "Eve Lindqvist", roles: ["auditor"] } });
  await namesNobody(page);
  for (const path of paths().filter((path) => path !== "/requests")) {
    await visit(page, path);
    assert.deepEqual(await offered(page), [], path);
  }
  await visit(page, `/requests/${id}`);
  assert.match(await page.locator("main").innerText(), /Your role may not see who a person is/);
  await accessible(page, "an auditor's request");
  await refused(page, [
    [`/v1/requests/${id}/reveal`, { reason: "complaint" }], [`/v1/requests/${id}/withdraw`], [`/v1/requests/${id}/approve`],
    ["/v1/systems/mail/check?controller=harbor-goods"], ["/v1/keys?controller=harbor-goods", { role: "auditor" }],
  ]);
  assert.equal((await call(page, `/v1/requests/${id}/package`)).status, 403);
  assert.equal((await page.goto(`${base}/queue/${id}/newsletter`)).status(), 403);
  assert.equal((await page.goto(`${base}/audit?log=staff`)).status(), 403);
  await page.context().close();
});

test("an operator keeps systems going and sees no personal data", async () => {
  const page = await open(browser, { who: { name: "Gus Amadi", roles: ["operator"] } });
  await namesNobody(page);
  await visit(page, "/systems/harbor-goods/mail");
  await done(page, page.getByRole("button", { name: "Check it" }), "Checked");
  await visit(page, `/requests/${id}`);
  assert.deepEqual((await offered(page)).filter((name) => name !== "Try again"), []);
  await refused(page, [
    [`/v1/requests/${id}/reveal`, { reason: "task" }], [`/v1/requests/${id}/withdraw`], [`/v1/requests/${id}/reject`, { reason: "duplicate_of" }],
    ["/v1/keys?controller=harbor-goods", { role: "auditor" }],
  ]);
  await page.context().close();
});

test("a controller's own person sees their controller, and another's id is a page that says nothing is here", async () => {
  const page = await open(browser, { who: { name: "Ines Roux", roles: ["controller_user"], controllers: ["harbor-outlet"] } });
  for (const path of ["/", "/requests", "/queue", "/systems", "/controllers", "/reports", "/audit"]) {
    await visit(page, path);
    assert.ok(!(await page.content()).includes("harbor-goods"), `${path} tells of another controller`);
  }
  await visit(page, `/requests/${outletId}`);
  const nobodys = `dsr_${"0".repeat(26)}`;
  const said = [];
  for (const path of [`/requests/${id}`, `/requests/${nobodys}`, "/controllers/harbor-goods", "/controllers/nobody", "/systems/harbor-goods/mail", "/systems/nobody/mail"]) {
    const answer = await page.goto(base + path);
    assert.equal(answer.status(), 404, path);
    await page.getByRole("heading", { name: "Nothing is here" }).waitFor();
    said.push((await page.locator("main").innerText()).replaceAll(/dsr_\w+/g, "…"));
  }
  assert.deepEqual([said[0], said[2], said[4]], [said[1], said[3], said[5]], "what is another's reads as what is nobody's");
  await accessible(page, "another controller's request");
  await visit(page, "/");
  for (const path of [`/v1/requests/${id}`, `/v1/requests/${nobodys}`, `/v1/requests/${id}/events`, "/v1/requests?controller=harbor-goods", "/v1/systems?controller=harbor-goods"]) {
    assert.equal((await call(page, path)).status, 404, path);
  }
  const withdrawn = await call(page, `/v1/requests/${id}/withdraw`, { method: "POST" });
  assert.equal(withdrawn.status, 404);
  assert.equal((await api(`/v1/requests/${id}`)).json().closed_at, null);
  // Searching for it leads nowhere.
  await page.getByRole("searchbox").first().fill(id);
  await page.keyboard.press("Enter");
  await page.waitForURL(/\/requests\?q=/);
  assert.equal(await page.locator("tr[data-row]").count(), 0);
  await page.context().close();
});

test("a person is masked, revealed for a reason, and that is an event before it is seen", async () => {
  const page = await open(browser, { who: { name: "Cara Nkemelu", roles: ["privacy_analyst"] } });
  const looks = async () => (await api(`/v1/requests/${id}/events`)).json().events.filter((event) => event.kind === "personal_revealed");
  await visit(page, `/requests/${id}`);
  assert.ok(!(await page.content()).includes(email), "masked");
  assert.ok(!(await page.content()).includes(reference), "and so is what the controller calls it");
  const before = (await looks()).length;
  const action = await unfold(page.locator("main"), /^Reveal$/);

  // Without a reason the browser does not even ask.
  await action.getByRole("button", { name: "Reveal" }).first().click();
  assert.equal((await looks()).length, before);
  await action.getByLabel("Reason").first().selectOption("complaint");
  await action.getByRole("button", { name: "Reveal" }).first().click();
  await page.getByRole("heading", { name: "Person, in clear" }).waitFor();
  const shown = await page.locator("#revealed").innerText();
  assert.ok(shown.includes(email) && shown.includes(reference), shown);
  const events = await looks();
  assert.equal(events.length, before + 1);
  assert.match(events.at(-1).actor, /^usr_/);
  assert.ok(!JSON.stringify(events).includes(email), "the event does not hold what was seen");

  await page.getByRole("link", { name: "Mask it again" }).click();
  await page.waitForURL(`${base}/requests/${id}`);
  assert.ok(!(await page.content()).includes(email));
  assert.match(await page.locator("main").innerText(), /complaint/i, "the request's page says who looked and why");
  // The audit page lists it among what was seen.
  await visit(page, `/audit?seen=1&request=${id}`);
  assert.ok((await page.locator("tr[data-row], main tbody tr").count()) > 0);
  assert.ok(!(await page.content()).includes(email));
  await page.context().close();
});
