/**
 * The command `deno task notebooks`; what it does is in run.ts.
 *
 * @module
 */
import { relative, resolve } from "node:path";
import { setUpBeforeImports, withSetUpErrors } from "./setup.ts";

const USAGE = `Usage: deno task notebooks [PATH...] [--set NAME=VALUE] [--write] [--output FILE] [--limit SECONDS]

Runs notebooks, or all notebooks of a folder, or of the project, in a fresh kernel each. Fails when a cell has an error
output, and says in which notebook, cell and line.
  --set NAME=VALUE  give a parameter of the cell tagged "parameters" another value: JSON, or else a text
  --write           save the outputs; a notebook whose results are the same stays as it is, byte for byte
  --output FILE     save the notebook with its outputs here instead; an existing file is left alone
  --limit SECONDS   how long one cell may take (600)
`;

interface Arguments {
  paths: string[];
  settings: string[];
  write: boolean;
  output?: string;
  cellLimitSeconds: number;
}

/** @throws RangeError in one sentence for what it does not know. */
function parse(args: string[]): Arguments {
  const parsed: Arguments = { paths: [], settings: [], write: false, cellLimitSeconds: 600 };
  const rest = args.flatMap((arg) =>
    /^--\w+=/.test(arg) ? [arg.replace(/=.*/s, ""), arg.replace(/^.*?=/s, "")] : [arg]
  );
  while (rest.length) {
    const arg = rest.shift()!;
    if (arg === "--write") parsed.write = true;
    else if (arg === "--set") parsed.settings.push(rest.shift() ?? "");
    else if (arg === "--output") {
      parsed.output = rest.shift();
      if (!parsed.output) throw new RangeError("--output needs the name of a file");
    } else if (arg === "--limit") {
      const given = rest.shift();
      parsed.cellLimitSeconds = Number(given);
      if (!(parsed.cellLimitSeconds > 0)) {
        throw new RangeError(`--limit takes a number of seconds above 0, but got ${given ?? "nothing"}`);
      }
    } else if (arg.startsWith("-")) {
      throw new RangeError(`${arg} is not an option of deno task notebooks; see --help`);
    } else parsed.paths.push(arg);
  }
  return parsed;
}

async function main(args: string[]): Promise<number> {
  if (args.includes("--help") || args.includes("-h")) {
    console.log(USAGE);
    return 0;
  }
  let parsed: Arguments;
  try {
    parsed = parse(args);
  } catch (error) {
    console.error((error as Error).message);
    return 2;
  }
  const { paths, settings, write, cellLimitSeconds } = parsed;

  await setUpBeforeImports({ pythonOptional: true });
  const { findNotebooks, rememberRun } = await import("./project_notebooks.ts"); // they need packages, which are there
  const { runNotebook } = await import("./run.ts"); // only now
  const { parseSetting } = await import("./parameters.ts");
  for (const setting of settings) parseSetting(setting);
  const notebooks = findNotebooks(paths);
  if (notebooks.length === 0) {
    console.error(`No .ipynb files in ${paths.join(", ") || "the project"}.`);
    return 2;
  }
  if (parsed.output && notebooks.length > 1) {
    console.error(`--output takes one notebook, but there are ${notebooks.length}`);
    return 2;
  }
  const output = parsed.output && resolve(Deno.env.get("INIT_CWD") ?? ".", parsed.output);

  let failed = 0;
  for (const path of notebooks) {
    const name = relative(Deno.cwd(), path);
    try {
      const { problem, written, seconds } = await runNotebook(path, { write, cellLimitSeconds, settings, output });
      const saved = output ? `  saved as ${output}` : write ? (written ? "  written" : "  unchanged") : "";
      console.log(
        `${problem ? "FAIL" : "ok  "} ${seconds.toFixed(1).padStart(6)} s  ${name}${problem ? `, ${problem}` : saved}`,
      );
      if (problem) failed++;
      else if (!settings.length) await rememberRun(path);
    } catch (error) {
      console.log(`FAIL           ${name}: ${(error as Error).message}`);
      failed++;
    }
  }
  return failed ? 1 : 0;
}

if (import.meta.main) await withSetUpErrors(() => main(Deno.args));
