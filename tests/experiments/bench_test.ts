/** The bench's page says what its rows say, its rows what was measured; and what makes a row void. */
import assert from "node:assert/strict";
import { fromCSV, type Row } from "tessera/experiment/mod.ts";
import { folder, reference } from "../../experiments/bench/declaration.ts";
import { goals, ratioFigure, readme } from "../../experiments/bench/report.ts";
import { type About, type Line, type Round, summarise } from "../../experiments/bench/summary.ts";
import { pattern, systems, vitParameters } from "../../experiments/bench/workload.ts";
import {
  areaNames,
  areas,
  workload,
  type WorkloadName,
  workloadNames,
  workloads,
} from "../../experiments/bench/workloads.ts";

const text = (name: string) => Deno.readTextFileSync(new URL(name, folder));
const rows = fromCSV(text("rows.csv"), "rows.csv");
const lines = text("rounds.jsonl").trim().split("\n").map((line) => JSON.parse(line) as Line);

Deno.test("the bench's page and picture are what its rows say", async () => {
  assert.equal(text("README.md"), readme(rows));
  assert.equal(text("ratios.svg"), await ratioFigure(rows).toSVG());
});

Deno.test("the bench's rows are what the rounds say", () => {
  assert.ok(rows.length > 0);
  for (const name of workloadNames) {
    const committed = rows.filter(({ workload }) => workload === name);
    const computed = summarise(name, lines, reference());
    if (!committed.length) continue; // not measured so far
    assert.deepEqual(
      committed.map((row) => Object.fromEntries(Object.keys(computed[0]).map((column) => [column, row[column]]))),
      computed,
      name,
    );
  }
});

/** Lines of a made-up run in which PyTorch takes `factor` times as long. */
function madeUp({ factor = 2, torch = {} }: { factor?: number; torch?: Partial<About> } = {}): Line[] {
  const about = (system: "xla" | "torch"): About => ({
    workload: "vit_step",
    system,
    cpu: "AMD EPYC",
    threads: 2,
    load: 0.1,
    check: [2.5, 2.4],
    ...(system === "torch" ? { golden: true, ...torch } : {}),
  });
  const round = (system: "xla" | "torch", round: number): Round => {
    const median_ms = (60 + 10 * round) * (system === "torch" ? factor * (1 + round / 10) : 1);
    return {
      workload: "vit_step",
      system,
      round,
      median_ms,
      best_ms: median_ms - 5,
      calls: 3,
      gflops: system === "torch" ? 200 : 400,
    };
  };
  return [about("xla"), about("torch"), ...[1, 2, 3].flatMap((n) => [round("xla", n), round("torch", n)])];
}

function torchRow(lines: Line[]): Row {
  return summarise("vit_step", lines, reference()).find(({ system }) => system === "torch")!;
}

Deno.test("a ratio is that of rounds side by side, with its range, and is divided by that of the matrix rates", () => {
  const row = torchRow(madeUp({ factor: 1 }));
  assert.deepEqual([row.status, row.rounds, row.ratio, row.ratio_low, row.ratio_high], ["measured", 3, 1.2, 1.1, 1.3]);
  assert.equal(row.normalised, 0.6); // ours has twice the rate
  assert.equal(row.low_ms, 77);
});

Deno.test("a peer's row is void where it computes something else, fails the golden case or is slower than it was", () => {
  const status = (run: Parameters<typeof madeUp>[0]) => String(torchRow(madeUp(run)).status);
  assert.match(status({ torch: { check: [2.5, 2.3] } }), /^void: computes 2\.3000 where we compute 2\.4000/);
  assert.match(status({ torch: { golden: false } }), /^void: does not reproduce the authors' numbers/);
  assert.match(status({ factor: 3 }), /^void: 55 % slower than it was on 2026-11-23/);
  assert.equal(status({ factor: 3, torch: { cpu: "another" } }), "measured"); // nothing is known of it there
  assert.match(status({ torch: { error: "no such module" } }), /^not measured: no such module/);
});

Deno.test("a goal that is missed, void or not measured is told apart", () => {
  const reached = (run: Parameters<typeof madeUp>[0]) => {
    const all = summarise("vit_step", madeUp(run), reference()).map((row): Row => ({ workload: "vit_step", ...row }));
    return goals(all).find(({ workload, what }) => workload === "vit_step" && what.startsWith("PyTorch"))!.reached;
  };
  assert.equal(reached({ factor: 1 }), 1.2);
  assert.equal(reached({ factor: 3 }), null);
});

Deno.test("the peers' numbers are ours: the pattern has neither a trend nor a period", () => {
  assert.deepEqual([...pattern(3, 3)].map((value) => Number(value.toFixed(6))), [0.263214, 0.923329, 0.859576]);
  const values = pattern(0, 4096);
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  assert.ok(Math.abs(mean) < 0.03, `${mean}`);
  assert.equal(new Set(values).size, values.length);
});

Deno.test("every workload is well described, DeiT-S with its 22 million parameters and 4.6 billion multiplications", () => {
  const { job, flops } = workloads.deit;
  const count = vitParameters(job.sizes).reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0);
  assert.equal(count, 22_050_664);
  assert.ok(Math.abs(flops / 8 / 2 / 1e9 - 4.6) < 0.05);
  for (const name of workloadNames) assert.ok(systems.includes(workloads[name].ours), name);
});

Deno.test("every area has its files, and no two workloads one name", () => {
  const names = areaNames.flatMap((area) => Object.keys(areas[area].workloads));
  assert.deepEqual([...new Set(names)], names);
  assert.equal(names.length, workloadNames.length);
  for (const area of areaNames) {
    const systems = Object.keys(areas[area].workloads).map((name) => workload(name as WorkloadName).systems);
    const files = [`workloads/${area}.ts`, `ours/${area}.ts`, `peers/torch_${area}.py`];
    if (systems.some((list) => !list || list.includes("jax"))) files.push(`peers/jax_${area}.py`);
    for (const file of files) assert.ok(Deno.statSync(new URL(file, folder)).isFile, file);
  }
});

Deno.test("the command refuses a workload and an option that it does not know, in one sentence", async () => {
  const run = async (...args: string[]) => {
    const { code, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-check", new URL("bench.ts", folder).pathname, ...args],
      env: { NO_COLOR: "1" },
    }).output();
    return `${code} ${new TextDecoder().decode(stderr).trim()}`;
  };
  assert.match(await run("vitstep"), /^2 there is no workload vitstep; they are mlp_step, .*; see --help$/);
  assert.match(await run("--rounds", "0"), /^2 --rounds takes a whole number from 1, but got 0; see --help$/);
  assert.match(await run("--peer"), /^2 there is no option --peer; see --help$/);
});
