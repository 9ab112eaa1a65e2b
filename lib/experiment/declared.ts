/**
 * Experiments by their names: `experiments/NAME/experiment.ts`, whose default export is the declaration.
 *
 * @module
 */
import { pathOf } from "../data/files.ts";
import { type Experiment, fastOf, type Row } from "./experiment.ts";
import { Store } from "./store.ts";

/** Where experiments are looked for, unless TESSERA_EXPERIMENTS names another folder. */
export function experimentsFolder(): URL {
  const other = Deno.env.get("TESSERA_EXPERIMENTS");
  return other ? new URL(`file://${other.replace(/\/?$/, "/")}`) : new URL("../../experiments/", import.meta.url);
}

/** An experiment and the module that declares it. */
export interface Declared {
  readonly experiment: Experiment;
  readonly module: URL;
}

/** The names of all experiments, in the order of the alphabet. */
export function experimentNames(): string[] {
  const folder = experimentsFolder();
  return [...Deno.readDirSync(folder)].filter(({ isDirectory }) => isDirectory).map(({ name }) => name)
    .filter((name) => exists(new URL(`${name}/experiment.ts`, folder))).sort();
}

/**
 * The module of an experiment.
 *
 * @throws {RangeError} Where there is none of that name.
 */
export function moduleOf(name: string): URL {
  const names = experimentNames();
  if (!names.includes(name)) {
    throw new RangeError(`there is no experiment ${JSON.stringify(name)}; there are ${names.join(", ")}`);
  }
  return new URL(`${name}/experiment.ts`, experimentsFolder());
}

/**
 * Loads what a module declares.
 *
 * @param fast Its small run instead.
 * @throws {TypeError} Where its default export is no experiment.
 */
export async function experimentAt(module: URL, fast: boolean): Promise<Declared> {
  const { default: found } = await import(module.href) as { default?: Experiment };
  if (typeof found?.row !== "function" || typeof found.grid !== "object") {
    throw new TypeError(
      `${pathOf(module)} does not export an experiment as its default; export what defineExperiment gives`,
    );
  }
  return { experiment: fast ? fastOf(found) : found, module };
}

/** Where the rows of an experiment lie: beside its module, those of its small run in `fast/`. */
export function folderOf(module: URL, { isFast }: Pick<Experiment, "isFast">): string {
  return pathOf(new URL(isFast ? "./fast/" : "./", module));
}

/** The page that an experiment's own `report.ts` makes of its collected rows; undefined where it has none. */
export async function ownPageOf({ experiment, module }: Declared): Promise<string | undefined> {
  const report = new URL("report.ts", module);
  if (!exists(report)) return undefined;
  const { readmeOf } = await import(report.href) as { readmeOf?: (rows: Row[]) => string | Promise<string> };
  return await readmeOf?.(new Store(folderOf(module, experiment)).collected());
}

function exists(file: URL): boolean {
  try {
    return Deno.statSync(file).isFile;
  } catch {
    return false;
  }
}
