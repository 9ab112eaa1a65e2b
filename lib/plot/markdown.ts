/**
 * Sentences with computed numbers in them, so that a notebook's conclusions follow from its cells.
 *
 * @module
 */
import { type Bundle, display, type Displayed } from "./display.ts";

/**
 * Text that shows as Markdown in a notebook.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const [before, after] = [0.98, 0.97];
 * const shown = markdown(`Accuracy falls by **${(100 * (before - after)).toFixed(1)} points**.`);
 * assert.equal(`${shown}`, "Accuracy falls by **1.0 points**.");
 * ```
 */
export function markdown(text: string): Displayed & { toString(): string } {
  return {
    toString: () => text,
    [display]: (): Bundle => ({ "text/markdown": text, "text/plain": text }),
  };
}
