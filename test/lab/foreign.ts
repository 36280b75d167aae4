import { must, run } from './harness.ts';

/** Things of other people, some of them close to ours. */
export async function addForeign(netns: string): Promise<void> {
  await must(
    ['ip', '-n', netns, '-batch', '-'],
    [
      'link add rave0 type veth peer name rave1',
      'link set rave0 up',
      'link set rave1 up group 77',
      'route add 172.30.0.0/16 dev rave0 table 9026 proto 99',
      'route add 172.31.0.0/16 dev rave0',
      'rule add pref 99 fwmark 0x4000/0x4000 lookup 9026',
      'rule add pref 102 lookup 9026',
      'nexthop add id 77 dev rave0',
      'neigh add 172.30.0.9 lladdr 02:00:00:00:00:09 dev rave0 nud permanent',
      'xfrm policy add src 172.30.1.0/24 dst 172.30.2.0/24 dir out priority 77 tmpl src 172.30.0.1 dst 172.30.0.2 proto esp mode tunnel',
    ].join('\n'),
  );
  await must(
    ['ip', 'netns', 'exec', netns, 'nft', '-f', '-'],
    'table inet ravens { chain forward { type filter hook forward priority -150; meta mark set meta mark | 0x1; } ; }\ntable ip raven { set s { type ipv4_addr; } ; }\n',
  );
}

/** Everything that a host owner could look at. Counters and running timers left out. */
export async function snapshot(netns: string): Promise<string> {
  const commands: [string, ...string[]][] = [
    ['ip', '-d', 'link'],
    ['ip', 'address'],
    ['ip', 'rule'],
    ['ip', '-6', 'rule'],
    ['ip', 'route', 'show', 'table', 'all'],
    ['ip', 'nexthop'],
    ['ip', 'neigh', 'show', 'nud', 'permanent'],
    ['ip', 'xfrm', 'policy'],
    ['ip', 'xfrm', 'state'],
    ['nft', '-s', 'list', 'ruleset'],
    ['iptables-legacy-save'],
    [
      'sh',
      '-c',
      'for f in /proc/sys/net/ipv4/conf/*/rp_filter /proc/sys/net/ipv4/conf/*/forwarding /proc/sys/net/ipv4/ip_forward; do echo $f $(cat $f); done',
    ],
  ];
  const texts = await Promise.all(
    commands.map(async (argv) => `## ${argv.join(' ')}\n${(await run(['ip', 'netns', 'exec', netns, ...argv])).stdout}`),
  );
  return texts
    .join('\n')
    .split('\n')
    .filter((line) => !line.startsWith('#') || line.startsWith('##'))
    .join('\n')
    .replaceAll(/\[\d+:\d+\]|\w+_timer\s+[\d.]+/g, '');
}

/** Whether all that was in a snapshot is in the later one, line by line and in its order: what is new between them is Raven's. */
export function lostLines(before: string, after: string): string[] {
  const later = after.split('\n');
  let at = 0;
  return before.split('\n').filter((line) => {
    const found = later.indexOf(line, at);
    if (found >= 0) at = found + 1;
    return found < 0;
  });
}
