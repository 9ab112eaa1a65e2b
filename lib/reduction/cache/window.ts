/**
 * Windows and sinks that do not fit into a budget: shrunk, with a warning.
 *
 * @module
 */
import { WindowTooLarge } from "../../nn/reduction_errors.ts";

const warned = new Set<string>();

/**
 * How many protected tokens there are room for: at most half of the budget, so that something is chosen. Warns, once for
 * each case, where that is fewer than wanted.
 *
 * @param what "window" or "sinks".
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.equal(shrunk("window", 8, 64, "mine"), 8);
 * ```
 */
export function shrunk(what: "window" | "sinks", wanted: number, keep: number, method: string): number {
  if (wanted < keep) return wanted;
  const room = Math.floor(keep / 2);
  const { message } = new WindowTooLarge(
    `${method} protects ${
      what === "window" ? "a window of the last" : "the first"
    } ${wanted} tokens, but its budget is ` +
      `${keep}, which leaves nothing to choose; ${room} are protected: pass ${what} below the budget`,
  );
  if (!warned.has(message)) console.warn(message);
  warned.add(message);
  return room;
}
