/**
 * The slider below a figure, in one look for all of them.
 *
 * @module
 */

/** A slider of plotly over `steps`, whose current value is shown behind `prefix`. */
export function figureSlider(steps: readonly object[], active: number, prefix: string): object {
  return {
    active,
    steps,
    currentvalue: { prefix, font: { size: 13 }, offset: 6, xanchor: "left" },
    pad: { t: 6, b: 0 },
    x: 0,
    len: 1,
    y: 0,
    font: { size: 11 },
    bordercolor: "#bbbbbb",
    bgcolor: "#eeeeee",
    tickcolor: "#999999",
    ticklen: 4,
    minorticklen: 3,
  };
}
