import { TUNNEL_DEVICE_PREFIX, WIREGUARD_DEVICE } from '../../api/names.ts';

/** Packets that ever passed a network device, since it was made. */
export interface DeviceCount {
  readonly name: string;
  readonly received: number;
  readonly sent: number;
  /** On their way out. */
  readonly dropped: number;
}

/** `/proc/net/dev` (proc_net(5)): after the name 8 columns of what came in, then 8 of what went out; of each the second counts packets, the fourth drops. */
export function parseNetDev(text: string): DeviceCount[] {
  return text
    .split('\n')
    .map((line) => /^\s*([^:\s]+):\s*(.*)$/.exec(line))
    .filter((match) => match !== null)
    .map(([, name = '', columns = '']) => {
      const counts = columns.trim().split(/\s+/).map(Number);
      return { name, received: counts[1] ?? 0, sent: counts[9] ?? 0, dropped: counts[11] ?? 0 };
    });
}

/** Whether it leads to other regions: an IPsec device, or the WireGuard device. */
export function isTunnelDevice(name: string): boolean {
  return name.startsWith(TUNNEL_DEVICE_PREFIX) || name === WIREGUARD_DEVICE;
}
