/**
 * `deno run -A tests/notebook/canary.ts [--write] [--timing]`: runs every defect of `experiments/kernel/defects.ts` with the stock kernel
 * and with ours, under nbclient and in JupyterLab in a headless Chromium, measures both kernels beside one another, runs
 * `jupyter_kernel_test` of the Python package index on both, and prints one table. `--write` puts it into
 * `experiments/kernel/README.md`; `--timing` only measures. The exit code is 1 where ours is wrong anywhere.
 *
 * @module
 */
import { cpus } from "node:os";
import { type Defect, DEFECTS, type Outcome } from "../../experiments/kernel/defects.ts";
import { type Notebook, notebookText } from "../../lib/notebook/notebook.ts";
import { root } from "../../lib/notebook/paths.ts";
import { setUpBeforeImports } from "../../lib/notebook/setup.ts";
import { Lab, missingForBrowserTests, type NotebookPage } from "../browser/lab.ts";
import { type KernelTestResult, kernelTests } from "./kernel_tests.ts";
import { type KernelName, KERNELS, makeKernelspecs, underNbclient } from "./nbclient.ts";
import { COMMANDS, RawClient } from "./raw_client.ts";

const README = `${root}/experiments/kernel/README.md`;
const CELL_LIMIT_MS = 10_000;
const ROUNDS = 8;
const CELLS_A_ROUND = 50;

const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** Runs the cells of defects in JupyterLab, in one notebook until one hangs; then all is started anew for the rest. */
export async function inJupyterLab(kernel: KernelName, defects: Defect[], kernelspecs: string): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  while (outcomes.length < defects.length) {
    outcomes.push(...await untilOneHangs(kernel, defects.slice(outcomes.length), kernelspecs));
  }
  return outcomes;
}

async function untilOneHangs(kernel: KernelName, defects: Defect[], kernelspecs: string): Promise<Outcome[]> {
  const path = `notebooks/.browser-test-canary-${kernel}.ipynb`;
  const cells = defects.flatMap(({ cells }, d) =>
    cells.map((source, k) => ({
      cell_type: "code" as const,
      id: `d${d}-${k}`,
      metadata: {},
      source,
      outputs: [],
      execution_count: null,
    }))
  );
  const kernelspec = { name: kernel, display_name: kernel, language: "typescript" };
  const notebook: Notebook = { cells, metadata: { kernelspec }, nbformat: 4, nbformat_minor: 5 };
  Deno.writeTextFileSync(`${root}/${path}`, notebookText(notebook));
  const lab = await Lab.start({ kernels: { folder: kernelspecs, names: KERNELS } });
  try {
    const page = await lab.open(path);
    const outcomes: Outcome[] = [];
    let first = 0;
    for (const defect of defects) {
      outcomes.push(await oneInJupyterLab(page, defect, first));
      first += defect.cells.length;
      if (outcomes.at(-1)!.hangs) break;
    }
    return outcomes;
  } finally {
    await lab.close();
    Deno.removeSync(`${root}/${path}`);
  }
}

async function oneInJupyterLab(page: NotebookPage, { cells, stop }: Defect, first: number): Promise<Outcome> {
  const verdicts: string[] = [];
  for (const k of cells.keys()) {
    const running = page.runCell(first + k, CELL_LIMIT_MS);
    if (stop && k === 0) {
      await pause(1500);
      await page.interrupt();
    }
    verdicts.push(await running);
    if (verdicts.at(-1) === "hangs") break;
  }
  await pause(200);
  const outputs = (await page.cells()).slice(first, first + cells.length).map(({ outputs }) => outputs);
  return { outputs, failed: verdicts[0] === "failed", hangs: verdicts.includes("hangs") };
}

/** Milliseconds, median and best, of the start up to the first cell's answer, and of a trivial cell. */
export interface Timing {
  start: { median: number; best: number };
  cell: { median: number; best: number };
}

/** Measures both kernels in turns. */
export async function timeKernels(rounds: number): Promise<Record<KernelName, Timing>> {
  const times = { stock: { start: [], cell: [] }, ours: { start: [], cell: [] } } as Record<
    KernelName,
    { start: number[]; cell: number[] }
  >;
  for (let round = 0; round < rounds; round++) {
    for (const kernel of KERNELS) {
      let began = performance.now();
      const client = await RawClient.start(COMMANDS[kernel], root);
      await client.execute("1");
      times[kernel].start.push(performance.now() - began);
      for (let k = 0; k < CELLS_A_ROUND; k++) {
        began = performance.now();
        await client.execute(`1 + ${k}`);
        times[kernel].cell.push(performance.now() - began);
      }
      await client.end();
    }
  }
  const summary = (values: number[]) => {
    const sorted = values.toSorted((a, b) => a - b);
    return { median: sorted[Math.floor(sorted.length / 2)], best: sorted[0] };
  };
  const timing = ({ start, cell }: { start: number[]; cell: number[] }) => ({
    start: summary(start),
    cell: summary(cell),
  });
  return { stock: timing(times.stock), ours: timing(times.ours) };
}

function defectTable(outcomes: Record<string, Outcome[]>, tests: Record<KernelName, KernelTestResult>): string {
  const cell = (defect: Defect, outcome: Outcome | undefined) => {
    if (!outcome) return "not tried";
    const { right, seen } = defect.judge(outcome);
    return `${right ? "✓" : "✗"} ${seen.replaceAll("|", "\\|").replaceAll("`", "'")}`;
  };
  const columns = ["stock nbclient", "ours nbclient", "stock lab", "ours lab"];
  const rows = DEFECTS.map((defect, d) =>
    `| ${defect.title} | ${columns.map((column) => cell(defect, outcomes[column]?.[d])).join(" | ")} |`
  );
  const list = ({ passed, failed, skipped }: KernelTestResult) =>
    [
      `${passed.length} pass`,
      failed.length ? `${failed.length} fail: ${failed.join(", ")}` : "none fails",
      ...(skipped.length ? [`not offered: ${skipped.join(", ")}`] : []),
    ].join("; ");
  return [
    "| what should be | stock, nbclient | ours, nbclient | stock, JupyterLab | ours, JupyterLab |",
    "| --- | --- | --- | --- | --- |",
    ...rows,
    "",
    "`jupyter_kernel_test` 0.7.0:",
    "",
    `- stock: ${list(tests.stock)}`,
    `- ours: ${list(tests.ours)}`,
  ].join("\n");
}

function timingTable(timing: Record<KernelName, Timing>): string {
  const ms = ({ median, best }: { median: number; best: number }) => `${median.toFixed(1)} (${best.toFixed(1)})`;
  return [
    `Beside one another in the same run (${
      cpus()[0].model.trim()
    }, ${cpus().length} cores, Deno ${Deno.version.deno}), ms, median (best):`,
    "",
    "| | stock | ours | difference of the medians |",
    "| --- | --- | --- | --- |",
    `| start to the first cell's answer | ${ms(timing.stock.start)} | ${ms(timing.ours.start)} | ${
      (timing.ours.start.median - timing.stock.start.median).toFixed(1)
    } |`,
    `| a trivial cell | ${ms(timing.stock.cell)} | ${ms(timing.ours.cell)} | ${
      (timing.ours.cell.median - timing.stock.cell.median).toFixed(1)
    } |`,
  ].join("\n");
}

/** Puts a table between its marks in the README. */
function write(name: string, text: string): void {
  const readme = Deno.readTextFileSync(README);
  const marks = new RegExp(`<!-- ${name} -->.*?<!-- end of ${name} -->`, "s");
  Deno.writeTextFileSync(README, readme.replace(marks, () => `<!-- ${name} -->\n\n${text}\n\n<!-- end of ${name} -->`));
}

async function main(): Promise<number> {
  await setUpBeforeImports();
  const times = timingTable(await timeKernels(ROUNDS));
  console.log(times);
  if (Deno.args.includes("--write")) write("timing", times);
  if (Deno.args.includes("--timing")) return 0;

  using kernelspecs = makeKernelspecs();
  const outcomes: Record<string, Outcome[]> = {};
  for (const kernel of KERNELS) {
    console.error(`${kernel} under nbclient ...`);
    outcomes[`${kernel} nbclient`] = await underNbclient(kernel, DEFECTS, kernelspecs.folder);
  }
  const missing = missingForBrowserTests();
  if (missing) console.error(`JupyterLab is left out: ${missing}.`);
  for (const kernel of missing ? [] : KERNELS) {
    console.error(`${kernel} in JupyterLab ...`);
    outcomes[`${kernel} lab`] = await inJupyterLab(kernel, DEFECTS, kernelspecs.folder);
  }
  const tests = await kernelTests(kernelspecs.folder);
  const text = defectTable(outcomes, tests);
  console.log(text);
  if (Deno.args.includes("--write")) write("defects", text);
  const wrong = ["ours nbclient", "ours lab"].some((column) =>
    outcomes[column]?.some((outcome, d) => !DEFECTS[d].judge(outcome).right)
  );
  return wrong || tests.ours.failed.length ? 1 : 0;
}

if (import.meta.main) Deno.exit(await main());
