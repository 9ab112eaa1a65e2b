/**
 * `deno task bench`: measures, keeps the rounds and rows, and writes the page.
 *
 * @module
 */
import { collect, runExperiment } from "tessera/experiment/mod.ts";
import { cpuModel, measure } from "./contest.ts";
import { bench, folder, reference } from "./declaration.ts";
import { goldenOfPeers, preparePeers } from "./peers.ts";
import { ratioFigure, readme } from "./report.ts";
import { type Line, summarise } from "./summary.ts";
import { areaNames, areaOf, type WorkloadName, workloadNames } from "./workloads.ts";

const HELP = `deno task bench [NAME...] [--peers] [--rounds N] [--ms N] [--page] [--try]

  NAME        only these workloads, or those of an area:
${areaNames.map((area) => `              ${area}: ${namesOf(area).join(", ")}`).join("\n")}
  --peers     PyTorch and JAX as well; makes .venv-bench with them where it is not there (1,500 MB)
  --rounds N  rounds in which the systems take turns (default: 5)
  --ms N      milliseconds of calls in a round (default: 200)
  --try       keeps nothing and writes no page, only says what it measured
  --page      measures nothing; writes README.md and its picture from the rows that are there

All workloads with peers take about half an hour on two cores. TESSERA_THREADS sets the threads of everybody.`;

const { names, options } = read(Deno.args);
const roundsFile = new URL("rounds.jsonl", folder);
const say = (text: string) => console.error(text);
const threads = Number(Deno.env.get("TESSERA_THREADS")) || navigator.hardwareConcurrency;

const contest = { rounds: options.rounds, ms: options.ms, threads, ...await peersIfWanted() };
const lines = new Map<string, readonly Line[]>(Object.entries(Object.groupBy(committed(), ({ workload }) => workload)));
const experiment = bench(contest, (measured) => {
  lines.set(measured[0].workload, measured);
  for (const line of measured) console.log(JSON.stringify(line));
  const all = workloadNames.flatMap((name) => lines.get(name) ?? []);
  Deno.writeTextFileSync(roundsFile, all.map((line) => JSON.stringify(line) + "\n").join(""));
});

if (options.try) {
  for (const name of names.length ? names : workloadNames) {
    const rows = summarise(name, await measure(name, contest, new AbortController().signal), reference());
    say(name);
    for (const { system, status, median_ms, best_ms, ratio, first_ms } of rows) {
      say(`  ${system}: ${median_ms} ms (best ${best_ms}), by ours ${ratio ?? 1}, first ${first_ms} ms, ${status}`);
    }
  }
  Deno.exit(0);
}
let failed = 0;
if (!options.page) {
  say(`${cpuModel()}, ${threads} threads, load ${Deno.loadavg()[0].toFixed(2)}`);
  const report = await runExperiment(experiment, {
    folder,
    only: ({ workload }) => !names.length || names.includes(workload),
    again: true,
    backend: "see version",
    onRow: ({ task, row, error, left }) =>
      say(`${task.cell.workload}: ${error ?? `${row!.seconds.toFixed(0)} s`}; ${left} left`),
  });
  failed = report.failed.length;
}
const rows = await collect(experiment, { folder });
Deno.writeTextFileSync(new URL("README.md", folder), readme(rows));
await ratioFigure(rows).save(new URL("ratios.svg", folder));
say("Written: experiments/bench/README.md");
Deno.exit(failed ? 1 : 0);

async function peersIfWanted() {
  if (!options.peers) return { python: undefined, withoutPeers: "--peers was not given", golden: new Map() };
  const { python, why } = await preparePeers(say);
  if (!python) {
    say(`No peers: ${why}`);
    return { python: undefined, withoutPeers: why, golden: new Map() };
  }
  const golden = await goldenOfPeers(names.length ? names : workloadNames, python, threads);
  for (const [which, passed] of golden) if (!passed) say(`${which} does not reproduce the authors' numbers`);
  return { python, withoutPeers: "", golden };
}

function namesOf(area: string): WorkloadName[] {
  return workloadNames.filter((name) => areaOf(name) === area);
}

function committed(): Line[] {
  try {
    return Deno.readTextFileSync(roundsFile).trim().split("\n").map((line) => JSON.parse(line) as Line);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

function read(args: readonly string[]) {
  const options = { peers: false, page: false, try: false, rounds: 5, ms: 200 };
  const names: WorkloadName[] = [];
  const refuse = (sentence: string): never => {
    console.error(`${sentence}; see --help`);
    Deno.exit(2);
  };
  for (let i = 0; i < args.length; i++) {
    const arg = args[i];
    if (arg === "--help") {
      console.log(HELP);
      Deno.exit(0);
    } else if (arg === "--peers" || arg === "--page" || arg === "--try") {
      options[arg.slice(2) as "peers" | "page" | "try"] = true;
    } else if (arg === "--rounds" || arg === "--ms") {
      const value = Number(args[++i]);
      if (!Number.isInteger(value) || value < 1) refuse(`${arg} takes a whole number from 1, but got ${args[i]}`);
      options[arg.slice(2) as "rounds" | "ms"] = value;
    } else if (arg.startsWith("--")) refuse(`there is no option ${arg}`);
    else {
      const own = workloadNames.filter((name) => name === arg || areaOf(name) === arg);
      if (!own.length) refuse(`there is no workload ${arg}; they are ${workloadNames.join(", ")}`);
      names.push(...own);
    }
  }
  return { names, options };
}
