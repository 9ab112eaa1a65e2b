/** Solutions to the exercises of `42_does_less_remember_longer`, under the names that `check` knows. */
export const solutions = {
  "what a streaming cache holds": (time: number, slots: number, sinks: number): number[] =>
    Array.from({ length: time }, (_, place) => place).filter((place) =>
      time <= slots || place < sinks || place >= time - (slots - sinks)
    ),

  "the farthest that is looked at": (held: number[], time: number, anew: boolean): number =>
    anew ? held.length : time - Math.min(...held),

  "the even share of the first token": (from: number, length: number): number => {
    let sum = 0;
    for (let place = from; place < length; place++) sum += 1 / (place + 1);
    return sum / (length - from);
  },
};
