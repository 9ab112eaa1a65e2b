/**
 * Experiments by their names: `experiments/NAME/experiment.ts`, whose default export is the declaration; those of claims lie
 * together, in `experiments/claims/NAME/`.
 *
 * @module
 */
import { pathOf } from "../data/files.ts";
import { type Card, type Claim, judge } from "./claim.ts";
import { type Experiment, fastOf, type Row } from "./experiment.ts";
import { planOf } from "./run.ts";
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
  return [...placesOf().keys()].sort();
}

/** The folder of each experiment, relative to that of all. */
function placesOf(): Map<string, string> {
  const folder = experimentsFolder();
  return new Map(["", "claims/"].flatMap((group) => {
    const there = new URL(group, folder);
    const inside = isFolder(there) ? [...Deno.readDirSync(there)] : [];
    return inside.filter(({ isDirectory, name }) => isDirectory && exists(new URL(`${name}/experiment.ts`, there)))
      .map(({ name }) => [name, `${group}${name}`] as const);
  }));
}

/**
 * The folder of an experiment, relative to that of all: `tumour`, `claims/stability`.
 *
 * @throws {RangeError} Where there is none of that name.
 */
export function placeOf(name: string): string {
  const places = placesOf(), place = places.get(name);
  if (place === undefined) {
    throw new RangeError(
      `there is no experiment ${JSON.stringify(name)}; there are ${[...places.keys()].sort().join(", ")}`,
    );
  }
  return place;
}

/**
 * The module of an experiment.
 *
 * @throws {RangeError} Where there is none of that name.
 */
export function moduleOf(name: string): URL {
  return new URL(`${placeOf(name)}/experiment.ts`, experimentsFolder());
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
      `${pathOf(module)} does not export an experiment as its default; export what defineExperiment gives, ` +
        "with a grid and a function called row",
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

/** The claims that an experiment is evidence for, judged by its collected rows; none where it has no `claims.ts`. */
export async function cardsOf({ experiment, module }: Declared): Promise<Card[]> {
  const file = new URL("claims.ts", module);
  if (!exists(file)) return [];
  const { claims } = await import(file.href) as { claims?: readonly Claim[] };
  if (!claims?.length) {
    throw new TypeError(`${pathOf(file)} exports no \`claims\`; export a list of at least one Claim`);
  }
  const isCurrent = new Set(planOf(experiment).map(({ key }) => key));
  const rows = new Store(folderOf(module, experiment)).collected().filter(({ key }) => isCurrent.has(String(key)));
  return claims.map((claim) => judge(claim, rows));
}

function isFolder(folder: URL): boolean {
  try {
    return Deno.statSync(folder).isDirectory;
  } catch {
    return false;
  }
}

function exists(file: URL): boolean {
  try {
    return Deno.statSync(file).isFile;
  } catch {
    return false;
  }
}
