/**
 * Our part inside the Deno kernel. The relay (`lib/notebook/kernel/relay.ts`) has it imported before the first cell; cells
 * reach it as `__tessera`, by calls that `cell_source.ts` adds to them.
 *
 * @module
 */
import { forgetPress } from "../../../stop.ts";
import { enterCell, latestCell } from "./cells.ts";
import { catchErrors, cleanStacks, sendError } from "./errors.ts";
import { internals, jupyter, send, takeOutputs } from "./output.ts";
import { bundleOf, last } from "./values.ts";
import { each, stopWaiting, wait } from "./waiting.ts";

const { setImmediate } = globalThis;
const stockFormat = jupyter.format;
const format = (value: unknown) => bundleOf(value, stockFormat);

cleanStacks();
catchErrors();
takeOutputs(format);
if (Deno.build.os !== "windows") Deno.addSignalListener("SIGINT", stopWaiting);

internals.jupyter.broadcastResult = async (execution_count, value) => {
  if (value === undefined) return;
  try {
    const data = await format(value);
    send("execute_result", { execution_count, data, metadata: {}, transient: {} }, { cell: latestCell() });
  } catch (error) {
    sendError(error, latestCell());
  }
};

const tessera = {
  /** A cell begins. */
  enter(id: number): void {
    enterCell(id);
    forgetPress();
  },
  wait,
  each,
  last,
  /** Sends a mark after everything that has been sent; a moment later, so that unhandled rejections come before it. */
  mark(number: number): void {
    setImmediate(() => send("tessera_mark", { number }));
  },
};

Object.defineProperty(globalThis, "__tessera", { value: tessera });
