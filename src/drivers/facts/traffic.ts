import { readFile } from 'node:fs/promises';
import { isTunnelDevice, parseNetDev } from './net-dev.ts';

/** Packets that ever went in or out through the tunnels' devices of this network namespace. A device that goes takes its part along. */
export async function readTunnelPackets(): Promise<number> {
  return tunnelPackets(await readFile('/proc/self/net/dev', 'utf8'));
}

export function tunnelPackets(text: string): number {
  return parseNetDev(text)
    .filter(({ name }) => isTunnelDevice(name))
    .reduce((sum, { received, sent }) => sum + received + sent, 0);
}
