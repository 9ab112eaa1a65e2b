/**
 * How a value shows itself in a notebook: the Deno kernel calls the method named `Symbol.for("Jupyter.display")` of a
 * cell's last value and sends on what it returns.
 *
 * @module
 */

/** The name of the method that gives a value's display. */
export const display: unique symbol = Symbol.for("Jupyter.display");

/** One output of a notebook: the same thing in several forms, by media type. A viewer takes the best it knows. */
export type Bundle = Record<string, unknown>;

/** A value that shows itself. */
export interface Displayed {
  [display](): Bundle | Promise<Bundle>;
}

/** The largest display that is sent, in bytes of JSON. Beyond some megabytes Jupyter's clients lose the output. */
export const displayLimitBytes = 1_000_000;

/** Bytes of a bundle as it is sent and saved. */
export function bundleBytes(bundle: Bundle): number {
  return new TextEncoder().encode(JSON.stringify(bundle)).length;
}

/**
 * Runs what makes a display, and never throws: the kernel would count the cell as run and show nothing.
 *
 * @param what What is shown, for the message.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const bundle = await safely("the table", () => {
 *   throw new Error("no rows");
 * });
 * assert.deepEqual(bundle, { "text/plain": "the table cannot be shown: no rows" });
 * ```
 */
export async function safely(what: string, make: () => Bundle | Promise<Bundle>): Promise<Bundle> {
  try {
    const bundle = await make();
    const bytes = bundleBytes(bundle);
    if (bytes <= displayLimitBytes) return bundle;
    return { "text/plain": `${what} cannot be shown: it has ${bytes} bytes, and ${displayLimitBytes} is the limit` };
  } catch (error) {
    return { "text/plain": `${what} cannot be shown: ${errorText(error)}` };
  }
}

/** The message of whatever was thrown. */
export function errorText(error: unknown): string {
  try {
    return error instanceof Error ? error.message : String(error);
  } catch {
    return "an error without a message";
  }
}

/** Text made safe for HTML and SVG, in content and in quoted attributes. */
export function escapeMarkup(text: string): string {
  return text.replace(/[&<>"']/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" })[c]!);
}

/** 1234 as "1,234", and "1 row" but "2 rows". */
export function counted(count: number, one: string, many = one + "s"): string {
  return `${count.toLocaleString("en-US")} ${count === 1 ? one : many}`;
}
