import { eventually, type Lab } from '../lab/harness.ts';
import { exitOfB2, FAULTS, flowing, startPings } from '../lab/reroute-faults.ts';

/** Software emulation is some ten times slower. */
const PATIENCE_MS = 300_000;

/**
 * Kills the controller and cuts the power of the endpoint that carries for region b: packets between b2 and `far` go on by the other one, and its return changes nothing.
 *
 * @returns the longest times without an answer, for people
 */
export async function losePower(lab: Lab, far: string): Promise<string> {
  const fault = FAULTS.find(({ name }) => name === 'power off');
  if (fault === undefined) throw new Error('no such fault');
  await lab.raven('lab', 'kill', 'controller');
  const node = await eventually(
    'an endpoint carries',
    async () => ['b1', 'b3'].includes(await exitOfB2(lab)) && exitOfB2(lab),
    PATIENCE_MS,
  );
  const other = node === 'b1' ? 'b3' : 'b1';
  const pings = [await startPings(lab, 'b2', far), await startPings(lab, far, 'b2')];
  const figures: string[] = [];
  try {
    await fault.cause(lab, node);
    await flowing(pings, PATIENCE_MS);
    await fault.cure(lab, node);
    for (let i = 0; i < 3; i++) await flowing(pings, PATIENCE_MS);
  } finally {
    for (const each of pings) figures.push(await each.end().then(({ outageMs, lost }) => `${outageMs.toFixed(0)} ms, ${lost} lost`));
  }
  const carries = await exitOfB2(lab);
  if (carries !== other) throw new Error(`${node} had no power and came back: ${carries} carries`);
  return `b2 → ${far} ${figures[0]}; ${far} → b2 ${figures[1]}`;
}
