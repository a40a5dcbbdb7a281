// What people keep here: views of the list, keys whose text is shown once; and whom notices go to.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { accessible, api, base, call, done, launch, open, operator, unfold, visit } from "./support.mjs";

let browser;

before(async () => {
  browser = await launch();
});
after(() => browser.close());

test("filters are kept as a view, opened from its tab, belong to whoever kept them, and are removed", async () => {
  const name = `Late <b>deletions</b> & “more” ${Date.now() % 100_000}`;
  const [page, other] = [await open(browser), await open(browser, { who: { name: "Ben Okafor", roles: ["privacy_lead"] } })];
  await visit(page, "/requests");
  await page.getByText("Filter and search").click();
  const filters = page.locator("form.filters");
  await filters.getByLabel("Type").selectOption("deletion");
  await filters.locator("[name=controller]").selectOption("harbor-outlet");
  await filters.locator("button[type=submit]").first().click();
  await page.waitForURL(/type=deletion/);
  const rows = await page.locator("tr[data-row]").count();
  const action = await unfold(page.locator("main"), "Save these filters as a view");
  await action.getByLabel("Name").fill(name);
  await done(page, action.getByRole("button", { name: "Save the view" }), "Saved");
  const views = async (page) => (await call(page, "/v1/views")).json.views.filter((view) => view.name === name);
  const [kept] = await views(page);
  assert.match(kept.query, /type=deletion/);
  await visit(other, "/requests");
  assert.equal((await views(other)).length, 0, "it is nobody else's");
  assert.equal(await other.getByRole("link", { name }).count(), 0);

  await visit(page, "/requests");
  await page.getByRole("link", { name }).click();
  await page.waitForURL(/type=deletion/);
  assert.equal(await page.locator("tr[data-row]").count(), rows);
  assert.equal(await page.getByRole("link", { name }).getAttribute("aria-current"), "page");
  await accessible(page, "a saved view");
  await done(page, page.getByRole("button", { name: `Remove the view ${name}` }), "Removed");
  assert.equal(await page.getByRole("link", { name }).count(), 0);
  assert.equal((await views(page)).length, 0);
  assert.deepEqual(page.faults, []);
  await Promise.all([page, other].map((page) => page.context().close()));
});

test("a key is made, its text shown once, used, and revoked", async () => {
  const page = await open(browser);
  await visit(page, "/controllers/harbor-outlet");
  const action = await unfold(page.locator("main"), "Make a key");
  await action.getByLabel("Role").selectOption("auditor");
  await action.getByRole("button", { name: "Make the key" }).click();
  await page.getByText("This text is shown this once").waitFor();
  const [key] = (await page.locator("main").innerText()).match(/rk_\S+/);
  await accessible(page, "a new key");
  const listed = async () => (await call(page, "/v1/keys?controller=harbor-outlet")).json.keys;
  const made = (await listed()).filter((one) => one.revoked_at == null && key.startsWith(one.id.replace("key_", "rk_"))).at(-1);
  assert.equal(made.role, "auditor");
  assert.equal((await api("/v1/requests", { as: key })).status, 200);
  assert.equal((await api("/v1/keys", { as: key })).status, 403, "it may do what its role may");

  // The text is nowhere afterwards.
  await visit(page, "/controllers/harbor-outlet");
  assert.ok(!(await page.content()).includes(key));
  assert.ok(!JSON.stringify(await listed()).includes(key));
  // With it somebody signs in by clicking, until it is revoked.
  const holder = await open(browser, { who: null });
  await visit(holder, "/sign-in");
  await holder.getByLabel("API key").fill(key);
  await holder.getByRole("button", { name: "Sign in with the key" }).click();
  await holder.waitForURL(`${base}/`);
  assert.equal((await call(holder, "/v1/requests")).status, 200);

  const row = page.locator("tr", { hasText: made.id });
  await done(page, (await unfold(row, "Revoke")).getByRole("button", { name: `Revoke ${made.id}` }), "Revoked");
  assert.equal((await api("/v1/requests", { as: key })).status, 401);
  assert.equal((await call(holder, "/v1/requests")).status, 401, "and so is the session that began with it");
  await visit(holder, "/sign-in");
  await holder.getByLabel("API key").fill(key);
  await holder.getByRole("button", { name: "Sign in with the key" }).click();
  await holder.getByText("This key is unknown or revoked").waitFor();
  assert.deepEqual(page.faults, []);
  await Promise.all([page, holder].map((page) => page.context().close()));
});

test("routes of notices are shown and tried out; one that does not answer is told in words", async () => {
  let status = 204;
  const told = [];
  const server = createServer((request, response) => {
    let text = "";
    request.on("data", (part) => (text += part)).on("end", () => {
      told.push(JSON.parse(text));
      response.writeHead(status).end();
    });
  });
  await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
  const url = `http://127.0.0.1:${server.address().port}/secret-path`;
  const file = join(process.env.REDRESS_BROWSER_FOLDER, "operator.toml");
  const page = await open(browser);
  try {
    await visit(page, "/settings/notifications");
    await page.getByRole("heading", { name: "Nobody is told yet" }).waitFor();
    writeFileSync(file, `[[notify]]\nname = "pager"\nrole = "operator"\nchannel = "webhook"\nurl = "${url}"\nsecret = { value = "whsec_${Buffer.alloc(24, 7).toString("base64")}" }\nkinds = ["overdue"]\ndelivery = "now"\n`);
    operator(["apply", file]);
    await visit(page, "/settings/notifications");
    const row = page.locator("tr[data-row]", { hasText: "operator/pager" });
    assert.match(await row.innerText(), /overdue[^]*at once/);
    assert.ok(!(await page.content()).includes("secret-path"), "addresses are shown to nobody");
    await accessible(page, "routes");
    await done(page, row.getByRole("button", { name: /^Send a test/ }), "The test was taken");
    assert.deepEqual(told.map(({ type }) => type), ["redress.notices"]);
    status = 410;
    await row.getByRole("button", { name: /^Send a test/ }).click();
    await page.getByRole("heading", { name: "Not possible as things stand" }).waitFor();
    assert.match(await page.locator("main").innerText(), /The test was not taken/);
    const log = (await call(page, "/v1/staff-audit")).text;
    assert.ok(log.includes("route_tested") && !log.includes("secret-path"));

    // Who only operates sees the routes, and tries none.
    const gus = await open(browser, { who: { name: "Gus Amadi", roles: ["operator"] } });
    await visit(gus, "/settings/notifications");
    assert.equal(await gus.getByRole("button", { name: /^Send a test/ }).count(), 0);
    assert.equal((await call(gus, "/v1/notify-routes/pager/test", { method: "POST" })).status, 403);
    await gus.context().close();
  } finally {
    writeFileSync(file, "notify = []\n");
    operator(["apply", file]);
    server.close();
    await page.context().close();
  }
});

test("the installation says what it is, and gives the key that certificates are checked with", async () => {
  const page = await open(browser);
  await visit(page, "/settings/installation");
  const text = await page.locator("main").innerText();
  assert.match(text, /SQLite, embedded/);
  assert.match(text, /up to date/);
  const signing = await call(page, "/v1/signing-key");
  assert.ok(text.includes(signing.json.public_key) && text.includes(signing.json.key_id));
  await visit(page, "/settings/roles");
  assert.match(await page.locator("main").innerText(), /see who a person is/);
  await page.context().close();
});
