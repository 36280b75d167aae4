/** In steps, so that a state that lasts is not a change to write down all the time. */
const STEPS_S = [3600, 1800, 600, 300, 120, 60, 30, 20, 10, 5, 3];

/** `20 s`, `10 min`: the largest step that has passed. */
export function roughDuration(ms: number): string {
  const step = STEPS_S.find((each) => each * 1000 <= ms) ?? 0;
  return step < 60 ? `${step} s` : `${step / 60} min`;
}
