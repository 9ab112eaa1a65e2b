/**
 * `deno task experiment`: runs declared experiments here or on a cluster.
 *
 * @module
 */
import { type Declared, experimentAt, experimentNames, folderOf, moduleOf } from "./declared.ts";
import { cellsOf } from "./experiment.ts";
import { runInPool } from "./pool.ts";
import { collect, planOf, presentKeys } from "./run.ts";
import { cancel, jobStatus, submit } from "./slurm.ts";
import { Store } from "./store.ts";

const HELP = `deno task experiment COMMAND [NAME] [OPTIONS]

  list                what there is, with rows done
  run NAME            compute the rows that are missing, on this machine
  submit NAME         the same rows as a job array of a Slurm cluster; to go on after anything, submit again
  status NAME         rows done, missing and failed, and what the cluster has of them
  cancel NAME         take its jobs from the cluster; rows that are done stay
  collect NAME        write rows.csv from the rows that are done (run does it at its end)

  --fast              the small run: same code, less data, fewer seeds; its rows lie in experiments/NAME/fast
  --rows A..B         only these rows, as numbers of the table from 1, B included
  --workers N         run: processes at once; each has its share of the cores
  --again             run: also rows that are there
  --engine slurm      submit: the only engine there is
  --cap N --chunk N --minutes N --partition P
                      submit: tasks at once, rows a task, time limit of a task, where

The exit code is 1 where a row failed, 2 where the command made no sense, 130 after Ctrl-C (nothing done is lost).`;

/** A command line that makes no sense; its message says why, in one sentence. */
class Usage extends Error {}

interface Options {
  fast: boolean;
  again: boolean;
  rows?: readonly [number, number];
  numbers: Partial<Record<"workers" | "cap" | "chunk" | "minutes", number>>;
  partition?: string;
}

function parse(args: readonly string[]): { words: string[]; options: Options } {
  const words: string[] = [];
  const options: Options = { fast: false, again: false, numbers: {} };
  const rest = [...args];
  const value = (name: string) => {
    const next = rest.shift();
    if (next === undefined) throw new Usage(`${name} needs a value; see --help`);
    return next;
  };
  for (let arg = rest.shift(); arg !== undefined; arg = rest.shift()) {
    if (arg === "--fast" || arg === "--again") options[arg.slice(2) as "fast" | "again"] = true;
    else if (arg === "--rows") options.rows = rangeOf(value(arg));
    else if (arg === "--partition") options.partition = value(arg);
    else if (arg === "--engine") {
      const engine = value(arg);
      if (engine !== "slurm") throw new Usage(`there is no engine ${engine}; there is slurm`);
    } else if (["--workers", "--cap", "--chunk", "--minutes"].includes(arg)) {
      const text = value(arg);
      if (!/^[1-9]\d*$/.test(text)) throw new Usage(`${arg} must be a whole number from 1, but it is ${text}`);
      options.numbers[arg.slice(2) as "workers"] = Number(text);
    } else if (arg.startsWith("--")) throw new Usage(`there is no option ${arg}; see --help`);
    else words.push(arg);
  }
  return { words, options };
}

function rangeOf(text: string): readonly [number, number] {
  const found = /^(\d+)(?:\.\.(\d+))?$/.exec(text);
  if (!found) throw new Usage(`--rows must be like 3..7, but it is ${text}`);
  return [Number(found[1]), Number(found[2] ?? found[1])];
}

function duration(seconds: number): string {
  if (seconds < 90) return `${Math.ceil(seconds)} s`;
  return seconds < 5400 ? `${Math.ceil(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

const commands: Readonly<Record<string, (declared: Declared, options: Options) => Promise<number>>> = {
  async run(declared, { rows, again, numbers: { workers } }) {
    const { experiment, module } = declared;
    const folder = folderOf(module, experiment);
    const report = await runInPool(declared, {
      rows,
      again,
      workers,
      onRow: ({ number, cell, seed, seconds, error, done, of, secondsLeft }) => {
        const what = [...Object.entries(cell).map(([name, value]) => `${name} ${value}`), `seed ${seed}`].join(", ");
        const left = done < of ? `, about ${duration(secondsLeft)} left` : "";
        console.log(
          `${done}/${of}  row ${number} (${what}): ${error === undefined ? `${seconds} s` : `FAILED: ${error}`}${left}`,
        );
      },
    });
    await collect(experiment, { folder });
    console.log(
      `${report.ran} rows computed, ${report.kept} were there, ${report.failed.length} failed; in ${folder}rows.csv`,
    );
    return report.failed.length ? 1 : 0;
  },

  async submit(declared, { rows, partition, numbers: { cap, chunk, minutes } }) {
    const job = await submit(declared, {
      rows,
      cap,
      chunk,
      minutes,
      options: partition === undefined ? [] : [`--partition=${partition}`],
    });
    console.log(job ? `job ${job.id}: ${job.rows} rows in ${job.tasks} tasks` : "no row is missing; nothing to submit");
    return 0;
  },

  async status(declared) {
    const { done, of, failures } = standOf(declared);
    console.log(`${done} of ${of} rows done, ${of - done} missing, ${failures.length} failed when last tried`);
    for (const { cell, seed, error } of failures) {
      console.log(`  ${JSON.stringify(cell)}, seed ${seed}: ${error.split("\n")[0]}`);
    }
    for (const { id, tasks } of await jobStatus(declared).catch(() => [])) {
      console.log(`job ${id}: ${Object.entries(tasks).map(([state, n]) => `${n} ${state}`).join(", ")}`);
    }
    return 0;
  },

  async cancel(declared) {
    const ids = await cancel(declared);
    console.log(ids.length ? `cancelled: ${ids.join(", ")}` : "the cluster has no job of this experiment");
    return 0;
  },

  async collect({ experiment, module }) {
    const folder = folderOf(module, experiment);
    const lines = await collect(experiment, { folder });
    console.log(`${lines.length} lines in ${folder}rows.csv`);
    return 0;
  },
};

function standOf({ experiment, module }: Declared) {
  const store = new Store(folderOf(module, experiment));
  const there = presentKeys(store);
  const plan = planOf(experiment);
  const known = new Set(plan.map(({ key }) => key));
  return {
    done: plan.filter(({ key }) => there.has(key)).length,
    of: plan.length,
    failures: store.failures().filter(({ key }) => known.has(key)),
  };
}

async function list(): Promise<number> {
  for (const name of experimentNames()) {
    try {
      const declared = await experimentAt(moduleOf(name), false);
      const { done, of } = standOf(declared);
      console.log(`${name.padEnd(20)} ${`${done}/${of}`.padStart(9)}  ${declared.experiment.question}`);
    } catch (error) {
      console.log(`${name.padEnd(20)} ${"-".padStart(9)}  ${error instanceof Error ? error.message : error}`);
    }
  }
  return 0;
}

async function main(args: readonly string[]): Promise<number> {
  const { words: [command, name, ...more], options } = parse(args);
  if (command === undefined) throw new Usage(HELP);
  if (command === "list") return await list();
  if (!(command in commands)) {
    throw new Usage(`there is no command ${command}; there are list, ${Object.keys(commands).join(", ")}`);
  }
  if (name === undefined || more.length) throw new Usage(`${command} needs the name of one experiment; see list`);
  const declared = await experimentAt(moduleOf(name), options.fast);
  if (cellsOf(declared.experiment).length === 0) throw new Usage(`experiment ${name} has a grid without rows`);
  return await commands[command](declared, options);
}

if (import.meta.main) {
  if (Deno.args.includes("--help")) {
    console.log(HELP);
    Deno.exit(0);
  }
  try {
    Deno.exit(await main(Deno.args));
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") {
      console.error("stopped; rows that are done are kept, and the same command goes on from there");
      Deno.exit(130);
    }
    console.error(error instanceof Error ? error.message : error);
    Deno.exit(error instanceof Usage || error instanceof RangeError ? 2 : 1);
  }
}
