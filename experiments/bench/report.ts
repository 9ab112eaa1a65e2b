/**
 * The README of the bench, and its picture, from rows.
 *
 * @module
 */
import { markdownTable, type Row } from "tessera/experiment/mod.ts";
import { type Figure, figure, palette } from "tessera/plot/mod.ts";
import { type System, systems, titles, type Workload } from "./workload.ts";
import {
  areaNames,
  areaOf,
  areas,
  workload as descriptionOf,
  type WorkloadName,
  workloadNames,
  workloads,
} from "./workloads.ts";
import { parts } from "./workloads/core.ts";

/** A row of rows.csv, by name. */
export function rowOf(rows: readonly Row[], workload: WorkloadName, system: System): Row | undefined {
  return rows.find((row) => row.workload === workload && row.system === system);
}

const isMeasured = (row: Row | undefined): row is Row => row?.status === "measured";

/** The goal of a workload, where it has one. */
function goalOf(workload: WorkloadName): number | undefined {
  return descriptionOf(workload).goal;
}

/** Whether a system takes part in a workload. */
const takesPart = ({ systems }: Workload, system: System) => !systems || systems.includes(system);

/** The least that PyTorch's and JAX's time divided by ours should be, and whether it is. */
export interface Goal {
  readonly workload: WorkloadName;
  readonly what: string;
  readonly aim: number;
  readonly reached: number | null;
}

/** JAX may be 10 % faster, not more. */
const JAX_GOAL = 0.9;
/** Share of the machine's rate of matrix products that DeiT-S should reach. */
const RATE_GOAL = 0.8;
const RATE_WHAT = "share of the machine's matrix rate";

/** Every goal, and what was reached; null where it was not measured, or is void. */
export function goals(rows: readonly Row[]): Goal[] {
  const ratio = (workload: WorkloadName, system: System) => {
    const row = rowOf(rows, workload, system);
    return isMeasured(row) ? row.ratio as number | null : null;
  };
  const list = workloadNames.flatMap((workload): Goal[] => {
    const aim = goalOf(workload);
    if (aim === undefined) return [];
    const torch = { workload, what: "PyTorch / ours", aim, reached: ratio(workload, "torch") };
    if (!takesPart(descriptionOf(workload), "jax")) return [torch];
    return [torch, { workload, what: "JAX / ours", aim: JAX_GOAL, reached: ratio(workload, "jax") }];
  });
  list.push({
    workload: "deit",
    what: RATE_WHAT,
    aim: RATE_GOAL,
    reached: shareOfRate(rows, "deit"),
  });
  return list;
}

/** What of the machine's rate of matrix products the products of a workload get. */
export function shareOfRate(rows: readonly Row[], workload: WorkloadName): number | null {
  const { flops, ours } = workloads[workload];
  const row = rowOf(rows, workload, ours);
  if (!isMeasured(row) || !flops || row.median_ms === null || row.gflops === null) return null;
  return flops / (row.median_ms as number) / 1e6 / (row.gflops as number);
}

const number = (value: unknown, digits = 3): string => {
  if (typeof value !== "number") return "-";
  if (value >= 1000) return Math.round(value).toLocaleString("en");
  return value === 0 ? "0" : value.toPrecision(digits).replace(/e.*/, "").replace(/\.0+$/, (zeros) => zeros);
};

function milliseconds(row: Row | undefined): string {
  if (!row) return "";
  const status = String(row.status);
  if (status.startsWith("not measured: a call would take about")) {
    return status.match(/about (\d+ s)/)![1] + ", not run";
  }
  if (status.startsWith("not measured")) return "not measured";
  const text = time(row.median_ms as number | null);
  return status === "measured" ? text : `(${text})`;
}

const time = (ms: number | null): string => {
  if (ms === null) return "-";
  return ms < 0.1 ? `${number(1000 * ms)} us` : `${number(ms)} ms`;
};

/** The whole page. */
export function readme(rows: readonly Row[]): string {
  if (!rows.length) return "# Bench\n\nNothing has been measured yet: run `deno task bench --peers`.\n";
  const measured = workloadNames.filter((workload) => rows.some((row) => row.workload === workload));
  const machine = rows.find((row) => row.cpu)!;
  const loads = rows.map(({ load }) => Number(load));
  const versions = systems.map((system) => rows.find((row) => row.system === system && row.version))
    .filter((row): row is Row => row !== undefined);
  const rates = (["xla", "torch", "jax"] as const).map((system) => {
    const all = rows.filter((row) => row.system === system && row.gflops !== null).map(({ gflops }) => Number(gflops));
    return all.length ? `${titles[system]} ${Math.round(Math.max(...all))}` : undefined;
  }).filter(Boolean);

  const all = goals(rows);
  const ratiosOf = (names: readonly WorkloadName[]) => {
    const withJax = names.some((name) => takesPart(descriptionOf(name), "jax"));
    return markdownTable(names.map((workload): Row => {
      const { title, ours } = workloads[workload];
      const torch = rowOf(rows, workload, "torch");
      const jax = rowOf(rows, workload, "jax");
      const range = (row: Row | undefined) =>
        isMeasured(row) && row.ratio !== null
          ? `**${number(row.ratio)}** [${number(row.ratio_low)}, ${number(row.ratio_high)}]`
          : "-";
      const aim = goalOf(workload)!;
      const reached = all.filter((goal) => goal.workload === workload);
      const met = reached.every((goal) => goal.reached === null || goal.reached >= goal.aim);
      return {
        workload: title,
        ours: milliseconds(rowOf(rows, workload, ours)),
        PyTorch: milliseconds(torch),
        "PyTorch / ours": range(torch),
        "per unit of matrix rate": isMeasured(torch) ? number(torch.normalised) : "-",
        ...(withJax ? { JAX: milliseconds(jax), "JAX / ours": range(jax) } : {}),
        goal: `${aim}`,
        met: String(torch?.status ?? "not measured").replace(/:.*/, "").replace(/^measured$/, met ? "yes" : "no"),
      };
    }));
  };
  const ratios = areaNames.flatMap((area) => {
    const own = measured.filter((name) => goalOf(name) !== undefined && areaOf(name) === area);
    return own.length ? [`### ${areas[area].title}`, "", ratiosOf(own)] : [];
  });

  const fallbacks = ["graph", "eager", "wasm", "cpu"] as const;
  const inAllWays = measured.filter((name) =>
    (parts as readonly string[]).includes(name) || fallbacks.some((way) => takesPart(descriptionOf(name), way))
  );
  const ways = markdownTable(inAllWays.map((workload): Row => ({
    workload: workloads[workload].title,
    ...Object.fromEntries(systems.map((system) => [titles[system], milliseconds(rowOf(rows, workload, system))])),
  })));

  const costs = markdownTable(
    measured.filter((name) => !descriptionOf(name).atMost).flatMap((workload): Row[] => {
      const [xla, graph, torch, jax] = (["xla", "graph", "torch", "jax"] as const).map((s) => rowOf(rows, workload, s));
      if (!xla) return [];
      const megabytes = (row: Row | undefined) => row && row.peak_mb !== null ? number(row.peak_mb) : "-";
      return [{
        workload: workloads[workload].title,
        nodes: Number(xla.nodes),
        "trace, s": number(xla.trace_s, 2),
        "compile, s": number(xla.compile_s, 2),
        "first call, ms: XLA": number(xla.first_ms),
        graph: number(graph?.first_ms),
        PyTorch: number(torch?.first_ms),
        JAX: number(jax?.first_ms),
        "peak memory, MB: XLA": megabytes(xla),
        "graph ": megabytes(graph),
        "PyTorch ": megabytes(torch),
        "JAX ": megabytes(jax),
      }];
    }),
  );

  const profile = markdownTable(
    parts.filter((part) => rowOf(rows, part, "xla")).map((part): Row => ({
      "part of the forward pass": workloads[part].title.replace(/ of a ViT block.*/, ""),
      ours: milliseconds(rowOf(rows, part, "xla")),
      PyTorch: milliseconds(rowOf(rows, part, "torch")),
      JAX: milliseconds(rowOf(rows, part, "jax")),
      "our matrix products, share of the rate": percentOrDash(shareOfRate(rows, part)),
    })),
  );

  const missed = all.filter(({ reached, aim }) => reached !== null && reached < aim).map((goal) => {
    const share = shareOfRate(rows, goal.workload);
    const where = share === null || share > 1
      ? ""
      : ` At the machine's rate the matrix products alone would take ${Math.round(100 * share)} % of our time.`;
    return `- ${workloads[goal.workload].title}: ${goal.what} is ${
      number(goal.reached)
    }, the goal ${goal.aim}.${where}`;
  });
  const voided = rows.filter((row) => String(row.status).startsWith("void")).map((row) =>
    `- ${workloads[row.workload as WorkloadName].title}, ${titles[row.system as System]}: ${
      String(row.status).replace("void: ", "")
    }.`
  );
  const absent = [...new Set(rows.map(({ status }) => String(status)).filter((s) => s.startsWith("not measured")))]
    .filter((status) => !status.includes("a call would take")).map((status) =>
      `- ${status.replace("not measured: ", "")}.`
    );

  return [
    "# How fast is it?",
    "",
    "The same work in this library, in PyTorch and in JAX: the same numbers go in, and the same have to come out. Written by " +
    "`deno task bench` from `rows.csv`, which is made of `rounds.jsonl`; a test holds this page against them.",
    "",
    "![Time of PyTorch and JAX divided by ours, with the range over rounds](ratios.svg)",
    "",
    "## Beside PyTorch and JAX",
    "",
    `${machine.cpu}, ${machine.threads} threads, load ${number(Math.min(...loads), 2)} to ${
      number(Math.max(...loads), 2)
    }. ` +
    `Products of two 1024 x 1024 matrices, GFLOP/s: ${
      rates.join(", ")
    }. **A good part of the lead on models is that of ` +
    "the matrix product**; the column *per unit of matrix rate* is the ratio divided by that of the rates.",
    "",
    "A ratio is PyTorch's or JAX's time divided by ours, the median over rounds in which the systems take turns, with the " +
    "lowest and highest round. *Ours* is the compiled function under XLA, weights and reducer included. A goal counts as met when JAX is not more than 10 % faster, too.",
    "",
    ...ratios,
    `DeiT-S reaches ${percent(shareOfRate(rows, "deit"))} of the machine's rate of matrix products (goal ${
      percent(RATE_GOAL)
    }).`,
    "",
    ...missed.length ? ["**Missed:**", "", ...missed, ""] : [],
    ...voided.length ? ["**Void** (in brackets in the tables):", "", ...voided, ""] : [],
    ...absent.length ? ["**Not measured:**", "", ...absent, ""] : [],
    "## Where the time of a block goes",
    "",
    "A ViT block of width 192 with 197 tokens and a batch of 8, in parts, each compiled alone. What is no matrix product is " +
    "the same few passes over memory for everybody; PyTorch has attention as one operation that never writes the weights.",
    "",
    profile,
    "## All ways to run, and what the fallbacks cost",
    "",
    "Median over rounds of the median call.",
    "",
    ways,
    "## Before the first result, and memory",
    "",
    "The first call traces and compiles; peak memory is the highest above what the process held when it got the job, " +
    "weights and inputs included.",
    "",
    costs,
    "## Versions",
    "",
    ...versions.map((row) => `- ${titles[row.system as System]}: ${row.version}`),
    "",
    "## How it is measured",
    "",
    "Each system is a process of its own per workload. They get the same job, and make the same weights and inputs from the " +
    "same formula; what comes out has to agree to 0.1 %, or the row is void. A peer has also to reproduce the golden case of its " +
    "method (`tests/golden`), and must not be more than 25 % slower than it was on such a machine (`paper.csv`). Peers are " +
    "written here, from the papers: PyTorch with fused Adam and `scaled_dot_product_attention`, JAX with whole functions " +
    "under `jit` and donated buffers. Rounds are interleaved, and each begins with another system; after each round the " +
    "system's matrix rate is taken. Training steps read their loss.",
    "",
    "```sh",
    "npx --yes deno@2.9.6 task bench --peers",
    "npx --yes deno@2.9.6 task bench vit_step --rounds 9",
    "```",
    "",
    "To add a workload, describe it in `workloads/AREA.ts`, do it in `ours/AREA.ts` and in `peers/torch_AREA.py` (and " +
    "`jax_AREA.py`, where JAX is among its `systems`), from the same numbers: `pattern` and `parameters`. Where the authors' " +
    "code has a golden case of it, name the case in the area's `golden` list, so that the peer's time counts only if it " +
    "reproduces the case.",
    "",
    "`task bench --help` has the names; the name of an area stands for all its workloads.",
    "",
  ].join("\n");
}

const percentOrDash = (share: number | null) => share === null ? "-" : `${Math.round(100 * share)} %`;

const percent = (share: number | null) => share === null ? "an unknown share" : `${Math.round(100 * share)} %`;

/** Ratios with their ranges, and the goals, of the workloads that all three take part in. */
export function ratioFigure(rows: readonly Row[]): Figure {
  const shown = workloadNames.filter((name) => goalOf(name) !== undefined && takesPart(descriptionOf(name), "jax"));
  const names = shown.map((workload) => workloads[workload].title.split(/[:,]/)[0].replace("one ", ""));
  const series = (["torch", "jax"] as const).map((system, k) => {
    const own = shown.map((workload) => rowOf(rows, workload, system));
    const value = (column: string) => own.map((row) => isMeasured(row) ? Number(row[column]) : null);
    const [ratio, low, high] = ["ratio", "ratio_low", "ratio_high"].map(value);
    return {
      type: "scatter",
      mode: "markers",
      name: `${titles[system]} / ours`,
      y: names,
      x: ratio,
      error_x: {
        type: "data",
        symmetric: false,
        array: high.map((v, i) => v === null ? 0 : v - ratio[i]!),
        arrayminus: low.map((v, i) => v === null ? 0 : ratio[i]! - v),
        thickness: 1.5,
        width: 4,
      },
      marker: { size: 9, color: palette[k], symbol: k ? "square" : "circle" },
    };
  });
  const goal = {
    type: "scatter",
    mode: "markers",
    name: "goal for PyTorch",
    y: names,
    x: shown.map((workload) => goalOf(workload)!),
    marker: { symbol: "line-ns-open", size: 16, color: "#555555", line: { width: 2 } },
  };
  return figure([...series, goal], {
    title: { text: "Time of PyTorch and JAX divided by ours" },
    width: 760,
    height: 470,
    margin: { l: 220, r: 24, t: 56, b: 88 },
    xaxis: {
      title: { text: "ratio; above 1 we are faster" },
      type: "log",
      tickvals: [0.1, 0.2, 0.5, 1, 1.5, 2, 3, 5, 10],
      minor: { ticks: "" },
    },
    yaxis: { autorange: "reversed", automargin: true },
    legend: { orientation: "h", x: 0.5, xanchor: "center", y: -0.2 },
    shapes: [{
      type: "line",
      x0: 1,
      x1: 1,
      yref: "paper",
      y0: 0,
      y1: 1,
      line: { color: "#999999", width: 1, dash: "dot" },
    }],
  }, { alt: altOf(rows) });
}

function altOf(rows: readonly Row[]): string {
  const parts = goals(rows).filter(({ workload, what, reached }) =>
    what !== RATE_WHAT && reached !== null && takesPart(descriptionOf(workload), "jax")
  ).map(({ workload, what, reached }) => `${workload}: ${what} ${number(reached)}`);
  return `Ratios of times, above 1 where we are faster. ${parts.join("; ") || "Nothing was measured"}.`;
}
