/**
 * How a cell's last value is shown: by its own display method, as the stock kernel shows it, or in words of ours where that
 * says nothing (`NaN`, `1n`, `null`) or too much (a tensor's inside, ten thousand lines).
 *
 * @module
 */
import type { Bundle } from "./output.ts";

const DISPLAY = Symbol.for("Jupyter.display");
const FIRST_VALUES = 8;
/** Longer texts are folded: so many lines from the start and the end stay. */
const LINES = { most: 120, first: 80, last: 10 };
const LONGEST_LINE = 10_000;

/** What the kernel hands on as nothing, wrapped so that it arrives. */
class Lost {
  constructor(readonly value: unknown) {}
}

/** Wraps a cell's last value where the kernel would lose it on the way to its display. */
export function last(value: unknown): unknown {
  const lost = value === null || typeof value === "bigint" ||
    (typeof value === "number" && (!Number.isFinite(value) || Object.is(value, -0)));
  return lost ? new Lost(value) : value;
}

/**
 * The display of a value.
 *
 * @param stockFormat The kernel's own way, for data frames, images, elements and everything ordinary.
 * @throws What a display method throws.
 */
export async function bundleOf(value: unknown, stockFormat: (value: unknown) => Promise<Bundle>): Promise<Bundle> {
  if (value instanceof Lost) return { "text/plain": Deno.inspect(value.value) };
  if (typeof value === "string" && value.length > LONGEST_LINE) {
    return { "text/plain": folded(Deno.inspect(value.slice(0, LONGEST_LINE)), value.length - LONGEST_LINE) };
  }
  if (value === null || (typeof value !== "object" && typeof value !== "function")) return await stockFormat(value);
  const display = (value as Record<symbol, unknown>)[DISPLAY];
  if (typeof display === "function") {
    const bundle: unknown = await display.call(value);
    if (typeof bundle === "object" && bundle !== null) return bundle as Bundle;
    throw new TypeError(
      `the method Symbol.for("Jupyter.display") must give an object from MIME types to contents, but gave ${
        Deno.inspect(bundle)
      }`,
    );
  }
  if (isTensor(value)) return { "text/plain": await tensorText(value) };
  const bundle = await stockFormat(value);
  const text = bundle["text/plain"];
  return typeof text === "string" ? { ...bundle, "text/plain": folded(text) } : bundle;
}

/** A long text with its middle left out. */
export function folded(text: string, moreCharacters = 0): string {
  const lines = text.split("\n").map((line) =>
    line.length > LONGEST_LINE + 2
      ? `${line.slice(0, LONGEST_LINE)} … ${count(line.length - LONGEST_LINE, "character")} more`
      : line
  );
  if (moreCharacters) lines.push(`… ${count(moreCharacters, "character")} more`);
  if (lines.length <= LINES.most) return lines.join("\n");
  const left = lines.length - LINES.first - LINES.last;
  return [
    ...lines.slice(0, LINES.first),
    `… ${count(left, "line")} folded; console.log(value) prints them all …`,
    ...lines.slice(-LINES.last),
  ].join("\n");
}

function count(n: number, noun: string): string {
  return `${n.toLocaleString("en")} ${noun}${n === 1 ? "" : "s"}`;
}

/** A TensorFlow.js tensor, or anything that has the same face. */
interface TensorLike {
  shape: number[];
  dtype: string;
  isDisposed?: boolean;
  name?: string;
  data(): Promise<ArrayLike<number | string>>;
  dataSync(): ArrayLike<number | string>;
}

function isTensor(value: object): value is TensorLike {
  const { shape, dtype, dataSync } = value as Partial<TensorLike>;
  return Array.isArray(shape) && typeof dtype === "string" && typeof dataSync === "function";
}

async function tensorText(tensor: TensorLike): Promise<string> {
  const head = `${tensor.constructor.name} ${tensor.dtype} [${tensor.shape.join(", ")}]`;
  if (tensor.isDisposed) return `${head}, disposed`;
  let values: ArrayLike<number | string>;
  try {
    values = await tensor.data();
  } catch (error) {
    return `${head}, whose values cannot be read: ${error instanceof Error ? error.message : error}`;
  }
  const more = values.length > FIRST_VALUES ? ", …" : "";
  const first = Array.from({ length: Math.min(values.length, FIRST_VALUES) }, (_, i) => shortly(values[i])).join(", ");
  const lines = [head, `  ${values.length === 0 ? "no values" : `${first}${more}`}`];
  if (typeof values[0] === "number" && tensor.dtype !== "complex64") {
    lines.push(`  ${summary(values as ArrayLike<number>)}`);
  }
  return lines.join("\n");
}

function shortly(value: number | string): string {
  if (typeof value === "string") return Deno.inspect(value);
  return String(Number.isInteger(value) ? value : Number(value.toPrecision(4)));
}

function summary(values: ArrayLike<number>): string {
  let min = Infinity, max = -Infinity, sum = 0, notFinite = 0;
  for (let i = 0; i < values.length; i++) {
    const value = values[i];
    if (!Number.isFinite(value)) notFinite++;
    else {
      sum += value;
      if (value < min) min = value;
      if (value > max) max = value;
    }
  }
  const finite = values.length - notFinite;
  const numbers = finite ? `min ${shortly(min)}, mean ${shortly(sum / finite)}, max ${shortly(max)}` : "";
  const rest = notFinite ? `${count(notFinite, "value")} not finite` : "";
  return [numbers, rest].filter(Boolean).join("; ");
}
