import type { Family } from './ip.ts';

/** RFC 791 without options, RFC 8200 §3. */
const IP_HEADER_BYTES = { 4: 20, 6: 40 } as const;
/** Every IPv6 link takes packets of this size (RFC 8200 §5); Linux has no IPv6 on a narrower device. */
export const IPV6_MIN_MTU_BYTES = 1280;
/** UDP 8, VXLAN 8, inner Ethernet 14 (RFC 7348 §5). */
const VXLAN_BYTES = 8 + 8 + 14;

/** @param underlay family of the outer packets */
export function vxlanMtu(underlayMtuBytes: number, underlay: Family): number {
  return underlayMtuBytes - IP_HEADER_BYTES[underlay] - VXLAN_BYTES;
}

/** UDP 8 (RFC 3948), ESP header 8 (RFC 4303), AES-GCM IV 8 and ICV 16 (RFC 4106). */
const ESP_FIXED_BYTES = 8 + 8 + 8 + 16;
/** Pad length and next header, inside the encrypted part (RFC 4303 §2). */
const ESP_TRAILER_BYTES = 2;
const ESP_ALIGN_BYTES = 4;

/** The largest inner packet whose UDP-encapsulated AES-GCM tunnel packet still fits the underlay; `underlay` is the family of the outer packets. */
export function espMtu(underlayMtuBytes: number, underlay: Family): number {
  const room = underlayMtuBytes - IP_HEADER_BYTES[underlay] - ESP_FIXED_BYTES;
  const encrypted = Math.floor(room / ESP_ALIGN_BYTES) * ESP_ALIGN_BYTES;
  return encrypted - ESP_TRAILER_BYTES;
}

/** Outer IPv4 20 or IPv6 40, UDP 8, WireGuard's header 16 and authentication tag 16 (whitepaper §5.4.6). */
const WIREGUARD_FIXED_BYTES = 8 + 16 + 16;
const OUTER_HEADER_BYTES = { 4: 20, 6: 40 } as const;
/** WireGuard fills packets up to a multiple of this, but never beyond the MTU. */
export const WIREGUARD_ALIGN_BYTES = 16;

/** The largest inner packet whose WireGuard packet still fits the underlay, where `family` is that of the outer addresses. */
export function wireguardMtu(underlayMtuBytes: number, family: 4 | 6): number {
  return underlayMtuBytes - OUTER_HEADER_BYTES[family] - WIREGUARD_FIXED_BYTES;
}
