import { Lab, type LabList, raven } from '../lab/harness.ts';

/** Software emulation is some ten times slower. */
const PATIENCE = ['--timeout', '300'];

/** A lab for the time of `work`, in the virtual machine. */
export async function withLab(topology: string, work: (lab: Lab) => Promise<void>, ...options: string[]): Promise<void> {
  const lab = await Lab.up(topology, ...PATIENCE, ...options);
  try {
    await work(lab);
  } finally {
    await lab.down();
  }
}

/** @throws when a region's gateway uses the user-space data path */
export async function assertKernelDataPath({ store }: Pick<LabList, 'store'>): Promise<void> {
  const { stdout } = await raven('status', '--store', `dir:${store}`, '-o', 'json');
  const { gateways } = JSON.parse(stdout) as { gateways: { name: string; dataPath?: string }[] };
  for (const { name, dataPath } of gateways) if (dataPath !== 'kernel') throw new Error(`region ${name} uses the ${dataPath} data path`);
}
