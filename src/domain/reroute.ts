import { exitWorks } from './exit-opinion.ts';
import { forgive, forwards, isUnproven } from './own-forwarding.ts';
import { inLaneOrder } from './lanes.ts';
import { pickEndpoint, type Pick, type Verdict } from './pick-endpoint.ts';
import {
  isReportedToWork,
  isSilent,
  isWell,
  type LaneTrack,
  MISSES,
  NO_CHOICES,
  type Order,
  orderKey,
  type ProbeKind,
  type RerouteState,
  type RerouteView,
  type Track,
  trackOf,
} from './reroute-state.ts';

/**
 * Which of a region's live endpoints a node sends packets through, from what it measured itself, without anybody's help. Pure.
 * See `docs/decisions/0014-local-reroute.md`.
 */

export interface Reroute {
  /** exit: of the own region. entry: of another. */
  readonly kind: 'exit' | 'entry';
  readonly region: string;
  /** Of the own region, where it has several (`lanes.ts`). */
  readonly lane?: number;
  readonly from: string;
  readonly to: string;
  readonly why: string;
}

/** `exit of region b: b1 → b3: b1 does not answer, 3 probes`; with several lanes `exit of region b, lane 1: …`. */
export function formatReroute({ kind, region, lane, from, to, why }: Reroute): string {
  return `${kind} of region ${region}${lane === undefined ? '' : `, lane ${lane}`}: ${from} → ${to}: ${why}`;
}

/** Chooses anew. Keeps what is, while nothing is known to be wrong with it and the controller has said nothing new. */
export function choose(
  before: RerouteState,
  view: RerouteView,
  nowMs: number,
): { readonly state: RerouteState; readonly changes: readonly Reroute[] } {
  const state = withOwnHealth(forgive(before, view, nowMs), view, nowMs);
  const { node, own } = view;
  const changes: Reroute[] = [];
  const orders = new Map<string, Order>();
  const pick = ({ kind, lane, ...choice }: Choice): string | undefined => {
    const { region, current } = choice;
    const key = orderKey(kind, region.name, lane);
    const { to, why, order } = pickEndpoint({
      ...choice,
      node,
      order: state.orders.get(key) ?? state.orders.get(orderKey(kind, region.name)),
      isEntered: () => kind === 'exit' && isEntered(state, view, lane),
      isUnproven: () => isUnproven(state, view, lane, nowMs),
      drained: view.drained,
      nowMs,
    });
    if (order !== undefined) orders.set(key, to === node ? order : withoutRule(order));
    if (to !== undefined && current !== undefined && to !== current) {
      const isOneOfSeveral = kind === 'exit' && region.isShared;
      changes.push({ kind, region: region.name, ...(isOneOfSeveral && { lane }), from: current, to, why });
    }
    return to;
  };
  const [firstExit] = state.choices.exits;
  const chosen = view.through.map((_, lane) =>
    pick({
      kind: 'exit',
      region: { ...own, live: inLaneOrder(own.live, lane) },
      lane,
      // A lane that is new goes by the endpoint that carries its packets already, until its own one answers.
      current: state.choices.exits[lane] ?? firstExit,
      judge: (name) => judgeExit(state, view, name, nowMs),
      ...heardOf(state, 'lan', lane),
      forwardsSinceMs: (name) => (name === node ? state.forwardsSinceMs : trackOf(state, 'lan', name).forwardsSinceMs) ?? 0,
    }),
  );
  const exits = chosen.some((exit) => exit !== undefined) ? chosen : NO_CHOICES.exits;
  const entry = new Map(
    view.others.flatMap((region): [string, string][] => {
      const name = pick({
        kind: 'entry',
        region,
        lane: 0,
        current: state.choices.entry.get(region.name),
        judge: (peer) => judgeEntry(peer, trackOf(state, 'tunnel', peer), nowMs),
        ...heardOf(state, 'tunnel', 0),
        forwardsSinceMs: (peer) => trackOf(state, 'tunnel', peer).forwardsSinceMs ?? 0,
      });
      return name === undefined ? [] : [[region.name, name]];
    }),
  );
  const left = view.through.flatMap((targets, lane) => (exits[lane] === state.choices.exits[lane] ? [] : targets));
  const hasMoved = exits.some((exit, lane) => exit !== state.choices.exits[lane]);
  const entryMovedMs = new Map(
    [...entry].map(([region, name]) => [region, state.choices.entry.get(region) === name ? (state.entryMovedMs.get(region) ?? 0) : nowMs]),
  );
  const forgotten = new Set(left.map((name) => `through/${name}`));
  const tracks = forgotten.size > 0 ? new Map([...state.tracks].filter(([key]) => !forgotten.has(key))) : state.tracks;
  const movedMs = hasMoved ? nowMs : state.movedMs;
  return { state: { ...state, tracks, orders, choices: { exits, entry }, movedMs, entryMovedMs }, changes };
}

interface Choice extends Omit<Pick, 'node' | 'order' | 'isEntered' | 'isUnproven' | 'drained' | 'nowMs'> {
  readonly kind: Reroute['kind'];
  /** 0 for entries: each region is entered by one. */
  readonly lane: number;
}

/**
 * One that knows of one lane only does with all packets what it says of that one; it may not be handed another yet. When it carries them while this node
 * carries a lane that the controller had given to it, it has heard of a later order.
 */
function saysOf({ lanes }: Track, lane: number): LaneTrack {
  const said = lanes[lane];
  if (said !== undefined) return said;
  const { stance, usesSinceMs }: LaneTrack = lanes[0] ?? {};
  return {
    stance: stance === 'leaves' ? 'waits' : stance,
    ...(stance === 'carries' && { ruledSinceMs: Number.POSITIVE_INFINITY }),
    ...(usesSinceMs !== undefined && { usesSinceMs }),
  };
}

function heardOf(state: RerouteState, kind: ProbeKind, lane: number): { [key in 'saysOf' | 'isWell']: Pick[key] } {
  return {
    saysOf: (name) => saysOf(trackOf(state, kind, name), lane),
    isWell: (name) => isWell(trackOf(state, kind, name)),
  };
}

function isEntered(state: RerouteState, { tunnels, lanes }: RerouteView, lane: number): boolean {
  return tunnels.some((peer) => {
    const track = trackOf(state, 'tunnel', peer);
    const [said] = track.lanes;
    return (lanes.get(peer) ?? 0) === lane && isWell(track) && said?.stance === 'carries' && said.usesSinceMs !== undefined;
  });
}

/** How long this node forwards, for itself as a candidate. */
function withOwnHealth(state: RerouteState, view: RerouteView, nowMs: number): RerouteState {
  const does = forwards(state, view, nowMs);
  if (does === (state.forwardsSinceMs !== undefined)) return state;
  return { ...state, forwardsSinceMs: does ? nowMs : undefined };
}

function withoutRule(order: Order): Order {
  const { ruledMs, ...rest } = order;
  return ruledMs === undefined ? order : rest;
}

function judgeExit(state: RerouteState, view: RerouteView, name: string, nowMs: number): Verdict {
  if (name === view.node)
    return forwards(state, view, nowMs) ? { is: 'good' } : { is: 'dead', why: `${name} does not get packets to other regions` };
  const track = trackOf(state, 'lan', name);
  if (isSilent('lan', track, nowMs)) {
    const used = view.through.filter((_, lane) => state.choices.exits[lane] === name);
    const works = used.some((targets) => exitWorks(state, targets) === true) || (used.length > 0 && isReportedToWork(state, nowMs));
    return works ? { is: 'unknown' } : { is: 'dead', why: `${name} does not answer, ${track.misses} probes` };
  }
  if (track.misses < MISSES && !track.forwards) return { is: 'dead', why: `${name} says that it does not get packets to other regions` };
  return { is: knownBy(track) };
}

function knownBy({ heardMs, misses }: Track): 'good' | 'unheard' | 'unknown' {
  if (heardMs === undefined) return 'unheard';
  return misses >= MISSES ? 'unknown' : 'good';
}

function judgeEntry(name: string, track: Track, nowMs: number): Verdict {
  if (isSilent('tunnel', track, nowMs)) return { is: 'dead', why: `${name} does not answer, ${track.misses} probes` };
  if (!track.forwards) return { is: 'dead', why: `${name} says that it does not forward` };
  return { is: knownBy(track) };
}
