/**
 * Stop and progress for long work: `tick()` in loops, `stopSignal()` for everything that takes an `AbortSignal`,
 * `sleep()`, and a progress line that shows in a notebook, on a terminal and in a pipe.
 *
 * In a notebook, the Stop button reaches the kernel as SIGINT from the kernel's parent process
 * (`lib/notebook/kernel_parent.ts`). That parent has to know whether somebody here is listening: without a listener
 * SIGINT would kill the kernel. So the environment variable TESSERA_STOP_FILE names a file; this module writes "0"
 * into it when it is loaded, and the number of presses after each press. A press that found us in synchronous code gets
 * here only after the parent has ended that code by other means; the parent then has put "ended" into the file, and the
 * press must not stop the next cell too.
 *
 * In a program run from a terminal nothing is taken over until a loop calls `tick()` or `sleep()`, or somebody holds a
 * `stopSignal()`: Ctrl-C ends an ordinary script as always. The first Ctrl-C then stops the loop with an error that
 * `finally` blocks see; a second one ends the program.
 *
 * @module
 */

/** How often `tick()` pauses, in milliseconds: often enough for a button, rare enough to cost nothing. */
const PAUSE_EVERY_MS = 20;
/** A press counts for a loop that ticked this short a time before, or ticks this short a time after, in milliseconds. */
const PRESS_COUNTS_MS = 10_000;
/** How long after the last tick a terminal's Ctrl-C stays ours, in milliseconds. */
const HOLD_CTRL_C_MS = 2_000;

const stopFile = Deno.env.get("TESSERA_STOP_FILE");

let controller = new AbortController();
let presses = 0;
let lastTick = -Infinity;
let lastPause = -Infinity;
let sleeping = 0;
/** A press that has stopped nothing yet: the loop was awaiting something else. Its next tick() throws it. */
let unheard: { reason: DOMException; at: number } | undefined;

function onPress(): void {
  presses++;
  if (stopFile) {
    const endedByParent = Deno.readTextFileSync(stopFile).endsWith("ended");
    Deno.writeTextFileSync(stopFile, String(presses));
    if (endedByParent) return;
  }
  const now = performance.now();
  const reason = new DOMException("stopped by the user", "AbortError");
  unheard = now - lastTick < PRESS_COUNTS_MS ? { reason, at: now } : undefined;

  const stopped = controller;
  controller = new AbortController();
  if (!stopFile) giveBackCtrlC(); // the next press ends the program, unless a loop goes on ticking
  stopped.abort(reason);
}

if (stopFile) {
  Deno.addSignalListener("SIGINT", onPress);
  Deno.writeTextFileSync(stopFile, "0");
}

/**
 * Forgets a press that has stopped nothing. The kernel calls this when a cell begins: a press is meant for the cell in which
 * it was made.
 *
 * @example
 * ```ts
 * forgetPress();
 * await tick(); // throws only for a press from now on
 * ```
 */
export function forgetPress(): void {
  unheard = undefined;
}

let ctrlCIsOurs = false;
let signalIsHeld = false;

/** From the first tick on, and until two seconds after the last one, Ctrl-C in a terminal stops the loop. */
function takeCtrlC(): void {
  if (stopFile || ctrlCIsOurs) return;
  ctrlCIsOurs = true;
  Deno.addSignalListener("SIGINT", onPress);
  const look = () => {
    const inUse = sleeping > 0 || signalIsHeld || performance.now() - lastTick < HOLD_CTRL_C_MS;
    if (!ctrlCIsOurs) return;
    if (inUse) later();
    else giveBackCtrlC();
  };
  const later = () => Deno.unrefTimer(setTimeout(look, HOLD_CTRL_C_MS));
  later();
}

function giveBackCtrlC(): void {
  if (!ctrlCIsOurs) return;
  ctrlCIsOurs = false;
  signalIsHeld = false;
  Deno.removeSignalListener("SIGINT", onPress);
}

/**
 * Call and await this in every long loop. At most every 20 ms it pauses for a moment, so that prints and the Stop
 * button get through; otherwise it returns at once.
 *
 * @throws The stop reason, a `DOMException` named "AbortError", when Stop was pressed.
 *
 * @example A loop that Stop can end
 * ```ts
 * import assert from "node:assert/strict";
 * let sum = 0;
 * for (let i = 1; i <= 1000; i++) {
 *   sum += i;
 *   await tick();
 * }
 * assert.equal(sum, 500500);
 * ```
 */
export async function tick(): Promise<void> {
  lastTick = performance.now();
  takeCtrlC();
  if (unheard) {
    const { reason, at } = unheard;
    unheard = undefined;
    if (lastTick - at < PRESS_COUNTS_MS) throw reason;
  }
  if (lastTick - lastPause < PAUSE_EVERY_MS) return;
  await sleep(0);
  lastPause = performance.now();
}

/**
 * A signal that the next press of Stop aborts. After that press it stays aborted, and a new call gives a fresh one: take
 * it where the work starts, do not keep it.
 *
 * @example Hand it to whatever takes an AbortSignal
 * ```ts
 * import assert from "node:assert/strict";
 * const signal = stopSignal();
 * assert.equal(signal.aborted, false);
 * ```
 */
export function stopSignal(): AbortSignal {
  takeCtrlC();
  signalIsHeld = !stopFile;
  return controller.signal;
}

/**
 * Waits, unless Stop is pressed.
 *
 * @param ms Milliseconds, >= 0.
 * @throws The stop reason, a `DOMException` named "AbortError", when Stop is pressed meanwhile.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const start = performance.now();
 * await sleep(5);
 * assert.ok(performance.now() - start > 4);
 * ```
 */
export function sleep(ms: number): Promise<void> {
  if (!(ms >= 0)) throw new RangeError(`sleep() takes milliseconds >= 0, but got ${ms}`);
  takeCtrlC();
  const { signal } = controller;
  return new Promise((resolve, reject) => {
    sleeping++;
    const timer = setTimeout(() => {
      sleeping--;
      signal.removeEventListener("abort", stop);
      resolve();
    }, ms);
    function stop() {
      sleeping--;
      clearTimeout(timer);
      unheard = undefined;
      reject(signal.reason);
    }
    signal.addEventListener("abort", stop, { once: true });
  });
}

/** A line that shows how far a loop is. */
export interface Progress {
  /** Shows that `k` of the total are done; cheap, call it at every step. */
  update(k: number): void;
  /** Shows the last state and ends the line; await it, so that the line belongs to the cell that made it. */
  done(): Promise<void>;
}

/** The part of `Deno.jupyter` that is used here. */
interface Jupyter {
  broadcast(type: string, content: Record<string, unknown>): Promise<void>;
}

function jupyter(): Jupyter | undefined {
  try {
    return Deno.jupyter as Jupyter;
  } catch {
    return undefined; // reading it throws outside a Jupyter kernel
  }
}

/**
 * An output of the running cell that changes in place: each call shows another bundle (contents by media type) where the
 * one before stood. Await the last call, so that it belongs to the cell. It never fails a cell.
 *
 * @returns Undefined outside a notebook.
 *
 * @example
 * ```ts
 * const show = outputInPlace();
 * for (const text of ["working", "done"]) await show?.({ "text/plain": text });
 * ```
 */
export function outputInPlace(): ((bundle: Record<string, unknown>) => Promise<void>) | undefined {
  const notebook = jupyter();
  if (!notebook) return undefined;
  const display_id = crypto.randomUUID();
  let sent = Promise.resolve();
  let type = "display_data";
  return (data) => {
    const content = { data, metadata: {}, transient: { display_id } };
    const thisType = type;
    type = "update_display_data";
    sent = sent.then(() => notebook.broadcast(thisType, content)).catch(() => {});
    return sent;
  };
}

const REDRAW_MS = 100;

/**
 * Starts a progress line: in a notebook one output that changes in place, on a terminal one line on stderr that is
 * overwritten, in a pipe one line on stderr per quarter.
 *
 * @param total Number of steps, >= 1.
 * @param label What is being done; stands before the bar.
 *
 * @example
 * ```ts
 * const bar = progress(3, "epochs");
 * for (let epoch = 1; epoch <= 3; epoch++) bar.update(epoch);
 * await bar.done();
 * ```
 */
export function progress(total: number, label = ""): Progress {
  if (!(total >= 1)) throw new RangeError(`progress() takes a total of at least 1, but got ${total}`);
  const show = lineFor(total);
  const line = (k: number) => {
    const filled = Math.round((20 * k) / total);
    return `${label ? label + " " : ""}${"█".repeat(filled)}${"░".repeat(20 - filled)} ${k}/${total}`;
  };

  let at = 0;
  let drawn = performance.now();
  let shown = show(line(0), 0, false);
  return {
    update(k) {
      at = Math.min(Math.max(k, 0), total);
      if (performance.now() - drawn < REDRAW_MS) return;
      drawn = performance.now();
      shown = show(line(at), at, false);
    },
    async done() {
      shown = show(line(at), at, true);
      await shown;
    },
  };
}

/** Where the line goes; decided once, when the bar is made. */
function lineFor(total: number): (text: string, k: number, last: boolean) => Promise<void> {
  const show = outputInPlace();
  if (show) return (text) => show({ "text/plain": text });
  const write = (text: string) => Deno.stderr.writeSync(new TextEncoder().encode(text));
  if (Deno.stderr.isTerminal()) {
    return (text, _k, last) => {
      write(`\r${text}${last ? "\n" : ""}`);
      return Promise.resolve();
    };
  }
  let quarter = -1;
  return (text, k, last) => {
    const now = Math.floor((4 * k) / total);
    if (now > quarter || (last && quarter < 0)) write(text + "\n");
    quarter = Math.max(quarter, now);
    return Promise.resolve();
  };
}
