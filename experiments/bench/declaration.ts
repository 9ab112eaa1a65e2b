/**
 * How fast is it? The declaration; `bench.ts` is the command, `README.md` the result.
 *
 * @module
 */
import { defineExperiment, fromCSV } from "tessera/experiment/mod.ts";
import { type Contest, measure } from "./contest.ts";
import { type Line, type Reference, summarise } from "./summary.ts";
import { workloadNames } from "./workloads.ts";

/** Where it lies. */
export const folder: URL = new URL("./", import.meta.url);

const paper = {
  cite: "times of the peers on 2026-11-23 on a machine with two cores of an AMD EPYC, two threads",
  table: new URL("paper.csv", folder),
  compare: "low_ms",
};

/** The times that peers are held against, and the machine on which they were taken. */
export function reference(): Reference {
  const lines = fromCSV(Deno.readTextFileSync(paper.table), "paper.csv");
  const ms = lines.map(({ workload, system, low_ms }): [string, number] => [`${workload} ${system}`, Number(low_ms)]);
  return { ms: new Map(ms), cpu: "AMD EPYC", threads: 2 };
}

/**
 * The experiment.
 *
 * @param contest How to measure.
 * @param onLines Gets the rounds of each workload.
 */
export function bench(contest: Contest, onLines: (lines: readonly Line[]) => void) {
  return defineExperiment({
    name: "bench",
    version: 1,
    question: "How long do models and operations take here, beside PyTorch and JAX on the same machine?",
    grid: { workload: workloadNames },
    async row({ workload }, { signal }) {
      const lines = await measure(workload, contest, signal);
      onLines(lines);
      return summarise(workload, lines, reference());
    },
    paper,
  });
}
