import { z } from 'zod';
import { VXLAN_DEVICE } from '../../api/names.ts';
import type { Neighbour } from '../../domain/node-plan.ts';
import { parseIp } from '../../net/ip.ts';

const neighJson = z.array(
  z.looseObject({ dst: z.string(), dev: z.string().optional(), lladdr: z.string().optional(), state: z.array(z.string()).default([]) }),
);

/** Reads `ip -j neigh show nud permanent`. Entries that ARP made on our device are the kernel's own business. */
export function parseNeighbours(text: string): Neighbour[] {
  return neighJson.parse(JSON.parse(text)).flatMap(({ dst, dev, lladdr, state }) => {
    const ip = parseIp(dst);
    if (dev !== VXLAN_DEVICE || ip === undefined || lladdr === undefined || !state.includes('PERMANENT')) return [];
    return [{ dev, ip, mac: lladdr }];
  });
}
