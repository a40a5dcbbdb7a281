#!/usr/bin/env node
// Drives the simulated Salesforce org with jsforce, which knows nothing of Redress.
//
// usage: salesforce.mjs URL   (cargo run -p redress-sandbox --example serve -- salesforce)
//
// It installs the client into a temporary folder, signs in, creates, queries, updates, deletes and bulk-deletes, and fails if
// anything is not as the client expects it from Salesforce.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";

const CLIENT = "jsforce@3.10.26";
const [url] = process.argv.slice(2);
if (!url) {
  console.error("usage: salesforce.mjs URL");
  process.exit(2);
}

const place = mkdtempSync(join(tmpdir(), "jsforce-"));
try {
  // The newest undici wants a newer Node than is usual.
  writeFileSync(join(place, "package.json"), '{"private":true,"overrides":{"undici":"^6.21.0"}}');
  execFileSync("npm", ["install", "--silent", "--no-audit", "--no-fund", CLIENT], { cwd: place, stdio: "inherit" });
  const jsforce = createRequire(join(place, "package.json"))("jsforce");
  const oauth2 = { loginUrl: url, clientId: "3MVG9redress.sandbox", clientSecret: "redress-sandbox-secret" };
  const org = new jsforce.Connection({ instanceUrl: url, version: "67.0", oauth2 });
  await org.authorize({ grant_type: "client_credentials" });

  const described = await org.sobject("Contact").describe();
  assert.equal(described.keyPrefix, "003");
  const made = await org.sobject("Contact").create([
    { LastName: "O'Brien", Email: "o'brien@shop.example" },
    { LastName: "Twin", Email: "obrien@shop.example" },
    { LastName: "Third", Email: "third@shop.example" },
  ]);
  assert.ok(made.every((one) => one.success), JSON.stringify(made));
  const [ann, twin, third] = made.map((one) => one.id);

  // Its own escaping of values, not ours.
  const found = await org.sobject("Contact").find({ Email: "o'brien@shop.example" }, ["Id", "Email", "LastName"]);
  assert.deepEqual(found.map((one) => one.Id), [ann]);
  await assert.rejects(org.query("SELECT Nonsense FROM Contact"), (error) => error.errorCode === "INVALID_FIELD");
  assert.ok(org.limitInfo.apiUsage.used > 0, JSON.stringify(org.limitInfo));

  const updated = await org.sobject("Contact").update([
    { Id: ann, LastName: "Neu" },
    { Id: third, Email: "nonsense" },
  ]);
  assert.equal(updated[0].success, true);
  assert.equal(updated[1].success, false);
  assert.equal(updated[1].errors[0].statusCode ?? updated[1].errors[0].errorCode, "INVALID_EMAIL_ADDRESS");
  assert.equal((await org.sobject("Contact").retrieve(ann)).LastName, "Neu");

  const deleted = await org.sobject("Contact").destroy([ann, ann]);
  assert.deepEqual(deleted.map((one) => one.success), [true, false]);
  assert.equal((await org.query(`SELECT Id FROM Contact WHERE Id = '${ann}'`)).totalSize, 0);
  const bin = await org.query(`SELECT Id, IsDeleted FROM Contact WHERE Id = '${ann}'`, { scanAll: true });
  assert.equal(bin.records[0].IsDeleted, true);

  const rows = Array.from({ length: 450 }, (_, n) => ({ LastName: `Row ${n}`, Email: `row.${n}@js.example` }));
  const many = [];
  for (let start = 0; start < rows.length; start += 200) {
    many.push(...(await org.sobject("Contact").create(rows.slice(start, start + 200))));
  }
  assert.ok(many.every((one) => one.success));
  const input = [...many.map((one) => ({ Id: one.id })), { Id: ann }];
  const done = await org.bulk2.loadAndWaitForResults({
    object: "Contact",
    operation: "hardDelete",
    input,
    pollInterval: 500,
    pollTimeout: 60_000,
  });
  assert.equal(done.successfulResults.length, 450);
  assert.equal(done.failedResults.length, 1);
  assert.match(done.failedResults[0].sf__Error, /^ENTITY_IS_DELETED/);
  assert.equal(done.unprocessedRecords.length, 0);
  assert.equal((await org.query("SELECT Id FROM Contact WHERE Email LIKE 'row.%@js.example'")).totalSize, 0);
  assert.equal((await org.query(`SELECT Id FROM Contact WHERE Id = '${twin}'`)).totalSize, 1, "the twin was touched");
  await org.sobject("Contact").destroy([twin, third]);
  console.log("jsforce: signed in, described, created, found, updated, deleted, hard-deleted 450 in bulk");
} finally {
  rmSync(place, { recursive: true, force: true });
}
