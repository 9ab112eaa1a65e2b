/**
 * Is this the right Deno, and will `deno task` find it?
 *
 * @module
 */
import { dirname } from "node:path";
import { exists, root } from "./paths.ts";
import { DENO_VERSION, REFUSED_DENO_VERSIONS } from "./pins.ts";

/** What is wrong with a Deno; "refused" means that nothing should run on it. */
export interface DenoVerdict {
  status: "ok" | "warning" | "refused";
  /** One sentence. */
  detail: string;
}

/**
 * Judges a version of Deno.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.equal(judgeDeno("2.8.3").status, "refused");
 * ```
 */
export function judgeDeno(version: string = Deno.version.deno): DenoVerdict {
  if (REFUSED_DENO_VERSIONS.includes(version)) {
    return {
      status: "refused",
      detail: `Deno ${version} reports failing notebook cells as successful; use ${DENO_VERSION}: ` +
        `npx --yes deno@${DENO_VERSION} task start`,
    };
  }
  if (version !== DENO_VERSION) {
    return {
      status: "warning",
      detail: `this is Deno ${version}, but everything was tried with ${DENO_VERSION}; if something fails, use ` +
        `npx --yes deno@${DENO_VERSION}`,
    };
  }
  return { status: "ok", detail: `Deno ${version}` };
}

/**
 * Looks for a `node_modules/.bin/deno` in a folder and all its parents. `deno task` would run that file instead of the Deno
 * that runs, as if it were JavaScript.
 *
 * @returns One sentence that says what to remove; undefined when there is none.
 */
export function shadowedDeno(from: string = root): string | undefined {
  for (let folder = from;; folder = dirname(folder)) {
    const found = `${folder === "/" ? "" : folder}/node_modules/.bin/deno`;
    if (exists(found)) {
      return `${found} stands in the way of this project's Deno (somebody ran "npm install deno" there); ` +
        `remove it: rm ${found}`;
    }
    if (dirname(folder) === folder) return undefined;
  }
}
