/**
 * Exercises of notebooks: cases are written down once, and `check("name", yourFunction)` says whether a function
 * solves them. It never throws, so a notebook with unsolved exercises runs to its end.
 *
 * @module
 */
import { type Bundle, display, errorText, safely } from "./display.ts";

/** One call of the function and what must come out. */
export interface ExerciseCase {
  /** Arguments, as plain values. Each call gets its own copy. */
  args: readonly unknown[];
  /** The right result, as plain values: numbers, strings, arrays, objects. */
  expect: unknown;
  /** What to think about when this case fails. */
  hint?: string;
}

/** An exercise with all its cases. */
export interface Exercise {
  /** What `check` is called with. */
  name: string;
  cases: readonly ExerciseCase[];
  /** How far a number may be off: absolute, and as a fraction of the right number. Default: 1e-6. */
  tolerance?: number;
}

/** How an exercise stands. */
export interface Verdict {
  status: "solved" | "wrong" | "not solved yet" | "unknown";
  /** One or more lines for the reader, beginning with ✓, ✗ or ○. */
  text: string;
}

/** The answer of `check`: shows itself in a notebook; a program reads `verdict`. */
export interface Check {
  /** Never rejects. */
  readonly verdict: Promise<Verdict>;
  [display](): Promise<Bundle>;
}

const exercises = new Map<string, Exercise>();

/**
 * Makes an exercise known to `check`. One of the same name is replaced.
 *
 * @throws RangeError where there is no case, TypeError where the name is empty.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * exercise({
 *   name: "mean",
 *   cases: [
 *     { args: [[1, 2, 3]], expect: 2 },
 *     { args: [[]], expect: 0, hint: "what is the mean of nothing?" },
 *   ],
 * });
 * const mean = (values: number[]) => values.reduce((a, b) => a + b, 0) / values.length;
 * const { text } = await check("mean", mean).verdict;
 * assert.match(text, /what is the mean of nothing/);
 * ```
 */
export function exercise(definition: Exercise): void {
  const { name, cases } = definition;
  if (typeof name !== "string" || !name) {
    throw new TypeError("an exercise needs a name, the one check() is called with");
  }
  if (!cases?.length) {
    throw new RangeError(`the exercise "${name}" has no cases; give at least one call and its result`);
  }
  exercises.set(name, definition);
}

/**
 * The names of the exercises that are known, in the order in which they were defined.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * exercise({ name: "half", cases: [{ args: [4], expect: 2 }] });
 * assert.ok(exerciseNames().includes("half"));
 * ```
 */
export function exerciseNames(): string[] {
  return [...exercises.keys()];
}

/**
 * Tries a function on the cases of an exercise. The answer shows itself: a tick, or the first case that fails with
 * what came out and a hint. A function that throws `Error("your turn")` counts as not solved yet. Functions may be
 * async, and may return tensors of TensorFlow.js.
 *
 * @param name The exercise.
 * @param solution The reader's function.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * exercise({ name: "double", cases: [{ args: [2], expect: 4 }] });
 * assert.equal((await check("double", (x: number) => 2 * x).verdict).text, "✓ double: 1 of 1 case");
 * ```
 */
export function check(name: string, solution: (...args: never[]) => unknown): Check {
  const verdict = judge(name, solution).catch((error): Verdict => ({
    status: "wrong",
    text: `✗ ${name}: the check itself failed: ${errorText(error)}`,
  }));
  return {
    verdict,
    [display]: () => safely("the check", async () => ({ "text/plain": (await verdict).text })),
  };
}

async function judge(name: string, solution: (...args: never[]) => unknown): Promise<Verdict> {
  const found = exercises.get(name);
  if (!found) {
    const known = exerciseNames().map((each) => `"${each}"`).join(", ") || "none";
    return { status: "unknown", text: `○ there is no exercise "${name}"; known are: ${known}` };
  }
  if (typeof solution !== "function") {
    return { status: "wrong", text: `✗ ${name}: pass your function to check(), not ${brief(solution)}` };
  }
  const { cases, tolerance = 1e-6 } = found;
  for (const [k, { args, expect, hint }] of cases.entries()) {
    const head = `✗ ${name}, case ${k + 1} of ${cases.length}: for ${args.map(brief).join(", ")}`;
    const tail = hint ? `\n  hint: ${hint}` : "";
    let result: unknown;
    try {
      result = await plain(await solution(...structuredClone(args) as never[]));
    } catch (error) {
      if (/^(your turn|not implemented)/i.test(errorText(error))) {
        const call = `${solution.name || "it"}(${args.map(brief).join(", ")})`;
        const text = `○ ${name}: not solved yet\n  ${call} should give ${brief(expect)}${
          hint ? `\n  hint: ${hint}` : ""
        }`;
        return { status: "not solved yet", text };
      }
      return { status: "wrong", text: `${head} your function threw: ${errorText(error)}${tail}` };
    }
    const difference = firstDifference(result, expect, tolerance);
    if (difference !== undefined) {
      const where = difference ? ` (first difference at ${difference})` : "";
      return {
        status: "wrong",
        text: `${head}\n  your function gave ${brief(result)}\n  expected         ${brief(expect)}${where}${tail}`,
      };
    }
  }
  const count = cases.length;
  return { status: "solved", text: `✓ ${name}: ${count} of ${count} ${count === 1 ? "case" : "cases"}` };
}

/** Tensors and typed arrays as arrays of numbers; other values as they are. */
async function plain(value: unknown): Promise<unknown> {
  if (ArrayBuffer.isView(value) && "length" in value) return Array.from(value as unknown as ArrayLike<unknown>);
  if (isTensor(value)) return await value.array();
  if (Array.isArray(value)) return await Promise.all(value.map(plain));
  return value;
}

function isTensor(value: unknown): value is { array(): Promise<unknown> } {
  return typeof value === "object" && value !== null && "array" in value && "shape" in value &&
    typeof value.array === "function";
}

/** Where two values differ: "" for the values themselves, "[1][0]" or ".mean" for a part, undefined where nowhere. */
function firstDifference(result: unknown, expected: unknown, tolerance: number): string | undefined {
  if (typeof expected === "number") return closeTo(result, expected, tolerance) ? undefined : "";
  if (typeof expected !== "object" || expected === null) return Object.is(result, expected) ? undefined : "";
  if (typeof result !== "object" || result === null) return "";
  if (ArrayBuffer.isView(expected)) expected = Array.from(expected as unknown as ArrayLike<unknown>);
  if (Array.isArray(expected)) {
    if (!Array.isArray(result) || result.length !== expected.length) return "";
    for (const [k, value] of expected.entries()) {
      const inside = firstDifference(result[k], value, tolerance);
      if (inside !== undefined) return `[${k}]${inside}`;
    }
    return undefined;
  }
  for (const [key, value] of Object.entries(expected as object)) {
    const inside = firstDifference((result as Record<string, unknown>)[key], value, tolerance);
    if (inside !== undefined) return `.${key}${inside}`;
  }
  return undefined;
}

function closeTo(result: unknown, expected: number, tolerance: number): boolean {
  if (typeof result !== "number") return false;
  if (!Number.isFinite(expected)) return Object.is(result, expected);
  return Math.abs(result - expected) <= tolerance * Math.max(1, Math.abs(expected));
}

/** A value on one line, cut where it is long. */
function brief(value: unknown): string {
  if (value === undefined) return "nothing (undefined; is there a return?)";
  if (typeof value === "function") return "a function";
  const text = JSON.stringify(value, (_, inner) => {
    if (typeof inner === "number") return Number.isFinite(inner) ? Number(inner.toPrecision(6)) : String(inner);
    if (typeof inner === "bigint") return `${inner}n`;
    return ArrayBuffer.isView(inner) ? Array.from(inner as unknown as ArrayLike<unknown>) : inner;
  }) ?? String(value);
  return text.length > 160 ? text.slice(0, 157) + "..." : text;
}
