/**
 * Errors that nobody catches: in a timer, in a promise, in a display method. The stock kernel passes them over in silence,
 * or hangs. And stack traces that name cells, without Deno's inside.
 *
 * @module
 */
import { currentCell, latestCell } from "./cells.ts";
import { send } from "./output.ts";

const INSIDE = new URL("./", import.meta.url);
const NOT_OURS = /^(ext:|node:|<anonymous>|native$)/;

/** Stack traces name cells (`$cell_3:4:9`, which the relay puts into words) and leave out what is inside Deno and here. */
export function cleanStacks(): void {
  const { pathname, href } = INSIDE;
  Error.prepareStackTrace = (error, sites) => {
    const frames = sites.map((site) => site.toString()).filter((frame) => {
      const place = frame.match(/\(([^()]*)\)$/)?.[1] ?? frame.replace(/^async /, "");
      return !NOT_OURS.test(place) && !frame.includes(href) && !frame.includes(pathname);
    });
    return [headOf(error), ...frames.map((frame) => `    at ${frame}`)].join("\n");
  };
}

function headOf(error: unknown): string {
  try {
    return String(error);
  } catch {
    return "Error";
  }
}

/** Shows an error as an output of a cell. */
export function sendError(error: unknown, cell: number): void {
  const { name, message, stack } = describe(error);
  send("error", { ename: name, evalue: message, traceback: stack.split("\n") }, { cell });
}

function describe(error: unknown): { name: string; message: string; stack: string } {
  try {
    if (error instanceof Error || error instanceof DOMException) {
      const { name, message, stack } = error;
      return { name: String(name), message: String(message), stack: String(stack ?? `${name}: ${message}`) };
    }
    const text = typeof error === "string" ? error : Deno.inspect(error);
    return { name: "Error", message: text, stack: text };
  } catch {
    return { name: "Error", message: "an error that cannot be shown", stack: "an error that cannot be shown" };
  }
}

/** The cell in whose code an error was made, by its stack trace. */
function cellOf(error: unknown): number {
  const cells = [...String((error as Error | undefined)?.stack ?? "").matchAll(/\$cell_(\d+):/g)];
  return cells.length ? Number(cells.at(-1)![1]) : currentCell() || latestCell();
}

/** From now on an error in a timer and a rejection that nobody handles are shown, and the kernel lives. */
export function catchErrors(): void {
  addEventListener("error", (event) => {
    if (event.defaultPrevented) return;
    event.preventDefault();
    sendError(event.error ?? event.message, cellOf(event.error));
  });
  addEventListener("unhandledrejection", (event) => {
    if (event.defaultPrevented) return;
    event.preventDefault();
    sendError(event.reason, cellOf(event.reason));
  });
}
