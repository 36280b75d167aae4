import { type Cidr, cidrContainsIp, networkAddress } from '../net/cidr.ts';
import { type Ip, ipValue } from '../net/ip.ts';

/** A set of addresses that can say quickly whether a prefix holds one of them. */
export interface AddressIndex {
  /** The lowest address of the set inside `cidr`. O(log n). */
  firstIn(cidr: Cidr): Ip | undefined;
}

export function indexAddresses(ips: Iterable<Ip>): AddressIndex {
  const entries = [...new Set(ips)].map((ip) => ({ ip, order: orderOf(ip) })).toSorted((a, b) => (a.order < b.order ? -1 : 1));
  return {
    firstIn: (cidr) => {
      const from = orderOf(networkAddress(cidr));
      let low = 0;
      let high = entries.length;
      while (low < high) {
        const middle = (low + high) >> 1;
        if ((entries[middle]?.order ?? 0n) < from) low = middle + 1;
        else high = middle;
      }
      const found = entries[low]?.ip;
      return found !== undefined && cidrContainsIp(cidr, found) ? found : undefined;
    },
  };
}

/** All IPv4 addresses before all IPv6 ones. */
function orderOf(ip: Ip): bigint {
  const { family, value } = ipValue(ip);
  return family === 4 ? value : value + (1n << 32n);
}
