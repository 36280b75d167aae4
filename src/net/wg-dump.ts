import { type Cidr, compareCidrs, parseCidr } from './cidr.ts';
import { formatEndpoint, type IpEndpoint, parseEndpoint } from './endpoint.ts';
import { parseWgKey, type WgKey } from './wg-key.ts';

/** A WireGuard device as `wg show DEVICE dump` has it. The private key is left out: nobody has to look at it. */
export interface WgDevice {
  /** Undefined while it has no private key. */
  readonly publicKey: WgKey | undefined;
  /** UDP; 0 while it has none. */
  readonly listenPort: number;
  /** 0: none. */
  readonly fwmark: number;
  readonly peers: readonly WgPeer[];
}

export interface WgPeer {
  readonly publicKey: WgKey;
  /** A secret: compare it, never print it. */
  readonly presharedKey: WgKey | undefined;
  /** Where its packets come from now; undefined until it was set or heard. */
  readonly endpoint: IpEndpoint | undefined;
  /** In order. */
  readonly allowedIps: readonly Cidr[];
  /** Seconds since the epoch; 0: never. */
  readonly latestHandshakeS: number;
  readonly rxBytes: number;
  readonly txBytes: number;
  /** 0: off. */
  readonly keepaliveS: number;
}

const NONE = '(none)';
const OFF = 'off';

/**
 * Reads `wg show DEVICE dump`: one line of four fields about the device, then one of eight for each peer, with tabs between (`wg(8)`).
 *
 * @throws when it is something else; the message holds none of the text, which has the private key in it
 */
export function parseWgDump(text: string): WgDevice {
  const [first = '', ...rest] = text.split('\n').filter((line) => line !== '');
  const [, publicKey, listenPort, fwmark, ...surplus] = first.split('\t');
  if (publicKey === undefined || listenPort === undefined || fwmark === undefined || surplus.length > 0) throw unreadable(1);
  return {
    publicKey: parseWgKey(publicKey),
    listenPort: numberIn(listenPort, 1),
    fwmark: fwmark === OFF ? 0 : numberIn(fwmark, 1),
    peers: rest.map((line, i) => parsePeer(line, i + 2)),
  };
}

/** The same lines again, with a private key of the caller's choice. */
export function formatWgDump({ publicKey, listenPort, fwmark, peers }: WgDevice, privateKey: string = NONE): string {
  const device = [privateKey, publicKey ?? NONE, listenPort, fwmark === 0 ? OFF : `0x${fwmark.toString(16)}`];
  return [device, ...peers.map(peerFields)].map((fields) => `${fields.join('\t')}\n`).join('');
}

function peerFields(peer: WgPeer): (string | number)[] {
  return [
    peer.publicKey,
    peer.presharedKey ?? NONE,
    peer.endpoint === undefined ? NONE : formatEndpoint(peer.endpoint),
    peer.allowedIps.length === 0 ? NONE : peer.allowedIps.join(','),
    peer.latestHandshakeS,
    peer.rxBytes,
    peer.txBytes,
    peer.keepaliveS === 0 ? OFF : peer.keepaliveS,
  ];
}

function parsePeer(line: string, number: number): WgPeer {
  const [key = '', psk = '', endpoint = '', allowedIps = '', handshake = '', rx = '', tx = '', keepalive = ''] = line.split('\t');
  const publicKey = parseWgKey(key);
  if (publicKey === undefined) throw unreadable(number);
  return {
    publicKey,
    presharedKey: parseWgKey(psk),
    endpoint: parseEndpoint(endpoint),
    allowedIps:
      allowedIps === NONE
        ? []
        : allowedIps
            .split(',')
            .map((each) => cidrIn(each, number))
            .toSorted(compareCidrs),
    latestHandshakeS: numberIn(handshake, number),
    rxBytes: numberIn(rx, number),
    txBytes: numberIn(tx, number),
    keepaliveS: keepalive === OFF ? 0 : numberIn(keepalive, number),
  };
}

function cidrIn(text: string, line: number): Cidr {
  const cidr = parseCidr(text);
  if (cidr === undefined) throw unreadable(line);
  return cidr;
}

function numberIn(text: string, line: number): number {
  if (!/^(\d+|0x[\da-f]+)$/.test(text)) throw unreadable(line);
  return Number(text);
}

function unreadable(line: number): Error {
  return new Error(`wg show: line ${line} of the dump has another form than expected`);
}
