import { z } from 'zod';
import { VXLAN_DEVICE } from '../../api/names.ts';
import type { Observed } from '../../domain/kernel-state.ts';
import type { FdbEntry } from '../../domain/node-plan.ts';
import { parseIp } from '../../net/ip.ts';

const fdbJson = z.array(
  z.looseObject({
    mac: z.string(),
    dst: z.string().optional(),
    port: z.int().optional(),
    vni: z.int().optional(),
    state: z.string().optional(),
  }),
);

/** Reads `bridge -j fdb show dev raven0`: every entry is ours, also one that somebody else put there. */
export function parseFdb(text: string): Observed<FdbEntry>[] {
  return fdbJson.parse(JSON.parse(text)).flatMap(({ mac, dst, port, vni, state }) => {
    const ip = parseIp(dst ?? '');
    if (ip === undefined) return [];
    const words = [
      ...(port === undefined ? [] : [`port ${port}`]),
      ...(vni === undefined ? [] : [`vni ${vni}`]),
      ...(state === 'permanent' ? [] : [state ?? 'dynamic']),
    ];
    return [{ dev: VXLAN_DEVICE, mac, dst: ip, ...(words.length > 0 && { extra: words.join(' ') }) }];
  });
}
