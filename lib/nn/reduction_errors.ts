/**
 * What can be wrong with a reduction, as types: code that catches one tells it by its class, a reader by its sentence.
 *
 * Names are those of the specification of reduction, section 4.8. All are `RangeError`s: something was out of range.
 *
 * @module
 */

/** What all of them are. `name` is the name of the class, so that a failing cell shows it. */
export class ReductionError extends RangeError {
  constructor(message: string) {
    super(message);
    this.name = new.target.name;
  }
}

/** Two budgets at once, or none. */
export class BudgetConflict extends ReductionError {}

/** A budget that is no budget: a negative number, a rate outside (0, 1], more tokens than there are. */
export class BudgetOutOfRange extends ReductionError {}

/** A score or a similarity holds NaN, so that nothing can be ordered by it. */
export class NaNScore extends ReductionError {
  constructor(readonly method: string, readonly layer: number) {
    super(
      `the score of ${method} in block ${layer} holds NaN, so that nothing can be ordered by it; look at what computed it`,
    );
  }
}

/** The method looks at something that the model does not give. */
export class NeedsMissing extends ReductionError {
  constructor(readonly field: string, readonly method: string, giver = "the model", remedy = remedies[field]) {
    super(`${method} needs ${field}, but ${giver} gives none; ${remedy ?? "use a model that computes it"}`);
  }
}

const remedies: Readonly<Record<string, string>> = {
  key: "pass { key: randomKey(seed) }",
  text: "use it in a vision-language model, on the tokens of an image with a prompt",
  "text.attention": "place it before a later block, when one has looked at the image",
  "text.keys": "place it before a later block, when one has computed them",
  vision: "place it before the first block of a vision-language model with a vision tower",
  positions: "use a model that carries positions, or pass them",
  attention: "place it after attention, in a model that keeps its attention map",
};

/** Rows times columns is not the number of patches, or a window does not tile the grid. */
export class GridMismatch extends ReductionError {}

/** A window of recent tokens that leaves no token to choose from. */
export class WindowTooLarge extends ReductionError {}

/** The images of a batch have different numbers of real tokens, and the budget does not fit one of them. */
export class BatchBudgetMismatch extends ReductionError {}

/** A determinantal choice wants more tokens than its kernel has dimensions. */
export class RankDeficient extends ReductionError {}

/** No score is an outlier, so that an adaptive count would be 0. */
export class NoOutliers extends ReductionError {}

/** Less was removed than requested. Not thrown: see `clamped`. */
export class Clamped extends ReductionError {
  constructor(readonly requested: number, readonly achieved: number, readonly clampedBy: string) {
    super(`${requested} tokens were to go, but ${achieved} did: ${clampedBy}; ask for fewer`);
  }
}

/** A merge would carry a later token's content to an earlier position of a causal model. */
export class CausalityViolation extends ReductionError {}
