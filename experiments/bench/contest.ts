/**
 * Runs one workload in all systems: a process for each, which gets the job, makes itself ready, and is then asked for
 * rounds in turn, so that what else happens on the machine meets all of them alike.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { sleep } from "tessera/stop.ts";
import { quantile } from "tessera/stats.ts";
import type { About, Line, Round } from "./summary.ts";
import { type Message, type Peer, type System, systems } from "./workload.ts";
import { type AreaName, areaOf, workload, type WorkloadName } from "./workloads.ts";

/** How to measure. */
export interface Contest {
  readonly rounds: number;
  /** Milliseconds of calls per round. */
  readonly ms: number;
  readonly threads: number;
  /** The Python that has the peers; absent where they are not wanted or cannot be had. */
  readonly python: string | undefined;
  /** Why there are no peers. */
  readonly withoutPeers: string;
  /** Which peers have reproduced which golden cases. */
  readonly golden: ReadonlyMap<string, boolean>;
}

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
/** What a system that shares its threads with nobody needs to calm down after a round, in milliseconds. */
const REST_MS = 30;
/** A worker that has not answered after so long is given up, in milliseconds. */
const PATIENCE_MS = 120_000;
/** A fallback is measured in one round only if its first call took longer than this, in seconds. */
const SLOW_S = 0.5;
/** A fallback is not measured where a call would take longer than this, in seconds. */
const TOO_SLOW_S = 8;
/** Roughly, products of matrices without TensorFlow, in GFLOP/s. */
const FALLBACK_RATE = { wasm: 12, cpu: 0.5 } as const;

/** A process that measures, with lines of JSON to and from it. */
export class Worker {
  readonly #child: Deno.ChildProcess;
  readonly #lines: AsyncIterator<string>;
  readonly #errors: Promise<string>;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;

  constructor(system: System, { threads, python }: Pick<Contest, "threads" | "python">) {
    const isPeer = system === "torch" || system === "jax";
    const args = isPeer ? [here(`peers/${system}_peer.py`)] : ["run", "-A", "--no-check", here("ours.ts"), system];
    this.#child = new Deno.Command(isPeer ? python! : Deno.execPath(), {
      args,
      env: {
        BENCH_THREADS: String(threads),
        TESSERA_THREADS: String(threads),
        TESSERA_BACKEND: system === "wasm" || system === "cpu" ? system : "tensorflow",
        TF_CPP_MIN_LOG_LEVEL: "2",
        PYTHONDONTWRITEBYTECODE: "1",
        NO_COLOR: "1",
      },
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.#writer = this.#child.stdin.getWriter();
    this.#lines = linesOf(this.#child.stdout);
    this.#errors = new Response(this.#child.stderr).text();
  }

  /** Sends a line and waits for the answer. */
  async ask(line: string): Promise<Record<string, unknown>> {
    try {
      await this.#writer.write(new TextEncoder().encode(line + "\n"));
    } catch {
      // it has ended; why, it says below
    }
    const late = sleep(PATIENCE_MS).then(() => ({ done: true as const, value: "late" }));
    const { value, done } = await Promise.race([this.#lines.next(), late]);
    if (!done) return JSON.parse(value) as Record<string, unknown>;
    if (value === "late") return { error: `no answer within ${PATIENCE_MS / 1000} s` };
    const why = (await this.#errors).trim().split("\n").at(-1);
    return { error: why || "it ended without a word" };
  }

  /** Ends it, whatever it does. */
  async end(): Promise<void> {
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // it has ended
    }
    await this.#child.status;
    await this.#errors;
    await this.#writer.abort().catch(() => {});
  }
}

async function* linesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<string, undefined> {
  let rest = "";
  for await (const chunk of stream.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + chunk).split("\n");
    rest = lines.pop()!;
    for (const line of lines) if (line.startsWith("{")) yield line;
  }
}

/** What a worker is told. */
export function messageFor(name: WorkloadName): string {
  const { job, parameters = [] } = workload(name);
  const message: Message = { area: areaOf(name), ...job, parameters };
  return JSON.stringify(message);
}

/** Measures one workload; one line for each system, and one for each of its rounds. */
export async function measure(name: WorkloadName, contest: Contest, signal: AbortSignal): Promise<Line[]> {
  const { systems: measured = systems, golden, flops, atMost } = workload(name);
  const count = Math.min(contest.rounds, atMost?.rounds ?? Infinity);
  const milliseconds = Math.min(contest.ms, atMost?.ms ?? Infinity);
  const common = { workload: name, cpu: cpuModel(), load: Deno.loadavg()[0] };
  const about = new Map<System, About>();
  const rounds: Round[] = [];
  const workers = new Map<System, Worker>();
  const refuse = (system: System, error: string) => about.set(system, { ...common, system, error });

  for (const system of measured) {
    if ((system === "torch" || system === "jax") && !contest.python) refuse(system, contest.withoutPeers);
    else if (secondsWithoutTensorFlow(system, flops) > TOO_SLOW_S) {
      refuse(system, `a call would take about ${Math.round(secondsWithoutTensorFlow(system, flops))} s`);
    } else workers.set(system, new Worker(system, contest));
  }
  try {
    for (const [system, worker] of workers) {
      signal.throwIfAborted();
      const answer = await worker.ask(messageFor(name));
      const passed = golden === undefined ? undefined : contest.golden.get(`${golden} ${system}`);
      about.set(system, {
        ...common,
        system,
        ...answer,
        ...(passed === undefined ? {} : { golden: passed }),
      });
      if ("error" in answer) {
        await worker.end();
        workers.delete(system);
      }
    }
    for (let round = 1; round <= count; round++) {
      const order = [...workers.keys()];
      const first = round % order.length; // nobody is always the first, or always after the same
      for (const system of [...order.slice(first), ...order.slice(0, first)]) {
        signal.throwIfAborted();
        if (round > 1 && (about.get(system)?.first_ms ?? 0) > 1000 * SLOW_S && isFallback(system)) continue;
        await sleep(REST_MS);
        const { ms, gflops, error } = await workers.get(system)!.ask(String(milliseconds)) as {
          ms?: number[];
          gflops?: number;
          error?: string;
        };
        if (!ms || gflops === undefined) {
          refuse(system, error ?? "no times came back");
          workers.delete(system);
          continue;
        }
        const [median_ms, best_ms] = [quantile(ms, 0.5), Math.min(...ms)].map((value) => Number(value.toPrecision(5)));
        rounds.push({
          workload: name,
          system,
          round,
          median_ms,
          best_ms,
          calls: ms.length,
          gflops: Math.round(gflops * 10) / 10,
        });
      }
    }
    for (const [system, worker] of workers) about.set(system, { ...about.get(system)!, ...await worker.ask("end") });
  } finally {
    await Promise.all([...workers.values()].map((worker) => worker.end()));
  }
  return [...about.values(), ...rounds.filter(({ system }) => about.get(system)?.error === undefined)];
}

const isFallback = (system: System): system is "wasm" | "cpu" => system === "wasm" || system === "cpu";

function secondsWithoutTensorFlow(system: System, flops: number): number {
  return isFallback(system) ? flops / FALLBACK_RATE[system] / 1e9 : 0;
}

/** The processor's name. */
export function cpuModel(): string {
  try {
    return Deno.readTextFileSync("/proc/cpuinfo").match(/^model name\s*:\s*(.*)$/m)?.[1].trim() ?? Deno.build.arch;
  } catch {
    return Deno.build.arch;
  }
}

/** A peer's outputs for golden cases of one area, or why there are none. */
export async function goldenOutputs(
  peer: Peer,
  area: AreaName,
  cases: readonly object[],
  contest: Pick<Contest, "threads" | "python">,
) {
  const worker = new Worker(peer, contest);
  try {
    const { check, error } = await worker.ask(JSON.stringify({ area, kind: "golden", cases }));
    return error === undefined ? check as unknown[] : String(error);
  } finally {
    await worker.end();
  }
}
