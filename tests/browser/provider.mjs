// An identity provider (oidc-provider, with its own pages) and a service of its own that people sign in at with it.
import { spawn } from "node:child_process";
import { mkdirSync, renameSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { until } from "./support.mjs";

const folder = join(process.env.REDRESS_BROWSER_FOLDER, `provider-${process.pid}`);
const running = [];

const free = () => new Promise((done) => {
  const server = createServer().listen(0, "127.0.0.1", () => {
    const { port } = server.address();
    server.close(() => done(port));
  });
});

/// Starts a program that lasts as long as the tests; scripts/browser ends it if they cannot.
const start = (name, command, args, options) => {
  const program = spawn(command, args, { stdio: ["ignore", "ignore", "pipe"], ...options });
  let said = "";
  program.stderr.on("data", (part) => (said = (said + part).slice(-4_000)));
  program.said = () => said;
  writeFileSync(join(process.env.REDRESS_BROWSER_FOLDER, `${name}-${process.pid}.pid`), String(program.pid));
  running.push(program);
  return program;
};

const answers = (what, program, url) => until(`${what} answers`, async () => {
  if (program.exitCode !== null) throw new Error(`${what} ended: ${program.said()}`);
  return (await fetch(url).catch(() => null))?.ok;
}, 60_000);

/// Who exists at the provider: a name with its groups. It is read anew at each sign-in.
export const people = (groups) => {
  const all = Object.fromEntries(Object.entries(groups).map(([name, groups]) => [name, { name: `${name[0].toUpperCase()}${name.slice(1)} at the provider`, email: `${name}@corp.test`, groups }]));
  const path = join(folder, "people.json");
  writeFileSync(`${path}.new`, JSON.stringify(all));
  renameSync(`${path}.new`, path);
};

/// Both, ready: the address of the service, and where its data are.
export const begin = async () => {
  mkdirSync(folder, { recursive: true });
  people({});
  const [issuer, board] = [`http://127.0.0.1:${await free()}`, `http://127.0.0.1:${await free()}`];
  const own = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("REDRESS_")));
  const provider = start("provider", process.execPath, [join(process.env.REDRESS_BROWSER_PROVIDER, "server.mjs"), new URL(issuer).port, `${board}/sign-in/callback`], { cwd: folder, env: own });
  await answers("the provider", provider, `${issuer}/.well-known/openid-configuration`);
  const settings = {
    REDRESS_DATA_DIR: join(folder, "data"),
    REDRESS_HTTP__LISTEN: new URL(board).host,
    REDRESS_HTTP__PUBLIC_URL: board,
    REDRESS_OIDC__ISSUER: issuer,
    REDRESS_OIDC__CLIENT_ID: "redress",
    REDRESS_OIDC__CLIENT_SECRET: "p+w:%/ &=secret",
    REDRESS_OIDC__SCOPES: "openid,email,profile,groups",
    REDRESS_OIDC__ROLES: "privacy-heads = privacy_lead,platform = operator",
    REDRESS_OIDC__EVERYTHING: "privacy-heads,platform",
  };
  const service = start("service", process.env.REDRESS_BROWSER_PROGRAM, ["serve"], { env: { ...own, ...settings } });
  await answers("the service", service, `${board}/readyz`);
  return { board, data: settings.REDRESS_DATA_DIR };
};

const stop = (program) => program.exitCode !== null || program.signalCode !== null || new Promise((ended) => {
  program.on("exit", ended);
  program.kill();
});
export const end = () => Promise.all(running.map(stop));
