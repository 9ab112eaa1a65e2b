/**
 * What a cell awaits at its top level, so that Stop can end it: a promise itself cannot be ended, but the cell need not wait
 * for it any longer. Loops of the library hear Stop themselves (`lib/stop.ts`) and are given time to clean up.
 *
 * @module
 */
import { currentCell, latestCell } from "./cells.ts";

/** How long the library has to end by itself, in milliseconds. */
const CLEAN_UP_MS = 250;
const { setTimeout } = globalThis;
/**
 * A cell whose code was ended between two awaits will never go on, and the kernel answers only when it notices that: when the
 * cell's promise is collected as garbage.
 */
const collectGarbage = (globalThis as { __tessera_gc?: () => void }).__tessera_gc;

/** What is awaited now, and the cell that awaits it. */
const waiting = new Map<() => void, number>();
/** How many awaits have ended with the stop reason: by the library, or by us. */
let stopped = 0;

/**
 * The same as what is awaited, but Stop ends it.
 *
 * @param index The number of the `await` in its cell, by which the relay finds the line.
 */
export function wait(value: unknown, index: number): unknown {
  if (!isThenable(value)) return value;
  const cell = currentCell();
  const place = `async $cell_${cell}:await:${index}`;
  return new Promise((resolve, reject) => {
    const stop = () => {
      waiting.delete(stop);
      stopped++;
      const error = new DOMException("stopped by the user", "AbortError");
      Object.defineProperty(error, "stack", { value: `AbortError: stopped by the user\n    at ${place}` });
      reject(error);
    };
    waiting.set(stop, cell);
    value.then((result) => {
      waiting.delete(stop);
      resolve(result);
    }, (error) => {
      waiting.delete(stop);
      if (error instanceof DOMException && error.name === "AbortError") stopped++;
      reject(withPlace(error, place));
    });
  });
}

/** Goes through the same as what it is given, but Stop ends the waiting for the next. */
export function each(values: AsyncIterable<unknown> | Iterable<unknown>, index: number): AsyncIterable<unknown> {
  return {
    [Symbol.asyncIterator]() {
      const async = (values as AsyncIterable<unknown>)[Symbol.asyncIterator];
      const iterator = async ? async.call(values) : fromSync((values as Iterable<unknown>)[Symbol.iterator]());
      return {
        next: () => wait(iterator.next(), index) as Promise<IteratorResult<unknown>>,
        return: (value) => iterator.return?.(value) ?? Promise.resolve({ done: true, value }),
      };
    },
  };
}

function fromSync(iterator: Iterator<unknown>): AsyncIterator<unknown> {
  const settled = async ({ done, value }: IteratorResult<unknown>) => ({ done, value: await value });
  return {
    next: () => settled(iterator.next()),
    return: (value) => settled(iterator.return?.(value) ?? { done: true, value }),
  };
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return value !== null && (typeof value === "object" || typeof value === "function") &&
    typeof (value as PromiseLike<unknown>).then === "function";
}

/** A stack ends where the waiting begins; the last line of it is the cell's that waited. */
function withPlace(error: unknown, place: string): unknown {
  try {
    if (error instanceof Error && !String(error.stack).includes(place)) error.stack += `\n    at ${place}`;
  } catch {
    // a frozen error stays as it is
  }
  return error;
}

/**
 * Stop was pressed: what its cell awaits a moment later is given up, unless something has ended by itself meanwhile. (A loop
 * awaits one thing after the other; and a cell that catches the stop reason may have to save something.)
 */
export function stopWaiting(): void {
  const cell = latestCell();
  const before = stopped;
  setTimeout(() => {
    if (stopped !== before) return;
    const its = [...waiting].filter(([, id]) => id === cell);
    for (const [stop] of its) stop();
    if (its.length === 0) collectGarbage?.();
  }, CLEAN_UP_MS);
}
