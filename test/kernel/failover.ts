import { eventually, type Lab } from '../lab/harness.ts';
import { exitOfB2, FAULTS, flowing, startPings } from '../lab/reroute-faults.ts';
import { createTap } from './tap.ts';
import { assertKernelDataPath, withLab } from './vm-lab.ts';

/** The gateway of region b loses power while the controller is dead, with ESP and WireGuard in the kernel (R20, R22). Runs in the virtual machine. */

/** Software emulation is some ten times slower. */
const PATIENCE_MS = 300_000;
const POWER_OFF = FAULTS.find(({ name }) => name === 'power off');

const tap = createTap((line) => process.stdout.write(line));
for (const driver of ['ipsec', 'wireguard']) {
  await withLab(
    'rig',
    async (lab) => {
      await tap.test(`${driver}: tunnels in the kernel`, () => assertKernelDataPath(lab));
      await tap.test(`${driver}: packets go on by the other endpoint, and its return changes nothing`, () => losePower(lab));
    },
    '--vpn-driver',
    driver,
  ).catch((error: unknown) => tap.test(`${driver}: the lab comes up`, () => Promise.reject(error as Error)));
}
process.exitCode = tap.end();

async function losePower(lab: Lab): Promise<void> {
  await lab.raven('lab', 'kill', 'controller');
  const carrier = async (): Promise<string | false> => {
    const name = await exitOfB2(lab);
    return ['b1', 'b3'].includes(name) && name;
  };
  const node = await eventually('an endpoint carries', carrier, PATIENCE_MS);
  const pings = [await startPings(lab, 'b2', 'a2'), await startPings(lab, 'a2', 'b2')];
  const figures: string[] = [];
  try {
    await POWER_OFF?.cause(lab, node);
    await flowing(pings, PATIENCE_MS);
    await POWER_OFF?.cure(lab, node);
    for (let i = 0; i < 3; i++) await flowing(pings, PATIENCE_MS);
  } finally {
    for (const each of pings) figures.push(await each.end().then(({ outageMs, lost }) => `${outageMs.toFixed(0)} ms, ${lost} lost`));
  }
  process.stdout.write(`# b2 → a2 ${figures[0]}; a2 → b2 ${figures[1]}\n`);
  const now = await exitOfB2(lab);
  if (now === node) throw new Error(`${node} had no power and came back, and carries again`);
}
