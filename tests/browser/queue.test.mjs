// The work queue by clicking: an approval by other eyes, a task with its files, what was given up and is sent again.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { accessible, api, base, call, done, fits, launch, open, phone, provision, unfold, until, visit } from "./support.mjs";

const name = `quay-books-${Date.now() % 100_000}`;
const ben = { name: "Ben Okafor", roles: ["privacy_lead"] };
const cara = { name: "Cara Nkemelu", roles: ["privacy_lead"] };
let browser, key;

/// The controller's file; `more` is what one test adds to it.
const file = (more = "", allow = '"access", "deletion"') => `
[controller]
name = "${name}"
country = "IE"
timezone = "Europe/Dublin"
region = "eu"
contact = "privacy@${name}.example"
require_approval = ["deletion"]
four_eyes = true

[[system]]
name = "ledger"
family = "files"
connector = "manual"
settings = { instructions = ["Look into the ledger of the year.", "Strike out what is about the person."], due_days = 5, fields = ["given_name"] }
allow = [${allow}]
${more}`;

before(async () => {
  browser = await launch();
  key = provision(name, file());
});
after(() => browser.close());

let n = 0;
const body = (type, more = {}) => {
  n += 1;
  return { type, reference: `QB-${n}`, systems: ["ledger"], subject: { identifiers: [{ type: "email", value: `reader-${n}@example.com` }] }, ...more };
};
const submit = async (type, more) => {
  const answer = await api("/v1/requests", { method: "POST", body: body(type, more), as: key });
  assert.equal(answer.status, 202, answer.text);
  return answer.json().id;
};
const show = async (id) => (await api(`/v1/requests/${id}`, { as: key })).json();
const kinds = async (id) => (await api(`/v1/requests/${id}/events`, { as: key })).json().events.map((event) => event.kind);
const rowOf = (page, id) => page.locator("tr[data-row]", { hasText: id });
const task = async (id) => until("the task waits for a person", async () => (await api(`/v1/requests/${id}/steps/ledger/task`, { as: key })).status === 200);

test("four eyes: who asked cannot approve, a second person can, and the work begins", async () => {
  const [bens, caras] = [await open(browser, { who: ben }), await open(browser, { who: cara })];
  await visit(bens, "/requests");
  const asked = await call(bens, `/v1/requests?controller=${name}`, { method: "POST", body: body("deletion") });
  assert.equal(asked.status, 202, asked.text);
  const { id } = asked.json;
  await until("it waits for an approval", async () => (await show(id)).status === "awaiting_approval");

  await visit(bens, "/queue?kind=approvals");
  assert.match(await rowOf(bens, id).innerText(), /Somebody else: this controller asks for four eyes/);
  assert.equal(await rowOf(bens, id).locator("summary", { hasText: "Approve" }).count(), 0);
  await visit(bens, `/requests/${id}`);
  assert.equal(await bens.getByRole("button", { name: "Approve", exact: true }).count(), 0);
  await bens.getByText("What cannot be done now, and why").click();
  assert.match(await bens.locator("#actions").innerText(), /Approve: this controller asks for four eyes/);
  for (const refused of [await call(bens, `/v1/requests/${id}/approve`, { method: "POST" }), await api(`/v1/requests/${id}/approve`, { method: "POST", as: key })]) {
    assert.equal(refused.status, 403, refused.text);
    assert.match(refused.text, /four eyes/);
  }

  await visit(caras, "/queue?kind=approvals");
  const action = await unfold(rowOf(caras, id), "Approve");
  await done(caras, action.getByRole("button", { name: "Approve" }), "Approved");
  assert.equal(await rowOf(caras, id).locator("summary", { hasText: "Approve" }).count(), 0);
  await task(id);
  assert.ok((await kinds(id)).includes("approved"));
  const approved = (await api(`/v1/requests/${id}/events`, { as: key })).json().events.find((event) => event.kind === "approved");
  assert.match(approved.actor, /^usr_/);
  assert.deepEqual([...bens.faults, ...caras.faults], []);
  await Promise.all([bens, caras].map((page) => page.context().close()));
});

test("a task is opened, a wrong report and a file that is too large are refused, a right one ends the request", async () => {
  const page = await open(browser, { who: cara });
  const id = await submit("access");
  await task(id);
  await visit(page, "/queue?kind=tasks");
  assert.ok(!(await page.locator("main").innerText()).includes("@example.com"), "the queue names nobody");
  await rowOf(page, id).getByRole("link", { name: /^Open the task/ }).click();
  const seen = (await kinds(id)).filter((kind) => kind === "task_seen").length;
  await page.getByRole("button", { name: "Open the task" }).click();
  await page.getByRole("heading", { name: "The person" }).waitFor();
  assert.match(await page.locator("main").innerText(), /reader-\d+@example\.com/);
  assert.match(await page.locator("main").innerText(), /Look into the ledger of the year/);
  assert.equal((await kinds(id)).filter((kind) => kind === "task_seen").length, seen + 1, "that it was seen is in the log");
  await accessible(page, "a task");

  const found = page.getByLabel("Records found that are the person's");
  const files = page.getByLabel("Files with the person's data");
  const report = page.getByRole("button", { name: "Report", exact: true });
  const refused = page.getByText("The report was not taken in");
  const isStillOpen = async () => assert.equal((await api(`/v1/requests/${id}/steps/ledger/task`, { as: key })).json().reported, false);

  // Records were found, and none is handed over.
  await found.fill("2");
  await report.click();
  await refused.waitFor();
  assert.equal(await found.inputValue(), "2", "what was filled in still is");
  assert.equal(await found.getAttribute("aria-invalid"), "true");
  assert.match(await page.locator("#found-faults").innerText(), /handed over/);
  await accessible(page, "a refused report");
  await isStillOpen();

  // More than a report may hold: as the base64 that it becomes, and as it is.
  for (const megabytes of [7, 9]) {
    await files.setInputFiles({ name: "scan.tiff", mimeType: "image/tiff", buffer: Buffer.alloc(megabytes << 20, 7) });
    await report.click();
    await page.getByRole("heading", { name: "Too large" }).or(refused).first().waitFor();
    assert.match(await page.locator("main").innerText(), /You can mend this|longer than|Files have to be chosen again/);
    await isStillOpen();
    await visit(page, `/queue/${id}/ledger`);
    await page.getByRole("button", { name: "Open the task" }).click();
    await found.fill("2");
  }

  await files.setInputFiles([
    { name: "ledger page 12.pdf", mimeType: "application/pdf", buffer: Buffer.from("%PDF-1.4 page 12") },
    { name: "\u202Egnp.exe.txt", mimeType: "text/plain", buffer: Buffer.from("struck out") },
  ]);
  await done(page, report, "The report was taken in");
  await until("the request ends", async () => (await show(id)).status === "completed");
  const step = (await show(id)).steps.find((step) => step.system === "ledger");
  assert.equal(step.found, 2);
  const answer = await fetch(`${base}/v1/requests/${id}/package`, { headers: { authorization: `Bearer ${key}` } });
  assert.equal(answer.status, 200);
  const held = Buffer.from(await answer.arrayBuffer()).toString("latin1");
  assert.ok(held.includes("ledger page 12.pdf") || held.includes("ledger_page_12.pdf"), "the file is in the package");
  assert.ok(!held.includes("\u202E"));
  assert.deepEqual(page.faults, []);
  await page.context().close();
});

test("a task of a deletion is reported on a phone without a script: the certificate names the hash of its file", async () => {
  const page = await open(browser, { who: cara, viewport: phone, javaScriptEnabled: false });
  const caras = await open(browser, { who: cara });
  const id = await submit("deletion");
  await visit(caras, "/queue?kind=approvals");
  await done(caras, (await unfold(rowOf(caras, id), "Approve")).getByRole("button", { name: "Approve" }), "Approved");
  await task(id);
  await visit(page, `/queue/${id}/ledger`);
  await page.getByRole("button", { name: "Open the task" }).click();
  await fits(page, "a task on a phone");
  await page.getByLabel("Records found that are the person's").fill("3");
  await page.getByLabel("Of these, changed or deleted").fill("3");
  await page.getByLabel("Files as evidence").setInputFiles({ name: "photo.jpg", mimeType: "image/jpeg", buffer: Buffer.from("a photo of the page") });
  await done(page, page.getByRole("button", { name: "Report", exact: true }), "The report was taken in");
  await until("the request ends", async () => (await show(id)).status === "completed");
  const certificate = (await api(`/v1/requests/${id}/certificate`, { as: key })).text;
  const hash = Buffer.from(await crypto.subtle.digest("SHA-256", Buffer.from("a photo of the page"))).toString("hex");
  assert.ok(certificate.includes(hash));
  await Promise.all([page, caras].map((page) => page.context().close()));
});

/// A program that is told of statuses and notices, and refuses them for good until it is mended.
const receiver = async () => {
  const told = [];
  const it = { mended: false, told };
  const server = createServer((request, response) => {
    let text = "";
    request.on("data", (part) => (text += part)).on("end", () => {
      told.push({ id: request.headers["webhook-id"], text, taken: it.mended });
      response.writeHead(it.mended ? 204 : 410).end();
    });
  });
  await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
  return Object.assign(it, { url: `http://127.0.0.1:${server.address().port}/`, end: () => server.close() });
};

test("a status that the controller's address refused for good is told again, by the same id", async () => {
  const far = await receiver();
  const page = await open(browser, { who: ben });
  try {
    const id = await submit("access", { callback_url: far.url });
    await until("the address said that it is gone", async () => far.told.length > 0);
    await until("it lies among what was given up", async () => {
      await visit(page, "/queue?kind=given_up");
      return (await rowOf(page, id).count()) > 0;
    });
    assert.match(await rowOf(page, id).innerText(), /the controller was not told[^]*this address is gone for good/);
    await accessible(page, "given up");
    // Where controllers are told, the settings say the same.
    await visit(page, "/settings/webhooks");
    assert.match(await page.locator("tr[data-row]", { hasText: name }).innerText(), /given up/);

    far.mended = true;
    await visit(page, "/queue?kind=given_up");
    await done(page, rowOf(page, id).getByRole("button", { name: "Tell again" }), "sent again");
    await until("the controller was told", async () => far.told.some(({ taken }) => taken));
    const first = far.told[0];
    assert.ok(far.told.some(({ taken, id, text }) => taken && id === first.id && text === first.text), "the same message by the same id");
    await until("nothing of it is left", async () => {
      await visit(page, "/queue?kind=given_up");
      return (await rowOf(page, id).count()) === 0;
    });
    assert.ok((await kinds(id)).some((kind) => /replay/.test(kind)), JSON.stringify(await kinds(id)));
    await visit(page, "/settings/webhooks");
    assert.match(await page.locator("tr[data-row]", { hasText: name }).innerText(), /taken/);
  } finally {
    far.end();
    await page.context().close();
  }
});

test("a notice that nobody took is sent again, by the same id", async () => {
  const far = await receiver();
  const page = await open(browser, { who: ben });
  const secret = `whsec_${Buffer.alloc(24, 9).toString("base64")}`;
  try {
    provision(name, file(`
[[notify]]
name = "desk"
role = "privacy_team"
channel = "webhook"
url = "${far.url}"
secret = { value = "${secret}" }
kinds = ["awaiting_controller"]
delivery = "now"
`));
    const id = await submit("deletion");
    await until("the route said that it is gone", async () => far.told.some(({ text }) => text.includes(id)), 40_000);
    const row = page.locator("tr[data-row]", { hasText: "a message to desk" }).filter({ hasText: name });
    await until("it lies among what was given up", async () => {
      await visit(page, "/queue?kind=given_up");
      return (await row.count()) > 0;
    });
    await visit(page, "/settings/notifications");
    assert.match(await page.locator("tr[data-row]", { hasText: `${name}/desk` }).innerText(), /nobody has heard/);

    far.mended = true;
    await visit(page, "/queue?kind=given_up");
    await done(page, row.getByRole("button", { name: "Send again" }), "sent again");
    await until("somebody has heard", async () => far.told.some(({ taken }) => taken));
    assert.ok(far.told.some(({ taken, id, text }) => taken && id === far.told[0].id && text === far.told[0].text));
    await until("nothing of it is left", async () => {
      await visit(page, "/queue?kind=given_up");
      return (await row.count()) === 0;
    });
  } finally {
    provision(name, file());
    far.end();
    await page.context().close();
  }
});

test("what is stuck says what helps, and goes on when it was done and is tried again", async () => {
  const page = await open(browser, { who: ben });
  const id = await submit("correction", { systems: undefined, corrections: [{ field: "given_name", value: "Maeve" }] });
  await until("no system may do this", async () => (await show(id)).status === "needs_attention");
  await visit(page, "/queue?kind=stuck");
  assert.match(await rowOf(page, id).innerText(), /No connected system is instructed[^]*Connect a system that may do this/);
  // As long as nothing has changed, trying again changes nothing, and the page says so.
  await rowOf(page, id).getByRole("button", { name: "Try again" }).click();
  await page.getByRole("heading", { name: "Not possible as things stand" }).waitFor();
  assert.match(await page.locator("main").innerText(), /still no connected system that is instructed/);
  provision(name, file("", '"access", "deletion", "correction"'));
  await visit(page, "/queue?kind=stuck");
  await done(page, rowOf(page, id).getByRole("button", { name: "Try again" }), "It is tried again");
  await task(id);
  assert.equal((await show(id)).status, "in_progress");
  await visit(page, "/queue?kind=stuck");
  assert.equal(await rowOf(page, id).count(), 0);
  await page.context().close();
});
