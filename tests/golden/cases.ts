/**
 * Golden cases: one call of an author's published code each, with its inputs and outputs (`golden/1`, see SOURCE.md).
 * Reads every file of a folder; compares nested arrays. Which family runs what is in `families.ts`.
 *
 * @module
 */

/** A number, or arrays of them, as the files hold tensors. */
export type Nested = number | readonly Nested[];

/** One call of published code. */
export interface GoldenCase {
  readonly name: string;
  readonly source: string;
  readonly params: Record<string, unknown>;
  readonly inputs: Record<string, unknown>;
  readonly outputs: Record<string, unknown>;
  readonly note?: string;
  /** The file it came from. */
  readonly file: string;
}

/** The folder named by GOLDEN, or this one. */
export function goldenFolder(): URL {
  const named = Deno.env.get("GOLDEN");
  if (!named) return new URL("./", import.meta.url);
  try {
    return new URL(`file://${Deno.realPathSync(named)}/`);
  } catch {
    throw new RangeError(`GOLDEN names the folder ${named}, which does not exist; give a folder of golden/1 files`);
  }
}

/** Every case of every JSON file of a folder, in the order of the file names. */
export function readCases(folder: URL): GoldenCase[] {
  const files = [...Deno.readDirSync(folder)].map(({ name }) => name).filter((name) => name.endsWith(".json")).sort();
  if (!files.length) {
    throw new RangeError(`no golden files in ${folder.pathname}; put JSON files of schema golden/1 there`);
  }
  return files.flatMap((file) => {
    const content = parse(file, Deno.readTextFileSync(new URL(file, folder)));
    if (content.schema !== "golden/1") {
      throw new RangeError(
        `${file} has schema ${content.schema}, but golden/1 is read here; convert it or move it away`,
      );
    }
    return (content.cases as GoldenCase[]).map((entry) => ({ ...entry, file }));
  });
}

function parse(file: string, text: string): { schema?: string; cases?: unknown } {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new RangeError(`${file} is not JSON (${(error as Error).message}); mend it or move it away`);
  }
}

/**
 * Throws where two nested arrays differ by more than `tolerance`, absolutely and relative to the expected value.
 *
 * @param where What is compared, for the message.
 */
export function assertClose(actual: unknown, expected: unknown, where: string, tolerance = 1e-4): void {
  if (Array.isArray(expected)) {
    if (!Array.isArray(actual)) throw new Error(`${where}: an array is expected, but it is ${JSON.stringify(actual)}`);
    if (actual.length !== expected.length) {
      throw new Error(`${where}: ${expected.length} entries are expected, but there are ${actual.length}`);
    }
    for (const [i, entry] of expected.entries()) assertClose(actual[i], entry, `${where}[${i}]`, tolerance);
    return;
  }
  if (typeof expected !== "number" || typeof actual !== "number") {
    throw new Error(`${where}: ${JSON.stringify(expected)} is expected, but it is ${JSON.stringify(actual)}`);
  }
  if (!(Math.abs(actual - expected) <= tolerance * (1 + Math.abs(expected)))) {
    throw new Error(`${where}: ${expected} is expected, but it is ${actual}`);
  }
}
