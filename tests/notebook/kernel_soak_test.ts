/** A thousand cells, in the order of a seed: prints, displays, errors of all kinds, Stop, restarts. Nothing is lost. */
import assert from "node:assert/strict";
import { random } from "../../lib/random.ts";
import { COMMANDS, RawClient } from "./raw_client.ts";

const full = Deno.env.has("TESSERA_FULL");
const cwd = new URL("../../", import.meta.url).pathname;
const CELLS = Number(Deno.env.get("TESSERA_SOAK_CELLS") ?? 1000);
const CELL_LIMIT_MS = 30_000;
const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

type Executed = Awaited<ReturnType<RawClient["execute"]>>;

const textOf = ({ messages }: Executed) => messages.map(({ content }) => content.text ?? "").join("");
const errorsOf = ({ messages }: Executed) => messages.filter(({ header }) => header.msg_type === "error");

/** Runs a cell; a kernel that does not answer is wedged. */
async function execute(client: RawClient, code: string): Promise<Executed> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const limit = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`wedged: ${code}`)), CELL_LIMIT_MS);
  });
  return await Promise.race([client.execute(code), limit]).finally(() => clearTimeout(timer));
}

async function stopped(client: RawClient, code: string, afterMs: number): Promise<void> {
  const running = execute(client, code);
  await pause(afterMs);
  client.process.kill("SIGINT");
  assert.equal(errorsOf(await running).at(-1)?.content.evalue, "stopped by the user", code);
}

const FAILING = [
  "throw new Error('thrown')",
  "const = ;",
  "import 'npm:tessera-no-such@1.0.0'",
  "import './nowhere.ts'",
  "Promise.reject(new Error('lost')); 1",
  "({ [Symbol.for('Jupyter.display')]() { throw new Error('display') } })",
  "undefinedName",
];
const ENDLESS = [
  "while (true);",
  "await new Promise(() => {})",
  "while (true) await new Promise((done) => setTimeout(done, 5))",
  "while (true) await null",
  "for (;;) { const end = performance.now() + 60; while (performance.now() < end); await new Promise((f) => setTimeout(f)); }",
];

/** A process and those that it has started; /proc is Linux's. */
function family(pid: number): number[] {
  const children = Deno.readTextFileSync(`/proc/${pid}/task/${pid}/children`).split(" ").filter(Boolean).map(Number);
  return [pid, ...children];
}

function isAlive(pid: number): boolean {
  try {
    return !/\) Z /.test(Deno.readTextFileSync(`/proc/${pid}/stat`));
  } catch {
    return false;
  }
}

Deno.test(`${CELLS} cells with errors, stops and restarts: no wedge, no orphan, nothing lost`, {
  ignore: !full || Deno.build.os !== "linux",
}, async () => {
  const draws = random(20261124);
  const below = (n: number) => draws.integer(n);
  const processes = new Set<number>();
  const start = async () => {
    const client = await RawClient.start(COMMANDS.ours, cwd);
    for (const pid of family(client.process.pid)) processes.add(pid);
    return client;
  };
  let client = await start();
  const counts: Record<string, number> = {};
  try {
    for (let cell = 0; cell < CELLS; cell++) {
      const draw = below(100);
      const kind = draw < 50
        ? "prints"
        : draw < 65
        ? "displays"
        : draw < 85
        ? "fails"
        : draw < 97
        ? "stopped"
        : "restart";
      counts[kind] = (counts[kind] ?? 0) + 1;
      if (kind === "prints") {
        const lines = 1 + below(400);
        const executed = await execute(client, `for (let k = 0; k < ${lines}; k++) console.log(${cell}, k)`);
        assert.equal(textOf(executed), Array.from({ length: lines }, (_, k) => `${cell} ${k}\n`).join(""));
      } else if (kind === "displays") {
        const count = 1 + below(20);
        const { messages } = await execute(
          client,
          `for (let k = 0; k < ${count}; k++) await Deno.jupyter.display({ "text/plain": "${cell} " + k }, { raw: true }); ${cell}`,
        );
        const shown = messages.map(({ content }) => (content.data as Record<string, string>)["text/plain"]);
        assert.deepEqual(shown, [...Array.from({ length: count }, (_, k) => `${cell} ${k}`), String(cell)]);
      } else if (kind === "fails") {
        const executed = await execute(client, FAILING[below(FAILING.length)]);
        assert.deepEqual([executed.reply.content.status, errorsOf(executed).length], ["error", 1]);
      } else if (kind === "stopped") {
        await stopped(client, ENDLESS[below(ENDLESS.length)], 20 + below(150));
        assert.equal(textOf(await execute(client, "console.log('next')")), "next\n");
      } else {
        const busy = below(2) === 1;
        if (busy) client.send("shell", "execute_request", { code: ENDLESS[below(2)], silent: false });
        await client.request("control", "shutdown_request", { restart: true });
        await client.process.status;
        client.vanish();
        client = await start();
      }
      client.published.length = 0;
    }
  } finally {
    await client.end();
  }
  console.log(Object.entries(counts).map(([kind, count]) => `${count} ${kind}`).join(", "));
  await pause(500);
  assert.deepEqual([...processes].filter(isAlive), []);
});
