/** VXLAN over IPv4: outer IPv4 20, UDP 8, VXLAN 8, inner Ethernet 14 (RFC 7348 §5). */
const VXLAN_OVERHEAD_BYTES = 50;

export function vxlanMtu(underlayMtuBytes: number): number {
  return underlayMtuBytes - VXLAN_OVERHEAD_BYTES;
}

/** Outer IPv4 20, UDP 8 (RFC 3948), ESP header 8 (RFC 4303), AES-GCM IV 8 and ICV 16 (RFC 4106). */
const ESP_FIXED_BYTES = 20 + 8 + 8 + 8 + 16;
/** Pad length and next header, inside the encrypted part (RFC 4303 §2). */
const ESP_TRAILER_BYTES = 2;
const ESP_ALIGN_BYTES = 4;

/** The largest inner packet whose UDP-encapsulated AES-GCM tunnel packet still fits the underlay. */
export function espMtu(underlayMtuBytes: number): number {
  const encrypted = Math.floor((underlayMtuBytes - ESP_FIXED_BYTES) / ESP_ALIGN_BYTES) * ESP_ALIGN_BYTES;
  return encrypted - ESP_TRAILER_BYTES;
}
