/**
 * `deno task start [--no-browser] [JUPYTER OPTIONS]`: sets up what is missing and opens JupyterLab on the first notebook;
 * where there is no browser it prints the address.
 *
 * @module
 */
import { randomBytes } from "node:crypto";
import { get } from "node:http";
import { exists, root, venvProgram } from "./paths.ts";
import { setUp, withSetUpErrors } from "./setup.ts";

const FIRST_NOTEBOOK = "notebooks/00_start.ipynb";
const FIRST_PORT = 8888;
const PORTS_TO_TRY = 50;
const READY_LIMIT_MS = 60_000;

const USAGE = `Usage: deno task start [--no-browser] [JUPYTER OPTIONS]

Sets up what is missing (the first time: about 2 GB, a minute on a fast line), then opens JupyterLab on
${FIRST_NOTEBOOK}. Ctrl-C ends it and its kernels.
  --no-browser    only print the address
  --port=N        listen on this port (default: ${FIRST_PORT}, or the next one that is free)
  other options   go to jupyter-lab as they are
`;

/** What a start needs from its surroundings. */
interface Surroundings {
  os: typeof Deno.build.os;
  /** The user's number; 0 is root. Null on Windows. */
  uid: number | null;
  display: string | undefined;
}

/**
 * The options for jupyter-lab.
 *
 * @param given What the user typed after `deno task start`.
 * @param port Where it listens.
 *
 * @example On a server without a screen, as root
 * ```ts
 * import assert from "node:assert/strict";
 * const options = labOptions(["--debug"], 8888, { os: "linux", uid: 0, display: undefined });
 * assert.ok(options.includes("--no-browser") && options.includes("--allow-root") && options.includes("--debug"));
 * ```
 */
export function labOptions(given: string[], port: number, { os, uid, display }: Surroundings): string[] {
  const options = ["--log-level=WARN", `--port=${port}`, "--ServerApp.port_retries=0"];
  if (os === "linux" && !display && !given.includes("--no-browser")) options.push("--no-browser");
  if (uid === 0 && !given.includes("--allow-root")) options.push("--allow-root");
  return [...options, ...given.filter((option) => !option.startsWith("--port="))];
}

/** The first port that nobody listens on. */
function freePort(first: number): number {
  for (let port = first; port < first + PORTS_TO_TRY; port++) {
    try {
      Deno.listen({ hostname: "127.0.0.1", port }).close();
      return port;
    } catch (error) {
      if (!(error instanceof Deno.errors.AddrInUse)) throw error;
    }
  }
  throw new RangeError(`ports ${first} to ${first + PORTS_TO_TRY - 1} are all in use; give another one with --port=N`);
}

async function main(args: string[]): Promise<number> {
  if (args.includes("--help") || args.includes("-h")) {
    console.log(USAGE);
    return 0;
  }
  const wanted = args.find((option) => option.startsWith("--port="))?.slice("--port=".length) ?? String(FIRST_PORT);
  if (!/^\d+$/.test(wanted) || Number(wanted) < 1 || Number(wanted) > 65535) {
    throw new RangeError(`--port takes a number from 1 to 65535, but got ${wanted}`);
  }
  await setUp();

  const port = freePort(Number(wanted));
  if (port !== Number(wanted)) {
    console.log(`Port ${wanted} is in use (another JupyterLab?), so this one listens on ${port}.`);
  }
  const token = randomBytes(24).toString("hex");
  const notebook = exists(`${root}/${FIRST_NOTEBOOK}`) ? [FIRST_NOTEBOOK] : [];
  const options = labOptions(args, port, {
    os: Deno.build.os,
    uid: Deno.uid(),
    display: Deno.env.get("DISPLAY") || Deno.env.get("WAYLAND_DISPLAY"),
  });
  const lab = new Deno.Command(venvProgram("jupyter-lab"), {
    args: [...options, ...notebook],
    cwd: root,
    env: { JUPYTER_TOKEN: token },
    detached: true, // Ctrl-C comes to us alone, and we end it
    stdin: "null",
    stdout: "inherit",
    stderr: "inherit",
  }).spawn();

  const address = `http://127.0.0.1:${port}`;
  let ending = false;
  const end = () => {
    // asked twice, it goes at once; its kernels notice that
    if (ending) lab.kill("SIGKILL");
    else lab.kill("SIGTERM");
    ending = true;
  };
  const signals: Deno.Signal[] = Deno.build.os === "windows" ? ["SIGINT"] : ["SIGINT", "SIGTERM", "SIGHUP"];
  for (const signal of signals) Deno.addSignalListener(signal, end);

  whenReady(`${address}/api`, () => ending).then((ready) => {
    if (!ready) return;
    const page = notebook.length > 0 ? `/tree/${FIRST_NOTEBOOK}` : "";
    console.log(`JupyterLab is ready: ${address}/lab${page}?token=${token}\nCtrl-C ends it.`);
  });
  const { code } = await lab.status;
  if (ending) {
    console.log("JupyterLab has ended.");
    return 0;
  }
  console.error(`JupyterLab ended by itself (exit ${code}); what it said is above.`);
  return code || 1;
}

/** Waits until the server answers. */
async function whenReady(address: string, givenUp: () => boolean): Promise<boolean> {
  const until = performance.now() + READY_LIMIT_MS;
  while (performance.now() < until && !givenUp()) {
    if (await answers(address)) return true;
    await new Promise((resolve) => Deno.unrefTimer(setTimeout(resolve, 100)));
  }
  return false;
}

/** By node:http, because fetch would ask the user's proxy for this machine's own server. */
function answers(address: string): Promise<boolean> {
  return new Promise((resolve) => {
    get(address, (answer) => {
      answer.resume();
      resolve(answer.statusCode === 200);
    }).on("error", () => resolve(false));
  });
}

if (import.meta.main) await withSetUpErrors(() => main(Deno.args));
