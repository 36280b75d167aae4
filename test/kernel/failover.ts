import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseAllDocuments } from 'yaml';
import { DRAIN_ANNOTATION } from '../../src/api/names.ts';
import { eventually, type Lab } from '../lab/harness.ts';
import { flowing, type Pings, startPings } from '../lab/pings.ts';
import { exitOfB2, FAULTS } from '../lab/reroute-faults.ts';
import { createTap } from './tap.ts';
import { assertKernelDataPath, withLab } from './vm-lab.ts';

/**
 * The gateway of region b is drained, and another time loses power while the controller is dead, with ESP and WireGuard in the kernel (R20, R22, R23).
 * Runs in the virtual machine.
 */

/** Software emulation is some ten times slower. */
const PATIENCE_MS = 300_000;
const POWER_OFF = FAULTS.find(({ name }) => name === 'power off');

const tap = createTap((line) => process.stdout.write(line));
for (const driver of ['ipsec', 'wireguard']) {
  await withLab(
    'rig',
    async (lab) => {
      await tap.test(`${driver}: tunnels in the kernel`, async () => assertKernelDataPath(await lab.list()));
      // With WireGuard each prefix has one peer, so the two ends cannot move at once: what that costs is printed.
      const mayLose = driver === 'wireguard';
      await tap.test(`${driver}: a drained gateway hands over${mayLose ? '' : ', and no packet is lost'}`, () => drain(lab, mayLose));
      await tap.test(`${driver}: packets go on by the other endpoint, and its return changes nothing`, () => losePower(lab));
    },
    '--vpn-driver',
    driver,
  ).catch((error: unknown) => tap.test(`${driver}: the lab comes up`, () => Promise.reject(error as Error)));
}
process.exitCode = tap.end();

/** The endpoint that carries for region b. */
function carrier(lab: Lab): Promise<string> {
  const find = async (): Promise<string | false> => {
    const name = await exitOfB2(lab);
    return ['b1', 'b3'].includes(name) && name;
  };
  return eventually('an endpoint carries', find, PATIENCE_MS);
}

async function drain(lab: Lab, mayLose: boolean): Promise<void> {
  const node = await carrier(lab);
  const other = node === 'b1' ? 'b3' : 'b1';
  const file = join((await lab.list()).store, 'nodes.yaml');
  const original = await readFile(file, 'utf8');
  const documents = parseAllDocuments(original);
  documents.find((doc) => doc.getIn(['metadata', 'name']) === node)?.setIn(['metadata', 'annotations', DRAIN_ANNOTATION], 'true');
  const pings = await pingBothWays(lab);
  let lost: number;
  try {
    await writeFile(file, documents.map(String).join(''));
    await eventually(`${other} carries`, async () => (await exitOfB2(lab)) === other, PATIENCE_MS);
    await eventually(`${other} is the gateway`, async () => (await lab.node(other)).role === 'gateway', PATIENCE_MS);
    for (let i = 0; i < 3; i++) await flowing(pings, PATIENCE_MS);
  } finally {
    lost = await endOf(pings);
    await writeFile(file, original);
  }
  if (lost > 0 && !mayLose) throw new Error(`${lost} pings were lost`);
}

async function losePower(lab: Lab): Promise<void> {
  await lab.raven('lab', 'kill', 'controller');
  const node = await carrier(lab);
  const pings = await pingBothWays(lab);
  try {
    await POWER_OFF?.cause(lab, node);
    await flowing(pings, PATIENCE_MS);
    await POWER_OFF?.cure(lab, node);
    for (let i = 0; i < 3; i++) await flowing(pings, PATIENCE_MS);
  } finally {
    await endOf(pings);
  }
  const now = await carrier(lab);
  if (now === node) throw new Error(`${node} had no power and came back, and carries again`);
}

async function pingBothWays(lab: Lab): Promise<readonly Pings[]> {
  return [await startPings(lab, ['b2', 'a2']), await startPings(lab, ['a2', 'b2'])];
}

/** Ends pings and prints what they saw. @returns how many were lost, of both */
async function endOf(pings: readonly Pings[]): Promise<number> {
  const ends = [];
  for (const each of pings) ends.push(await each.end());
  const [there = '', back = ''] = ends.map(({ outageMs, lost }) => `${outageMs.toFixed(0)} ms, ${lost} lost`);
  process.stdout.write(`# b2 → a2 ${there}; a2 → b2 ${back}\n`);
  return ends.reduce((sum, { lost }) => sum + lost, 0);
}
