/**
 * The arithmetic of MedTok's headline: what the printed improvements of tables 3 and 4 are made of, from the printed cells.
 *
 * `cells.csv` holds both tables, copied by hand. An improvement is the mean, over the models that have the cell, of the
 * difference in AUPRC with MedTok and without, in points. Relative ones, which the paper does not print, stand beside them.
 *
 * @module
 */
import { readBytes } from "../../lib/data/files.ts";
import { defineExperiment, fromCSV } from "../../lib/experiment/mod.ts";
import { mean } from "../../lib/stats.ts";

const cells = new URL("./cells.csv", import.meta.url);

export default defineExperiment({
  name: "medtok_headline",
  version: 1,
  question: "Are the improvements that tables 3 and 4 print those of their own cells?",
  grid: { data: ["MIMIC-III", "MIMIC-IV", "EHRShot"] },
  fast: { seeds: [1] },
  rowSeconds: 0.1,
  data: [cells],
  async row({ data }) {
    const printed = fromCSV(new TextDecoder().decode(await readBytes(cells)), "cells.csv").filter((row) =>
      row.data === data
    );
    return [...Map.groupBy(printed, (row) => String(row.task))].map(([task, group]) => {
      const pairs = [...Map.groupBy(group, (row) => String(row.model)).values()].map((pair) => {
        const of = (tokens: string) => Number(pair.find((row) => row.tokens === tokens)!.auprc);
        return { own: of("own codes"), medtok: of("MedTok") };
      });
      const own = mean(pairs.map((pair) => pair.own)), medtok = mean(pairs.map((pair) => pair.medtok));
      return {
        task,
        improvement: Number((100 * (medtok - own)).toFixed(3)),
        relative: Number((100 * (medtok / own - 1)).toFixed(2)),
        better: pairs.filter((pair) => pair.medtok > pair.own).length,
        models: pairs.length,
      };
    });
  },
  paper: {
    cite:
      "Su et al., ICML 2025, arXiv:2502.04397, tables 3 and 4, their last lines: points of AUPRC, to half of the last digit",
    table: new URL("./paper.csv", import.meta.url),
    compare: "improvement",
  },
});
