/**
 * A figure that changes while a cell runs: a loss curve during training.
 *
 * @module
 */
import { outputInPlace } from "../stop.ts";
import { display } from "./display.ts";
import { type Figure, liveBundle } from "./figure.ts";

/** A figure in the output of the running cell. */
export interface LiveFigure {
  /** Shows a figure where the one before stood. Cheap: without the static picture. */
  show(figure: Figure): void;
  /** Shows the last figure, complete; await it, so that it belongs to the cell. */
  done(figure: Figure): Promise<void>;
}

/**
 * A place for a figure that changes, in the output of the running cell.
 *
 * @returns Undefined outside a notebook.
 *
 * @example
 * ```ts
 * import { curves } from "tessera/plot/mod.ts";
 * const live = liveFigure();
 * const losses = [3, 2, 1.5];
 * losses.forEach((_, i) => live?.show(curves([{ name: "loss", x: [0, 1, 2].slice(0, i + 1), y: losses.slice(0, i + 1) }])));
 * await live?.done(curves([{ name: "loss", x: [0, 1, 2], y: losses }]));
 * ```
 */
export function liveFigure(): LiveFigure | undefined {
  const output = outputInPlace();
  return output && {
    show: (figure) => void output(liveBundle(figure)),
    done: async (figure) => await output(await figure[display]()),
  };
}
