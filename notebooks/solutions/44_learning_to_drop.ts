/** Solutions to the exercises of `44_learning_to_drop`, under the names that `check` knows. */
export const solutions = {
  "the reward of a choice": (isRight: boolean, kept: number[], price: number): number =>
    Number(isRight) - price * kept.reduce((sum, one) => sum + one, 0) / kept.length,

  "a step of REINFORCE": (odds: number[], kept: number[], reward: number, baseline: number): number[] =>
    odds.map((one, i) => (reward - baseline) * (kept[i] - 1 / (1 + Math.exp(-one)))),

  "the mean of the others": (rewards: number[]): number[] => {
    const sum = rewards.reduce((total, one) => total + one, 0);
    return rewards.map((one) => (sum - one) / (rewards.length - 1));
  },
};
