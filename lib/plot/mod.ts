/**
 * Figures, pictures and tables that show themselves in a notebook, from plain arrays. Nothing else knows plotly.
 *
 * Importing this module also gives arquero's tables, Polars' frames and graphology's graphs a display with their
 * counts.
 *
 * @module
 */
import { installGraphDisplay } from "./graph.ts";
import { installArqueroDisplay, installPolarsDisplay } from "./tables.ts";

export { type Bundle, type Displayed, displayLimitBytes } from "./display.ts";
export { type Figure, figure, type FigureOptions, type Layout, type Trace } from "./figure.ts";
export * from "./charts.ts";
export { type CaptionedImage, imageGrid, type ImageGridOptions } from "./image_grid.ts";
export { type LiveFigure, liveFigure } from "./live.ts";
export {
  type TokenFrame,
  type TokenPicture,
  tokenPicture,
  type TokenPictureOptions,
  tokenPictures,
  tokenSlider,
  type TokenSliderOptions,
} from "./token_picture.ts";
export {
  type Agreement,
  agreement,
  type MicroscopeLayer,
  type MicroscopeMethod,
  type MicroscopeOptions,
  tokenMicroscope,
} from "./token_microscope.ts";
export { cacheFigure, type CacheFigureOptions, type CacheFrame } from "./cache_microscope.ts";
export { textFigure, type TextFigureOptions, type TextLook } from "./text_microscope.ts";
export { pareto, paretoFront, type ParetoOptions, type ParetoPoint, paretoPoints, type ParetoRow } from "./pareto.ts";
export { type Difference, forest, type JudgedClaim, verdictsFigure } from "./forest.ts";
export { enlarge, type Picture } from "./png.ts";
export { type DrawnGraph, graphFigure, type GraphOptions } from "./graph.ts";
export { table } from "./tables.ts";
export {
  type Check,
  check,
  type Exercise,
  exercise,
  type ExerciseCase,
  exerciseNames,
  type Verdict,
} from "./exercise.ts";
export * from "./markdown.ts";
export { manyColours, palette } from "./look.ts";

/**
 * Gives tables, frames and graphs their displays. Importing this module has done it; doing it again changes nothing.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * installDisplays();
 * const bundle = await Reflect.get(table([{ a: 1 }, { a: 2 }]), Symbol.for("Jupyter.display")).call(table([{ a: 1 }]));
 * assert.match(bundle["text/plain"], /1 row x 1 column/);
 * ```
 */
export function installDisplays(): void {
  installArqueroDisplay();
  installPolarsDisplay();
  installGraphDisplay();
}

installDisplays();
