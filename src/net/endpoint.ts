import { familyOf, type Ip, parseIp } from './ip.ts';

/** An address with a UDP port. */
export interface IpEndpoint {
  readonly ip: Ip;
  readonly port: number;
}

/** `192.0.2.1:4500`, `[2001:db8::1]:4500`. */
export function formatEndpoint({ ip, port }: IpEndpoint): string {
  return familyOf(ip) === 6 ? `[${ip}]:${port}` : `${ip}:${port}`;
}

/** The same read back; undefined when `text` is something else. */
export function parseEndpoint(text: string): IpEndpoint | undefined {
  const [, six, four, digits] = /^(?:\[([\da-f:.]+)\]|([\d.]+)):(\d{1,5})$/i.exec(text) ?? [];
  const ip = parseIp(six ?? four ?? '');
  const port = Number(digits);
  return ip === undefined || port > 65_535 ? undefined : { ip, port };
}

export function isSameEndpoint(a: IpEndpoint, b: IpEndpoint): boolean {
  return a.ip === b.ip && a.port === b.port;
}
