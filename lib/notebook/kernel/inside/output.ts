/**
 * The ways out of a kernel: `console`, `Deno.stdout`, `Deno.stderr`, `Deno.jupyter`. Each output says which cell it belongs
 * to, in its metadata; the relay takes that out again. What is written to `Deno.stdout` is lost in the stock kernel.
 *
 * @module
 */
import { currentCell } from "./cells.ts";

/** A display: representations by their MIME types. */
export type Bundle = Record<string, unknown>;

/** `Deno.jupyter`, as far as it is used here. */
export interface Jupyter {
  broadcast(
    type: string,
    content: unknown,
    extra?: { metadata?: Record<string, unknown>; buffers?: Uint8Array[] },
  ): void;
  display(value: unknown, options?: { raw?: boolean; update?: boolean; display_id?: string }): Promise<void>;
  format(value: unknown): Promise<Bundle>;
}

/** The parts of Deno's inside that are used: there is no other way to print for a cell, or to show its value. */
interface Internals {
  Console: new (print: (text: string, level: number) => void) => Console;
  jupyter: { broadcastResult(executionCount: number, value: unknown): Promise<void> };
}

/** The kernel's own `Deno.jupyter`. */
export const jupyter = Deno.jupyter as unknown as Jupyter;
/** Deno's inside. */
export const internals = (Deno as unknown as Record<symbol, Internals>)[
  (Deno as unknown as { internal: symbol }).internal
];
const stockBroadcast = jupyter.broadcast;

/** Sends an output on behalf of a cell; by default of the one that the running code belongs to. */
export function send(
  type: string,
  content: unknown,
  { metadata = {}, buffers = [], cell = currentCell() }: {
    metadata?: Record<string, unknown>;
    buffers?: Uint8Array[];
    cell?: number;
  } = {},
): void {
  stockBroadcast(type, content, { metadata: { ...metadata, tessera: cell }, buffers });
}

function print(name: "stdout" | "stderr", text: string): void {
  send("stream", { name, text });
}

/** Puts our ways in the place of the kernel's. */
export function takeOutputs(format: (value: unknown) => Promise<Bundle>): void {
  const ours = new internals.Console((text, level) => print(level > 1 ? "stderr" : "stdout", text));
  for (const name of Object.getOwnPropertyNames(ours) as (keyof Console)[]) {
    if (typeof ours[name] === "function") Object.assign(console, { [name]: ours[name] });
  }
  console.clear = () => send("clear_output", { wait: false });

  for (const name of ["stdout", "stderr"] as const) {
    const decoder = new TextDecoder();
    const writeSync = (bytes: Uint8Array) => {
      print(name, decoder.decode(bytes, { stream: true }));
      return bytes.length;
    };
    const write = (bytes: Uint8Array) => Promise.resolve(writeSync(bytes));
    const stream = new WritableStream<Uint8Array>({ write: (bytes) => void writeSync(bytes) });
    Object.assign(Deno[name], { writeSync, write });
    Object.defineProperty(Deno[name], "writable", { get: () => stream });
  }

  // deno-lint-ignore require-await -- the stock one gives a promise in some versions, and callers await it
  jupyter.broadcast = async (type, content, extra = {}) => send(type, content, extra);
  jupyter.format = format;
  jupyter.display = async (value, { raw = false, update = false, display_id } = {}) => {
    const data = raw ? value : await format(value);
    const transient = display_id === undefined ? {} : { display_id };
    send(update ? "update_display_data" : "display_data", { data, metadata: {}, transient });
  };
}
