// Settings, as an administrator uses them: who may do what, and that it holds at the other person's next click in their own browser.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { accessible, api, base, call, done, launch, linkFor, open, unfold, visit } from "./support.mjs";

let browser;

before(async () => {
  browser = await launch();
});
after(() => browser.close());

/// Whose names no earlier run has left behind.
const person = (name, ...roles) => ({ name: `${name} ${Date.now() % 100_000}`, roles });
const rowOf = (page, who) => page.locator("tr[data-row]", { hasText: who.name });
/// What the interface says about somebody.
const shown = async (page, who) => (await call(page, "/v1/users")).json.users.find((user) => user.name === who.name);
const staffLog = async (page) => (await call(page, "/v1/staff-audit")).text;

const close = (...pages) => Promise.all(pages.map((page) => page.context().close()));

test("a role is given and taken away, and holds at the other person's next click", async () => {
  const ben = person("Ben Okafor", "auditor");
  const [admin, bens] = [await open(browser), await open(browser, { who: ben })];
  await visit(bens, "/systems/harbor-goods/mail");
  assert.equal(await bens.getByRole("button", { name: "Check it" }).count(), 0, "an auditor is offered nothing");

  const give = async (change) => {
    await visit(admin, "/settings/people");
    const action = await unfold(rowOf(admin, ben), "Roles");
    await change(action);
    await done(admin, action.getByRole("button", { name: "Give these roles" }), "Saved");
  };
  await give(async (action) => {
    await action.getByLabel("operator", { exact: true }).check();
    await action.getByLabel("auditor", { exact: true }).uncheck();
  });
  assert.deepEqual((await shown(admin, ben)).roles, ["operator"]);
  assert.equal((await shown(admin, ben)).given_by_hand, true);
  assert.match(await rowOf(admin, ben).innerText(), /operator\s+given by hand/);

  await visit(bens, "/systems/harbor-goods/mail");
  await done(bens, bens.getByRole("button", { name: "Check it" }), "Checked");

  // The page with the button still stands in Ben's browser when the role is gone.
  await give((action) => action.getByLabel("operator", { exact: true }).uncheck());
  assert.deepEqual((await shown(admin, ben)).roles, []);
  const before = (await api("/v1/systems/mail")).json().checked_at;
  await bens.getByRole("button", { name: "Check it" }).click();
  await bens.getByRole("heading", { name: "Not allowed" }).waitFor();
  assert.match(await bens.locator("main").innerText(), /nobody has given you a role here: an administrator can/);
  assert.equal((await api("/v1/systems/mail")).json().checked_at, before, "nothing was checked");
  const answer = await bens.goto(`${base}/requests`);
  assert.equal(answer.status(), 403);
  assert.equal((await call(bens, "/v1/requests?controller=harbor-goods")).status, 403);
  await accessible(bens, "no role any more");

  const log = await staffLog(admin);
  assert.ok(log.includes((await shown(admin, ben)).id), "the staff log says who was changed");
  assert.ok(!log.includes(ben.name), "and names nobody");
  assert.deepEqual([...admin.faults, ...bens.faults], []);
  await close(admin, bens);
});

test("a person who is confined to a controller, and let free again, sees what the administrator said", async () => {
  const eve = person("Eve Lindqvist", "privacy_analyst");
  const [admin, eves] = [await open(browser), await open(browser, { who: eve })];
  await visit(eves, "/controllers/harbor-outlet");
  await visit(admin, "/settings/people");
  const action = await unfold(rowOf(admin, eve), "Roles");
  await action.getByLabel(/^Controllers, by name/).fill("harbor-goods");
  await done(admin, action.getByRole("button", { name: "Give these roles" }), "Saved");
  assert.deepEqual((await shown(admin, eve)).controllers, ["harbor-goods"]);
  assert.equal((await eves.goto(`${base}/controllers/harbor-outlet`)).status(), 404);
  await visit(eves, "/controllers/harbor-goods");

  // Whoever comes by a link has no groups: the roles of a link hold again.
  await visit(admin, "/settings/people");
  await done(admin, (await unfold(rowOf(admin, eve), "Roles")).getByRole("button", { name: "Let their next link decide" }), "Saved");
  assert.equal((await shown(admin, eve)).given_by_hand, false);
  assert.equal((await call(eves, "/v1/requests?controller=harbor-goods")).status, 401, "they were signed out");
  await close(admin, eves);
});

test("who is disabled is out at once, cannot come in with a new link, and can when let in again", async () => {
  const cem = person("Cem Yildiz", "privacy_lead");
  const [admin, cems] = [await open(browser), await open(browser, { who: cem })];
  await visit(cems, "/systems/harbor-goods/mail");
  assert.equal((await call(cems, "/v1/requests?controller=harbor-goods")).status, 200);

  const change = async (summary, button) => {
    await visit(admin, "/settings/people");
    const action = await unfold(rowOf(admin, cem), summary);
    await done(admin, action.getByRole("button", { name: button, exact: true }), "Saved");
  };
  await change("Disable", "Disable");
  assert.ok((await shown(admin, cem)).disabled_at);
  assert.match(await rowOf(admin, cem).innerText(), /disabled/);
  assert.equal((await call(cems, "/v1/requests?controller=harbor-goods")).status, 401);

  const again = await open(browser, { who: null });
  await again.goto(linkFor(cem));
  await again.getByRole("button", { name: "Sign in" }).click();
  await again.getByRole("heading", { name: "You are not let in" }).waitFor();
  assert.match(await again.locator("main").innerText(), /Ask an administrator/);
  await accessible(again, "not let in");

  await change("Let in again", "Let them in again");
  assert.equal((await shown(admin, cem)).disabled_at, null);
  await again.goto(linkFor(cem));
  await again.getByRole("button", { name: "Sign in" }).click();
  await again.getByRole("heading", { level: 1, name: /Today|due/i }).waitFor();
  assert.equal((await call(again, "/v1/requests?controller=harbor-goods")).status, 200);
  await close(admin, cems, again);
});

test("a session is ended by its person, and all of somebody's by the administrator", async () => {
  const dee = person("Dee Marsh", "privacy_analyst");
  const admin = await open(browser);
  const [desk, phone] = [await open(browser, { who: null }), await open(browser, { who: null })];
  for (const page of [desk, phone]) {
    await page.goto(linkFor(dee));
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.waitForURL(`${base}/**`);
    assert.equal((await call(page, "/v1/requests?controller=harbor-goods")).status, 200);
  }
  // From the desk the session of the phone is ended.
  await visit(desk, "/settings/sessions");
  assert.match(await desk.locator("main").innerText(), /after 1 h without use/, "as it is configured");
  const rows = desk.locator("tr[data-row]");
  assert.equal(await rows.count(), 2);
  await done(desk, rows.filter({ hasNotText: "this one" }).getByRole("button"), "Ended");
  assert.equal(await rows.count(), 1);
  assert.equal((await call(phone, "/v1/requests?controller=harbor-goods")).status, 401);
  assert.equal((await call(desk, "/v1/requests?controller=harbor-goods")).status, 200);

  // The administrator signs the person out everywhere.
  await visit(admin, "/settings/people");
  const { id } = await shown(admin, dee);
  assert.equal((await call(admin, `/v1/sessions?user=${id}`)).json.sessions.length, 1);
  const action = await unfold(rowOf(admin, dee), "Sign out");
  await done(admin, action.getByRole("button", { name: "Sign out everywhere" }), "Signed out");
  assert.equal((await call(admin, `/v1/sessions?user=${id}`)).json.sessions.length, 0);
  // What still stands in their window leads to a page that says how to sign in, and not to a question for a password.
  await rows.getByRole("button").click();
  await desk.getByRole("heading", { name: "Sign in" }).waitFor();
  await desk.locator("main").getByRole("link", { name: "Sign in" }).click();
  await desk.getByLabel("API key").waitFor();
  assert.equal((await call(desk, "/v1/requests?controller=harbor-goods")).status, 401);
  await close(admin, desk, phone);
});

test("emergency rights are taken for a reason, stand before everybody's eyes, and are given back", async () => {
  const gus = person("Gus Amadi", "break_glass", "operator");
  const [admin, page] = [await open(browser), await open(browser, { who: gus })];
  const id = (await api("/v1/requests?open=true")).json().requests[0].id;
  await visit(page, `/requests/${id}`);
  assert.equal(await page.locator("summary", { hasText: /^Reveal$/ }).count(), 0);
  assert.equal((await call(page, `/v1/requests/${id}/reveal`, { method: "POST", body: { reason: "task" } })).status, 403);

  await visit(page, "/settings/sessions");
  const action = await unfold(page.locator("main"), "Take them up");
  await action.getByLabel(/^Why, in a sentence/).fill("the lead is ill and a date is today");
  await action.getByLabel(/^For how long/).selectOption("5");
  await done(page, action.getByRole("button", { name: "Take up emergency rights" }), "You hold emergency rights");
  await accessible(page, "emergency rights");

  // On each page of theirs, and before whoever administers people.
  await visit(page, `/requests/${id}`);
  const banner = page.locator(".notice.alert", { hasText: "You hold emergency rights" });
  await banner.waitFor();
  await visit(admin, "/settings/people");
  const told = admin.locator(".notice.alert", { hasText: "Emergency rights:" }).filter({ hasText: gus.name });
  await told.waitFor();
  assert.match(await told.innerText(), /the lead is ill and a date is today/);
  const reveal = await unfold(page.locator("main"), /^Reveal$/);
  await reveal.getByLabel("Reason").first().selectOption("complaint");
  await reveal.getByRole("button", { name: "Reveal" }).first().click();
  await page.getByRole("heading", { name: "Person, in clear" }).waitFor();
  const seen = (await api(`/v1/requests/${id}/events`)).json().events.filter(({ kind }) => kind === "personal_revealed").at(-1);
  assert.equal(seen.data.break_glass, true, JSON.stringify(seen));

  await visit(page, `/requests/${id}`);
  await done(page, banner.getByRole("button", { name: "End them now" }), "Ended");
  assert.equal(await banner.count(), 0);
  assert.equal((await call(page, `/v1/requests/${id}/reveal`, { method: "POST", body: { reason: "task" } })).status, 403);
  await visit(admin, "/settings/people");
  assert.equal(await told.count(), 0);
  const log = await staffLog(admin);
  for (const kind of ["break_glass", "break_glass_ended"]) assert.ok(log.includes(`"${kind}"`), kind);
  await close(admin, page);
});

test("only who administers people has their page", async () => {
  const page = await open(browser, { who: person("Ola Berg", "operator") });
  await visit(page, "/settings");
  assert.equal(await page.getByRole("navigation", { name: "Settings" }).getByRole("link", { name: "People" }).count(), 0);
  assert.equal((await page.goto(`${base}/settings/people`)).status(), 403);
  assert.match(await page.locator("main").innerText(), /admin may/);
  assert.equal((await call(page, "/v1/users")).status, 403);
  await close(page);
});
