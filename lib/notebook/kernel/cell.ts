/**
 * A cell that was asked for, from its request to its last output, which may come much later.
 *
 * @module
 */
import { type CellSource, sourceFor } from "./cell_source.ts";
import type { Request } from "./front_end.ts";
import type { Place } from "./text_edits.ts";

/** A cell's place in stack traces as the kernel writes it: `$cell_3:4:9`, or `$cell_3:await:0`. */
const PLACES = /\$cell_(\d+):(\d+|await):(\d+)/g;

/** One execution of a cell. */
export class Cell {
  readonly id: number;
  readonly request: Request;
  readonly code: string;
  readonly source: CellSource;
  /** Characters printed so far. */
  printed = 0;
  /** The number that stands beside it; known when the kernel has taken it. */
  executionCount: number | undefined;
  /** The front end knows that it runs. */
  announced = false;
  /** Its first error, in words. */
  failure: Record<string, unknown> | undefined;
  /** When it began, by `performance.now()`. */
  readonly began: number = performance.now();
  /** Stop has ended its synchronous code. */
  terminated = false;
  #cells: Map<number, Cell>;

  /** @param cells All cells, by their ids; a stack trace may name any of them. */
  constructor(id: number, request: Request, cells: Map<number, Cell>) {
    this.id = id;
    this.request = request;
    this.code = String(request.content.code ?? "");
    this.source = sourceFor(this.code, id);
    this.#cells = cells;
    cells.set(id, this);
  }

  /** Its name for people: `cell [3]`. */
  get name(): string {
    return this.executionCount === undefined ? "a cell" : `cell [${this.executionCount}]`;
  }

  /** A text in which places in cells are put into words: `cell [3]:4:9` by the lines of the cell, not of the kernel. */
  inWords(text: string): string {
    if (!text.includes("$cell_")) return text;
    return text.replace(PLACES, (whole, id, line, column) => {
      const found = this.#placeOf(id, line, column);
      if (!found) return whole.replace(/\$cell_\d+:(await:)?/, "a cell, line ");
      return `${found.cell.name}:${found.place.line}:${found.place.column}`;
    });
  }

  /** The first place in a cell that a text names; of this cell where there is one. */
  firstPlace(text: string): { cell: Cell; place: Place } | undefined {
    const found = [...text.matchAll(PLACES)].map(([, id, line, column]) => this.#placeOf(id, line, column))
      .filter((found) => found !== undefined);
    return found.find(({ cell }) => cell === this) ?? found[0];
  }

  #placeOf(id: string, line: string, column: string): { cell: Cell; place: Place } | undefined {
    const cell = this.#cells.get(Number(id));
    const place = line === "await"
      ? cell?.source.locateAwait(Number(column))
      : cell?.source.locate({ line: Number(line), column: Number(column) });
    return cell && place ? { cell, place } : undefined;
  }
}
