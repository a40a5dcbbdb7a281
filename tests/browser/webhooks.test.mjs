// Standing endpoints by clicking: made with a secret that is shown once, tried out, given a new secret, disabled, enabled and removed.
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { accessible, call, done, fits, launch, open, phone, unfold, until, visit } from "./support.mjs";

let browser, server, url, status;
const told = [];

before(async () => {
  browser = await launch();
  server = createServer((request, response) => {
    let text = "";
    request.on("data", (part) => (text += part)).on("end", () => {
      told.push({ headers: request.headers, text });
      response.writeHead(status).end();
    });
  });
  await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
  url = `http://127.0.0.1:${server.address().port}/hook-with-a-token`;
});
after(async () => {
  server.close();
  await browser.close();
});

/// Whether a message is signed with a secret (Standard Webhooks).
const isSigned = ({ headers, text }, secret) => {
  const key = Buffer.from(secret.replace("whsec_", ""), "base64");
  const signature = createHmac("sha256", key).update(`${headers["webhook-id"]}.${headers["webhook-timestamp"]}.${text}`).digest("base64");
  return headers["webhook-signature"].split(" ").includes(`v1,${signature}`);
};
const list = async (page) => (await call(page, "/v1/webhooks?controller=harbor-outlet")).json.webhooks;
const secretOn = async (page) => {
  await page.getByText("This text is shown this once").waitFor();
  return (await page.locator("main code.id").innerText()).trim();
};

test("an endpoint is made, tried out, given a new secret, disabled when it is gone, enabled and removed", async () => {
  status = 204;
  const page = await open(browser);
  await visit(page, "/settings/webhooks");
  await page.getByLabel("New endpoint for the controller").fill("nobody");
  await page.getByRole("button", { name: "Go on" }).click();
  await page.getByText("There is no controller named nobody").waitFor();
  await page.getByLabel("New endpoint for the controller").fill("harbor-outlet");
  await page.getByRole("button", { name: "Go on" }).click();
  const action = await unfold(page.locator("main"), /Make an endpoint for/);
  await action.getByLabel("Address").fill(url);
  await action.getByLabel("What it is for").fill("the outlet's desk");
  await accessible(page, "a new endpoint");
  await action.getByRole("button", { name: "Make the endpoint" }).click();
  const first = await secretOn(page);
  assert.match(first, /^whsec_/);
  await accessible(page, "a secret");
  const [made] = await list(page);
  assert.ok(!JSON.stringify(made).includes(first) && !JSON.stringify(made).includes("hook-with-a-token"));

  await visit(page, "/settings/webhooks");
  assert.ok(!(await page.content()).includes(first) && !(await page.content()).includes("hook-with-a-token"), "neither secret nor path");
  const row = page.locator("tr[data-row]", { hasText: made.id });
  assert.match(await row.innerText(), /the outlet's desk[^]*every status[^]*enabled/);
  await done(page, row.getByRole("button", { name: /^Send a test/ }), "The test was taken");
  assert.ok(isSigned(told.at(-1), first), "signed as it says");

  await (await unfold(row, "New secret")).getByRole("button", { name: /^Make a new secret/ }).click();
  const second = await secretOn(page);
  assert.notEqual(second, first);
  await visit(page, "/settings/webhooks");
  assert.match(await row.innerText(), /an old secret signs until/);
  await done(page, row.getByRole("button", { name: /^Send a test/ }), "The test was taken");
  assert.ok(isSigned(told.at(-1), second) && isSigned(told.at(-1), first), "with both for a day");

  // It says that it is gone, by a real status of a real request.
  status = 410;
  const body = { type: "access", systems: ["archive"], subject: { identifiers: [{ type: "email", value: `hook-${Date.now()}@example.com` }] } };
  assert.equal((await call(page, "/v1/requests?controller=harbor-outlet", { method: "POST", body })).status, 202);
  await until("it is disabled", async () => (await list(page))[0].disabled_at);
  await visit(page, "/settings/webhooks");
  assert.match(await row.innerText(), /disabled[^]*it answered that it is gone for good/);
  await accessible(page, "a disabled endpoint");
  status = 204;
  await done(page, row.getByRole("button", { name: /^Enable again/ }));
  assert.equal((await list(page))[0].disabled_at ?? null, null);

  await done(page, (await unfold(row, "Remove")).getByRole("button", { name: /^Remove the endpoint/ }), "Removed");
  assert.equal(await row.count(), 0);
  assert.equal((await list(page)).length, 0);
  assert.deepEqual(page.faults, []);
  await page.context().close();
});

test("on a phone the webhooks fit, and who does not connect systems makes none", async () => {
  const page = await open(browser, { viewport: phone, who: { name: "Ben Okafor", roles: ["privacy_lead"] } });
  await visit(page, "/settings/webhooks");
  await fits(page, "webhooks");
  assert.equal(await page.getByLabel("New endpoint for the controller").count(), 0);
  assert.equal((await call(page, "/v1/webhooks?controller=harbor-outlet", { method: "POST", body: { url } })).status, 403);
  await page.context().close();
});
