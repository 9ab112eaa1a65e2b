/**
 * The workloads in this library. A worker that bench.ts starts, one process per workload and way to run, with the same
 * protocol as peers/common.py. What is done stands in `ours/`, a file for each area.
 *
 * @module
 */
import process from "node:process";
import { createInterface } from "node:readline";
import { backend, tf } from "tessera/tensor/mod.ts";
import { isFallback, patternTensor, type Prepare, way } from "./ours/worker.ts";
import type { Message } from "./workload.ts";
import type { AreaName } from "./workloads.ts";

/** Only the area that is measured is loaded. */
const areas: Readonly<Record<string, () => Promise<{ prepare: Prepare<never> }>>> = {
  core: () => import("./ours/core.ts"),
  reduction: () => import("./ours/reduction.ts"),
  cache: () => import("./ours/cache.ts"),
  language: () => import("./ours/language.ts"),
  tokenization: () => import("./ours/tokenization.ts"),
  editing: () => import("./ours/editing.ts"),
  tumour: () => import("./ours/tumour.ts"),
  ehr: () => import("./ours/ehr.ts"),
} satisfies Record<AreaName, unknown>;

/** Million multiplications and additions per millisecond of one product of matrices: GFLOP/s. */
function productRate(): number {
  const side = way === "cpu" ? 128 : way === "wasm" ? 512 : 1024;
  const a = patternTensor(0, [side, side]);
  const times = Array.from({ length: 6 }, () => {
    const start = performance.now();
    tf.tidy(() => {
      const product = tf.matMul(a, a);
      if (isFallback) product.dataSync();
    });
    return performance.now() - start;
  });
  a.dispose();
  return 2 * side ** 3 / Math.min(...times.slice(1)) / 1e6;
}

function memory(name: string): number {
  const line = Deno.readTextFileSync("/proc/self/status").split("\n").find((line) => line.startsWith(name));
  return Number(line?.split(/\s+/)[1]) / 1000;
}

function say(value: object): void {
  console.log(JSON.stringify(value));
}

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const job = JSON.parse((await lines.next()).value!) as Message;
let before: number | null = memory("VmRSS");
try {
  Deno.writeTextFileSync("/proc/self/clear_refs", "5");
} catch {
  before = null; // not allowed here, or not Linux
}
try {
  const { prepare } = await areas[job.area]();
  const ready = await prepare(job as never, job.parameters);
  const slow = isFallback && ready.firstMs > 500; // there once is enough, and the others wait
  if (!slow) { for (let i = 0; i < 2; i++) await ready.call(); }
  const { version, threads } = backend;
  say({ first_ms: ready.firstMs, check: ready.check, version, threads });
  for await (const line of lines) {
    if (line.trim() === "end") break;
    if (!slow) await ready.call();
    const times: number[] = [];
    const stop = performance.now() + Number(line);
    while (performance.now() < stop || (!slow && times.length < 3)) {
      const start = performance.now();
      const waiting = ready.call();
      if (waiting) await waiting;
      times.push((performance.now() - start) / ready.perCall);
    }
    say({ ms: times, gflops: productRate() });
  }
  const trace = ready.explain?.().traces.at(-1);
  say({
    peak_mb: before === null ? null : memory("VmHWM") - before,
    ...(trace ? { nodes: trace.nodes, trace_s: trace.traceSeconds, compile_s: trace.compileSeconds ?? null } : {}),
  });
} catch (error) {
  say({ error: String(error).split("\n")[0] });
}
Deno.exit(0);
