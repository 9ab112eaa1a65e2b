/**
 * The catalogue: methods under their names, shown as a table.
 *
 * @module
 */
import { display, safely } from "../plot/display.ts";
import { tableBundle } from "../plot/tables.ts";
import { checkLaws, type LawResult } from "./laws.ts";
import { type Method, type ModelSizes, needsOf } from "./method.ts";

/** What a method is asked for its needs with; any sizes do. */
const anySizes: ModelSizes = { width: 8, heads: 2, layers: 4, grid: [4, 4], specialTokens: 1 };

/** How the rows of the table are made. */
export interface RowOptions {
  /** Random blocks that the laws are tried on. Default: 2; with 0 laws are left out. */
  readonly seeds?: number;
}

/** A method whose options are of whatever kind. */
// deno-lint-ignore ban-types
type AnyMethod = Method<never> | (Method & {});

/**
 * Methods under their names. `with` adds one's own.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { catalogue, trainingFree, topk } from "tessera/reduction/mod.ts";
 * const { breaks, ...facts } = catalogue.get("topk");
 * const mine = catalogue.with("mine", trainingFree(topk, { ...facts, breaks, paper: "a notebook" }));
 * assert.equal(mine.rows({ seeds: 0 }).at(-1)?.paper, "a notebook");
 * ```
 */
export class Catalogue<Methods extends Readonly<Record<string, AnyMethod>>> {
  constructor(readonly methods: Methods) {}

  /** The names, in the order of the families. */
  get names(): (keyof Methods & string)[] {
    return Object.keys(this.methods);
  }

  /**
   * The catalogue with one more method, for comparing one's own with those that are there.
   *
   * @throws {RangeError} Where the name is taken.
   */
  with<Name extends string, Added extends AnyMethod>(
    name: Name,
    method: Added,
  ): Catalogue<Methods & Readonly<Record<Name, Added>>> {
    if (name in this.methods) throw new RangeError(`the catalogue has a method ${name} already; take another name`);
    return new Catalogue({ ...this.methods, [name]: method } as Methods & Readonly<Record<Name, Added>>);
  }

  /** A method by its name, as what all of them have in common. */
  get(name: keyof Methods & string): Method {
    return this.methods[name] as unknown as Method;
  }

  /** Holds a method to the laws: see `checkLaws`. */
  laws(name: keyof Methods & string, seeds = 8): LawResult[] {
    const { family, forModel } = this.get(name);
    return checkLaws(forModel, { seeds, family });
  }

  /** One row per method. */
  rows(options: RowOptions = {}): Record<string, string | number>[] {
    return this.names.map((name) => this.row(name, options));
  }

  /** What the table says of one method. */
  row(name: keyof Methods & string, { seeds = 2 }: RowOptions = {}): Record<string, string | number> {
    const method = this.get(name);
    const row = {
      method: name,
      family: method.family,
      paper: method.paper,
      section: method.section,
      needs: needsOf(method, anySizes).join(", ") || "nothing",
      trained: method.trained ? "yes" : "no",
      traceable: method.traceable ? "yes" : "no",
      golden: method.golden.length ? method.golden.join(", ") : "none",
    };
    if (!seeds) return { ...row, cost: method.cost, differs: method.differs };
    const results = this.laws(name, seeds);
    const broken = results.filter(({ holds }) => !holds).map(({ law }) => law);
    const held = `${results.length - broken.length} of ${results.length}`;
    const laws = broken.length ? `${held}, not ${broken.join(", ")}` : held;
    return { ...row, laws, cost: method.cost, differs: method.differs };
  }

  /** All of it, family by family, as a notebook shows it. */
  [display](): ReturnType<typeof safely> {
    return safely("the catalogue", () => {
      const families = Map.groupBy(this.rows(), ({ family }) => String(family));
      const rows = [...families.values()].flat();
      const names = ["method", "paper", "needs", "trained", "traceable", "laws"];
      return tableBundle({
        rows: rows.length,
        columns: names.length,
        names,
        cells: rows.map((row) =>
          names.map((name) => name === "paper" ? `${row.paper}; ${inWords(row.section)}` : row[name])
        ),
        groups: [...families].flatMap(([family, { length }]) => Array(length).fill(`${family}: ${length}`)),
        notes: rows.map(({ golden, cost, differs }) => `Golden: ${golden}. Costs ${cost}. Differs ${differs}.`),
      });
    });
  }
}

const inWords = (section: string | number) => /^\d/.test(String(section)) ? `section ${section}` : section;
