import type { MatrixPod, PairResult } from './types.ts';

/**
 * The ways between regions, `b → c  b1 → a1 → c1`: from the last node of the one to the first of the other, which all pairs of a
 * region share as a rule. Where they do not, each way is listed with the number of pairs that took it. Pure.
 */
export function describePaths(pods: readonly MatrixPod[], pairs: readonly PairResult[]): string[] {
  const podOf = new Map(pods.map((pod) => [pod.name, pod]));
  const nodeRegion = new Map(pods.map(({ node, region }) => [node, region]));
  const ways = pairs.flatMap((pair) => {
    const from = podOf.get(pair.from);
    const to = podOf.get(pair.to);
    if (from === undefined || to === undefined || !pair.icmp || pair.path.length === 0) return [];
    const inside = from.region === to.region;
    const title = `${inside ? `in ${from.region}` : `${from.region} → ${to.region}`}`;
    return [{ title, way: inside ? insideWay(pair.path, from, to) : betweenRegions(pair.path, nodeRegion, from.region, to.region) }];
  });
  const byTitle = [...Map.groupBy(ways, ({ title }) => title)];
  const width = Math.max(0, ...byTitle.map(([title]) => title.length));
  return byTitle.flatMap(([title, taken]) => {
    const counted = [...Map.groupBy(taken, ({ way }) => way)].map(([way, list]) => ({ way, count: list.length }));
    return counted.map(
      ({ way, count }) => `${title.padEnd(width)}  ${way}${counted.length > 1 ? `  (${count} of ${taken.length} pairs)` : ''}`,
    );
  });
}

function insideWay(path: readonly string[], from: MatrixPod, to: MatrixPod): string {
  const strangers = path.filter((name) => name !== from.node && name !== to.node);
  return strangers.length === 0 ? 'directly' : `via ${strangers.join(' → ')}`;
}

function betweenRegions(path: readonly string[], regionOf: ReadonlyMap<string, string>, from: string, to: string): string {
  const leave = path.findLastIndex((name) => regionOf.get(name) === from);
  const enter = path.findIndex((name, i) => i > leave && regionOf.get(name) === to);
  return path.slice(Math.max(leave, 0), enter < 0 ? undefined : enter + 1).join(' → ');
}
