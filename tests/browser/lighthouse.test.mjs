// Lighthouse gives Today at least 95 for performance, accessibility and best practices.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { base, key, launch, lighthouse } from "./support.mjs";

const port = 9200 + (process.pid % 700);
let browser;

before(async () => {
  browser = await launch([`--remote-debugging-port=${port}`]);
});
after(() => browser.close());

test("Today", async () => {
  const run = await lighthouse();
  const extraHeaders = { authorization: `Basic ${Buffer.from(`key:${key}`).toString("base64")}` };
  const desktop = {
    formFactor: "desktop",
    screenEmulation: { mobile: false, width: 1350, height: 940, deviceScaleFactor: 1, disabled: false },
    // What is measured is the page, on the line that a desk has.
    throttling: { rttMs: 40, throughputKbps: 10_240, cpuSlowdownMultiplier: 1, requestLatencyMs: 0, downloadThroughputKbps: 0, uploadThroughputKbps: 0 },
  };
  const onlyCategories = ["performance", "accessibility", "best-practices"];
  let told;
  // A machine that is busy with other tests makes a page slow: the best of three counts.
  for (let n = 0; n < 3; n += 1) {
    const { lhr } = await run(`${base}/`, { port, logLevel: "silent", extraHeaders, maxWaitForLoad: 15_000 }, { extends: "lighthouse:default", settings: { onlyCategories, ...desktop } });
    const scores = Object.fromEntries(onlyCategories.map((name) => [name, Math.round((lhr.categories[name].score ?? 0) * 100)]));
    const poor = Object.values(lhr.audits).filter(({ score }) => score !== null && score < 0.9).map(({ id, displayValue }) => `${id} ${displayValue ?? ""}`);
    told = { scores, poor };
    if (Object.values(scores).every((score) => score >= 95)) {
      console.log(`# ${JSON.stringify(scores)}`);
      return;
    }
  }
  assert.fail(JSON.stringify(told));
});
