import { readFile } from 'node:fs/promises';
import { TUNNEL_DEVICE_PREFIX, WIREGUARD_DEVICE } from '../../api/names.ts';

/** Packets that ever went in or out through the tunnels' devices of this network namespace. A device that goes takes its part along. */
export async function readTunnelPackets(): Promise<number> {
  return tunnelPackets(await readFile('/proc/self/net/dev', 'utf8'));
}

/** `/proc/net/dev` (proc_net(5)): after the name 8 columns of what came in, then 8 of what went out; the second of each counts packets. */
export function tunnelPackets(text: string): number {
  return text
    .split('\n')
    .map((line) => /^\s*([^:\s]+):\s*(.*)$/.exec(line))
    .filter((match) => match !== null)
    .filter(([, name = '']) => name.startsWith(TUNNEL_DEVICE_PREFIX) || name === WIREGUARD_DEVICE)
    .map(([, , columns = '']) => columns.trim().split(/\s+/).map(Number))
    .reduce((sum, columns) => sum + (columns[1] ?? 0) + (columns[9] ?? 0), 0);
}
