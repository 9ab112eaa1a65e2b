/**
 * From measured rounds to rows: medians, ratios with their range, and what makes a row void. Pure, so that a test can
 * hold the committed rows against the committed rounds.
 *
 * @module
 */
import type { Row } from "tessera/experiment/mod.ts";
import { quantile } from "tessera/stats.ts";
import { type System, systems } from "./workload.ts";
import { type WorkloadName, workloads } from "./workloads.ts";

/** What one system did in one workload, apart from its rounds. */
export interface About {
  readonly workload: WorkloadName;
  readonly system: System;
  /** The library's version. */
  readonly version?: string;
  readonly threads?: number;
  readonly cpu: string;
  /** Processes waiting for a core when the workload began, as the system counts them. */
  readonly load: number;
  readonly first_ms?: number;
  readonly peak_mb?: number | null;
  readonly nodes?: number;
  readonly trace_s?: number;
  readonly compile_s?: number | null;
  /** Numbers that came out; whoever does the same work gets the same. */
  readonly check?: readonly number[];
  /** Whether it has reproduced the golden case of the method; absent where there is none. */
  readonly golden?: boolean;
  /** Why it was not measured. */
  readonly error?: string;
}

/** One round of one system in one workload. */
export interface Round {
  readonly workload: WorkloadName;
  readonly system: System;
  readonly round: number;
  /** Median and best call, milliseconds. */
  readonly median_ms: number;
  readonly best_ms: number;
  readonly calls: number;
  /** The product of two matrices right after it. */
  readonly gflops: number;
}

/** One line of `rounds.jsonl`. */
export type Line = About | Round;

const isRound = (line: Line): line is Round => "round" in line;

/** How far what peers compute may be from ours, relative. */
const CHECK_TOLERANCE = 1e-3;
/** How much slower than on the machine of `paper.csv` a peer may be. */
const SLOWER = 1.25;

/** What a peer took on 2026-11-23, and on what. */
export interface Reference {
  readonly ms: ReadonlyMap<string, number>;
  readonly cpu: string;
  readonly threads: number;
}

/** The rows of one workload, one per system. */
export function summarise(name: WorkloadName, lines: readonly Line[], reference: Reference): Row[] {
  const { ours } = workloads[name];
  const own = lines.filter(({ workload }) => workload === name);
  const rounds = Map.groupBy(own.filter(isRound), ({ system }) => system);
  const about = new Map(own.filter((line): line is About => !isRound(line)).map((line) => [line.system, line]));
  // where a peer follows the authors, the eager way is held against it, too
  const expected = about.get(ours)?.check?.length ? about.get(ours)!.check! : about.get("eager")?.check ?? [];
  const base = rounds.get(ours) ?? [];

  return systems.flatMap((system): Row[] => {
    const line = about.get(system);
    if (!line) return [];
    const measured = rounds.get(system) ?? [];
    const medians = measured.map(({ median_ms }) => median_ms);
    const ratios = measured.flatMap(({ round, median_ms }) => {
      const other = base.find((entry) => entry.round === round);
      return other && system !== ours ? [median_ms / other.median_ms] : [];
    });
    const rate = median(measured.map(({ gflops }) => gflops));
    const baseRate = median(base.map(({ gflops }) => gflops));
    const ratio = median(ratios);
    const low = medians.length ? Math.min(...medians) : null;
    return [{
      system,
      status: statusOf(line, low, expected, reference),
      median_ms: rounded(median(medians)),
      best_ms: rounded(measured.length ? Math.min(...measured.map(({ best_ms }) => best_ms)) : null),
      low_ms: rounded(low),
      rounds: measured.length,
      ratio: rounded(ratio),
      ratio_low: rounded(ratios.length ? Math.min(...ratios) : null),
      ratio_high: rounded(ratios.length ? Math.max(...ratios) : null),
      gflops: rounded(rate),
      normalised: rounded(ratio !== null && rate !== null && baseRate !== null ? ratio / (baseRate / rate) : null),
      first_ms: rounded(line.first_ms ?? null),
      trace_s: rounded(line.trace_s ?? null),
      compile_s: rounded(line.compile_s ?? null),
      nodes: line.nodes ?? null,
      peak_mb: rounded(line.peak_mb ?? null),
      threads: line.threads ?? null,
      load: rounded(line.load),
      cpu: line.cpu,
      version: line.version ?? "",
    }];
  });
}

function statusOf(line: About, low: number | null, expected: readonly number[], reference: Reference): string {
  const { workload, system, check = [] } = line;
  if (line.error !== undefined) return `not measured: ${line.error}`;
  if (line.golden === false) return "void: does not reproduce the authors' numbers";
  const scale = Math.max(1, ...expected.map(Math.abs));
  const differs = check.findIndex((value, i) =>
    i < expected.length && !(Math.abs(value - expected[i]) <= CHECK_TOLERANCE * scale)
  );
  if (differs >= 0) {
    return `void: computes ${check[differs].toPrecision(5)} where we compute ${expected[differs].toPrecision(5)}`;
  }
  const expectedMs = reference.ms.get(`${workload} ${system}`);
  const likewise = line.cpu === reference.cpu && line.threads === reference.threads;
  if (expectedMs !== undefined && low !== null && likewise && low > SLOWER * expectedMs) {
    return `void: ${Math.round(100 * (low / expectedMs - 1))} % slower than it was on 2026-11-23 on such a machine`;
  }
  return "measured";
}

function median(values: readonly number[]): number | null {
  return values.length ? quantile(values, 0.5) : null;
}

/** Four digits: more would be noise, and make every run a long diff. */
function rounded(value: number | null): number | null {
  return value === null ? null : Number(value.toPrecision(4));
}
