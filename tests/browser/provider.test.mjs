// People sign in at their identity provider by clicking through its pages and ours: groups give roles, and what they no longer give is lost.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { begin, end, people } from "./provider.mjs";
import { accessible, launch, operator } from "./support.mjs";

let browser, board;

before(async () => {
  const it = await begin();
  board = it.board;
  operator(["controller", "create", "acme", "--country", "DE", "--timezone", "Europe/Berlin"], it.data);
  browser = await launch();
});
after(async () => {
  await browser.close();
  await end();
});

/// A browser of nobody yet. The provider's pages ask for letters from elsewhere, which they do not get.
const fresh = async (options = {}) => {
  const context = await browser.newContext(options);
  context.setDefaultTimeout(15_000);
  await context.route((url) => url.hostname !== "127.0.0.1", (route) => route.abort());
  return context.newPage();
};
/// From our page to the provider's, and there as far as its form.
const leave = async (page, path = "/sign-in") => {
  await page.goto(board + path);
  await page.getByRole("link", { name: /^Sign in at 127\.0\.0\.1/ }).click();
};
/// Through the provider's own pages, as far as it asks: a name, and what we may know.
const pass = async (page, name) => {
  await page.locator("[name=login]").fill(name);
  await page.locator("[name=password]").fill("any");
  await page.getByRole("button", { name: "Sign-in" }).click();
  await page.getByRole("button", { name: "Continue" }).click();
  await page.waitForURL((url) => url.href.startsWith(board));
};
const asked = async (page, path) => page.evaluate(async (path) => (await fetch(path)).status, path);

for (const javaScriptEnabled of [true, false]) {
  test(`whoever's groups have a role has it, and leads where they wanted to go${javaScriptEnabled ? "" : ", without a script"}`, async () => {
    people({ nora: ["privacy-heads", "lunch"] });
    const page = await fresh({ javaScriptEnabled });
    await leave(page, "/sign-in?next=%2Frequests");
    await pass(page, "nora");
    assert.equal(page.url(), `${board}/requests`);
    await page.locator("details.who summary", { hasText: "Nora at the provider" }).click();
    assert.match(await page.locator("details.who").innerText(), /privacy lead/);
    const cookies = await page.context().cookies(board);
    const session = cookies.find(({ name }) => name === "redress_session");
    assert.ok(session.httpOnly && ["Lax", "Strict"].includes(session.sameSite), JSON.stringify(session));
    if (javaScriptEnabled) assert.equal(await asked(page, "/v1/requests?controller=acme"), 200);

    await page.getByRole("button", { name: "Sign out" }).click();
    await page.locator("p.done", { hasText: "You are signed out" }).waitFor();
    if (javaScriptEnabled) assert.equal(await asked(page, "/v1/requests?controller=acme"), 401);
    assert.equal((await page.context().cookies(board)).find(({ name }) => name === "redress_session"), undefined);
    // The cookie that somebody kept does not work either.
    await page.context().addCookies([session]);
    assert.equal((await page.request.get(`${board}/v1/requests?controller=acme`)).status(), 401);
    await page.context().close();
  });
}

test("a group that was taken away takes its role with it at the next sign-in, from every browser of that person", async () => {
  people({ otis: ["privacy-heads"] });
  const [desk, phone] = [await fresh(), await fresh()];
  for (const page of [desk, phone]) {
    await leave(page);
    await pass(page, "otis");
    assert.equal(await asked(page, "/v1/requests?controller=acme"), 200);
  }
  people({ otis: ["lunch"] });
  assert.equal(await asked(phone, "/v1/requests?controller=acme"), 200, "nobody has asked the provider yet");
  await desk.locator("details.who summary").click();
  await desk.getByRole("button", { name: "Sign out" }).click();
  await desk.locator("p.done").waitFor();
  // The provider still knows them and asks nothing.
  await leave(desk);
  await desk.waitForURL((url) => url.href.startsWith(board));
  await desk.getByText("Nobody has given you a role here").waitFor();
  await accessible(desk, "signed in without a role");
  for (const page of [desk, phone]) assert.equal(await asked(page, "/v1/requests?controller=acme"), 403);
  assert.equal((await desk.goto(`${board}/requests`)).status(), 403);
  assert.match(await desk.locator("main").innerText(), /nobody has given you a role here: an administrator can/);

  // Another group gives another role.
  people({ otis: ["platform"] });
  await leave(desk);
  await desk.waitForURL(`${board}/`);
  await desk.locator("details.who summary").click();
  assert.match(await desk.locator("details.who").innerText(), /operator/);
  await Promise.all([desk, phone].map((page) => page.context().close()));
});

test("whoever cancels at the provider is told so, and who can help", async () => {
  people({ pia: ["privacy-heads"] });
  const page = await fresh();
  await leave(page);
  await page.getByRole("link", { name: /Cancel/ }).click();
  await page.getByRole("heading", { name: "You are not signed in" }).waitFor();
  assert.ok(page.url().startsWith(`${board}/sign-in/callback`));
  const said = await page.locator("main").innerText();
  assert.match(said, /you cancelled it/);
  assert.match(said, /Sign in again, or ask who administers your accounts/);
  await accessible(page, "cancelled");
  await page.getByRole("link", { name: "To the sign-in" }).click();
  await page.getByRole("link", { name: /^Sign in at/ }).click();
  await pass(page, "pia");
  assert.equal(await asked(page, "/v1/requests?controller=acme"), 200, "a second try works");
  await page.context().close();
});

test("an answer of the provider's works once, in the browser that asked", async () => {
  people({ quinn: ["privacy-heads"], raj: [] });
  const page = await fresh();
  const answers = [];
  page.on("request", (request) => request.url().startsWith(`${board}/sign-in/callback`) && answers.push(request.url()));
  await leave(page);
  await pass(page, "quinn");
  assert.equal(answers.length, 1);
  for (const other of [page, await fresh()]) {
    const again = await other.goto(answers[0]);
    assert.equal(again.status(), 403);
    await other.getByRole("heading", { name: "The sign-in is over" }).waitFor();
    assert.match(await other.locator("main").innerText(), /You can mend this: sign in again/);
    if (other !== page) {
      assert.equal((await other.context().cookies(board)).find(({ name }) => name === "redress_session"), undefined);
      await other.context().close();
    }
  }
  assert.equal((await page.goto(`${board}/requests`)).status(), 200, "whoever was signed in still is");

  // What was meant for one browser is of no use in another, nor in one that has lost what binds them.
  const [mine, victim] = [await fresh(), await fresh()];
  mine.on("request", (request) => request.url().startsWith(`${board}/sign-in/callback`) && answers.push(request.url()));
  await leave(victim);
  await leave(mine);
  await mine.context().clearCookies({ name: "redress_sign_in" });
  await pass(mine, "raj");
  for (const page of [mine, victim]) {
    if (page === victim) assert.equal((await victim.goto(answers.at(-1))).status(), 403);
    await page.getByRole("heading", { name: "Not this browser" }).waitFor();
    assert.equal((await page.context().cookies(board)).find(({ name }) => name === "redress_session"), undefined);
  }
  await accessible(victim, "not this browser");
  await Promise.all([page, mine, victim].map((page) => page.context().close()));
});
