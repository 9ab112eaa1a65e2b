/**
 * Changes to a text that remember where everything was.
 *
 * @module
 */

/** A place in a text; both count from 1, columns in UTF-16 units. */
export interface Place {
  line: number;
  column: number;
}

/** One change: what stands from `start` to `end` becomes `text`. */
export interface Edit {
  start: number;
  end: number;
  text: string;
}

/** A text that was changed, and the way back from each place in it. */
export class EditedText {
  readonly text: string;
  #original: string;
  #edits: Edit[];

  /** @param edits Changes that do not overlap, in any order. */
  constructor(original: string, edits: Edit[]) {
    this.#original = original;
    this.#edits = edits.toSorted((a, b) => a.start - b.start || a.end - b.end);
    let text = "";
    let at = 0;
    for (const edit of this.#edits) {
      text += original.slice(at, edit.start) + edit.text;
      at = edit.end;
    }
    this.text = text + original.slice(at);
  }

  /** Where a place of the changed text was before; within a change, where the change starts. */
  before(place: Place): Place {
    const offset = offsetOf(this.text, place);
    let moved = 0; // by how much the changed text is ahead
    for (const { start, end, text } of this.#edits) {
      if (offset < start + moved) break;
      if (offset < start + moved + text.length) return placeOf(this.#original, start);
      moved += text.length - (end - start);
    }
    return placeOf(this.#original, offset - moved);
  }
}

function offsetOf(text: string, { line, column }: Place): number {
  let start = 0;
  for (let k = 1; k < line; k++) {
    const end = text.indexOf("\n", start);
    if (end < 0) break;
    start = end + 1;
  }
  return Math.min(start + column - 1, text.length);
}

/** The place of an offset. */
export function placeOf(text: string, offset: number): Place {
  const before = text.slice(0, offset);
  return { line: before.split("\n").length, column: offset - before.lastIndexOf("\n") };
}
