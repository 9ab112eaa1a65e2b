/**
 * The outputs of cells on their way to the front end: floods of small prints are joined, what is too large is cut with a
 * line that says so, and each goes to the cell that made it.
 *
 * @module
 */
import { fromJson } from "../message.ts";
import { fullLength } from "../zmtp.ts";
import type { Cell } from "./cell.ts";
import type { FrontEnd } from "./front_end.ts";

/** Prints are joined for this long, in milliseconds, or until they are this long, in characters. */
const JOIN_MS = 30;
const JOIN_CHARACTERS = 256 * 1024;
/** What one display may hold, in bytes. */
const LARGEST_DISPLAY = 1_000_000;
/** What one cell may print, in characters. */
export const MOST_PRINTED = 10_000_000;
const PREVIEW = 2_000;

const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(1)} MB`;

/** Joins, cuts and publishes. */
export class Outputs {
  #front: FrontEnd;
  #joined: { cell: Cell; name: string; texts: string[]; length: number } | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(front: FrontEnd) {
    this.#front = front;
  }

  /**
   * A print.
   *
   * @param isStart The print was longer still, and only its start was read.
   */
  async print(cell: Cell, name: string, text: string, isStart = false): Promise<void> {
    const room = MOST_PRINTED - cell.printed;
    cell.printed += text.length;
    if (room < 0) return;
    const isCut = isStart || text.length > room;
    await this.#join(cell, name, text.slice(0, room)); // in one piece: JupyterLab draws all of it anew for each
    if (!isCut) return;
    cell.printed = Infinity;
    const limit = megabytes(MOST_PRINTED);
    await this.#join(
      cell,
      name,
      `\n… cut here: this cell has printed more than ${limit}; write to a file what is long\n`,
    );
  }

  async #join(cell: Cell, name: string, print: string): Promise<void> {
    const text = cell.inWords(print);
    if (this.#joined && (this.#joined.cell !== cell || this.#joined.name !== name)) await this.flush();
    this.#joined ??= { cell, name, texts: [], length: 0 };
    this.#joined.texts.push(text);
    this.#joined.length += text.length;
    if (this.#joined.length > JOIN_CHARACTERS) await this.flush();
    else this.#timer ??= setTimeout(() => this.flush().catch(() => {}), JOIN_MS);
  }

  /** Publishes what has been joined so far. */
  async flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const joined = this.#joined;
    this.#joined = undefined;
    if (!joined) return;
    await this.#front.publish("stream", { name: joined.name, text: joined.texts.join("") }, joined.cell.request.header);
  }

  /** A display, a result, or whatever else a cell publishes, as it comes. */
  async show(
    cell: Cell,
    type: string,
    content: Uint8Array,
    extra: { metadata: Record<string, unknown>; buffers: Uint8Array[] },
  ): Promise<void> {
    await this.flush();
    const size = fullLength(content);
    if (size <= LARGEST_DISPLAY) return await this.#front.publish(type, content, cell.request.header, extra);
    const kept = size > content.length ? {} : fromJson(content); // what is far too large has not even been read
    const { note, data } = cutDisplay(kept.data, size);
    await this.#front.publish("stream", { name: "stderr", text: `${note}\n` }, cell.request.header);
    const cut = { metadata: {}, transient: {}, ...kept, data };
    await this.#front.publish(type, cut, cell.request.header, { metadata: extra.metadata });
  }

  /** An error, in words. */
  async error(cell: Cell, content: Record<string, unknown>, metadata: Record<string, unknown>): Promise<void> {
    await this.flush();
    await this.#front.publish("error", content, cell.request.header, { metadata });
  }
}

/** A display without its large parts, and the sentence that says so. */
function cutDisplay(data: unknown, size: number): { note: string; data: Record<string, unknown> } {
  const parts = Object.entries(typeof data === "object" && data !== null ? data : {});
  const small = parts.filter(([, part]) => sizeOf(part) <= LARGEST_DISPLAY / 4);
  const large = parts.filter((part) => !small.includes(part));
  const what = large.map(([type, part]) => `${type} of ${megabytes(sizeOf(part))}`).join(", ");
  const note = `… a display of ${megabytes(size)} was cut, the limit is ${megabytes(LARGEST_DISPLAY)}` +
    `${what && `; left out: ${what}`}; show less, or write it to a file`;
  const text = large.find(([type]) => type === "text/plain")?.[1];
  const preview = typeof text === "string" ? `${text.slice(0, PREVIEW)}\n${note}` : note;
  return { note, data: { "text/plain": preview, ...Object.fromEntries(small) } };
}

function sizeOf(part: unknown): number {
  return typeof part === "string" ? part.length : JSON.stringify(part)?.length ?? 0;
}
