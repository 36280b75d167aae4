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

/** A device without such an address, and each address that is none, is listed as an empty object. */
const addressesJson = z.array(
  z.looseObject({ ifname: z.string().optional(), addr_info: z.array(z.looseObject({ local: z.string().optional() })).default([]) }),
);

type LinkJson = z.infer<typeof linkJson>[number];

export interface Links {
  readonly links: readonly LinkState[];
  /** Names of ours on devices of another type. */
  readonly foreignLinks: readonly string[];
  readonly ipv6: boolean;
}

/** Reads `ip -N -d -j link show`, and `ip -j address show to PREFIX` for which of them have the anchor address, and which probe addresses. */
export function parseLinks(text: string, addresses: { readonly anchors: string; readonly probeIps: string }): Links {
  const all = linkJson.parse(JSON.parse(text));
  const anchors = parseAddresses(addresses.anchors);
  const probeIps = parseAddresses(addresses.probeIps);
  const named = all.filter(
    ({ ifname }) => ifname === VXLAN_DEVICE || ifname === WIREGUARD_DEVICE || ifname.startsWith(TUNNEL_DEVICE_PREFIX),
  );
  const links = named.flatMap(
    (link) => toLink(link, { anchored: anchors.has(link.ifname), probeIps: probeIps.get(link.ifname) ?? [] }) ?? [],
  );
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

function parseAddresses(text: string): ReadonlyMap<string | undefined, readonly string[]> {
  return new Map(
    addressesJson.parse(JSON.parse(text)).map(({ ifname, addr_info: all }) => [ifname, all.flatMap(({ local }) => local ?? [])]),
  );
}

function toLink(link: LinkJson, addresses: Pick<LinkState, 'anchored' | 'probeIps'>): LinkState | undefined {
  const kind = link.linkinfo?.info_kind;
  const base = {
    name: link.ifname,
    mtuBytes: link.mtu,
    group: Number(link.group),
    up: link.flags.includes('UP'),
    ...addresses,
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
