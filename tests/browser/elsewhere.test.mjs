// Pages of other sites make a signed-in browser send forms here: whatever they know, nothing is changed. And without a script people
// come in and act as with one.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { accessible, api, base, call, done, fits, launch, linkFor, open, phone, unfold, visit } from "./support.mjs";

const lea = { name: "Lea Brandt", roles: ["admin", "privacy_lead"] };
let browser, other, pageOf;

before(async () => {
  browser = await launch();
  // A site that serves whatever a test wrote for it, at another port of this machine: the same site to a browser, and another origin.
  const pages = new Map();
  other = createServer((request, response) => {
    response.writeHead(200, { "content-type": "text/html" }).end(pages.get(request.url) ?? "");
  });
  await new Promise((ready) => other.listen(0, "127.0.0.1", ready));
  pageOf = (html, host = "127.0.0.1") => {
    const path = `/${pages.size}`;
    pages.set(path, html);
    return `http://${host}:${other.address().port}${path}`;
  };
});
after(async () => {
  other.closeAllConnections();
  other.close();
  await browser.close();
});

const submit = async () => {
  const body = { type: "access", systems: ["newsletter"], subject: { identifiers: [{ type: "email", value: `else-${Date.now()}-${Math.random()}@example.com` }] } };
  return (await api("/v1/requests", { method: "POST", body })).json().id;
};
const form = (path, fields, encoding = "application/x-www-form-urlencoded") => {
  const inputs = Object.entries(fields).map(([name, value]) => `<input name="${name}" value="${value}">`).join("");
  return `<!doctype html><form method="post" enctype="${encoding}" action="${base}${path}">${inputs}<button>Win a prize</button></form>`;
};

test("a form on another origin changes nothing, even if it knows the token", async () => {
  const page = await open(browser, { who: lea });
  const id = await submit();
  await visit(page, `/requests/${id}`);
  const csrf = await page.locator("[name=csrf]").first().inputValue();
  // What the browser sent is kept: the attack is one only if the cookie went along.
  const sent = [];
  page.on("request", async (request) => {
    if (request.method() === "POST") sent.push((await request.allHeaders()).cookie ?? "");
  });
  page.removeAllListeners("console");
  const keys = async () => (await api("/v1/keys")).json().keys.length;
  const held = await keys();
  const attacks = [
    [`/act/v1/requests/${id}/withdraw`, {}],
    [`/act/v1/requests/${id}/withdraw`, { csrf }],
    [`/act/v1/requests/${id}/pause`, { csrf, kind: "identity" }, "multipart/form-data"],
    [`/act/v1/requests/${id}/reveal`, { csrf, reason: "complaint" }],
    [`/v1/requests/${id}/withdraw`, { csrf }, "text/plain"],
    [`/queue/${id}/newsletter`, { csrf }],
    ["/controllers/harbor-goods/keys", { csrf, role: "controller_admin" }],
    ["/sign-out", { csrf }],
    ["/sign-in", { key: "rk_somebody_elses" }],
  ];
  // Another port is the same site to a browser, which sends the cookie along; another name is another site.
  for (const [host, path, fields, encoding] of [...attacks.map((attack) => ["127.0.0.1", ...attack]), ["localhost", ...attacks[1]], ["localhost", ...attacks[7]]]) {
    await page.goto(pageOf(form(path, fields, encoding), host));
    const answered = page.waitForResponse((response) => response.request().method() === "POST");
    await page.getByRole("button", { name: "Win a prize" }).click();
    const answer = await answered;
    assert.ok([401, 403, 415].includes(answer.status()), `${host} ${path}: ${answer.status()}`);
    await page.waitForLoadState();
  }
  assert.ok(sent.some((cookie) => cookie.includes("redress_session=")), "the browser sent the cookie along");
  const now = (await api(`/v1/requests/${id}`)).json();
  assert.deepEqual([now.closed_at, now.status === "awaiting_controller"], [null, false]);
  const events = (await api(`/v1/requests/${id}/events`)).json().events.map((event) => event.kind);
  assert.ok(!events.some((kind) => /reveal|withdraw|pause|task_seen/.test(kind)), events.join());
  assert.equal(await keys(), held, "and no key was made");
  // They are still signed in, and their own form still works.
  await visit(page, `/requests/${id}`);
  await done(page, (await unfold(page.locator("main"), "Withdraw")).getByRole("button", { name: "Withdraw" }), "Withdrawn");
  assert.equal((await api(`/v1/requests/${id}`)).json().status, "withdrawn");
  await page.context().close();
});

test("a script on another origin can neither act nor read", async () => {
  const page = await open(browser, { who: lea });
  const id = await submit();
  page.removeAllListeners("console");
  await page.goto(pageOf("<!doctype html><p>hello"));
  const told = await page.evaluate(async ({ base, id }) => {
    const tries = [
      [`${base}/v1/requests/${id}`, {}],
      [`${base}/requests/${id}`, {}],
      [`${base}/v1/requests/${id}/withdraw`, { method: "POST" }],
      [`${base}/v1/requests/${id}/withdraw`, { method: "POST", headers: { "x-csrf-token": "x", "content-type": "application/json" } }],
      [`${base}/act/v1/requests/${id}/withdraw`, { method: "POST", body: new URLSearchParams({ csrf: "x" }) }],
    ];
    return Promise.all(tries.map(([url, options]) => fetch(url, { credentials: "include", ...options }).then((answer) => answer.text(), () => "refused")));
  }, { base, id });
  assert.deepEqual(told, Array(5).fill("refused"));
  assert.equal((await api(`/v1/requests/${id}`)).json().closed_at, null);
  // Nor is the board shown in a frame of theirs, where somebody could be made to click.
  await page.goto(pageOf(`<!doctype html><iframe src="${base}/requests/${id}"></iframe>`));
  await page.waitForLoadState();
  const framed = await Promise.all(page.frames().slice(1).map((frame) => frame.locator("form").count()));
  assert.deepEqual(framed, [0]);
  await page.context().close();
});

test("without a script people come in by their link, act on a phone, and go", async () => {
  const page = await open(browser, { who: null, javaScriptEnabled: false, viewport: phone });
  const link = linkFor(lea);
  await page.goto(link);
  await fits(page, "the link's page");
  await page.goto(link);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.waitForURL(`${base}/`);
  const id = await submit();
  await visit(page, `/requests/${id}`);
  await done(page, (await unfold(page.locator("main"), "Withdraw")).getByRole("button", { name: "Withdraw" }), "Withdrawn");
  assert.equal((await api(`/v1/requests/${id}`)).json().status, "withdrawn");
  await page.locator("details.who summary").click();
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.locator("p.done", { hasText: "You are signed out" }).waitFor();

  // The link was used; whoever finds it later is told whom to ask.
  const late = await page.goto(link);
  assert.equal(late.status(), 410);
  await page.getByRole("heading", { name: "This link does not work" }).waitFor();
  assert.match(await page.locator("main").innerText(), /The operator of this installation|operator makes another one/);
  const look = await open(browser, { who: null });
  await look.goto(link);
  await accessible(look, "a used link");
  assert.equal((await call(look, "/v1/requests?controller=harbor-goods")).status, 401);
  await Promise.all([page, look].map((page) => page.context().close()));
});
