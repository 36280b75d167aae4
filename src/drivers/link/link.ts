import { z } from 'zod';
import { TUNNEL_DEVICE_PREFIX, VXLAN_DEVICE, WIREGUARD_DEVICE } from '../../api/names.ts';
import type { LinkState } from '../../domain/kernel-state.ts';
import { compareText } from '../../lib/compare.ts';

const linkJson = z.array(
  z.looseObject({
    ifname: z.string(),
    /** The device below, of an XFRM interface. */
    link: z.string().optional(),
    flags: z.array(z.string()),
    mtu: z.int(),
    group: z.string().default('0'),
    address: z.string().optional(),
    linkinfo: z
      .looseObject({
        info_kind: z.string().optional(),
        info_data: z
          .looseObject({
            id: z.int().optional(),
            local: z.string().optional(),
            local6: z.string().optional(),
            link: z.string().optional(),
            port: z.int().optional(),
            learning: z.boolean().optional(),
            group: z.string().optional(),
            remote: z.string().optional(),
            if_id: z.union([z.string(), z.int()]).optional(),
          })
          .optional(),
      })
      .optional(),
    inet6_addr_gen_mode: z.string().optional(),
  }),
);

const anchorJson = z.array(z.looseObject({ ifname: z.string().optional() }));

type LinkJson = z.infer<typeof linkJson>[number];

export interface Links {
  readonly links: readonly LinkState[];
  /** Names of ours on devices of another type. */
  readonly foreignLinks: readonly string[];
  readonly ipv6: boolean;
}

/** Reads `ip -N -d -j link show`, and `ip -j address show to ADDRESS` for which of them have the anchor address. */
export function parseLinks(text: string, anchors: string): Links {
  const all = linkJson.parse(JSON.parse(text));
  // What the address does not stand on is listed as an empty object.
  const anchored = new Set(anchorJson.parse(JSON.parse(anchors)).map(({ ifname }) => ifname));
  const named = all.filter(
    ({ ifname }) => ifname === VXLAN_DEVICE || ifname === WIREGUARD_DEVICE || ifname.startsWith(TUNNEL_DEVICE_PREFIX),
  );
  const links = named.flatMap((link) => toLink(link, anchored.has(link.ifname)) ?? []);
  const ours = new Set(links.map(({ name }) => name));
  return {
    links,
    foreignLinks: named
      .map(({ ifname }) => ifname)
      .filter((name) => !ours.has(name))
      .toSorted(compareText),
    ipv6: all.some(({ inet6_addr_gen_mode: mode }) => mode !== undefined),
  };
}

function toLink(link: LinkJson, anchored: boolean): LinkState | undefined {
  const kind = link.linkinfo?.info_kind;
  const base = {
    name: link.ifname,
    mtuBytes: link.mtu,
    group: Number(link.group),
    up: link.flags.includes('UP'),
    anchored,
    quiet: link.inet6_addr_gen_mode === undefined || link.inet6_addr_gen_mode === 'none',
  };
  if (link.ifname === VXLAN_DEVICE) {
    return kind === 'vxlan'
      ? { ...base, type: 'vxlan', fixed: vxlanText(link), ...(link.address !== undefined && { mac: link.address }) }
      : undefined;
  }
  if (kind === 'xfrm') return { ...base, type: 'xfrm', fixed: xfrmText(link) };
  if (kind === 'wireguard' && link.ifname === WIREGUARD_DEVICE) return { ...base, type: 'wireguard', fixed: 'wireguard' };
  // Made by charon or wireguard-go: its IPv6 side is not ours to judge.
  return kind === 'tun' ? { ...base, type: 'tun', fixed: '', quiet: true, noCarrier: link.flags.includes('NO-CARRIER') } : undefined;
}

/** As `formatLink` says it. */
function vxlanText({ linkinfo }: LinkJson): string {
  const { id, local, local6, link, port, learning, group, remote, ...rest } = linkinfo?.info_data ?? {};
  const words = [`vxlan id ${id} local ${local ?? local6} dev ${link} dstport ${port}`];
  if (learning === false) words.push('nolearning');
  // A default destination would flood.
  if (group !== undefined || remote !== undefined) words.push(`remote ${group ?? remote}`);
  if (rest['external'] === true) words.push('external');
  return words.join(' ');
}

function xfrmText({ link, linkinfo }: LinkJson): string {
  return `xfrm dev ${link} if_id ${Number(linkinfo?.info_data?.if_id ?? 0)}`;
}
