import { isBack, isLeaving, type LaneTrack, type LiveRegion, type Order } from './reroute-state.ts';

/** Which one of a region's live endpoints carries a lane, by what is known of each. Pure. See `docs/decisions/0014-local-reroute.md` and, for `isShared`, `0019-lanes.md`. */

export interface Pick {
  readonly node: string;
  /** Live endpoints in the lane's order. */
  readonly region: LiveRegion;
  readonly current: string | undefined;
  readonly order: Order | undefined;
  readonly judge: (name: string) => Verdict;
  /** What it says of the lane. */
  readonly saysOf: (name: string) => LaneTrack;
  /** It was heard, and has not fallen silent since. */
  readonly isWell: (name: string) => boolean;
  /** 0: as long as it is known. */
  readonly forwardsSinceMs: (name: string) => number;
  /** Those who carry for other regions send the lane's packets to this node. */
  readonly isEntered: () => boolean;
  /** This node does not know yet whether it could carry the lane. */
  readonly isUnproven: () => boolean;
  /** Of the own region: others should take over from them. */
  readonly drained: readonly string[];
  readonly nowMs: number;
}

/** unheard: never answered. unknown: did, but does not now, and something else says that it lives. */
export type Verdict = { readonly is: 'good' | 'unheard' | 'unknown' } | { readonly is: 'dead'; readonly why: string };

export interface Picked {
  readonly to: string | undefined;
  readonly why: string;
  readonly order?: Order;
}

/** An agent that has just started hears within this who carries; an endpoint that is to take over has this to answer. */
const SETTLE_MS = 1_500;
const TAKE_OVER_MS = 10_000;
/** When all were cut off and come back one after the other, who is back first gains nothing. */
const HOLD_MS = 500;
/** An endpoint is well again for so long before it gets its lane back. */
const GIVE_BACK_MS = 30_000;
/** Within this an endpoint hears that it was handed a lane: a round trip, and a machine that is busy. */
const HAND_OVER_MS = 1_000;
/** More than a round trip between two endpoints of a region. */
const HASTE_MS = 100;

export function pickEndpoint(pick: Pick): Picked {
  const { current, judge, order, nowMs } = pick;
  const { live } = pick.region;
  const text = live.join(' ');
  if (current === undefined || !live.includes(current))
    return begin(pick, { live: text, sinceMs: order?.live === text ? order.sinceMs : nowMs });
  const verdict = judge(current);
  const kept = order ?? { live: text, sinceMs: nowMs };
  const good = live.filter((name) => judge(name).is === 'good');
  if (verdict.is === 'dead') {
    const other = good.find((name) => name !== current && nowMs - pick.forwardsSinceMs(name) >= HOLD_MS);
    const to = other ?? lastResort(pick, current);
    return { to, why: verdict.why, order: other === undefined && to === pick.node ? { ...kept, aloneMs: nowMs } : kept };
  }
  // Of one whose agent is away nobody knows whether its kernel still has the right ways.
  const isDoubtful = verdict.is === 'unknown' || (verdict.is === 'unheard' && kept.isGuess === true);
  const carrier = isDoubtful ? good.find((name) => pick.saysOf(name).stance === 'carries') : undefined;
  if (carrier !== undefined) return { to: carrier, why: `${carrier} carries for the region`, order: kept };
  const isHandedOver = kept.handedOverMs !== undefined && nowMs - kept.handedOverMs < HAND_OVER_MS;
  const better = verdict.is === 'good' && !isHandedOver && !isHasty(pick, kept) ? agree(pick, current, good, kept) : undefined;
  if (better !== undefined) return { ...better, order: { ...kept, agreedMs: nowMs } };
  const heir = isHandedOver ? undefined : heirOf(pick, current, good);
  if (heir !== undefined) return { to: heir, why: `${current} is drained`, order: { ...kept, handedOverMs: nowMs } };
  if (verdict.is === 'unknown' && live.includes(pick.node)) {
    const isDeserted = isLeaving(pick.saysOf(current));
    const why = `${isDeserted ? `${current} leaves by another` : `other regions send to ${pick.node}`}, and the agent of ${current} is away`;
    if (isDeserted || pick.isEntered()) return { to: pick.node, why, order: kept };
  }
  const [first = current] = live;
  if (kept.live === text) return giveBack(first, pick, current, kept);
  const next = { live: text, sinceMs: nowMs, ...(first === pick.node && { ruledMs: nowMs }) };
  return follow(first, next, pick, { current, kept });
}

/**
 * None is known to be well. All stay with the one that carries, so that they are together when it is cured. An endpoint that knows of none goes to one that leaves by a
 * third, which only the controller's latest word names; else it takes itself, or two that both lost their uplinks would send packets to each other.
 */
function lastResort({ node, region: { live }, saysOf, isWell }: Pick, current: string): string {
  const isCarrying = (name: string): boolean => (name === node ? current === node : isWell(name) && saysOf(name).stance === 'carries');
  const leavesByAnother = (name: string): boolean =>
    name !== node && isWell(name) && isLeaving(saysOf(name)) && saysOf(name).usesSinceMs === undefined;
  const carrier = live.find(isCarrying);
  if (!live.includes(node)) return carrier ?? current;
  return carrier === undefined || carrier === node ? (live.find(leavesByAnother) ?? node) : carrier;
}

/**
 * To whom this node hands over since it is drained. The controller moves only those that it made active; where nodes chose another one by themselves, that
 * one may be drained. It alone decides, and the others come after.
 */
function heirOf({ node, drained, saysOf }: Pick, current: string, good: readonly string[]): string | undefined {
  if (current !== node || !drained.includes(node)) return undefined;
  return good.find((name) => !drained.includes(name) && saysOf(name).stance === 'leaves');
}

/** Two endpoints that know of different orders could give way to each other, and call each other back, with each answer: the first by name does not wait, the other one does. */
function isHasty({ node, region: { live }, nowMs }: Pick, { agreedMs }: Order): boolean {
  const isLater = live.includes(node) && live.some((name) => name < node);
  return isLater && agreedMs !== undefined && nowMs - agreedMs < HASTE_MS;
}

/** The first choice: where the others are already, else as the controller has it. */
function begin({ node, region: { live }, current, judge, saysOf, nowMs }: Pick, order: Order): Picked {
  const [first] = live;
  if (first === undefined) return { to: undefined, why: '' };
  const good = live.filter((name) => judge(name).is === 'good');
  const carrying = good.filter((name) => saysOf(name).stance === 'carries');
  const isKnown = (name: string): boolean => ['good', 'dead'].includes(judge(name).is);
  const isSettled = carrying.length > 0 || live.every(isKnown) || nowMs - order.sinceMs >= SETTLE_MS;
  // An answer may still say that the others have moved on.
  if (current === undefined && !isSettled) return { to: undefined, why: '', order };
  const isWanted = good.includes(node) && good.some((name) => isLeaving(saysOf(name)));
  const known = carrying.length === 1 ? carrying[0] : isWanted ? node : judge(first).is === 'dead' ? good[0] : first;
  const to = known ?? first;
  const isGuess = judge(to).is === 'unheard';
  const isRuled = current !== undefined && to === node && to === first;
  const kept = { ...order, ...(isGuess && { isGuess }), ...(isRuled && { ruledMs: nowMs }) };
  return { to, why: `${current ?? ''} is no live endpoint any more`, order: kept };
}

/**
 * One endpoint carries for all. Who leaves by one that itself leaves by another follows; and when an endpoint is sent packets by the one that it would send
 * them to, it carries. Of two that carry, the one that the controller's change of order put there last, for the other may not have heard of it; else the
 * one that was well all the time (`isBack`); else the controller's order decides.
 */
function agree(
  { node, region: { live }, saysOf, nowMs }: Pick,
  current: string,
  good: readonly string[],
  order: Order,
): { to: string; why: string } | undefined {
  const better = good.find((name) => name !== current && saysOf(name).stance === 'carries');
  const why = `${better ?? ''} carries for the region`;
  if (current === node) {
    if (better === undefined) return undefined;
    const { ruledMs } = order;
    const { ruledSinceMs } = saysOf(better);
    const isRuled = ruledSinceMs !== undefined && ruledSinceMs > (ruledMs ?? 0);
    const isWeaker = ruledMs === undefined && (isBack(order, nowMs) || live.indexOf(better) < live.indexOf(node));
    return isRuled || isWeaker ? { to: better, why } : undefined;
  }
  if (!isLeaving(saysOf(current))) return undefined;
  if (better !== undefined) return { to: better, why };
  return good.includes(node) ? { to: node, why: `${current} leaves by ${node}` } : undefined;
}

/** Where several share the packets, who carries for another hands its lane back to it; the others come after. Whoever is the only one to carry stays: that costs no packets. */
function giveBack(
  first: string,
  { node, region: { isShared }, judge, saysOf, nowMs }: Pick,
  current: string,
  { ownerSinceMs = nowMs, ...kept }: Order,
): Picked {
  const isWell = isShared && current === node && first !== node && judge(first).is === 'good' && saysOf(first).stance === 'leaves';
  if (!isWell) return { to: current, why: '', order: kept };
  if (nowMs - ownerSinceMs < GIVE_BACK_MS) return { to: current, why: '', order: { ...kept, ownerSinceMs } };
  return { to: first, why: `${first} is well again`, order: { ...kept, handedOverMs: nowMs } };
}

/**
 * The controller has another order now: its first one takes over as soon as it answers, or although it never did; not when it is known to be dead. Who carries hands over, and
 * the others come after, so that none has to turn back; not for ever, for the one that carries may know of no new order. Where several share the packets it must also know that its
 * tunnels are up.
 */
function follow(
  first: string,
  order: Order,
  { node, region: { isShared }, judge, saysOf, isUnproven, nowMs }: Pick,
  { current, kept }: { readonly current: string; readonly kept: Order },
): Picked {
  if (first === current) return { to: current, why: '', order };
  const verdict = judge(first).is;
  const stay = { to: current, why: '', order: kept };
  // One that says nothing of a lane does not know of it yet.
  const { stance = 'waits' } = saysOf(first);
  const isBystander = node !== current && node !== first;
  const waits = isShared && (first === node ? isUnproven() : stance === 'waits' || (isBystander && stance === 'leaves'));
  const carrierDecides = isBystander && saysOf(current).stance === 'carries' && judge(current).is === 'good';
  const isEarly = carrierDecides && stance !== 'carries';
  if (isShared && (verdict === 'dead' || isEarly)) return stay;
  const overdueSinceMs = kept.overdueSinceMs ?? nowMs;
  const wait = { ...stay, order: { ...kept, overdueSinceMs } };
  if (isEarly && nowMs - overdueSinceMs < TAKE_OVER_MS) return wait;
  const why = 'the controller chose it';
  const taken = node === current ? { ...order, handedOverMs: nowMs } : order;
  if (verdict === 'good' && !waits) return { to: first, why, order: taken };
  const patienceMs = waits && stance === 'waits' ? GIVE_BACK_MS : TAKE_OVER_MS;
  if (verdict !== 'dead' && nowMs - overdueSinceMs >= patienceMs) return { to: first, why, order: taken };
  return wait;
}
