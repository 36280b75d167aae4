import { NEXTHOP_ID_FIRST, NFT_TABLE, OUR_TABLES, TUNNEL_DEVICE_PREFIX, VXLAN_DEVICE, WIREGUARD_DEVICE } from '../api/names.ts';

/** What a line of `ip monitor` or `nft monitor` tells of: our own objects, or the machine's links and addresses. */
export type Touched = 'ours' | 'underlay';

const OUR_DEVICE = new RegExp(String.raw`(^|\s)(${VXLAN_DEVICE}|${WIREGUARD_DEVICE}|${TUNNEL_DEVICE_PREFIX}[^\s:@]+)([\s:@]|$)`);
const OUR_TABLE = new RegExp(String.raw`\b(table|lookup) (${OUR_TABLES.join('|')})\b`);
const OUR_NFT_TABLE = new RegExp(String.raw`\binet ${NFT_TABLE}(\s|$)`);
/** `4: eth0@if5: <UP,…>` and `4: eth0    inet …`; a rule has a tab after its number. */
const LINK_OR_ADDRESS = /^(Deleted )?\d+: \S/;
/** What ARP does by itself; a permanent entry that goes is told by a line of its own. */
const NEIGHBOUR_NOISE = /^(?!Deleted ).* (REACHABLE|STALE|DELAY|PROBE|INCOMPLETE|FAILED)\s*$/;

/** Which of two kinds of thing a line is about, as `ip -N monitor` and `nft monitor` print them (seen with iproute2 6.1 and nft 1.0.6). */
export function classifyLine(line: string): Touched | undefined {
  if (NEIGHBOUR_NOISE.test(line)) return undefined;
  if (OUR_DEVICE.test(line) || OUR_TABLE.test(line) || OUR_NFT_TABLE.test(line) || isOurNexthop(line)) return 'ours';
  return LINK_OR_ADDRESS.test(line) ? 'underlay' : undefined;
}

function isOurNexthop(line: string): boolean {
  const id = Number(/^(?:Deleted )?id (\d+) /.exec(line)?.[1] ?? 0);
  return id >= NEXTHOP_ID_FIRST && id <= NEXTHOP_ID_FIRST + 0xffff;
}
