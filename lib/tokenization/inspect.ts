/**
 * Looking at tokens: which codes share one, what a code is made of, what lies near it, what a cohort has more of.
 *
 * What Su et al., ICML 2025, arXiv:2502.04397, do in section 4.6 (figure 7), as functions whose results show themselves.
 *
 * @module
 */
import type { ColumnTable } from "arquero";
import { UndirectedGraph } from "graphology";
import { type Figure, scatter, table } from "../plot/mod.ts";
import { codebookRegions, type Slot } from "./codebook.ts";
import { type CodebookHealth, codebookHealth } from "./health.ts";
import { slotVectors } from "./metrics.ts";
import type { TokenTable } from "./token_table.ts";
import { truncatedSVD } from "./truncated_svd.ts";

/** A code that has a token, where, and with which weight. */
export interface TokenUse {
  readonly place: number;
  readonly code: string;
  readonly description: string;
  readonly slot: Slot;
  readonly weight: number;
}

/** From tokens to the codes that have them. */
export interface InvertedIndex {
  /** The codes that have a token, the largest weight first. */
  codesOf(token: number): readonly TokenUse[];
  /** Tokens that occur, ascending. */
  readonly tokens: readonly number[];
}

/**
 * From tokens to codes.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { medtokConfig, TokenTable } from "tessera/tokenization/mod.ts";
 * const table = new TokenTable({
 *   config: medtokConfig("lite", { K: 1, d: 1, N: 9, heads: 1, modality: "text" }),
 *   codes: [{ system: "A", code: "1" }, { system: "A", code: "2" }],
 *   tokens: Int32Array.of(2, 2), weights: Float32Array.of(0.4, 0.6), embeddings: new Float32Array(2),
 * });
 * assert.deepEqual(invertedIndex(table).codesOf(2).map(({ code }) => code), ["A:2", "A:1"]);
 * ```
 */
export function invertedIndex(codes: TokenTable): InvertedIndex {
  const { K } = codes.config;
  const places = new Map<number, number[]>();
  codes.tokens.forEach((token, at) => {
    const own = places.get(token);
    if (own) own.push(at);
    else places.set(token, [at]);
  });
  return {
    tokens: [...places.keys()].sort((a, b) => a - b),
    codesOf: (token) =>
      (places.get(token) ?? []).map((at) => {
        const place = Math.floor(at / (codes.slots.length * K));
        const slot = codes.slots[Math.floor(at / K) % codes.slots.length];
        const description = codes.descriptions[place] ?? "";
        return { place, code: codes.nameOf(place), description, slot, weight: codes.weights[at] };
      }).sort((a, b) => b.weight - a.weight || a.place - b.place),
  };
}

/** Options of {@link nearestCodes}. */
export interface NearestOptions {
  /** Default: 10. */
  readonly top?: number;
  /** What is compared. Default: all slots. */
  readonly slots?: readonly Slot[];
  /** Only codes of this system. */
  readonly system?: string;
  /** Only codes of other systems than the code's own: suggestions for a mapping. Needs `of` to be a place. */
  readonly otherSystems?: boolean;
}

/** A code and how near it is. */
export interface Neighbour {
  readonly place: number;
  readonly code: string;
  readonly description: string;
  readonly cosine: number;
}

/**
 * The codes nearest to a code, or to a vector, by cosine; the code itself is left out. The list shows itself as a table.
 *
 * @param of A place in the table, or a vector of the slots that are compared.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { medtokConfig, TokenTable } from "tessera/tokenization/mod.ts";
 * const table = new TokenTable({
 *   config: medtokConfig("lite", { K: 1, d: 2, N: 9, heads: 1, modality: "text" }),
 *   codes: [1, 2, 3].map((code) => ({ system: "A", code: `${code}` })),
 *   tokens: new Int32Array(3), weights: new Float32Array(3), embeddings: Float32Array.of(1, 0, 0, 1, 2, 1),
 * });
 * assert.deepEqual(nearestCodes(table, 0).map(({ code }) => code), ["A:3", "A:2"]);
 * ```
 */
export function nearestCodes(
  codes: TokenTable,
  of: number | Float32Array,
  { top = 10, slots = codes.slots, system, otherSystems = false }: NearestOptions = {},
): readonly Neighbour[] {
  const vectors = slotVectors(codes, slots);
  const width = slots.length * codes.config.d;
  if (typeof of === "number") codes.at(of); // says so where there is none
  const query = typeof of === "number" ? vectors.subarray(of * width, (of + 1) * width) : of;
  if (query.length !== width) {
    throw new RangeError(`the vector of ${slots.length} slots has ${width} numbers, but it has ${query.length}`);
  }
  const own = typeof of === "number" ? codes.codes[of].system : undefined;
  const norm = (from: number, of: Float32Array) => {
    let square = 0;
    for (let k = 0; k < width; k++) square += of[from + k] ** 2;
    return Math.sqrt(Math.max(square, 1e-24));
  };
  const length = norm(0, query);
  const found: { place: number; cosine: number }[] = [];
  for (let place = 0; place < codes.size; place++) {
    if (place === of) continue;
    const other = codes.codes[place].system;
    if ((system !== undefined && other !== system) || (otherSystems && other === own)) continue;
    let sum = 0;
    for (let k = 0; k < width; k++) sum += query[k] * vectors[place * width + k];
    found.push({ place, cosine: sum / (length * norm(place * width, vectors)) });
  }
  const rows = found.sort((a, b) => b.cosine - a.cosine || a.place - b.place).slice(0, top).map(({ place, cosine }) => (
    { place, code: codes.nameOf(place), description: codes.descriptions[place] ?? "", cosine }
  ));
  return shownAs(rows, () => table(rows.map(({ code, description, cosine }) => ({ code, description, cosine }))));
}

const display = Symbol.for("Jupyter.display");

/** Gives a value the display of a table. */
function shownAs<Value extends object>(value: Value, make: () => ColumnTable): Value {
  return Object.defineProperty(value, display, {
    enumerable: false,
    value: () => {
      const shown = make();
      return Reflect.get(shown, display).call(shown);
    },
  });
}

/** One token of a code. */
export interface ExplainedToken {
  readonly slot: Slot;
  readonly token: number;
  /** `T12`: a letter for the region (T text, S shared, G graph), and the row. */
  readonly name: string;
  readonly weight: number;
  /** How many other codes have it in any slot. */
  readonly others: number;
  /** Up to five of them, the largest weight first. */
  readonly examples: readonly TokenUse[];
}

/**
 * What a code is made of: its tokens, slot after slot, with the codes that share each.
 *
 * @param index From {@link invertedIndex}; made anew where it is absent.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { medtokConfig, TokenTable } from "tessera/tokenization/mod.ts";
 * const table = new TokenTable({
 *   config: medtokConfig("lite", { K: 1, d: 1, N: 9, heads: 1, modality: "text" }),
 *   codes: [{ system: "A", code: "1" }, { system: "A", code: "2" }],
 *   tokens: Int32Array.of(2, 2), weights: Float32Array.of(1, 1), embeddings: new Float32Array(2),
 * });
 * const [token] = explain(table, 0);
 * assert.deepEqual([token.name, token.examples[0].code], ["T2", "A:2"]);
 * ```
 */
export function explain(
  codes: TokenTable,
  place: number,
  index: InvertedIndex = invertedIndex(codes),
): readonly ExplainedToken[] {
  const { K } = codes.config;
  const { tokens, weights } = codes.at(place);
  const rows = Array.from(tokens, (token, i) => {
    const others = index.codesOf(token).filter((use) => use.place !== place);
    return {
      slot: codes.slots[Math.floor(i / K)],
      token,
      name: tokenName(token, codes.config.N),
      weight: weights[i],
      others: new Set(others.map((use) => use.place)).size,
      examples: distinctPlaces(others).slice(0, 5),
    };
  });
  return shownAs(rows, () =>
    table(rows.map(({ slot, name, weight, others, examples }) => (
      { slot, token: name, weight, "codes with it": others, "such as": examples.map(({ code }) => code).join(", ") }
    ))));
}

function distinctPlaces(uses: readonly TokenUse[]): TokenUse[] {
  const seen = new Set<number>();
  return uses.filter(({ place }) => !seen.has(place) && seen.add(place));
}

/**
 * A token as text: a letter for its region and its row.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual([0, 4, 8].map((token) => tokenName(token, 9)), ["T0", "S4", "G8"]);
 * ```
 */
export function tokenName(token: number, N: number): string {
  const { text, graph } = codebookRegions(N);
  return `${token < text.count ? "T" : token >= graph.start ? "G" : "S"}${token}`;
}

/**
 * The tokens of a code as one string: `T12·T7 G201·G9 ...`, a group per slot.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { medtokConfig, TokenTable } from "tessera/tokenization/mod.ts";
 * const table = new TokenTable({
 *   config: medtokConfig("lite", { K: 2, d: 1, N: 9, heads: 1, modality: "text" }),
 *   codes: [{ system: "A", code: "1" }],
 *   tokens: Int32Array.of(2, 0), weights: Float32Array.of(0.5, 0.5), embeddings: new Float32Array(1),
 * });
 * assert.equal(tokenString(table, 0), "T2·T0");
 * ```
 */
export function tokenString(codes: TokenTable, place: number): string {
  const { K, N } = codes.config;
  const { tokens } = codes.at(place);
  const names = Array.from(tokens, (token) => tokenName(token, N));
  return codes.slots.map((_, slot) => names.slice(slot * K, (slot + 1) * K).join("·")).join(" ");
}

/** A token that a cohort has more, or less, than others. */
export interface EnrichedToken {
  readonly token: number;
  readonly name: string;
  /** Occurrences in the cohort and outside. */
  readonly inside: number;
  readonly outside: number;
  /** Of its odds inside and outside; half an occurrence is added to every count. */
  readonly logOdds: number;
  /** The log-odds over its standard error. */
  readonly z: number;
  /** Up to five codes of the cohort that have it, the most frequent first. */
  readonly codes: readonly string[];
}

/**
 * Which tokens a cohort has more than other patients: the analysis of figure 7.
 *
 * @param patients The places of each patient's codes.
 * @param inCohort Whether each belongs to the cohort.
 * @param least Occurrences that a token needs. Default: 10.
 * @returns The largest log-odds first. Shows itself as a table.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { medtokConfig, TokenTable } from "tessera/tokenization/mod.ts";
 * const table = new TokenTable({
 *   config: medtokConfig("lite", { K: 1, d: 1, N: 9, heads: 1, modality: "text" }),
 *   codes: [{ system: "A", code: "1" }, { system: "A", code: "2" }],
 *   tokens: Int32Array.of(1, 2), weights: Float32Array.of(1, 1), embeddings: new Float32Array(2),
 * });
 * const [first] = cohortReport(table, [[0, 0], [1]], [true, false], 1);
 * assert.deepEqual([first.name, first.codes], ["T1", ["A:1"]]);
 * ```
 */
export function cohortReport(
  codes: TokenTable,
  patients: readonly (readonly number[])[],
  inCohort: readonly boolean[],
  least = 10,
): readonly EnrichedToken[] {
  if (patients.length !== inCohort.length) {
    throw new RangeError(`there are ${patients.length} patients, but ${inCohort.length} labels; give one each`);
  }
  const { N } = codes.config;
  const counts = [new Float64Array(N), new Float64Array(N)]; // outside, inside
  const codesOf = new Map<number, Map<number, number>>();
  patients.forEach((places, patient) => {
    for (const place of places) {
      for (const token of codes.at(place).tokens) {
        counts[Number(inCohort[patient])][token]++;
        if (!inCohort[patient]) continue;
        const own = codesOf.get(token) ?? new Map<number, number>();
        own.set(place, (own.get(place) ?? 0) + 1);
        codesOf.set(token, own);
      }
    }
  });
  const [outsideTotal, insideTotal] = counts.map((own) => own.reduce((sum, count) => sum + count, 0));
  const rows = Array.from({ length: N }, (_, token) => token)
    .filter((token) => counts[0][token] + counts[1][token] >= least)
    .map((token): EnrichedToken => {
      const [outside, inside] = [counts[0][token], counts[1][token]];
      const cells = [inside + 0.5, insideTotal - inside + 0.5, outside + 0.5, outsideTotal - outside + 0.5];
      const logOdds = Math.log(cells[0] / cells[1]) - Math.log(cells[2] / cells[3]);
      const z = logOdds / Math.sqrt(cells.reduce((sum, cell) => sum + 1 / cell, 0));
      const own = [...codesOf.get(token) ?? []].sort((a, b) => b[1] - a[1] || a[0] - b[0]).slice(0, 5);
      return {
        token,
        name: tokenName(token, N),
        inside,
        outside,
        logOdds,
        z,
        codes: own.map(([at]) => codes.nameOf(at)),
      };
    })
    .sort((a, b) => b.logOdds - a.logOdds || a.token - b.token);
  return shownAs(rows, () =>
    table(rows.map(({ name, inside, outside, logOdds, z, codes }) => (
      { token: name, inside, outside, "log-odds": logOdds, z, "codes of the cohort": codes.join(", ") }
    ))));
}

/**
 * How the codebook is used by the codes of a table. Shows itself as a table, a row per region.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { medtokConfig, TokenTable } from "tessera/tokenization/mod.ts";
 * const table = new TokenTable({
 *   config: medtokConfig("lite", { K: 1, d: 1, N: 9, heads: 1, modality: "text" }),
 *   codes: [{ system: "A", code: "1" }],
 *   tokens: Int32Array.of(1), weights: Float32Array.of(1), embeddings: new Float32Array(1),
 * });
 * assert.equal(usage(table).used, 1);
 * ```
 */
export function usage(codes: TokenTable): CodebookHealth {
  const health = codebookHealth(codes.tokens, codes.weights, codes.config.N, codes.config.K);
  return shownAs(health, () =>
    table(
      Object.entries(health.regions).map(([region, { rows, used, perplexity, top }]) => (
        {
          region,
          rows,
          used,
          perplexity,
          "most frequent": top.slice(0, 5).map(({ row, count }) => `${row} (${count})`).join(", "),
        }
      )),
    ));
}

/** Options of {@link tokenMap}. */
export interface TokenMapOptions {
  /** Default: all slots. */
  readonly slots?: readonly Slot[];
  readonly title?: string;
  /** Groups that are named; the rest is "other". Default: 8. */
  readonly groups?: number;
}

/**
 * A map of codes: their vectors in the plane of the two directions in which they differ most (principal components),
 * coloured by group.
 *
 * @param groupOf A code's group, by its place; undefined leaves the code out.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { medtokConfig, TokenTable } from "tessera/tokenization/mod.ts";
 * const table = new TokenTable({
 *   config: medtokConfig("lite", { K: 1, d: 2, N: 9, heads: 1, modality: "text" }),
 *   codes: [1, 2, 3].map((code) => ({ system: "A", code: `${code}` })),
 *   tokens: new Int32Array(3), weights: new Float32Array(3), embeddings: Float32Array.of(1, 0, 0, 1, 2, 1),
 * });
 * assert.match(tokenMap(table, (place) => place < 2 ? "first" : "second").alt, /3 codes/);
 * ```
 */
export function tokenMap(
  codes: TokenTable,
  groupOf: (place: number) => string | undefined,
  { slots = codes.slots, title = "Codes by their vectors", groups = 8 }: TokenMapOptions = {},
): Figure {
  const grouped = Array.from({ length: codes.size }, (_, place) => ({ place, group: groupOf(place) }))
    .filter((entry): entry is { place: number; group: string } => entry.group !== undefined);
  const { x, y, explained } = principalPlane(slotVectors(codes, slots), codes.size, grouped.map(({ place }) => place));
  const sizes = [...Map.groupBy(grouped, ({ group }) => group)].sort((a, b) => b[1].length - a[1].length);
  const named = new Set(sizes.slice(0, groups).map(([group]) => group));
  const label = (group: string) => named.has(group) ? group : "other";
  const names = [...sizes.slice(0, groups).map(([group]) => group), ...(sizes.length > groups ? ["other"] : [])];
  const clouds = names.map((name) => {
    const own = grouped.flatMap(({ group }, i) => label(group) === name ? [i] : []);
    const text = own.map((i) => codes.nameOf(grouped[i].place));
    return { name, x: own.map((i) => x[i]), y: own.map((i) => y[i]), text };
  });
  const share = (100 * explained).toFixed(0);
  return scatter(clouds, {
    title,
    x: "first principal component",
    y: "second",
    alt: `${grouped.length} codes in the plane of two principal components, which hold ${share} % of the variance; ` +
      `groups: ${names.join(", ")}.`,
  });
}

/** Options of {@link neighbourGraph}. */
export interface NeighbourGraphOptions {
  /** Nearest codes that each is joined to. Default: 3. */
  readonly nearest?: number;
  /** Default: all slots. */
  readonly slots?: readonly Slot[];
}

/**
 * Some codes as a graph, each joined to the nearest others by cosine: drawn with springs, it shows groups that no two
 * directions of the vectors show. Nodes have the attributes `label` and `group`.
 *
 * @param places Codes of the table; a drawing shows up to 300.
 * @param groupOf A code's group, by its place.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { medtokConfig, TokenTable } from "tessera/tokenization/mod.ts";
 * const table = new TokenTable({
 *   config: medtokConfig("lite", { K: 1, d: 2, N: 9, heads: 1, modality: "text" }),
 *   codes: [1, 2, 3].map((code) => ({ system: "A", code: `${code}` })),
 *   tokens: new Int32Array(3), weights: new Float32Array(3), embeddings: Float32Array.of(1, 0, 0, 1, 2, 1),
 * });
 * const graph = neighbourGraph(table, [0, 1, 2], () => "all", { nearest: 1 });
 * assert.deepEqual(graph.neighbors("A:1"), ["A:3"]);
 * ```
 */
export function neighbourGraph(
  codes: TokenTable,
  places: readonly number[],
  groupOf: (place: number) => string,
  { nearest = 3, slots = codes.slots }: NeighbourGraphOptions = {},
): UndirectedGraph {
  const width = slots.length * codes.config.d;
  const all = slotVectors(codes, slots);
  const unit = places.map((place) => {
    codes.at(place); // says so where there is none
    const own = all.subarray(place * width, (place + 1) * width);
    const length = Math.sqrt(Math.max(own.reduce((sum, value) => sum + value * value, 0), 1e-24));
    return own.map((value) => value / length);
  });
  const graph = new UndirectedGraph();
  for (const place of places) {
    graph.addNode(codes.nameOf(place), { label: codes.codes[place].code, group: groupOf(place) });
  }
  unit.forEach((own, i) => {
    const cosines = unit.map((other, j) =>
      i === j ? -Infinity : own.reduce((sum, value, k) => sum + value * other[k], 0)
    );
    const order = cosines.map((_, j) => j).sort((a, b) => cosines[b] - cosines[a] || a - b);
    for (const j of order.slice(0, Math.min(nearest, places.length - 1))) {
      graph.mergeEdge(codes.nameOf(places[i]), codes.nameOf(places[j]), { cosine: cosines[j] });
    }
  });
  return graph;
}

/** Coordinates of some vectors on their two leading principal components, and the share of variance that those hold. */
function principalPlane(
  vectors: Float32Array,
  count: number,
  places: readonly number[],
): { x: Float64Array; y: Float64Array; explained: number } {
  const width = vectors.length / count;
  const mean = new Float64Array(width);
  for (const place of places) for (let k = 0; k < width; k++) mean[k] += vectors[place * width + k] / places.length;
  const value = new Float32Array(places.length * width);
  places.forEach((place, i) => {
    for (let k = 0; k < width; k++) value[i * width + k] = vectors[place * width + k] - mean[k];
  });
  const centred = {
    rows: places.length,
    columns: width,
    offsets: Int32Array.from({ length: places.length + 1 }, (_, i) => i * width),
    column: Int32Array.from({ length: value.length }, (_, at) => at % width),
    value,
  };
  const { right, explained } = truncatedSVD(centred, 2);
  const along = (axis: number) =>
    Float64Array.from(places, (_, i) => {
      let sum = 0;
      for (let k = 0; k < width; k++) sum += value[i * width + k] * right[k * 2 + axis];
      return sum;
    });
  return { x: along(0), y: along(1), explained };
}

/**
 * How far two tables of the same codes differ, for two checkpoints of one tokenizer: share of tokens that changed, by slot.
 *
 * @throws {RangeError} Where they are not of the same codes.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { medtokConfig, TokenTable } from "tessera/tokenization/mod.ts";
 * const made = (...tokens: number[]) => new TokenTable({
 *   config: medtokConfig("lite", { K: 2, d: 1, N: 9, heads: 1, modality: "text" }),
 *   codes: [{ system: "A", code: "1" }],
 *   tokens: Int32Array.from(tokens), weights: Float32Array.of(1, 1), embeddings: new Float32Array(1),
 * });
 * assert.deepEqual(tokenChurn(made(0, 1), made(1, 2)), { textSpecific: 0.5 });
 * ```
 */
export function tokenChurn(before: TokenTable, after: TokenTable): Partial<Record<Slot, number>> {
  const { K } = before.config;
  const same = before.size === after.size && K === after.config.K &&
    before.codes.every((_, place) => before.nameOf(place) === after.nameOf(place));
  if (!same) {
    throw new RangeError("the two tables are not of the same codes in the same order; encode the same list twice");
  }
  return Object.fromEntries(before.slots.map((slot, s) => {
    let kept = 0;
    for (let place = 0; place < before.size; place++) {
      const at = (place * before.slots.length + s) * K;
      const own = new Set(before.tokens.subarray(at, at + K));
      kept += after.tokens.subarray(at, at + K).filter((token) => own.has(token)).length;
    }
    return [slot, 1 - kept / (before.size * K)];
  }));
}
